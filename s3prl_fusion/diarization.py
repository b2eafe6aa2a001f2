"""Who speaks when: turns, and how much of a recording's speech is told wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .files import write_whole

if TYPE_CHECKING:
    import numpy as np

SAMPLE_RATE = 16000
THRESHOLDS, MEDIANS = (0.3, 0.4, 0.5, 0.6, 0.7), (1, 11)  # what is tried (s3prl/downstream/diarization/score.sh)
FRAME_SHIFT = "frame_shift"  # the file beside scoring/, which says samples a frame
PROBABILITIES = "T_hat"  # what a prediction's file calls them


class Turn(NamedTuple):
    """Somebody speaks, from one second to another."""

    speaker: str
    start: float
    end: float


def write_turns(path: Path, turns: Mapping[str, Sequence[Turn]]) -> None:
    """Write a line a recording: its name, and ``SPEAKER START END`` for each turn."""
    lines = [" ".join([name, *(f"{t.speaker} {t.start:.3f} {t.end:.3f}" for t in of)]) for name, of in turns.items()]
    write_whole(path, "".join(f"{line}\n" for line in lines))


def read_turns(text: str) -> list[Turn]:
    """Read a line's turns, without the recording's name.

    Raises:
        ValueError: it has another form.
    """
    fields = text.split()
    if len(fields) % 3:
        raise ValueError(f"turns are SPEAKER START END; got {text!r}")
    return [Turn(who, float(start), float(end)) for who, start, end in zip(*(fields[part::3] for part in range(3)))]


def turns_of(probabilities: np.ndarray, frame_shift: int, threshold: float, median: int) -> list[Turn]:
    """Tell turns from how likely each speaker speaks in each frame, as s3prl does
    (s3prl/downstream/diarization/make_rttm.py:35): times are rounded to hundredths, as its files have them.

    Args:
        probabilities: (T, speakers), in [0, 1].
        frame_shift: samples a frame.
        threshold: above it a speaker speaks.
        median: frames over which what is told is smoothed; odd.
    """
    import numpy
    from scipy.signal import medfilt

    found, seconds = [], frame_shift / SAMPLE_RATE
    for speaker, column in enumerate(probabilities.T):
        speaks = (column > threshold).astype(float)
        if median > 1:
            speaks = medfilt(speaks, median)
        (changes,) = numpy.where(numpy.diff(numpy.pad(speaks, 1)) != 0)
        for begin, end in zip(changes[::2], changes[1::2]):
            start, length = round(begin * seconds, 2), round((end - begin) * seconds, 2)
            found.append(Turn(str(speaker), start, start + length))
    return found


def errors(said: Sequence[Turn], true: Sequence[Turn]) -> tuple[float, float]:
    """Return the seconds of one recording that are told wrongly, and those of its speech, each speaker's by itself.

    NIST's: no collar, overlapping speech counts, and speakers are matched so that they agree for as long as they can.
    """
    import numpy
    from scipy.optimize import linear_sum_assignment

    times = numpy.unique([time for turn in (*said, *true) for time in (turn.start, turn.end)])
    if len(times) < 2:
        return 0.0, 0.0
    middles, lengths = (times[1:] + times[:-1]) / 2, numpy.diff(times)
    told, speech = _active(said, middles), _active(true, middles)
    agreeing = (speech * lengths) @ told.T
    matched = agreeing[linear_sum_assignment(agreeing, maximize=True)].sum()
    return float(lengths @ numpy.maximum(told.sum(0), speech.sum(0)) - matched), float((speech * lengths).sum())


def _active(turns: Sequence[Turn], moments: np.ndarray) -> np.ndarray:
    """Tell which speakers, sorted, speak at each moment, (speakers, moments)."""
    import numpy

    active = numpy.zeros((max(1, len({turn.speaker for turn in turns})), len(moments)))
    rows = {speaker: row for row, speaker in enumerate(sorted({turn.speaker for turn in turns}))}
    for turn in turns:
        active[rows[turn.speaker]] += (moments > turn.start) & (moments < turn.end)
    return numpy.minimum(active, 1)


def read_predictions(folder: Path) -> dict[str, str]:
    """Find a file of probabilities for each recording.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder.stat()
    return {path.stem: str(path) for path in sorted(folder.glob("*.h5"))}


def read_probabilities(path: Path) -> np.ndarray:
    """Read (T, speakers) out of an HDF5 file.

    Raises:
        OSError, KeyError: it is damaged.
    """
    import h5py

    with h5py.File(path) as file:
        return file[PROBABILITIES][:]
