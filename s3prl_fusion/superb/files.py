"""Files that are written whole or not at all, in folders that are made when missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import whole_file


def write_with(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8."""
    write_with(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")
