"""Narrow: hconv in a narrower space, into which each member has a map of its own."""

from __future__ import annotations

from typing import Sequence

from torch import Tensor, nn

from .base import Interface
from .hconv import LayerConvs, add_layers


class Narrow(Interface):
    """A Linear for each member to fewer features, the sum, and hierarchical convolution over its layers.

    Every member can be turned down and told apart by its Linear, which all its layers share. As convolutions of W
    channels have W^2 weights, the whole is smaller than hconv: with two members of 13 x 768 and W = 384 it has half of
    its parameters and four fifths of its multiplications. So it has less to learn from few clips.

    Args:
        layers, dims: see `Interface`.
        output_dim: see `Interface`; by default the largest D_i.
        width: W; by default half of the largest D_i.
    """

    def __init__(
        self, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, *, width: int | None = None
    ) -> None:
        super().__init__(layers, dims, output_dim)
        if width is not None and (type(width) is not int or width < 1):
            raise ValueError(f"width must be null or a positive integer; got {width!r}")
        self.output_dim, narrow = output_dim or max(dims), width or max(1, max(dims) // 2)
        self.maps = nn.ModuleList(nn.Linear(dim, narrow) for dim in dims)
        self.convs = LayerConvs(max(layers), narrow, self.output_dim)

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        narrow = [[linear(state) for state in states] for states, linear in zip(members, self.maps)]
        return self.convs(add_layers(narrow, max(self.layers)))
