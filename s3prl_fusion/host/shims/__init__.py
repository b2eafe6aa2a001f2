"""What the installed packages no longer have and s3prl still uses, supplied before s3prl is imported, and only that.

A shim is applied where what it supplies is missing; `withdraw` takes all back. `s3prl-fusion doctor` lists them.
"""

from __future__ import annotations

from ...errors import HostError
from ..confined import confine
from ..patches import Patches
from . import audio, catalyst, checkpoints, huggingface, models, sox
from .shim import Shim

SHIMS: tuple[Shim, ...] = (
    *audio.SHIMS,
    *sox.SHIMS,
    *catalyst.SHIMS,
    *huggingface.SHIMS,
    *checkpoints.SHIMS,
    *models.SHIMS,
)

_patches = Patches()
_active: list[Shim] | None = None


def supply() -> None:
    """Apply what is missing. Idempotent.

    Raises:
        HostError: a package cannot be imported, or does not fit another; the message says what to do.
    """
    global _active
    if _active is not None:
        return
    try:
        lacking = [shim for shim in SHIMS if shim.missing()]
        for shim in lacking:
            shim.apply(_patches)
        confine(_patches)
    except Exception as error:  # torchaudio beside another torch fails with OSError, RuntimeError or ImportError
        _patches.undo()
        raise HostError(
            f"a package that s3prl needs cannot be imported: {error}. `s3prl-fusion doctor` says what to install"
        ) from error
    _active = lacking


def withdraw() -> None:
    """Leave every package as `supply` found it. Idempotent."""
    global _active
    _patches.undo()
    _active = None


def supplied() -> bool:
    """Tell whether `supply` has been called, and not `withdraw` since."""
    return _active is not None


def active() -> tuple[Shim, ...]:
    """Return the shims in use now; none before `supply`."""
    return tuple(_active or ())
