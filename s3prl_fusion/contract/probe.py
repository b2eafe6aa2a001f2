"""An upstream that is examined, and what it gives: hidden states of the form that everything else relies on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..costs import noise
from ..errors import KindError, UsageError
from ..upstreams.alone import alone
from ..upstreams.frames import FrameGrid, hidden_states, layer_counter
from ..upstreams.layer_rates import Counts, LayerGrid, measure_layers
from ..waveforms import SAMPLE_RATE


@dataclass(frozen=True)
class Probe:
    """An upstream that is examined.

    Attributes:
        module: what is called with B waveforms, each (T',), 16 kHz.
        name: what messages call it.
        device: where it is.
        stock: whether it runs under s3prl's own featurizer, which wants hidden states of one shape and believes the
            rate that it claims; in a fusion the rate is measured.
    """

    module: nn.Module
    name: str
    device: str = "cpu"
    stock: bool = True

    def noise(self, *seconds: float) -> list[Tensor]:
        """Make an utterance of each length, always the same."""
        return noise_of(seconds, self.device)

    def states(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return its hidden states in evaluation mode, each (B, T, D), with no trace left.

        Raises:
            UserError: they are not of this form; the message says what they are.
            Exception: whatever its own code raises.
        """
        with alone(self.module, torch.device(self.device)):
            return checked(self.module(wavs), wavs)

    @cached_property
    def claimed_rate(self) -> int | None:
        """Samples a frame as it says them; None where it says nothing."""
        return FrameGrid([self.module], [self.name]).claims[0]

    @cached_property
    def counts(self) -> Counts:
        """The frames of each hidden state, by the number of samples."""
        return layer_counter(self.states, torch.device(self.device))

    @cached_property
    def layers(self) -> LayerGrid | None:
        """The frames of its hidden states where they differ in these; s3prl's own featurizer takes none such."""
        return measure_layers(self.counts, self.claimed_rate, self.name, exact=False)

    @property
    def target(self) -> int:
        """The hidden state whose frames are the upstream's."""
        return self.layers.target if self.layers else 0

    def count(self, num_samples: int) -> int:
        """Count its frames of so many samples of noise."""
        return self.counts(num_samples)[self.target]

    @cached_property
    def measured_rate(self) -> int:
        """Samples a frame as `FrameGrid` finds them."""
        grid = FrameGrid([self.module], [self.name])
        grid.measure([self.count])
        return grid.rate

    @property
    def rate(self) -> int:
        """Samples a frame as whoever runs it will take them to be."""
        return self.claimed_rate if self.stock and self.claimed_rate else self.measured_rate

    def surplus(self, frames: int, samples: int) -> int:
        """Tell by how many frames an upstream gives more, or fewer, than its rate says for so many samples."""
        return frames - round(samples / self.rate)


def noise_of(seconds: Sequence[float], device: str = "cpu") -> list[Tensor]:
    """Make an utterance of noise of each length, always the same."""
    return [wav for (wav,) in noise([round(length * SAMPLE_RATE) for length in seconds], device)]


def checked(output: Any, wavs: Sequence[Tensor]) -> list[Tensor]:
    """Return what an upstream gives as a list of hidden states, each (B, T, D).

    Raises:
        KindError, UsageError: it is something else; the message says what.
    """
    if not isinstance(output, Mapping):
        raise KindError(
            f"the call gives a {type(output).__name__}, and must give a dict: {{'hidden_states': [(B, T, D), ...]}}"
        )
    if "hidden_states" not in output:
        raise UsageError(f"the call gives no 'hidden_states', only {sorted(map(str, output))}")
    given = output["hidden_states"]
    if not isinstance(given, (list, tuple, dict, Tensor)):
        raise KindError(f"hidden_states must be a list of tensors (B, T, D); got a {type(given).__name__}")
    states = hidden_states(output)
    if not states:
        raise UsageError("hidden_states is empty; give at least one tensor (B, T, D)")
    for i, state in enumerate(states):
        _check_state(f"hidden state {i}", state, wavs)
    return states


def _check_state(what: str, state: Any, wavs: Sequence[Tensor]) -> None:
    if not isinstance(state, Tensor):
        raise KindError(f"{what} must be a tensor (B, T, D); got a {type(state).__name__}")
    if state.dim() != 3 or 0 in state.shape:
        raise UsageError(f"{what} must be of the shape (B, T, D), none of them 0; got {tuple(state.shape)}")
    if state.size(0) != len(wavs):
        raise UsageError(
            f"{what} must have B = {len(wavs)} utterances first, as many as there are waveforms; got the shape "
            f"{tuple(state.shape)}"
        )
    if not state.is_floating_point():
        raise KindError(f"{what} must be floating point; got {state.dtype}")
    if state.device != wavs[0].device:
        raise UsageError(f"{what} is on {state.device}, and must be where the waveforms are, on {wavs[0].device}")


def difference(state: Tensor, other: Tensor) -> float:
    """Return the norm of a difference over that of ``other``, of tensors (B, T, D), of the frames that both have."""
    frames = min(state.size(1), other.size(1))
    state, other = (tensor[:, :frames].detach().double() for tensor in (state, other))
    if torch.equal(state, other):
        return 0.0
    return float((state - other).norm() / other.norm().clamp_min(torch.finfo(torch.double).tiny))


def largest_difference(states: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Return the largest `difference` of any layer."""
    return max(difference(state, other) for state, other in zip(states, others))
