"""What a user can cause, as exceptions with one base, and one way to say "unknown name"."""

from __future__ import annotations

import difflib
from typing import Any, Callable, Iterable, Mapping, Sequence


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


def within(where: str, error: Exception) -> UserError:
    """Put an error's place in front; the result is of a plain kind: some kinds are not made from a message alone."""
    kinds = {TypeError: KindError, FileNotFoundError: MissingFileError}
    return next((ours for kind, ours in kinds.items() if isinstance(error, kind)), UsageError)(f"{where}{error}")


def in_words(error: BaseException) -> str:
    """Return an error's message, without the traceback that torch puts in front when a data loader's worker raised."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2].rstrip() if text.startswith("Caught ") else text


class Mistakes:
    """Mistakes that are told together, as far as one does not follow from another."""

    def __init__(self) -> None:
        self._found: list[UserError] = []

    def of(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function; None where it raises a UserError, which is kept."""
        try:
            return function(*args)
        except UserError as error:
            self._found.append(error)
            return None

    def tell(self) -> None:
        """Raise what was kept: one as it is, several as one, a line each."""
        lines = dict.fromkeys(line for error in self._found for line in str(error).splitlines())
        if len(self._found) > 1:
            raise UsageError("\n".join(lines))
        for error in self._found:
            raise error


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
