"""Stacked: a stack of convolutions over layers for each member, whose results are mapped and added."""

from __future__ import annotations

from typing import Sequence

from torch import Tensor, nn

from .base import Interface
from .hconv import LayerConvs


class Stacked(Interface):
    """Hierarchical convolution over the layers of each member by itself, then a Linear for each, then the sum.

    Members keep their own depths and widths until their layers are fused: nothing is interpolated, and no member's
    convolutions see another one. A Linear can turn a member down. The cost is at most that of N hconvs, as each
    member's stack is narrower than the result.

    Args:
        layers, dims: see `Interface`.
        output_dim: see `Interface`; by default the largest D_i.
        stack_dim: width of each member's stack before its Linear; by default half of output_dim.
    """

    def __init__(
        self,
        layers: Sequence[int],
        dims: Sequence[int],
        output_dim: int | None = None,
        *,
        stack_dim: int | None = None,
    ) -> None:
        super().__init__(layers, dims, output_dim)
        if stack_dim is not None and (type(stack_dim) is not int or stack_dim < 1):
            raise ValueError(f"stack_dim must be null or a positive integer; got {stack_dim!r}")
        self.output_dim = output_dim or max(dims)
        width = stack_dim or max(1, self.output_dim // 2)
        self.stacks = nn.ModuleList(LayerConvs(count, dim, width) for count, dim in zip(layers, dims))
        self.maps = nn.ModuleList(nn.Linear(width, self.output_dim) for _ in dims)

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        first, *others = [linear(stack(states)) for states, stack, linear in zip(members, self.stacks, self.maps)]
        return sum(others, first)
