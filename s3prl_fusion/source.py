"""What something is made of: its source files, and files by their content. Standard library only."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_EXPERT = "expert.py"  # s3prl's layout of an upstream: a folder with this and hubconf.py
_BLOCK = 1 << 24


def code_root(obj: Any) -> Path | None:
    """Return the file that a class or function is in, or that file's folder where an expert.py lies there; the path of
    a file stands for what is in it.

    None for what is built in or was typed into an interpreter.
    """
    file = _source_file(obj)
    return file.parent if file and (file.parent / _EXPERT).is_file() else file


def code_files(obj: Any) -> list[Path]:
    """Return the Python files that decide what a class or function computes.

    These are its `code_root`, or every ``*.py`` in and below it. What they import from elsewhere is not followed.
    """
    root = code_root(obj)
    return list(_named_files(root).values()) if root else []


def code_digest(objs: Iterable[Any], imported: bool = False) -> str:
    """Return a sha256 over the `code_files` of classes and functions: of their contents and their names below their
    folders. The folders' own paths, and the order of ``objs``, do not count.

    Args:
        objs: the classes and functions.
        imported: whether what they import counts too, see `imported_files`.
    """
    roots = {root for root in map(code_root, objs) if root}
    pairs = {(name, content_digest(path)) for root in roots for name, path in _named_files(root).items()}
    for root in roots if imported else ():
        if root.is_file():
            found = imported_files(root)
            pairs |= {(os.path.relpath(path, root.parent), content_digest(path)) for path in found}
    return _digest(pairs)


def imported_files(file: Path) -> list[Path]:
    """Return the Python files that a file imports, and those that they import: of its own package, or, where it is in
    none, beside and below it. None of them is run. What is installed is a library's, and is not followed."""
    if {"site-packages", "dist-packages"} & set(file.parts):
        return []
    found, left = {file}, [file]
    while left:
        new = set(_imports(left.pop())) - found
        found |= new
        left += new
    return sorted(found - {file})


def _imports(file: Path) -> Iterator[Path]:
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # Python says so when it is imported
        return
    top = file.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    package = file.relative_to(top).parts[0] if top != file.parent else None
    for node in nodes:
        names: list[str] = []
        folder = top
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                folder = [file, *file.parents][min(node.level, len(file.parents))]
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for name in names:
            parts = name.split(".")
            if folder == top and package not in (None, parts[0]):
                continue
            for count in range(1, len(parts) + 1):
                path = folder.joinpath(*parts[:count])
                yield from (p for p in (path.with_name(f"{path.name}.py"), path / "__init__.py") if p.is_file())


def is_path(where: str) -> bool:
    """Tell whether code is said by the path of a Python file or of a folder, and not by a module's name."""
    return where.endswith(".py") or os.sep in where or where[:1] in ("~", ".")


def defining_files(where: str) -> list[Path]:
    """Return the files that define what is in a Python file, a folder in s3prl's layout, or an importable module.

    Raises:
        FileNotFoundError: there is no such thing.
    """
    if not is_path(where):
        return module_files(where)
    path = Path(where).expanduser()
    if not path.exists():
        raise FileNotFoundError(where)
    expert = path / _EXPERT
    return [expert if expert.is_file() else path]


def module_files(name: str) -> list[Path]:
    """Return the files that Python would run to import a module, and run none.

    Raises:
        FileNotFoundError: there is no such module, or it is in no file.
    """
    package, *parts = name.split(".")
    try:
        spec = find_spec(package)
    except (ValueError, ImportError):
        spec = None
    folders = [*(spec.submodule_search_locations or [])] if spec else []
    if spec is None or not (spec.has_location or folders):
        raise FileNotFoundError(name)
    files = [Path(spec.origin)] if spec.has_location and spec.origin else []
    folder = Path(folders[0]) if folders else files[0].parent
    for i, part in enumerate(parts):
        one, init = folder / f"{part}.py", folder / part / "__init__.py"
        folder = folder / part
        found = [file for file in (init, one) if file.is_file()][:1]
        if not found and (i + 1 == len(parts) or not folder.is_dir()):
            raise FileNotFoundError(name)
        files += found
    return files


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


def _named_files(root: Path) -> dict[str, Path]:
    if root.is_file():
        return {root.name: root}
    return {path.relative_to(root).as_posix(): path for path in sorted(_files(root)) if path.suffix == ".py"}


def _source_file(obj: Any) -> Path | None:
    if isinstance(obj, Path):
        return obj.absolute()
    # A class is looked up by its module's name, which may be gone or another's by now: two folders may each have loaded
    # an `expert`. Its methods know their file.
    methods = [value for value in vars(obj).values() if inspect.isfunction(value)] if inspect.isclass(obj) else []
    for candidate in (*(method for method in methods if method.__module__ == obj.__module__), obj):
        with suppress(TypeError, OSError):
            file = inspect.getsourcefile(inspect.unwrap(candidate))
            if file and os.path.isfile(file):
                # Not resolved: in a download of huggingface_hub every file is a link to another folder.
                return Path(file).absolute()
    return None


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _counts(name)]
        # Not what is a broken link.
        yield from (path for path in (Path(root, name) for name in files if _counts(name)) if path.is_file())


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
