"""Hidden states as they are kept: float16, or int8, with what it takes to stay within `LIMITS`.

What is kept of an utterance is a dict of tensors, for each layer "0", "1", ... its values and, with a suffix, what they
need to become the state again:

===========  ===========================  ==============================================================================
"0"          (T, D) int8, float16         the values; float32 for a state that is not finite
"0.scale"    (D,) bfloat16                times this, for each dimension
"0.frame"    (T,) float32                 times this, for each frame
"0.at"       (K,) int32                   K outliers' places in the flattened state,
"0.value"    (K,) float32                 and their own values
"0.row"      (R,) int32                   R frames,
"0.exact"    (R, D) float16               and their own values, over "0.frame"
===========  ===========================  ==============================================================================

Most int8 states have a scale for each dimension and nothing else. Single values of several hundred in few frames, as
Whisper gives them, would make these scales coarse for all other frames, and a frame far below the others would be lost
in them. So every state is measured as it will be read, and one that misses a limit is kept in a richer way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# What rounding changes at most, of a state's norm and of any frame's own.
LIMITS = {"float16": (0.001, 0.001), "int8": (0.01, 0.03)}
_MARGIN = 0.99  # of a limit is used, so that another machine's arithmetic does not break it
_LARGEST = 127
_OUTLIERS = (0.001, 0.006)  # shares of the values that are kept apart, at 8 bytes each
_SUFFIXES = ("", ".scale", ".frame", ".at", ".value", ".row", ".exact")

Parts = Mapping[str, Tensor]  # by suffix, what is kept of one state


@torch.no_grad()
def encode(states: Sequence[Tensor], dtype: str) -> dict[str, Tensor]:
    """Round one utterance's states.

    What `decode` returns in a state's own type is within `LIMITS`, whatever is in the state. One that is not finite is
    kept as it is.

    Args:
        states: L states, each (T, D), on any device.
        dtype: one of `config.DTYPES`.

    Returns:
        Tensors on the CPU by name, see above.
    """
    tensors = {}
    for layer, state in enumerate(states):
        for suffix, tensor in _encode_state(state, dtype).items():
            tensors[f"{layer}{suffix}"] = tensor.cpu().contiguous()
    return tensors


def _encode_state(state: Tensor, dtype: str) -> Parts:
    single = state.float().contiguous()
    if not single.abs().max() <= torch.finfo(torch.float32).max:
        return {"": single}

    def holds(parts: Parts) -> bool:
        whole, frame = (_MARGIN * limit for limit in LIMITS[dtype])
        found = errors(_restore(parts, torch.empty_like(single)).to(state.dtype), state)
        return found[0] <= whole and found[1] <= frame

    plain = _scaled(single) if dtype == "int8" else {"": single.half()}
    if holds(plain):
        return plain
    richer = [_halved(single)]
    for outliers in _OUTLIERS if dtype == "int8" else ():
        richer.append(_apart(single, outliers))
        if ".row" not in richer[-1] and holds(richer[-1]):
            return richer[-1]
    return min(filter(holds, richer), key=_size, default={"": single})


def _size(parts: Parts) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in parts.values())


def _scaled(state: Tensor) -> dict[str, Tensor]:
    """Return int8 and its scale: max |x| over time / 127, rounded up to bfloat16 (float32's range)."""
    exact = state.abs().amax(dim=0) / _LARGEST
    scale = exact.bfloat16()
    scale = torch.where(scale.float() < exact, (scale.view(torch.int16) + 1).view(torch.bfloat16), scale)
    whole = (state / _divisor(scale.float())).round_().clamp_(-_LARGEST, _LARGEST)
    return {"": whole.to(torch.int8), ".scale": scale}


def _halved(state: Tensor) -> dict[str, Tensor]:
    """Return float16 of each frame over its largest value: 2^-11 of what a value is at most, whatever its size."""
    frame = _divisor(state.abs().amax(dim=1))
    return {"": (state / frame[:, None]).half(), ".frame": frame}


def _apart(state: Tensor, outliers: float) -> dict[str, Tensor]:
    """Return int8 with a scale for each dimension and each frame, outliers apart, and so the frames that still miss.

    An outlier is a value that is large for its frame and its dimension.
    """
    even = state / _levels(state)[:, None]
    height = even.abs() / _divisor(even.abs().mean(dim=0))
    bound = height.flatten().topk(int(outliers * state.numel()) + 1).values[-1]
    at = (height > bound).flatten().nonzero()[:, 0]
    rest = state.flatten().clone().index_fill_(0, at, 0).view_as(state)
    frame = _levels(rest)  # without the outliers, which would make it coarse for the others
    parts = {**_scaled(rest / frame[:, None]), ".frame": frame, **_values(state, at)}
    missing = _missing(_restore(parts, torch.empty_like(state)), state)
    if missing.any():
        rows = missing.nonzero()[:, 0]
        parts.update(_values(state, at[~missing[at // state.size(1)]]))
        parts.update({".row": rows.int(), ".exact": (state[rows] / frame[rows, None]).half()})
    return parts


def _values(state: Tensor, at: Tensor) -> dict[str, Tensor]:
    # int32 reaches as far as a state of 8 GB.
    return {".at": at.int(), ".value": state.flatten()[at]}


def _missing(kept: Tensor, state: Tensor) -> Tensor:
    """Tell (T,) the fewest frames without whose errors an int8 state keeps to the limits."""
    whole, frame = (_MARGIN * limit for limit in LIMITS["int8"])
    relative, norms = _frame_errors(kept, state)
    missing = ~(relative <= frame)
    spent = (relative * norms).square().masked_fill(missing, 0)
    order = spent.argsort(stable=True)
    # A margin again, for what the others' own rounding adds.
    over = ~(spent[order].cumsum(0) <= (_MARGIN * whole * norms.norm()).square())
    missing[order[over]] = True
    return missing


def _levels(state: Tensor) -> Tensor:
    """Return (T,) how large the values of each frame are."""
    return _divisor(state.abs().mean(dim=1))


def _divisor(tensor: Tensor) -> Tensor:
    return torch.where(tensor == 0, 1.0, tensor)


def errors(kept: Tensor, state: Tensor) -> tuple[float, float]:
    """Return how far a state (T, D) is from what it was: ||kept - state|| / ||state||, of the whole and of the frame
    where it is largest. Of states of any size, up to float32's smallest and largest numbers."""
    relative, norms = _frame_errors(kept, state)
    whole = (relative * norms).norm() / norms.norm() if norms.any() else relative.max()
    return float(whole), float(relative.max())


def _frame_errors(kept: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return (T,) the frames' relative errors, and their norms over the state's largest value."""
    kept, state = kept.float(), state.float()
    peaks = _divisor(state.abs().amax(dim=1, keepdim=True))  # squares of 1e-30 or 1e30 are no float32
    norms = (state / peaks).norm(dim=1)
    distances = ((kept - state) / peaks).norm(dim=1)
    return torch.where(distances == 0, 0.0, distances / norms), norms * (peaks / peaks.max())[:, 0]


def decode(entries: Sequence[Mapping[str, Tensor]], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Return a batch of what `encode` has made.

    Args:
        entries: one a utterance, with the same layers.
        device, dtype: of the result.

    Returns:
        L states, each (B, T, D), T the longest utterance's. Behind its own frames, an utterance's last one holds, as in
        `alignment.align_frames`.
    """
    layers = sum(name.isdigit() for name in entries[0])
    return [_batch(entries, str(layer), device, dtype) for layer in range(layers)]


def _batch(entries: Sequence[Mapping[str, Tensor]], name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    frames = [entry[name].size(0) for entry in entries]
    batch = torch.empty(len(entries), max(frames), entries[0][name].size(1), dtype=dtype, device=device)
    for row, entry, length in zip(batch, entries, frames):
        parts = {suffix: entry[name + suffix].to(device) for suffix in _SUFFIXES if name + suffix in entry}
        if dtype == torch.float32:
            _restore(parts, row[:length])
        else:  # the scales' range and precision are float32's
            row[:length].copy_(_restore(parts, torch.empty(row[:length].shape, device=device)))
        row[length:] = row[length - 1]
    return batch


def _restore(parts: Parts, state: Tensor) -> Tensor:
    """Write what is kept into a float32 state (T, D), contiguous, and return it."""
    state.copy_(parts[""])
    if ".scale" in parts:
        state.mul_(parts[".scale"].float())
    if ".frame" in parts:
        state.mul_(parts[".frame"][:, None])
    if ".at" in parts:
        state.view(-1)[parts[".at"].long()] = parts[".value"]
    if ".row" in parts:
        rows = parts[".row"].long()
        state[rows] = parts[".exact"].float() * parts[".frame"][rows, None]
    return state
