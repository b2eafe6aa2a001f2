"""How many samples a frame of an upstream takes: measured, as what upstreams say of it is a constant in their code."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UsageError
from ..waveforms import SAMPLE_RATE

# What is tried where a member says nothing: most encoders' rate.
USUAL_RATE = 320
# A second waveform, longer by so many frames, shows whether a claim is right to 2 percent.
STEPS = 50
LONGEST = 4 * SAMPLE_RATE
# Of frames that come in groups the rate is known so exactly; a claim nearer to it is believed.
IRREGULAR = 0.1
# Interpolating further apart than this would fill the memory with what one member does not say.
MAX_RATE_RATIO = 100
# One frame alone has no variance: upstreams that normalize over time would give NaN.
MIN_FRAMES = 2


def measure_rate(count: Callable[[int], int], claimed: int | None, name: str) -> int:
    """Find the samples a frame; two calls of ``count`` confirm a claim.

    Args:
        count: the frames that the member gives for so many samples.
        claimed: what it says itself, if anything.
        name: what messages call it.

    Raises:
        UsageError: its frames do not grow with the waveform.
    """
    guess = claimed or USUAL_RATE
    steps = max(2, min(STEPS, SAMPLE_RATE // guess))
    if count(SAMPLE_RATE + steps * guess) - count(SAMPLE_RATE) == steps:
        return guess
    grown = count(LONGEST) - count(SAMPLE_RATE)
    if grown < 2:
        raise UsageError(
            f"member {name!r} gives {count(SAMPLE_RATE)} frames for {SAMPLE_RATE} samples and {count(LONGEST)} for "
            f"{LONGEST}: these are no frames in time; it cannot be used"
        )
    first, second, last = (_fewest(count, count(SAMPLE_RATE) + more) for more in (1, 2, grown))
    rate = (last - first) / (grown - 1)
    if abs(second - first - rate) <= 1:
        return round(rate)
    rate = (LONGEST - SAMPLE_RATE) / grown
    return guess if claimed and abs(claimed - rate) <= IRREGULAR * rate else round(rate)


def first_frame(count: Callable[[int], int], rate: int) -> int:
    """Find the samples that the first of ``count(num_samples)`` frames takes, for a member of ``rate`` samples a frame.

    A member gives floor((len - first) / rate) + 1 frames. ``first`` is 400 for wav2vec 2.0 and fbank: it is found by
    bisection within one frame's length.
    """
    frames = count(SAMPLE_RATE)
    low, high = SAMPLE_RATE, SAMPLE_RATE + rate
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) == frames else (low, middle)
    # `high` samples are the fewest that give frames + 1 of them.
    return high - frames * rate


def _fewest(count: Callable[[int], int], frames: int) -> int:
    """Find the fewest samples between `SAMPLE_RATE` and `LONGEST` that give so many frames, by bisection."""
    low, high = SAMPLE_RATE, LONGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= frames else (middle, high)
    return high
