"""What upstreams give, looked at before anybody uses it: finite, and as many frames as their rate says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CorpusError, UsageError
from .frames import hidden_states

# s3prl/upstream/interfaces.py:13
TOLERABLE_SEQLEN_DIFF = 5


def are_finite(states: Sequence[Tensor]) -> bool:
    """Tell whether all of some tensors are finite, padding included; a GPU is waited for once."""
    # One NaN or infinity makes a sum so; numbers that only add up beyond a type's range are looked at again.
    return not states or bool(torch.stack([state.detach().float().sum() for state in states]).isfinite().all())


def check_finite(name: str, states: Sequence[Tensor], lengths: Sequence[int], rate: int, layers: Sequence[int]) -> None:
    """Refuse hidden states that are not finite.

    Args:
        name: the upstream's.
        states: its hidden states, each (B, T, D).
        lengths: of the B waveforms, in samples.
        rate: samples a frame; what comes behind an utterance's frames is padding, which nobody uses.
        layers: what messages call the states.

    Raises:
        CorpusError: says which utterance's and which state's.
    """
    if are_finite(states):
        return
    for i, samples in enumerate(lengths):
        frames = None if len(lengths) == 1 else max(1, round(samples / rate))
        for layer, state in zip(layers, states):
            if not state[i, :frames].isfinite().all():
                where = f"utterance {i} of {len(lengths)}, " if len(lengths) > 1 else ""
                raise CorpusError(
                    f"{name!r} gives NaN or infinite values: hidden state {layer}, {where}{samples} samples. "
                    "Look at its checkpoint (are the weights finite?) and at the waveform; if fp16 overflows, say bf16"
                )


def check_output(name: str, upstream: nn.Module, given: tuple[Any, ...], output: Mapping[str, Any]) -> None:
    """Look at what an upstream that nobody wraps gives, as a forward hook; what has no hidden_states passes.

    Raises:
        UsageError: see `check_finite`; or its frames are not as many as its rate says, by `TOLERABLE_SEQLEN_DIFF`.
    """
    if not isinstance(output, Mapping) or "hidden_states" not in output or not given:
        return
    states, lengths = hidden_states(output), [len(wav) for wav in given[0]]
    rate = upstream.get_downsample_rates("hidden_states")  # type: ignore[operator]
    frames = states[0].size(1)
    if abs(frames - round(max(lengths) / rate)) >= TOLERABLE_SEQLEN_DIFF:
        raise UsageError(
            f"{name!r} gives {frames} frames for {max(lengths)} samples; at the {rate} samples a frame that it claims "
            f"there would be {round(max(lengths) / rate)}. In a fusion, of one member too, the rate is measured: "
            "make it the member of a fusion YAML (-u fusion.yaml)"
        )
    check_finite(name, states, lengths, rate, range(len(states)))
