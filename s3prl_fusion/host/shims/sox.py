"""torchaudio.sox_effects without libsox, which a fresh machine lacks: the effects that SUPERB's recipes use."""

from __future__ import annotations

import os
import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from ...errors import UsageError
from ...waveforms import SAMPLE_RATE
from ..patches import Patches
from .audio import THREAD, load
from .shim import Shim

if TYPE_CHECKING:
    from torch import Tensor

MODULE = "torchaudio.sox_effects"
DURATION = SAMPLE_RATE // 10  # samples of sound, or of silence, that count
WINDOW = SAMPLE_RATE // 50  # samples over which loudness is measured
THRESHOLD = 0.001  # root mean square, of full scale


def _mix(wav: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return wav.mean(axis=0, keepdims=True), rate


def _resample(wav: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """Bring sound to 16 kHz by SoX's own resampler, at the quality that its effect has unless told otherwise."""
    if rate == SAMPLE_RATE:
        return wav, rate
    import soxr

    resampled = soxr.resample(wav.T, rate, SAMPLE_RATE, quality="HQ").T
    return np.clip(resampled, -1.0, 1.0).astype(np.float32), SAMPLE_RATE


def _lower(wav: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return (wav * 10 ** (-3.0 / 20)).astype(np.float32), rate


def _trim_silence(wav: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """Let nothing pass before 0.1 s of sound, and from 0.1 s of silence on nothing until 0.1 s of sound again."""
    if len(wav) != 1 or rate != SAMPLE_RATE:
        raise UsageError(
            f"the effect 'silence' needs libsox for {len(wav)} channels of {rate} Hz; put channels 1, "
            f"rate {SAMPLE_RATE} before it"
        )
    wav = wav[0]
    energy = np.concatenate([[0.0], np.cumsum(np.square(wav, dtype=np.float64))])
    kept, position = [wav[:0]], 0
    while True:
        loud = _is_loud(energy, position)
        sound = _first_run(loud, 0)
        if sound is None:
            break
        silence = _first_run(~loud, sound + DURATION)
        kept.append(wav[position + sound : None if silence is None else position + silence])
        if silence is None:
            break
        position += silence + DURATION
    return np.concatenate(kept)[None], rate


def _is_loud(energy: np.ndarray, start: int) -> np.ndarray:
    """Tell whether each sample from ``start`` on ends a loud window, which forgets what was before ``start``."""
    ends = np.arange(start + 1, len(energy))
    return energy[ends] - energy[np.maximum(ends - WINDOW, start)] > THRESHOLD**2 * WINDOW


def _first_run(flags: np.ndarray, start: int) -> int | None:
    """Return where the first DURATION consecutive true flags begin, at ``start`` or later."""
    steps = np.diff(np.concatenate([[0], flags[start:].astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    long_enough = begins[ends - begins >= DURATION]
    return start + int(long_enough[0]) if len(long_enough) else None


# As recipes name them: from (channels, T) float32 in [-1, 1] and the rate in Hz to the same, as SoX 14.4.2 has them.
EFFECTS: dict[str, Callable[[np.ndarray, int], tuple[np.ndarray, int]]] = {
    "channels 1": _mix,
    f"rate {SAMPLE_RATE}": _resample,
    "gain -3.0": _lower,
    "silence 1 0.1 0.1% -1 0.1 0.1%": _trim_silence,
}


def apply_effects_tensor(tensor: Tensor, sample_rate: int, effects: Sequence[Sequence[str]]) -> tuple[Tensor, int]:
    """Apply some of `EFFECTS`, in the order given.

    Args:
        tensor: (channels, T); float, in [-1, 1].
        sample_rate: in Hz.
        effects: each as words, e.g. ``[["channels", "1"], ["gain", "-3.0"]]``.

    Returns:
        (channels, T') float32, and the sample rate.

    Raises:
        UsageError: another effect is asked for, or one that this sound would need libsox for; the message names it.
    """
    import torch

    names = [" ".join(map(str, effect)) for effect in effects]
    for name in names:
        if name not in EFFECTS:
            raise UsageError(
                f"the effect {name!r} needs libsox with torchaudio 2.8 or older; without it there is only: "
                f"{', '.join(EFFECTS)}"
            )
    wav, rate = tensor.detach().cpu().float().numpy(), sample_rate
    for name in names:
        wav, rate = EFFECTS[name](wav, rate)
    return torch.from_numpy(wav), rate


def apply_effects_file(path: str | os.PathLike[str], effects: Sequence[Sequence[str]]) -> tuple[Tensor, int]:
    """Do as `apply_effects_tensor`, on a sound file.

    Raises:
        UsageError: as `apply_effects_tensor`.
        RuntimeError: soundfile cannot read the file; the message names it.
    """
    return apply_effects_tensor(*load(path), effects)


def _does_not_work() -> bool:
    try:
        from torchaudio import sox_effects

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sox_effects.effect_names()
    except Exception:  # ImportError, or what the loader says of a library that is not there
        return True
    return False


def _supply(patches: Patches) -> None:
    import torchaudio

    module: Any = ModuleType(MODULE)
    module.apply_effects_file, module.apply_effects_tensor = apply_effects_file, apply_effects_tensor
    patches.set_item(sys.modules, MODULE, module)
    patches.set(torchaudio, "sox_effects", module)


SHIMS = (
    Shim(
        MODULE,
        "torchaudio 2.9 dropped it, and before that it needs libsox, which is not here; s3prl's SV recipe trims "
        "silence with it",
        THREAD,
        "from torchaudio.sox_effects import apply_effects",
        _does_not_work,
        _supply,
    ),
)
