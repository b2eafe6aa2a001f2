"""Alignment of hidden states from models of different frame rates and depths: pure functions over tensors.

The paper (section III) upsamples every model to the highest frame rate and to the largest number of layers, by linear
interpolation on both axes. Rates here are s3prl's downsample rates, in samples a frame: the smallest is the fastest.
"""

from __future__ import annotations

import functools
from typing import Sequence

import torch
from torch import Tensor


def align_frames(state: Tensor, rate: int, target_rate: int, target_frames: int, valid_frames: Sequence[int]) -> Tensor:
    """Interpolates a hidden state linearly onto the frame grid of another rate.

    Frame j of rate R is centred on sample (j + 0.5) R. Beyond the centres of an utterance's first and last valid frame
    the nearest of the two holds. No other utterance of the batch, and no padding, enters an utterance's result.

    Args:
        state: (B, T, D).
        rate: downsample rate of ``state``, in samples a frame.
        target_rate: downsample rate of the result.
        target_frames: T' of the result.
        valid_frames: for each utterance, how many of its T frames its own samples give.

    Returns:
        (B, T', D). At equal rates every valid frame stays as it is.
    """
    # Positions are computed in double precision on the CPU: some devices have no float64.
    centres = torch.arange(target_frames, dtype=torch.float64) + 0.5
    position = (centres * (target_rate / rate) - 0.5).clamp(min=0)
    last = torch.as_tensor(valid_frames).clamp(1, state.size(1)).unsqueeze(1) - 1
    position = torch.minimum(position, last.double())
    left = position.floor().long()
    right = torch.minimum(left + 1, last).to(state.device)
    fraction = (position - left).unsqueeze(-1).to(state)
    batch = torch.arange(state.size(0), device=state.device).unsqueeze(1)
    return torch.lerp(state[batch, left.to(state.device)], state[batch, right], fraction)


def match_layers(states: Sequence[Tensor], layers: int) -> list[Tensor]:
    """Interpolates a stack of hidden states linearly over the layer axis, first on first and last on last.

    Args:
        states: L states of one shape.
        layers: the wanted number of states.

    Returns:
        ``layers`` states; the given ones, untouched, where the number is right already.
    """
    given = len(states)
    if given == layers:
        return list(states)
    # Under autocast a member's states may differ in type, which lerp refuses.
    dtype = functools.reduce(torch.promote_types, (state.dtype for state in states))
    states = [state.to(dtype) for state in states]
    step = (given - 1) / (layers - 1) if layers > 1 else 0.0
    result = []
    for layer in range(layers):
        left = min(int(layer * step), given - 1)
        right = min(left + 1, given - 1)
        result.append(torch.lerp(states[left], states[right], layer * step - left))
    return result
