"""One way to say "unknown name", and the exceptions that several parts share."""

from __future__ import annotations

import difflib
from typing import Iterable


class HostError(RuntimeError):
    """s3prl, or something that s3prl needs, is missing or of a kind that the plugin does not know."""


class UsageError(ValueError):
    """What the user asked for cannot be run; raised before anything loads, and shown without a traceback."""


class CorpusError(ValueError):
    """A corpus, or a sound file, lacks something or cannot be used. The message says what to do."""


def unknown(kind: str, got: object, allowed: Iterable[str], limit: int = 12) -> str:
    """The message for a name that is not known: what it was, what is allowed, what is near.

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
