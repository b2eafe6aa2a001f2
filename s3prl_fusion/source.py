"""What something is made of: its source files, and files by their content. Standard library only."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

EXPERT = "expert.py"  # s3prl's layout of an upstream: a folder with this and hubconf.py
_BLOCK = 1 << 24


def code_files(obj: object) -> list[Path]:
    """Return the Python files that decide what a class or function computes.

    These are its own file, or, where an expert.py lies beside that, every ``*.py`` in the folder and below. What they
    import from elsewhere is not followed. There are none for what is built in or was typed into an interpreter.
    """
    return list(_named_files(obj).values())


def code_digest(objs: Iterable[object]) -> str:
    """Return a sha256 over the `code_files` of classes and functions: of their contents and their names below their
    folders. The folders' own paths, and the order of ``objs``, do not count."""
    return _digest({(name, content_digest(path)) for obj in objs for name, path in _named_files(obj).items()})


def content_digest(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes, or of the names and contents of all files in and below a folder.

    Of a folder, ``__pycache__`` and whatever begins with a dot do not count. A file is read once a process, unless its
    size or time of change is another.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
    """
    path = Path(path).absolute()
    if path.is_dir():
        return _digest({(file.relative_to(path).as_posix(), content_digest(file)) for file in _files(path)})
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


def _named_files(obj: object) -> dict[str, Path]:
    """The `code_files` by their names below the folder of ``obj``'s own file."""
    file = _source_file(obj)
    if file is None:
        return {}
    folder = file.parent
    files = [path for path in _files(folder) if path.suffix == ".py"] if (folder / EXPERT).is_file() else [file]
    return {path.relative_to(folder).as_posix(): path for path in files}


def _source_file(obj: object) -> Path | None:
    # A class is looked up by its module's name, which may be gone or another's by now: two folders may each have loaded
    # an `expert`. Its methods know their file.
    methods = [value for value in vars(obj).values() if inspect.isfunction(value)] if inspect.isclass(obj) else []
    for candidate in (*(method for method in methods if method.__module__ == obj.__module__), obj):
        with suppress(TypeError, OSError):
            file = inspect.getsourcefile(inspect.unwrap(candidate) if callable(candidate) else candidate)
            if file and os.path.isfile(file):
                # Not resolved: in a download of huggingface_hub every file is a link to another folder.
                return Path(file).absolute()
    return None


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _counts(name)]
        yield from (Path(root, name) for name in files if _counts(name))


def _counts(name: str) -> bool:
    return name != "__pycache__" and not name.startswith(".")


@cache
def _file_digest(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _digest(pairs: set[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(sorted(pairs)).encode()).hexdigest()
