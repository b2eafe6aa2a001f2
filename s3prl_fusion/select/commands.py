"""The `superb` commands for what is recommended."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..config import FusionConfig, MemberConfig
from ..errors import UsageError
from ..files import write_whole
from ..interfaces import DEFAULT_INTERFACE
from ..upstreams.entries import aliases
from ..upstreams.references import parse
from .choice import Choice

FOLDER = "recommended"  # below DIR


def superb_commands(choices: Sequence[Choice], corpora: Sequence[str], output: Path) -> list[str]:
    """Write a command for each fusion that is recommended, with all the tasks that it is recommended for.

    A fusion that no name says becomes a YAML below `output`.

    Args:
        choices: one a task.
        corpora: the words that say where the corpora are.
        output: DIR.
    """
    tasks: dict[str, list[str]] = {}
    for choice in choices:
        fusion = replace(choice.recommended.fusion, cache=None)
        name = short_name(fusion)
        if name is None:
            path = output / FOLDER / f"{choice.recommended.label}.yaml"
            write_whole(path, fusion.to_yaml())
            name = str(path)
        # A task on a table is said by its kind, and the words for corpora say which table.
        tasks.setdefault(name, []).append(choice.task.source or choice.task.name.partition("@")[0])
    return [
        shlex.join(["s3prl-fusion", "superb", "-t", ",".join(dict.fromkeys(of)), "-u", name, "-o", "exp", *corpora])
        for name, of in tasks.items()
    ]


def short_name(fusion: FusionConfig) -> str | None:
    """Return a name of the `grammar` that means a fusion; None where only a YAML says it."""
    for name in _names(fusion):
        try:
            if FusionConfig.from_name(name) == fusion:
                return name
        except UsageError:  # of entries whose names have underscores in the wrong places
            continue
    return None


def _names(fusion: FusionConfig) -> Iterator[str]:
    entries = [member.name for member in fusion.members]
    if any(member != MemberConfig(member.name) or parse(member.name) for member in fusion.members):
        return
    interface = "" if fusion.interface.name == DEFAULT_INTERFACE else f"_{fusion.interface.name}"
    for large in (False, True):
        known = {(entry.large if large else entry.name): alias for alias, entry in aliases().items()}
        if all(entry in known for entry in entries):
            yield f"fused_{'_'.join(known[entry] for entry in entries)}{'_large' if large else ''}{interface}"
    yield f"fused__{'__'.join(entries)}{'_' if interface else ''}{interface}"
