"""Files that appear whole or not at all, and where what can be made again is kept."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping

import yaml

from .disk import temporary_beside
from .errors import DiskError, KindError, UsageError
from .schema import Problem, Section, shown

SEAL = "crc32"  # the key of a checksum in JSON files of ours
_ANY = Section(others=True)


def cache_dir() -> Path:
    """Find the user's folder for what can be made again: ``$XDG_CACHE_HOME/s3prl_fusion``, by default in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3prl_fusion"


def make_cache_dir(name: str) -> Path:
    """Make a folder in the user's `cache_dir`.

    Raises:
        DiskError: it cannot be written to, as in a container without a home; the message says how to choose another.
    """
    folder, why = cache_dir() / name, ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f" ({error.strerror})"
    if why or not os.access(folder, os.W_OK | os.X_OK):
        raise DiskError(f"{folder} cannot be written to{why}; set XDG_CACHE_HOME to a folder that can")
    return folder


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends without an error; the folder is
    made when missing.

    Raises:
        DiskError: the disk is full, or does not allow it.
    """
    path = Path(path)
    with temporary_beside(path, lambda file: file.touch(exist_ok=False)) as temporary:
        yield temporary
        os.replace(temporary, path)


def write_with(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file, then put it in ``path``'s place; the folder is made when missing."""
    with whole_file(path) as temporary:
        write(temporary)


@contextmanager
def whole_files(folder: str | os.PathLike[str], keep: Iterable[Path] = ()) -> Iterator[Path]:
    """Give a draft of ``folder``, beside it; its files take their places when the block ends without an error.

    Args:
        folder: need not exist.
        keep: files and folders, relative to ``folder``, that the draft begins with, where they exist.

    Raises:
        DiskError: the disk is full, or does not allow it.
    """
    folder = Path(folder)
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        with temporary_beside(folder, Path.mkdir) as draft:
            for path in keep:
                each_file(folder / path, folder, draft, shutil.copy2)
            yield draft
            each_file(draft, draft, folder, os.replace)
    finally:
        for parent in missing:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def reading_threads() -> ThreadPoolExecutor:
    """Make threads that look at many files at once: a network's disk answers each of them late."""
    return ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1)))


def walk(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the files below a folder, if it is there. Hidden ones, such as a Mac's ._* and .DS_Store, are left out.

    Links to folders are followed, but for those that lead to a folder that they are in.
    """
    return _walk(Path(folder), frozenset())


def _walk(folder: Path, around: frozenset[Path]) -> Iterator[Path]:
    if not folder.is_dir():
        return
    real = folder.resolve()
    if real in around:
        return
    with os.scandir(folder) as entries:
        seen = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    for name, is_dir in seen:
        if is_dir:
            yield from _walk(folder / name, around.union([real], real.parents))
        else:
            yield folder / name


@contextmanager
def whole_folder(folder: str | os.PathLike[str], unless: Callable[[], bool]) -> Iterator[Path]:
    """Give an empty folder beside ``folder`` that takes its place when the block ends without an error.

    Args:
        folder: what is in it is removed then.
        unless: asked before: whether another process has been faster, and made the same.

    Raises:
        DiskError: the disk is full, or does not allow it.
    """
    folder = Path(folder)
    with temporary_beside(folder, Path.mkdir) as draft:
        yield draft
        if not unless():
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(draft, folder)


def link_or_copy(path: Path, other: Path) -> None:
    """Give a file a second name, which needs no room; a copy where the disk has no such names."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)


def each_file(path: Path, folder: Path, other: Path, move: Callable[[Path, Path], Any]) -> None:
    """Copy or move a file, or the files of a folder, from where they are below ``folder`` to the same below another."""
    for file in sorted(found for found in (path, *path.rglob("*")) if found.is_file()):
        target = other / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        move(file, target)


_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """A loader of plain values, which JSON has too: 2026-11-27 is a text. It refuses keys that are there twice, where
    YAML's own takes the last."""

    yaml_constructors = {
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if not tag or tag.split(":")[-1] in _PLAIN
    }
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice; leave one out", key.start_mark
                )
            seen.add((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key))
        found = super().construct_mapping(node, deep)
        if len({type(key) for key in found}) > 1:  # YAML reads no, on and 1 as what they are not meant for
            got = ", ".join(map(repr, found))
            raise yaml.constructor.ConstructorError(
                None, None, f"keys must be of one kind (quote those that are texts); got {got}", node.start_mark
            )
        return found


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file.

    Raises:
        UsageError: it is not YAML, or a key is there twice; the message has the file and the line.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        told = f"line {where.line + 1}: {problem}" if where else str(error)
        raise UsageError(f"{path} is not valid YAML: {' '.join(told.split())}") from error


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file that must be a mapping.

    Raises:
        UsageError: it is not YAML.
        KindError: it is empty, or of another kind.
    """
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise KindError(f"{path} must be a mapping of keys to values; {_told(found)}")
    return found


def _told(found: Any) -> str:
    return "it is empty" if found is None else f"got {shown(found)}"


def read_json(path: str | os.PathLike[str], section: Section = _ANY, advice: str = "remove it") -> dict[str, Any]:
    """Read a JSON object; an empty one where there is no such file.

    Args:
        path: the file.
        section: what it must hold.
        advice: what to do where it is not as it should be.

    Raises:
        UsageError: it is cut off, holds something else, or is not what `write_sealed` wrote; the message has the file
            and the advice.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: {error}; {advice}") from error
    told = found.pop(SEAL, None) if isinstance(found, dict) else None
    if told is not None and told != _seal(found):
        raise UsageError(f"{path} is damaged, or was edited: its checksum is another; {advice}")
    problems: list[Problem] = []
    section("", found, problems)
    if problems:
        raise UsageError(f"{path} is damaged: {problems[0].line}; {advice}")
    return found


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write text (UTF-8) or bytes; the folder is made when missing."""
    write_with(path, lambda file: file.write_bytes(content.encode() if isinstance(content, str) else content))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write indented JSON; the folder is made when missing."""
    write_whole(path, indented(value))


def indented(value: Any) -> str:
    """Return what `write_json` writes."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def as_json(value: Any) -> Any:
    """Return a value as `read_json` gives it back: tuples are lists, and keys are texts."""
    return json.loads(json.dumps(value))


def write_sealed(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
    """Write a JSON object of ours with a checksum, which `read_json` looks at."""
    write_whole(path, sealed(value))


def sealed(value: Mapping[str, Any]) -> str:
    """Return what `write_sealed` writes."""
    plain = as_json(value)
    return json.dumps({**plain, SEAL: _seal(plain)}, indent=1, sort_keys=True) + "\n"


def _seal(value: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"
