"""Alignment of hidden states from models of different frame rates and depths: pure functions over tensors.

The paper (section III) upsamples every model to the highest frame rate and to the largest number of layers, by linear
interpolation on both axes. Rates here are s3prl's downsample rates, in samples a frame: the smallest is the fastest.
"""

from __future__ import annotations

import functools
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def align_frames(
    states: Sequence[Tensor], rate: float, target_rate: int, target_frames: int, valid_frames: Sequence[int]
) -> list[Tensor]:
    """Interpolate hidden states linearly onto the frame grid of another rate.

    Frame j of rate R is centred on sample (j + 0.5) R. Beyond the centres of an utterance's first and last valid frame
    the nearest of the two holds. No other utterance of the batch, and no padding, enters an utterance's result.

    Args:
        states: each (B, T, D).
        rate: downsample rate of the states, in samples a frame, which need not be whole.
        target_rate: downsample rate of the result.
        target_frames: T' of the result.
        valid_frames: for each utterance, how many of its T frames its own samples give.

    Returns:
        Each (B, T', D). At equal rates every valid frame stays as it is, and states whose frames are all valid and
        needed are not copied.
    """
    given = [*valid_frames, *(state.size(1) for state in states)]
    if rate == target_rate and target_frames <= min(given):
        return [state[:, :target_frames] for state in states]
    found: dict[tuple[Any, ...], tuple[Tensor, Tensor | None, Tensor]] = {}
    aligned = []
    for state in states:
        # Many models keep time first and give a view of that; rows are then picked without making it contiguous.
        by_time = state.transpose(0, 1).is_contiguous()
        key = (*state.shape, by_time, state.dtype, state.device)
        if key not in found:
            found[key] = _neighbours(state, by_time, target_rate / rate, target_frames, valid_frames)
        left, right, fraction = found[key]
        rows = (state.transpose(0, 1) if by_time else state).reshape(-1, state.size(2))
        shape = (len(state), target_frames, state.size(2))
        result = rows.index_select(0, left).view(shape)
        if right is not None:
            result = torch.lerp(result, rows.index_select(0, right).view(shape), fraction)
        aligned.append(result)
    return aligned


def _neighbours(
    state: Tensor, by_time: bool, step: float, target_frames: int, valid_frames: Sequence[int]
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Place target frames, ``step`` frames apart: return the rows of their two neighbours, each (B T',), among the
    state's B T ones, and how far it is from the first to the second (B, T', 1). No second where none lies between."""
    batch, frames, _ = state.shape
    # Positions are computed in double precision on the CPU: some devices have no float64.
    centres = torch.arange(target_frames, dtype=torch.float64) + 0.5
    last = torch.as_tensor(valid_frames).clamp(1, frames).unsqueeze(1) - 1
    position = torch.minimum((centres * step - 0.5).clamp(min=0), last.double())
    left = position.floor().long()
    number = torch.arange(batch).unsqueeze(1)
    left, right = (
        (time * batch + number if by_time else number * frames + time).flatten().to(state.device, non_blocking=True)
        for time in (left, torch.minimum(left + 1, last))
    )
    return left, None if step == 1 else right, (position - position.floor()).unsqueeze(-1).to(state)


def match_layers(states: Sequence[Tensor], layers: int) -> list[Tensor]:
    """Interpolate a stack of hidden states linearly over the layer axis, first on first and last on last.

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


def match_widths(states: Sequence[Tensor]) -> list[Tensor]:
    """Interpolate one member's hidden states linearly over the feature axis, as interfaces do between members
    (``match_dim: interpolate``), up to the widest of them.

    Args:
        states: each (B, T, D_l).

    Returns:
        Each (B, T, D), D the largest D_l; one of that width is the given one, untouched.
    """
    dim = max(state.size(-1) for state in states)
    return [widen(state, dim) for state in states]


def widen(state: Tensor, dim: int) -> Tensor:
    """Interpolate a hidden state, (B, T, D_l), linearly over the feature axis to (B, T, D); untouched where D_l = D."""
    if state.size(-1) == dim:
        return state
    # The CPU interpolates no half precision.
    exact = state.to(torch.promote_types(state.dtype, torch.float32))
    return F.interpolate(exact, size=dim, mode="linear", align_corners=False).to(state)
