"""What a disk may refuse, in words that say what to do; and temporary files, of which a kill leaves none for long."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator

from .errors import DiskError, UserError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

_NO_ROOM = "the disk is full; make room, or choose a folder on another one"
_NOT_ALLOWED = "not allowed; change its permissions, or choose another path"
_IN_THE_WAY = "a file is in the place of a folder, or the other way round; move it away, or choose another path"
_REFUSALS = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: "your quota is used up; make room, or choose another folder",
    errno.EFBIG: "too large for this disk; choose a folder on another one",
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: "the disk is read-only; choose a folder that can be written to",
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTEMPTY: _IN_THE_WAY,
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EIO: "the disk reports an error of its own; check it, or choose another one",
}
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_DRAFT = re.compile(r"/\.([^/]+)\.[0-9a-f]{16}\.tmp")  # in a path that nobody has asked for
_swept: set[Path] = set()  # by this process, once each: a folder of a cache has thousands of files


def refusal(error: OSError, path: str | os.PathLike[str] | None = None) -> DiskError | None:
    """Say what a disk refused, with the path and the next step; None where it is no such refusal.

    Args:
        error: as the system raised it.
        path: what was to be written; the error's own, if it knows one, is nearer.
    """
    found = path if error.filename is None else error.filename
    if error.errno not in _REFUSALS:
        return None
    advice = _REFUSALS[error.errno]
    return DiskError(f"{advice} ({error.strerror})" if found is None else f"{found}: {error.strerror}: {advice}")


def check_folder(option: str, folder: Path) -> None:
    """Refuse a folder that cannot be written to, or made, before hours of work are for nothing.

    Args:
        option: what names it on the command line.
        folder: need not exist.

    Raises:
        DiskError: names what is in the way.
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise DiskError(f"{option} {folder}: {nearest} is a file, and a folder is needed; choose another path")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise DiskError(f"{option} {folder}: {nearest} cannot be written to; change its permissions, or choose another")


def sweep(folder: Path) -> None:
    """Remove what killed processes have left in a folder: temporary files and folders of ours that nobody holds."""
    for path in folder.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name) and (held := _hold(path, wait=False)) is not None:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            os.close(held)


def _hold(path: Path, wait: bool = True) -> int | None:
    """Lock a file or folder for as long as the descriptor that is returned is open, which a kill closes too.

    None where it cannot be: somebody else holds it, it is gone, or the system or the disk has no locks.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def temporary_beside(target: Path, make: Callable[[Path], Any]) -> Iterator[Path]:
    """Give a path beside ``target`` that is no other process's, and is gone after the block.

    Args:
        target: what it will be; its folder is made when missing.
        make: makes a file or a folder of a path, anew.

    Raises:
        DiskError: the disk is full, or does not allow it.
    """
    with _refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent not in _swept:
            _swept.add(target.parent)
            sweep(target.parent)
        path, held = _new_temporary(target, make)
    try:
        with _refusals(target):  # inside: what is removed makes room
            yield path
    finally:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def _new_temporary(target: Path, make: Callable[[Path], Any]) -> tuple[Path, int | None]:
    while True:
        # Random: in two containers, process ids are the same. Cut, as names have a limit.
        path = target.with_name(f".{target.name[:60]}.{secrets.token_hex(8)}.tmp")
        make(path)
        held = _hold(path)
        if path.exists():
            return path, held
        if held is not None:  # another process has swept it, between the lines above
            os.close(held)


def is_full(folder: Path) -> bool:
    """Tell whether a disk has no room left that is worth speaking of: less than a megabyte."""
    return shutil.disk_usage(folder).free < 2**20


@contextmanager
def _refusals(target: Path) -> Iterator[None]:
    """Say what the disk refuses, by the target's path, and the next step; where it is full, no error has a path."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        told = _refused(error, target)
        if told is None:
            raise
        raise DiskError(_DRAFT.sub(r"/\1", str(told))) from error


def _refused(error: OSError | RuntimeError, target: Path) -> DiskError | None:
    if isinstance(error, (DiskError, UserError)):
        return error if isinstance(error, DiskError) else None
    if isinstance(error, OSError):
        return refusal(error, target)
    # torch's and libsndfile's writers say that something is wrong, and not what.
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return refusal(full, target) if is_full(target.parent) else None
