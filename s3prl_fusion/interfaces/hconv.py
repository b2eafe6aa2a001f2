"""HConv: members added layer by layer, then a convolution stack over the layer axis."""

from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment import match_layers
from .base import Interface, MatchDims

KERNEL, STRIDE, PADDING = 5, 3, 2


def stack_depths(layers: int) -> list[int]:
    """Number of layers before each convolution and after the last one, e.g. 13 -> [13, 5, 2].

    There are max(1, floor(log_3 L)) convolutions. Counted with integers: log(243) / log(3) is below 5 in floating
    point. The papers leave L < 3 open (the reference builds no convolution there); here it is one.
    """
    depths = [layers]
    power = STRIDE
    while power <= layers or len(depths) == 1:
        depths.append((depths[-1] + 2 * PADDING - KERNEL) // STRIDE + 1)
        power *= STRIDE
    return depths


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

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """L states, each (B, T, D), to (B, T, output_dim), flattened channel by channel: [D', L']."""
        for conv, depth in zip(self, self.depths[1:]):
            states = [F.relu(_conv_at(conv, states, position)) for position in range(depth)]
        return torch.stack(list(states), dim=-1).flatten(-2)[..., : self.output_dim]


def _conv_at(conv: nn.Conv1d, states: Sequence[Tensor], position: int) -> Tensor:
    """One output layer of the convolution, as one matrix product over the taps that fall on real layers."""
    first = position * STRIDE - PADDING
    taps = [tap for tap in range(KERNEL) if 0 <= first + tap < len(states)]
    weight = conv.weight[:, :, taps[0] : taps[-1] + 1].transpose(1, 2).flatten(1)
    return F.linear(torch.cat([states[first + tap] for tap in taps], dim=-1), weight, conv.bias)


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
        self,
        layers: Sequence[int],
        dims: Sequence[int],
        output_dim: int | None = None,
        *,
        match_dim: str = "project",
    ) -> None:
        super().__init__(layers, dims, output_dim)
        self.match = MatchDims(dims, match_dim)
        self.convs = LayerConvs(max(layers), self.match.dim, output_dim)
        self.output_dim = self.convs.output_dim

    def add(self, members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The members' sum, layer by layer: max(L_i) states, each (B, T, D), before any convolution."""
        deep = [match_layers(states, max(self.layers)) for states in self.match(members)]
        return [sum(states[1:], states[0]) for states in zip(*deep)]

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        return self.convs(self.add(members))
