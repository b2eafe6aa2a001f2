"""Tables and durations as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; all columns but the first two are aligned to the right."""
    ruler = ["---" if index < 2 else "---:" for index in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ruler, *rows))


def seconds_text(seconds: float) -> str:
    """Return a duration: `75` -> `1:15`, `3700` -> `1:01:40`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
