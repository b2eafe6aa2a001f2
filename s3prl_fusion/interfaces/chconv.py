"""CHConv: members side by side, then a convolution stack over the layer axis."""

from __future__ import annotations

from typing import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment import match_layers
from .base import Interface
from .hconv import LayerConvs


class CHConv(Interface):
    """Concatenation of members, then hierarchical convolution over layers ("CHConv" in the paper, section III).

    Members are brought to one depth (linear interpolation over layers), concatenated to D_1 + ... + D_N features, and
    passed through `LayerConvs` of that many channels: its cost grows with the square of the number of members.

    Args:
        layers, dims: see `Interface`.
        output_dim: see `LayerConvs`; by default about as wide as all members together.
        projection: first maps the concatenated features to the largest D_i, by one Linear for all layers: about a
            third of the parameters for two members (a variant that the paper does not have).
    """

    def __init__(
        self, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, *, projection: bool = False
    ) -> None:
        super().__init__(layers, dims, output_dim)
        if not isinstance(projection, bool):
            raise TypeError(f"projection must be true or false; got {projection!r}")
        self.projection = nn.Linear(sum(dims), max(dims)) if projection else None
        self.convs = LayerConvs(max(layers), max(dims) if projection else sum(dims), output_dim)
        self.output_dim = self.convs.output_dim

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        deep = [match_layers(states, max(self.layers)) for states in members]
        if self.projection is None:
            return self.convs(*deep)
        return self.convs([_project(self.projection, self.dims, layer) for layer in zip(*deep)])


def _project(linear: nn.Linear, dims: Sequence[int], states: Sequence[Tensor]) -> Tensor:
    """Apply the Linear to states side by side, by a product for each of them."""
    first, *others = linear.weight.split(list(dims), dim=1)
    projected = F.linear(states[0], first, linear.bias)
    for state, weight in zip(states[1:], others):
        projected = projected + F.linear(state, weight)
    return projected
