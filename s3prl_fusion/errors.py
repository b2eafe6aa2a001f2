"""What a user can cause, as exceptions with one base, and one way to say "unknown name"."""

from __future__ import annotations

import difflib
import errno
import os
from typing import Any, Iterable, Mapping, Sequence

_NO_ROOM = "the disk is full; make room, or choose a folder on another one"
_NOT_ALLOWED = "not allowed; change its permissions, or choose another path"
_IN_THE_WAY = "a file is in the place of a folder, or the other way round; move it away, or choose another path"
# What a disk may refuse, in words that say what to do.
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


class UserError(Exception):
    """What a user can cause, and mend. The command line shows it as one line, without a traceback, and exits with 2.

    Raised before anything loads wherever that can be. The message says what is wrong, what was given, what is allowed
    and what to do next. Everything else that is raised is a mistake of ours.
    """


class UsageError(UserError, ValueError):
    """A value, a name or a combination of options that cannot be used."""


class KindError(UserError, TypeError):
    """A value of another kind than is needed, such as a text where a list belongs."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is not there."""


class CorpusError(UsageError):
    """A corpus, or a sound file, lacks something or cannot be used."""


class DiskError(UserError, OSError):
    """A disk does not let a file be written or read. Also an OSError: a cache, for one, does without."""


class HostError(UserError, RuntimeError):
    """s3prl, or something that s3prl needs, is missing or of a kind that the plugin does not know."""


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


def within(where: str, error: Exception) -> UserError:
    """Put an error's place in front; the result is of a plain kind: some kinds are not made from a message alone."""
    kinds = {TypeError: KindError, FileNotFoundError: MissingFileError}
    return next((ours for kind, ours in kinds.items() if isinstance(error, kind)), UsageError)(f"{where}{error}")


def in_words(error: BaseException) -> str:
    """Return an error's message, without the traceback that torch puts in front when a data loader's worker raised."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2].rstrip() if text.startswith("Caught ") else text


def mapping(key: str, value: Any, allowed: Sequence[str], other: str = "") -> dict[str, Any]:
    """Copy what stands at ``key``, which must be a mapping with keys among the allowed ones."""
    if not isinstance(value, Mapping):
        raise KindError(f"{key} must be {other}a mapping with keys among {', '.join(allowed)}; got {value!r}")
    for name in value:
        if name not in allowed:
            raise UsageError(f"{key}: {unknown('key', name, allowed)}; got {name}: {value[name]!r}")
    return dict(value)


def unknown(kind: str, got: object, allowed: Iterable[str], limit: int = 12) -> str:
    """Say that a name is not known: what it was, what is allowed, what is near.

    Args:
        kind: what the name names, e.g. ``"interface"``.
        got: what the user gave.
        allowed: every known name.
        limit: above this many, only the nearest names are listed.
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(str(got), names, n=3, cutoff=0.5)
    message = f"unknown {kind} {got!r}"
    if len(names) <= limit:
        message += f"; choose from {', '.join(names)}"
    if near:
        message += f" (did you mean {' or '.join(repr(name) for name in near)}?)"
    elif len(names) > limit:
        message += f"; {len(names)} are known, none is near"
    return message
