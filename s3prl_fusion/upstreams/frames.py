"""When a member's frames are, which s3prl's upstreams say in part, and the frame grid that several members share."""

from __future__ import annotations

from functools import cache
from typing import Any, Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..alignment import align_frames
from ..errors import KindError, UsageError
from ..waveforms import SAMPLE_RATE
from .layer_rates import Counts, LayerGrid
from .rates import MAX_RATE_RATIO, MIN_FRAMES, USUAL_RATE, measure_rate

# Utterances shorter than this, or than three frames of the slowest member, are looked at one member at a time: s3prl's
# upstreams need less for two frames.
SHORT_SAMPLES = 1600
SHORT_FRAMES = 3


class FrameGrid:
    """The frames of several members, and how they come onto those of the fastest one (the paper, section III).

    Args:
        members: modules; what ``get_downsample_rates(key) -> int`` says, where there is one, is what is tried first.
        names: what messages call them.

    Attributes:
        rates: each member's, in samples a frame; empty until `measure`.
        first_frames: how many samples each member's first frame takes, see `first_frame`; empty until someone has found
            out, which `min_samples`, `hold` and `align` need.
        layers: what is known of the hidden states of a member, by its index, where they differ in their frames; its
            rate and first frame are then the target's.
        trims: whether a member leaves out the digital silence that ends a waveform, by its index; only of those of whom
            someone has found out, see `trims`.

    Raises:
        KindError: what a member says is no number of samples.
        UsageError: two rates are too far apart.
    """

    def __init__(self, members: Sequence[nn.Module], names: Sequence[str]) -> None:
        self.names = list(names)
        self.claims = [_claim(member, name) for member, name in zip(members, names)]
        self.rates: list[int] = []
        self.first_frames: list[int] = []
        self.layers: dict[int, LayerGrid] = {}
        self.trims: dict[int, bool] = {}
        self._check_ratio([claim or USUAL_RATE for claim in self.claims])

    @property
    def rate(self) -> int:
        """The fastest member's."""
        return min(self.rates)

    def measure(self, counts: Sequence[Callable[[int], int]]) -> None:
        """Find the rates, with each member's ``count(num_samples)`` of frames; see `rates.measure_rate`."""
        rates = [measure_rate(*member) for member in zip(counts, self.claims, self.names)]
        self._check_ratio(rates)
        self.rates = rates

    def _check_ratio(self, rates: Sequence[int]) -> None:
        fast, slow = (rates.index(extreme(rates)) for extreme in (min, max))
        if rates[slow] > MAX_RATE_RATIO * rates[fast]:
            raise UsageError(
                f"member {self.names[slow]!r} gives a frame every {rates[slow]} samples, and {self.names[fast]!r} "
                f"every {rates[fast]}; members' rates must be within a factor of {MAX_RATE_RATIO}: leave one of the "
                "two out"
            )

    def is_short(self, num_samples: int) -> bool:
        """Tell whether a member might not give `MIN_FRAMES` frames for so many samples."""
        slowest = max([*self.rates, *(rate for grid in self.layers.values() for rate in grid.rates)])
        return num_samples < max(SHORT_SAMPLES, SHORT_FRAMES * slowest)

    def min_samples(self, i: int) -> int:
        """Return the fewest samples for which member i gives `MIN_FRAMES` frames, and runs: a window that is centred on
        its frame needs some to mirror at the ends."""
        least = max(self.first_frames[i] + (MIN_FRAMES - 1) * self.rates[i], 2 * self.rates[i])
        return max(least, self.layers[i].min_samples) if i in self.layers else least

    def crop(self, i: int, states: list[Tensor], num_samples: int) -> list[Tensor]:
        """Leave out the frames of zeros that only slower layers of member i need, of utterances of so many samples at
        most, padded to `min_samples`."""
        if i not in self.layers:
            return states
        frames = max(MIN_FRAMES, self._valid_frames(i, num_samples))
        return [state[:, :frames] for state in states]

    def hold(self, i: int, outputs: Sequence[Mapping[str, Any]], lengths: Sequence[int]) -> dict[str, list[Tensor]]:
        """Batch what member i gives for each utterance alone; the last frame of each stands for those that it trims.

        Args:
            i: the member.
            outputs: of one utterance each, with states (1, T_b, D).
            lengths: of the utterances, in samples.
        """
        frames = max(self._valid_frames(i, length) for length in lengths)
        if i in self.layers:
            raise UsageError(
                f"member {self.names[i]!r} leaves out silence at an utterance's end, and has hidden states of several "
                "rates; choose `layers` of one rate in a fusion YAML, or name it once for each"
            )
        by_layer = zip(*(hidden_states(output) for output in outputs))
        return {"hidden_states": [torch.stack([_held(state[0], frames) for state in layer]) for layer in by_layer]}

    def align(self, outputs: Sequence[list[Tensor]], lengths: Sequence[Sequence[int]]) -> list[list[Tensor]]:
        """Bring all members' states onto the fastest one's frames.

        Args:
            outputs: each member's states, each (B, T_i, D_i).
            lengths: for each member and utterance, how many samples the member was given, padding of the batch aside.

        Returns:
            As ``outputs``, each (B, T, D_i), with the T of the fastest member; of equally fast ones, of that whose
            first frame takes the fewest samples.
        """
        kinds = list(zip(self.rates, self.first_frames))
        fastest = kinds.index(min(kinds))
        frames = outputs[fastest][0].size(1)
        aligned = []
        for i, states in enumerate(outputs):
            if kinds[i] == kinds[fastest] and states[0].size(1) >= frames:
                aligned.append([state[:, :frames] for state in states])
            else:
                valid = [self._valid_frames(i, length) for length in lengths[i]]
                aligned.append(align_frames(states, self.rates[i], self.rate, frames, valid))
        return aligned

    def _valid_frames(self, i: int, num_samples: int) -> int:
        """Count the frames that member i gives for an utterance alone."""
        return max(0, (num_samples - self.first_frames[i]) // self.rates[i] + 1)


def _claim(member: nn.Module, name: str) -> int | None:
    """Ask a member for its rate; None where it says nothing."""
    rate_of = getattr(member, "get_downsample_rates", None)
    if rate_of is None:
        return None
    rate = rate_of("hidden_states")
    if type(rate) is not int or rate < 1:
        raise KindError(
            f"member {name!r}: get_downsample_rates must give a positive int, samples a frame; got {rate!r}"
        )
    return rate


def _held(state: Tensor, frames: int) -> Tensor:
    """Bring (T, D) to ``frames`` by its last frame."""
    return torch.cat([state, state[-1:].expand(max(0, frames - len(state)), -1)])[:frames]


def trims(run: Callable[[Sequence[Tensor]], dict[str, Any]], rate: int, device: torch.device) -> bool:
    """Find out, by running it, whether a member gives fewer frames where a waveform ends in digital silence.

    s3prl's ``mel`` and ``linear`` take trailing zeros for the padding of a batch
    (s3prl/upstream/baseline/preprocessor.py:159).
    """
    samples = max(SAMPLE_RATE, 2 * SHORT_FRAMES * rate)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(0))
    silent = noise.clone()
    silent[samples // 2 :] = 0
    given, given_silence = (run([wav.to(device)]) for wav in (noise, silent))
    if "hidden_states" not in given:
        return False  # what is wrong with that is said when it is fused
    return hidden_states(given_silence)[0].size(1) < hidden_states(given)[0].size(1)


def untrimmable(wav: Tensor, rate: int) -> Tensor:
    """Let a waveform (T',) that is silence but for its very beginning end in a sample that is no zero, and no sound.

    With the silence trimmed, less than `MIN_FRAMES` frames would be left.
    """
    sound = wav.nonzero()
    if not 0 < len(sound) or sound[-1] >= (MIN_FRAMES + 1) * rate:
        return wav
    return torch.cat([wav[:-1], wav.new_full((1,), torch.finfo(wav.dtype).tiny)])


def counter(run: Callable[[Sequence[Tensor]], Sequence[Tensor]], device: torch.device) -> Callable[[int], int]:
    """Make ``count(num_samples)``: the frames that a member gives for so many samples of noise, by running it."""
    counts = layer_counter(run, device)
    return lambda num_samples: counts(num_samples)[0]


def layer_counter(run: Callable[[Sequence[Tensor]], Sequence[Tensor]], device: torch.device) -> Counts:
    """Make ``counts(num_samples)``: as `counter`, the frames of each hidden state; what was counted is remembered."""

    @cache
    def counts(num_samples: int) -> list[int]:
        noise = torch.randn(num_samples, generator=torch.Generator().manual_seed(0))
        return [state.size(1) for state in run([noise.to(device)])]

    return counts


def hidden_states(output: Mapping[str, Any]) -> list[Tensor]:
    """List an upstream's hidden states: it may give one tensor, several, or several by name."""
    states = output["hidden_states"]
    if isinstance(states, Tensor):
        return [states]
    return list(states.values() if isinstance(states, dict) else states)
