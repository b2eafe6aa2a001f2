"""The weighted sum: SUPERB's own featurizer, with one softmax over all layers of all members."""

from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Interface, MatchDims


class WeightedSum(Interface):
    """Softmax-weighted sum of all hidden states of all members, weights zero at first ("WS" in the paper).

    With one member it is s3prl's Featurizer (s3prl/upstream/interfaces.py:217) bit for bit, its parameter under the
    same name, so that trained mixtures load both ways.

    Args:
        layers, dims, output_dim: see `Interface`. An ``output_dim`` other than D adds a Linear(D -> output_dim).
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
        self.weights = nn.Parameter(torch.zeros(sum(layers)))
        self.match = MatchDims(dims, match_dim)
        self.output_dim = output_dim or self.match.dim
        self.output = None if self.output_dim == self.match.dim else nn.Linear(self.match.dim, self.output_dim)

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        stacked = torch.stack([state for states in self.match(members) for state in states])
        # The order of operations is the stock one's: any other differs from it in the last bits.
        weights = F.softmax(self.weights, dim=-1)
        fused = (weights.unsqueeze(-1) * stacked.flatten(1)).sum(dim=0).view(stacked.shape[1:])
        return fused if self.output is None else self.output(fused)

    def shares(self) -> list[Tensor]:
        """The softmax weights, (L_i,) for each member; over all members they sum to one."""
        return list(F.softmax(self.weights.detach(), dim=-1).split(self.layers))
