"""Whose code may run: of the files that the user names; of what somebody else names, only what the user allows.

Allowed is what ``--allow-code`` or the environment variable says: a Python file, a folder of such, a module, a
checkpoint that holds more than weights, a repository of the hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .errors import MissingFileError, UsageError
from .files import cache_dir
from .source import code_digest, defining_files, is_path

REPOSITORY = "hf-s3prl:"  # begins the name of a repository of the hub whose code runs
OPTION, VARIABLE = "--allow-code", "S3PRL_FUSION_ALLOW_CODE"
COMMIT = re.compile(r"[0-9a-f]{40}")  # what a repository is pinned to
_FILES = (".py", ".ckpt", ".pt", ".pth", ".bin")  # no module, and no repository, ends so


def take_option(words: Sequence[str]) -> list[str]:
    """Take ``--allow-code NAME`` out of a command line, and allow what it names: here, and in every process started.

    Raises:
        UsageError: the option has no value.
        MissingFileError: a path is not there.
    """
    rest, allowed, words = [], [], list(words)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option != OPTION:
            rest.append(word)
            continue
        if not equals and not words:
            raise UsageError(f"{OPTION} needs a value: a Python file, a folder, a module, a checkpoint or a hub id")
        allowed.append(_absolute(value if equals else words.pop(0)))
    if allowed:
        os.environ[VARIABLE] = os.pathsep.join([*allowed, *_listed()])
    return rest


def _listed() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


def _absolute(name: str) -> str:
    """Make a path hold from any folder. What is copied from a YAML, ``file.py:Class``, is its file."""
    if name.startswith(REPOSITORY):
        name = _repository(name)
    name = name.rpartition(":")[0] or name
    path = Path(name).expanduser()
    if path.exists():
        return str(path.absolute())
    if path.suffix in _FILES or path.is_absolute() or name.startswith("."):
        raise MissingFileError(f"{OPTION} {name} does not exist; correct the path")
    return name


def _repository(where: str) -> str:
    return where[len(REPOSITORY) :].partition("@")[0]


def is_allowed(name: str | Path, within: bool = True) -> bool:
    """Tell whether the user has allowed a file, a module or a repository.

    Args:
        name: of it.
        within: whether it is enough that the folder or package that it is in is allowed.
    """
    if not Path(name).exists():
        return any(str(name) == other or (within and str(name).startswith(f"{other}.")) for other in _listed())
    path = Path(name).resolve()
    folders = [Path(other).resolve() for other in _listed() if Path(other).exists()]
    return any(path == folder or (within and folder in path.parents) for folder in folders)


def allowing(name: str | Path) -> str:
    """Write the words of a command line that allow something."""
    return f"{OPTION} {shlex.quote(str(name))}"


def check_code(kind: str, name: str, beside: Path | None, where: str = "") -> None:
    """Refuse a user's own object (see `imports`) that somebody else may have named, before it is imported.

    Args:
        kind: what it is, for messages.
        name: ``module:Name`` or ``path/to/file.py:Name``, in a YAML or a checkpoint.
        beside: the folder of a YAML that the user has named: what is in it, or in an installed package, is named with
            it. None for what stands in a checkpoint.
        where: its module or file, if that is not what stands before the name's last colon.

    Raises:
        UsageError: the user has not allowed it; the message says how to.
    """
    where = where or name.rpartition(":")[0]
    if where.startswith(REPOSITORY):
        return _check_repository(kind, where)
    path = Path(where).expanduser().resolve() if is_path(where) else None
    if beside is not None:
        if path is None and not _is_in_current_folder(where):
            return
        if path and beside.resolve() in (path, *path.parents):
            return
    if is_allowed(path or where) or _is_known(where):
        return
    if path is not None and not path.exists():
        what = "file" if path.suffix == ".py" else "folder"
        raise UsageError(f"{kind} {name!r}: there is no {what} {path}{_elsewhere(beside)}")
    origin = "stands in a checkpoint" if beside is None else f"is outside the YAML's own folder {beside}"
    own = ", or name what it was trained with (-u, or load_experiment's upstream)" if beside is None else ""
    raise UsageError(
        f"{kind} {name!r} {origin}, so its code does not run unless you allow it: read {path or where}, then give "
        f"{allowing(path or where)} (in Python: the environment variable {VARIABLE}){own}"
    )


def _check_repository(kind: str, where: str) -> None:
    """Refuse a repository that a YAML or a checkpoint names: it lies in no folder that the user has named."""
    repository = _repository(where)
    if not is_allowed(repository, within=False) and not _is_known(where):
        raise UsageError(
            f"{kind} {where!r} is a repository of the hub, whose code runs only if you say so: read it, then give "
            f"{allowing(repository)} (in Python: the environment variable {VARIABLE}), or name it on the command line"
        )


def _elsewhere(beside: Path | None) -> str:
    if beside is not None:
        return "; correct the path"
    return "; name what it was trained with, where it is now (-u, or load_experiment's upstream)"


def _is_in_current_folder(module: str) -> bool:
    """Tell whether a module would be found only because Python was started in this folder."""
    if Path.cwd() in [Path(entry).resolve() for entry in sys.path[1:]]:
        return False  # PYTHONPATH, or installed in editable form
    with contextlib.suppress(ValueError, ImportError):
        spec = find_spec(module.partition(".")[0])  # of a package's part it would import the package
        folders = list(spec.submodule_search_locations or []) if spec else []
        places = folders or ([spec.origin] if spec and spec.has_location and spec.origin else [])
        return any(Path(place).resolve().parent == Path.cwd() for place in places)
    return False


def remember(where: str) -> None:
    """Note that the user has named a Python file or a folder of such, of this content, a module, or a commit of a
    repository: on this machine it need not be again, also where a checkpoint names it."""
    with contextlib.suppress(OSError):  # a home that cannot be written to
        note = _note(where)
        if not note.exists():
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def _is_known(where: str) -> bool:
    try:
        return _note(where).is_file()
    except OSError:
        return False


def _note(where: str) -> Path:
    """Name code by what is in it and in what it imports: another file or module of the same name is another's."""
    if where.startswith(REPOSITORY):
        if not COMMIT.fullmatch(where.rpartition("@")[2]):
            raise FileNotFoundError(where)  # a branch may be another tomorrow
        return cache_dir() / "code" / hashlib.sha256(where.encode()).hexdigest()
    name = "" if is_path(where) else f"module {where} "
    digest = hashlib.sha256(f"{name}{code_digest(defining_files(where), imported=True)}".encode())
    return cache_dir() / "code" / digest.hexdigest()
