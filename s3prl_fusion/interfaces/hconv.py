"""HConv: members added layer by layer, then a convolution stack over the layer axis."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..alignment import match_layers
from .base import Interface, MatchDims

KERNEL, STRIDE, PADDING = 5, 3, 2


def stack_depths(layers: int) -> list[int]:
    """Count the layers before each convolution and after the last one, e.g. 13 -> [13, 5, 2].

    There are max(1, floor(log_3 L)) convolutions. Counted with integers: log(243) / log(3) is below 5 in floating
    point. The papers leave L < 3 open (the reference builds no convolution there); here it is one.
    """
    depths = [layers]
    power = STRIDE
    while power <= layers or len(depths) == 1:
        depths.append(_depth_after(depths[-1]))
        power *= STRIDE
    return depths


def _depth_after(depth: int) -> int:
    return (depth + 2 * PADDING - KERNEL) // STRIDE + 1


class LayerConvs(nn.ModuleList):
    """Convolutions over the layer axis: kernel 5, stride 3, padding 2, bias, ReLU after each (HConv paper, section 3).

    Args:
        layers: L, depth of the stack of states.
        dim: D, channels of the states and of every convolution but the last.
        output_dim: width of the result. ``None`` is floor(D / L') * L' for the L' layers that are left after the last
            convolution, as in the paper (25 x 1024 gives 1023). Any other width gets ceil(output_dim / L') channels
            and drops the flattened features beyond output_dim.

    Parameters keep Conv1d's shapes: ``<i>.weight`` (out, in, 5) and ``<i>.bias`` (out,).
    """

    def __init__(self, layers: int, dim: int, output_dim: int | None = None) -> None:
        super().__init__()
        self.depths = stack_depths(layers)
        last = self.depths[-1]
        if output_dim is None and dim < last:
            raise ValueError(f"{dim} features are too few for {last} layers after the convolutions; give output_dim")
        channels = dim // last if output_dim is None else -(-output_dim // last)
        self.output_dim = output_dim or channels * last
        widths = [dim] * (len(self.depths) - 1) + [channels]
        self.extend(nn.Conv1d(i, o, KERNEL, STRIDE, PADDING) for i, o in zip(widths[:-1], widths[1:]))

    def forward(self, *members: Sequence[Tensor]) -> Tensor:
        """Fuse members that stand side by side: their widths sum to D.

        Args:
            members: for each its L states, each (B, T, D_i).

        Returns:
            (B, T, output_dim), flattened channel by channel: [D', L'].
        """
        states, parts = [state for layer in zip(*members) for state in layer], len(members)
        for conv in self:
            assert isinstance(conv, nn.Conv1d) and conv.bias is not None
            states, parts = _LayerConv.apply(parts, *_autocast(conv.weight, conv.bias, *states)), 1
        return torch.stack(states, dim=-1).flatten(-2)[..., : self.output_dim]


class _LayerConv(torch.autograd.Function):
    """One convolution over the layer axis and its ReLU: each layer of the result is a sum of matrix products, one for
    each tap that falls on a real layer.

    Next to stock autograd it neither concatenates nor pads the states, adds the products in place, keeps nothing but
    its inputs and results, and leaves out the gradients of frozen states.

    Args:
        parts: how many states side by side make a layer.
        weight, bias: Conv1d's, (D', D, 5) and (D',).
        states: layer by layer, each (B, T, D_i); the widths of a layer's parts sum to D.

    Returns:
        The layers of the result, each (B, T, D').
    """

    @staticmethod
    def forward(ctx: Any, parts: int, weight: Tensor, bias: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = _plan(states, parts)
        taps = weight.permute(2, 0, 1).contiguous()
        batch, frames, _ = states[0].shape
        results = []
        for products in ctx.plan:
            result = bias.to(_sum_dtype(bias)).repeat(batch * frames, 1)
            for tap, index, columns in products:
                _add_product(result, _rows(states[index]), taps[tap][:, columns].T)
            results.append(result.relu_().to(bias.dtype).view(batch, frames, -1))
        ctx.save_for_backward(weight, *states, *results)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        _, weight_is_trained, bias_is_trained, *states_are_trained = ctx.needs_input_grad
        weight, *saved = ctx.saved_tensors
        states, results = saved[: len(states_are_trained)], saved[len(states_are_trained) :]
        dtype = _sum_dtype(weight)
        taps = weight.permute(2, 0, 1)
        taps = taps.contiguous() if any(states_are_trained) else taps
        of_taps = weight.new_zeros(KERNEL, *weight.shape[:2], dtype=dtype) if weight_is_trained else None
        of_bias = weight.new_zeros(len(weight), dtype=dtype) if bias_is_trained else None
        of_states = [s.new_zeros(s.shape) if trained else None for s, trained in zip(states, states_are_trained)]
        for grad, result, products in zip(grads, results, ctx.plan):
            grad = _rows(grad.masked_fill(result <= 0, 0))
            if of_bias is not None:
                of_bias += grad.sum(dim=0, dtype=dtype)
            for tap, index, columns in products:
                if of_taps is not None:
                    _add_product(of_taps[tap][:, columns], grad.T, _rows(states[index]))
                if (of_state := of_states[index]) is not None:
                    _add_product(_rows(of_state), grad, taps[tap][:, columns])
        del grad  # the copy that follows is where the memory is highest
        of_weight = None if of_taps is None else of_taps.permute(1, 2, 0).to(weight.dtype).contiguous()
        return None, of_weight, None if of_bias is None else of_bias.to(weight.dtype), *of_states


def _autocast(*values: Tensor) -> list[Tensor]:
    """Convert values as autocast, where it is on, would for a stock convolution."""
    device = values[-1].device.type
    if not torch.is_autocast_enabled(device):
        return list(values)
    dtype = torch.get_autocast_dtype(device)
    return [value if value.dtype == torch.float64 else value.to(dtype) for value in values]


def _plan(states: Sequence[Tensor], parts: int) -> list[list[tuple[int, int, slice]]]:
    """List each result layer's products: which tap, with which state, which columns of the tap's matrix."""
    depth = len(states) // parts
    ends = list(accumulate(state.size(-1) for state in states[:parts]))
    columns = [slice(start, end) for start, end in zip([0, *ends], ends)]
    plan = []
    for position in range(_depth_after(depth)):
        layers = ((tap, position * STRIDE - PADDING + tap) for tap in range(KERNEL))
        real = [(tap, layer) for tap, layer in layers if 0 <= layer < depth]
        plan.append([(tap, layer * parts + part, columns[part]) for tap, layer in real for part in range(parts)])
    return plan


def _sum_dtype(values: Tensor) -> torch.dtype:
    """Sum half precision in single precision."""
    return torch.promote_types(values.dtype, torch.float32)


def _rows(state: Tensor) -> Tensor:
    return state.reshape(-1, state.size(-1))


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right`` in place."""
    if total.dtype == left.dtype:
        # Unlike addmm_, torch's FLOP counter knows this.
        torch.addmm(total, left, right, out=total)
    else:
        total += left @ right


def add_layers(members: Sequence[Sequence[Tensor]], layers: int) -> list[Tensor]:
    """Add members of one width, each (B, T, D), layer by layer, after bringing each to so many layers."""
    deep = [match_layers(states, layers) for states in members]
    return [sum(states[1:], states[0]) for states in zip(*deep)]


class HConv(Interface):
    """Hierarchical convolution over layers ("HConv" in the paper; section III, and arXiv 2406.12209, section 3).

    Members are brought to one depth (linear interpolation over layers) and one width, added, and passed through
    `LayerConvs`: its cost does not grow with the number of members.

    Args:
        layers, dims: see `Interface`.
        output_dim: see `LayerConvs`.
        match_dim: see `MatchDims`.
    """

    def __init__(
        self, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, *, match_dim: str = "project"
    ) -> None:
        super().__init__(layers, dims, output_dim)
        self.match = MatchDims(dims, match_dim)
        self.convs = LayerConvs(max(layers), self.match.dim, output_dim)
        self.output_dim = self.convs.output_dim

    def add(self, members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Add the members layer by layer: max(L_i) states, each (B, T, D), before any convolution."""
        return add_layers(self.match(members), max(self.layers))

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        return self.convs(self.add(members))
