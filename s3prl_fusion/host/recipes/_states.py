"""Hidden states as they are, in the featurizer's place, for a task that trains nothing: one, several, or their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import checkpoint
from ...alignment import match_widths
from ...errors import UsageError
from ...featurizer import check_selection
from ...upstreams.fused import FusedUpstream
from ...upstreams.outputs import TOLERABLE_SEQLEN_DIFF
from ...waveforms import SAMPLE_RATE

CHOSEN = "chosen"  # in the state dict


class StateFeaturizer(nn.Module):
    """s3prl's Featurizer (s3prl/upstream/interfaces.py:134) without anything that learns.

    Args:
        upstream: a `FusedUpstream`, or one of s3prl's, which is a single member.
        feature_selection, upstream_device, layer_selection, normalize: see `FusionFeaturizer`; of a state by itself
            nothing is normalised, as in s3prl's.

    Attributes:
        layers: number of each member's hidden states.
        chosen: (L,) of all members' states, which ones are the features, one after the other. None of them: the
            untrained weighted sum, the mean of all, each normalised over its features and of the widest one's width.
        output_dim: width of the features, as they are chosen now.
        downsample_rate: samples a frame.
    """

    chosen: Tensor

    def __init__(
        self,
        upstream: nn.Module,
        feature_selection: str = "hidden_states",
        upstream_device: str | torch.device = "cpu",
        layer_selection: int | None = None,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        check_selection(feature_selection, layer_selection)
        upstream.eval()
        with torch.no_grad():
            states = _states_of_noise(upstream, torch.randn(SAMPLE_RATE).to(upstream_device))
        self.dims: list[int] = [state.size(-1) for state in states]
        self.layers, self._record = [len(states)], None
        if isinstance(upstream, FusedUpstream):
            self.layers = list(upstream.layers)
            fusion = replace(upstream.fusion, normalize=normalize or upstream.fusion.normalize)
            made_of = {**upstream.made_of, **({"normalize": True} if fusion.normalize else {})}
            self._record = checkpoint.record(fusion, made_of, upstream.layers, upstream.dims)
        rates: Any = upstream.get_downsample_rates
        self.downsample_rate: int = rates("hidden_states")
        self.register_buffer(CHOSEN, torch.zeros(len(states), dtype=torch.bool))
        self._register_state_dict_hook(_remember)

    @property
    def output_dim(self) -> int:
        """Width of the features."""
        numbers = self.chosen.nonzero().flatten().tolist()
        return sum(self.dims[number] for number in numbers) if numbers else max(self.dims)

    def member_of(self, number: int) -> int:
        """Tell whose a state is, by the members' numbers."""
        return sum(number >= end for end in accumulate(self.layers))

    def choose(self, numbers: Sequence[int]) -> None:
        """Take some states, by their numbers among all members', or with none of them the mean of all."""
        self.chosen[:] = False
        self.chosen[list(numbers)] = True

    def forward(self, wavs: Sequence[Tensor], features: dict[str, Sequence[Tensor]]) -> list[Tensor]:
        """Take the chosen states, and cut each utterance to its own length.

        Args:
            wavs: B waveforms, each (T',).
            features: the upstream's output for them.

        Returns:
            B sequences of (T_i, output_dim), T_i as `FusionFeaturizer` counts them.

        Raises:
            UsageError: the upstream's frames and the waveforms' lengths differ by 5 frames or more.
        """
        return self.select(wavs, features, self.chosen.nonzero().flatten().tolist())

    def select(
        self, wavs: Sequence[Tensor], features: dict[str, Sequence[Tensor]], numbers: Sequence[int]
    ) -> list[Tensor]:
        """Do as `forward`, for any choice."""
        states = list(features["hidden_states"])
        if numbers:
            taken = torch.cat([states[number] for number in numbers], dim=-1)
        else:
            normalised = [F.layer_norm(state.float(), state.shape[-1:]) for state in states]
            taken = torch.stack(match_widths(normalised)).mean(dim=0)
        frames = [round(len(wav) / self.downsample_rate) for wav in wavs]
        if abs(taken.size(1) - max(frames)) >= TOLERABLE_SEQLEN_DIFF:
            raise UsageError(
                f"the upstream gives {taken.size(1)} frames for {max(map(len, wavs))} samples, which at "
                f"{self.downsample_rate} samples a frame should be {max(frames)}; check get_downsample_rates"
            )
        return [sequence[: max(1, length)] for sequence, length in zip(taken, frames)]


def _states_of_noise(upstream: nn.Module, wav: Tensor) -> list[Tensor]:
    """Run an upstream on noise, which no cache needs to keep.

    Raises:
        UsageError: it gives no hidden states.
    """
    if isinstance(upstream, FusedUpstream):
        return [state for states in upstream.member_states([wav], cached=False) for state in states]
    output = upstream([wav])
    if "hidden_states" not in output:
        raise UsageError(f"the upstream gives no hidden_states, only {sorted(output)}; say which feature with -s")
    return list(output["hidden_states"])


def _remember(module: StateFeaturizer, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    if module._record is not None:
        metadata[checkpoint.KEY] = module._record
