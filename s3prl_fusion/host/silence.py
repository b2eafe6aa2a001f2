"""SoX's `silence` effect, as the SV recipe uses it, without libsox, which a fresh machine lacks.

s3prl/downstream/sv_voxceleb1/dataset.py:20 sends clips through ``gain -3.0`` and ``silence 1 0.1 0.1% -1 0.1 0.1%``:
nothing passes before 0.1 s of sound, and from 0.1 s of silence on nothing passes until 0.1 s of sound again.
"""

from __future__ import annotations

import numpy as np

from ..audio import SAMPLE_RATE

GAIN = 10 ** (-3.0 / 20)
DURATION = SAMPLE_RATE // 10  # samples of sound, or of silence, that count
WINDOW = SAMPLE_RATE // 50  # samples over which loudness is measured
THRESHOLD = 0.001  # root mean square, of full scale


def trim_silence(wav: np.ndarray) -> np.ndarray:
    """Lowers a clip by 3 dB and takes its silences out, as SoX 14.4.2 does, to the sample.

    Args:
        wav: (T,) samples at 16 kHz, in [-1, 1].

    Returns:
        (T' <= T,) float32; empty if there is no sound.
    """
    wav = (wav * GAIN).astype(np.float32)
    energy = np.concatenate([[0.0], np.cumsum(np.square(wav, dtype=np.float64))])
    kept, position = [], 0
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
    return np.concatenate(kept) if kept else wav[:0]


def _is_loud(energy: np.ndarray, start: int) -> np.ndarray:
    """Whether each sample from ``start`` on ends a loud window; the window forgets what was before ``start``."""
    ends = np.arange(start + 1, len(energy))
    return energy[ends] - energy[np.maximum(ends - WINDOW, start)] > THRESHOLD**2 * WINDOW


def _first_run(flags: np.ndarray, start: int) -> int | None:
    """Where the first DURATION consecutive true flags begin, at ``start`` or later."""
    steps = np.diff(np.concatenate([[0], flags[start:].astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    long_enough = begins[ends - begins >= DURATION]
    return start + int(long_enough[0]) if len(long_enough) else None
