"""Independent re-implementations in numpy and plain torch loops, to test the package against. Clear before fast."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def align_frames(state: np.ndarray, rate: int, target_rate: int, target_frames: int, valid: list[int]) -> np.ndarray:
    """Linear interpolation of (B, T, D) onto another frame grid, one utterance and one feature at a time.

    Frame j of a rate R sits at sample (j + 0.5) R; np.interp holds the ends.
    """
    batch, _, dim = state.shape
    result = np.empty((batch, target_frames, dim))
    targets = (np.arange(target_frames) + 0.5) * target_rate
    for b in range(batch):
        own = (np.arange(valid[b]) + 0.5) * rate
        for d in range(dim):
            result[b, :, d] = np.interp(targets, own, state[b, : valid[b], d])
    return result


def match_layers(states: np.ndarray, layers: int) -> np.ndarray:
    """Linear interpolation of (L, ...) to ``layers`` layers, first on first and last on last."""
    given = len(states)
    flat = states.reshape(given, -1)
    targets = np.linspace(0, given - 1, layers) if layers > 1 else np.zeros(1)
    columns = [np.interp(targets, np.arange(given), flat[:, i]) for i in range(flat.shape[1])]
    return np.stack(columns, axis=1).reshape(layers, *states.shape[1:])


def weighted_sum(weights: np.ndarray, states: np.ndarray) -> np.ndarray:
    """softmax(weights) over the first axis of (L, B, T, D)."""
    exponents = np.exp(weights - weights.max())
    return np.tensordot(exponents / exponents.sum(), states, axes=1)


def gumbel_selection(logits: list[np.ndarray], members: list[np.ndarray]) -> np.ndarray:
    """Per member (L, B, T, D) and each dimension the layer of the largest logit (L, D); all members side by side."""
    columns = []
    for table, states in zip(logits, members):
        columns += [states[int(table[:, d].argmax()), :, :, d] for d in range(table.shape[1])]
    return np.stack(columns, axis=-1)


def layer_norm(states: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Layer norm without parameters over the last axis."""
    return (states - states.mean(-1, keepdims=True)) / np.sqrt(states.var(-1, keepdims=True) + eps)


def num_convs(layers: int) -> int:
    """floor(log_3 L), at least 1, without logarithms."""
    count = 0
    while 3 ** (count + 1) <= layers:
        count += 1
    return max(1, count)


def hconv(states: torch.Tensor, convs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """HConv over (L, B, T, D) with torch's own padded Conv1d; (B, T, channels * L'), channel-major."""
    layers, batch, frames, _ = states.shape
    x = states.permute(1, 2, 3, 0).reshape(batch * frames, -1, layers)
    for weight, bias in convs:
        conv = nn.Conv1d(weight.shape[1], weight.shape[0], 5, stride=3, padding=2).to(weight)
        conv.load_state_dict({"weight": weight, "bias": bias})
        x = torch.relu(conv(x))
    return x.reshape(batch, frames, -1)
