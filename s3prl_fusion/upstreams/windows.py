"""Long waveforms in windows: an upstream's memory grows with the square of what attention sees at once."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..waveforms import SAMPLE_RATE
from .frames import SHORT_FRAMES, SHORT_SAMPLES, hidden_states


def states_in_windows(upstream: nn.Module, wav: Tensor, seconds: float | None) -> list[Tensor]:
    """Run an upstream on one window of a waveform after the other.

    A window hears nothing of those before it, and of the next one only what its last frames need.

    Args:
        upstream: fused, or one of s3prl's.
        wav: (T',), 16 kHz.
        seconds: a window's length, rounded to whole frames of every member; None for the whole waveform at once.

    Returns:
        The hidden states, each (1, T, D), with the T of the whole waveform.
    """
    if seconds is None:
        return hidden_states(upstream([wav]))
    rate = upstream.get_downsample_rates("hidden_states")  # type: ignore[operator]
    grid: Any = getattr(upstream, "grid", None)
    rates = grid.rates if grid else [rate]
    step = math.lcm(*rates)
    window = max(1, round(seconds * SAMPLE_RATE / step)) * step
    # As many samples give the last frame of a window, whatever the upstream.
    context = max(SHORT_SAMPLES, SHORT_FRAMES * max(rates))
    starts = range(0, max(1, len(wav) - context), window)
    pieces = []
    for start in starts:
        is_last = start == starts[-1]
        output = upstream([wav[start : None if is_last else start + window + context]])
        states = hidden_states(output)
        pieces.append(states if is_last else [state[:, : window // rate] for state in states])
    return [torch.cat(layer, dim=1) for layer in zip(*pieces)]
