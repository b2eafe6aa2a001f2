"""The form of a shim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ..patches import Patches


@dataclass(frozen=True)
class Shim:
    """One thing that is missing, and how to supply it.

    Attributes:
        name: what is supplied, as one would import it, e.g. ``"torchaudio.info"``.
        reason: since when it is missing, and what s3prl does with it; a clause for people.
        source: the upstream thread or release note that announced it.
        used_by: a piece of s3prl's own source, or of ours, that needs it; once nothing contains it, the shim can go.
        missing: whether the installed package lacks it; imports the package.
        apply: supplies it.
    """

    name: str
    reason: str
    source: str
    used_by: str
    missing: Callable[[], bool]
    apply: Callable[[Patches], None]
