"""One member's hidden states of several frame rates, as an encoder of convolutions has them: measured, and aligned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

from torch import Tensor

from ..alignment import align_frames
from ..errors import UsageError
from ..waveforms import SAMPLE_RATE
from .rates import MAX_RATE_RATIO, MIN_FRAMES, first_frame, measure_rate

# The frames that a member gives for so many samples: a number for each of its hidden states.
Counts = Callable[[int], Sequence[int]]


@dataclass(frozen=True)
class LayerGrid:
    """The frames of one member's hidden states, which are not the same for all.

    Attributes:
        rates: of each, in samples a frame.
        first_frames: how many samples the first frame of each takes, see `first_frame`.
        target: index of the one whose frames the others are brought to.
    """

    rates: tuple[int, ...]
    first_frames: tuple[int, ...]
    target: int

    @property
    def rate(self) -> int:
        """Of the target."""
        return self.rates[self.target]

    @property
    def min_samples(self) -> int:
        """The fewest samples for which each of them has `MIN_FRAMES` frames."""
        return max(first + (MIN_FRAMES - 1) * rate for rate, first in zip(self.rates, self.first_frames))

    def align(self, states: Sequence[Tensor], lengths: Sequence[int]) -> list[Tensor]:
        """Interpolate states onto the target's frames, see `alignment.align_frames`.

        Args:
            states: each (B, T_l, D_l).
            lengths: of the B waveforms, in samples, padding of the batch aside.

        Returns:
            Each (B, T, D_l), T the target's; what has its frames is the given one, untouched.
        """
        own = (self.rate, self.first_frames[self.target])
        frames = states[self.target].size(1)
        aligned = []
        for state, rate, first in zip(states, self.rates, self.first_frames):
            if (rate, first) != own:
                valid = [max(0, (length - first) // rate + 1) for length in lengths]
                (state,) = align_frames([state], rate, self.rate, frames, valid)
            aligned.append(state)
        return aligned


def measure_layers(counts: Counts, claimed: int | None, name: str, exact: bool = True) -> LayerGrid | None:
    """Find the frames of each of a member's hidden states.

    The target is of the rate that the member claims, if a hidden state has that, and else of the fastest one's; of
    several of that rate, the one whose first frame takes the fewest samples.

    Args:
        counts: the frames of each for so many samples.
        claimed: the member's rate as it says it, if it does.
        name: what messages call it.
        exact: whether first frames that differ by less than a frame's length are looked for too, with more calls.

    Returns:
        None where all have the same frames.

    Raises:
        UsageError: frames of one do not grow with the waveform, or two rates are too far apart.
    """
    looked_at = [counts(SAMPLE_RATE)]
    if exact and len(set(looked_at[0])) == 1:
        rate, first = _frames_of(counts, 0, claimed, name)
        one_more = first + looked_at[0][0] * rate  # samples: here, or just before, another first frame shows
        looked_at += [counts(one_more), counts(one_more - 1)]
    if all(len(set(frames)) == 1 for frames in looked_at):
        return None
    found = [_frames_of(counts, i, None, f"{name}, hidden state {i}") for i in range(len(looked_at[0]))]
    rates, first_frames = zip(*found)
    if max(rates) > MAX_RATE_RATIO * min(rates):
        raise UsageError(
            f"member {name!r} has hidden states of a frame every {min(rates)} samples and every {max(rates)}; rates "
            f"must be within a factor of {MAX_RATE_RATIO}: choose `layers` in a fusion YAML"
        )
    wanted = claimed if claimed in rates else min(rates)
    target = min((first, layer) for layer, (rate, first) in enumerate(found) if rate == wanted)[1]
    return LayerGrid(rates, first_frames, target)


def _frames_of(counts: Counts, layer: int, claimed: int | None, name: str) -> tuple[int, int]:
    """Find the rate and the first frame of one hidden state."""

    def count(num_samples: int) -> int:
        return counts(num_samples)[layer]

    rate = measure_rate(count, claimed, name)
    return rate, first_frame(count, rate)
