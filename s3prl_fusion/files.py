"""Files that appear whole or not at all, and where what can be made again is kept."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator


def cache_dir() -> Path:
    """The user's folder for what can be made again: ``$XDG_CACHE_HOME/s3prl_fusion``, by default below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3prl_fusion"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_with(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> None:
    """Lets ``write`` fill a temporary file, then puts it in ``path``'s place; the folder is made when missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        write(temporary)


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes text (UTF-8) or bytes; the folder is made when missing."""
    write_with(path, lambda file: file.write_bytes(content.encode() if isinstance(content, str) else content))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes indented JSON; the folder is made when missing."""
    write_whole(path, json.dumps(value, indent=1, sort_keys=True) + "\n")
