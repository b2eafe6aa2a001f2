"""Hidden states as they are kept: float16, or int8 with a scale for each layer and dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_SCALE = ".scale"
_LEVELS = 127
_LARGEST = {"float16": torch.finfo(torch.float16).max, "int8": torch.finfo(torch.float32).max}


@torch.no_grad()
def encode(states: Sequence[Tensor], dtype: str) -> dict[str, Tensor]:
    """Round one utterance's states.

    A state that has larger numbers than float16 can hold, or that is not finite, is kept in float32.

    Args:
        states: L states, each (T, D), on any device.
        dtype: one of `config.DTYPES`.

    Returns:
        Tensors on the CPU by name: "0" to "L-1", and for int8 "0.scale" and so on, (D,).
    """
    tensors = {}
    for layer, state in enumerate(states):
        state = state.float()
        if not state.abs().max() <= _LARGEST[dtype]:
            tensors[str(layer)] = state
        elif dtype == "float16":
            tensors[str(layer)] = state.half()
        else:
            tensors[str(layer)], tensors[f"{layer}{_SCALE}"] = _quantised(state)
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _quantised(state: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 (T, D) and its scale (D,): max |x| over time / 127, rounded up to bfloat16 (float32's range)."""
    exact = state.abs().amax(dim=0) / _LEVELS
    scale = exact.bfloat16()
    scale = torch.where(scale.float() < exact, (scale.view(torch.int16) + 1).view(torch.bfloat16), scale)
    divisor = torch.where(scale == 0, 1.0, scale.float())
    return (state / divisor).round_().clamp_(-_LEVELS, _LEVELS).to(torch.int8), scale


def decode(entries: Sequence[Mapping[str, Tensor]], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Return a batch of what `encode` has made.

    Args:
        entries: one a utterance, with the same layers.
        device, dtype: of the result.

    Returns:
        L states, each (B, T, D), T the longest utterance's. Behind its own frames, an utterance's last one holds, as in
        `alignment.align_frames`.
    """
    layers = sum(not name.endswith(_SCALE) for name in entries[0])
    return [_batch(entries, str(layer), device, dtype) for layer in range(layers)]


def _batch(entries: Sequence[Mapping[str, Tensor]], name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    frames = [entry[name].size(0) for entry in entries]
    batch = torch.empty(len(entries), max(frames), entries[0][name].size(1), dtype=dtype, device=device)
    for row, entry, length in zip(batch, entries, frames):
        row[:length].copy_(entry[name].to(device))
        if name + _SCALE in entry:
            row[:length].mul_(entry[name + _SCALE].to(device, dtype))
        row[length:] = row[length - 1]
    return batch
