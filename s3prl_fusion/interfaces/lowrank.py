"""LowRank: hconv whose members have a scale for each layer and a map of low rank each."""

from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .hconv import HConv, add_layers


class LowRank(HConv):
    """hconv over s (x + U V x): a learnt scale s for each layer of each member, U and V of low rank for each member.

    hconv adds members of one width as they are, and all of them meet the same convolutions: a member that is of no use
    for a task disturbs the others. Here it can be scaled down to nothing, and a map of its own lets the convolutions
    tell it apart. A whole matrix, as with ``match_dim: project_all``, has D^2 parameters a member, which pay with hours
    of speech and cost with a hundred clips; of rank R it has 2 D R. U is zero and s is 1 at first, so that training
    starts as hconv. docs/evidence.md has what it was chosen from.

    Args:
        layers, dims, output_dim, match_dim: see `HConv`.
        rank: R.
    """

    def __init__(
        self,
        layers: Sequence[int],
        dims: Sequence[int],
        output_dim: int | None = None,
        *,
        match_dim: str = "project",
        rank: int = 32,
    ) -> None:
        super().__init__(layers, dims, output_dim, match_dim=match_dim)
        if type(rank) is not int or rank < 1:
            raise ValueError(f"rank must be a positive integer; got {rank!r}")
        dim = self.match.dim
        self.down = nn.ModuleList(nn.Linear(dim, rank, bias=False) for _ in dims)
        self.up = nn.ModuleList(nn.Linear(rank, dim, bias=False) for _ in dims)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)
        self.scales = nn.ParameterList(torch.ones(count) for count in layers)

    def add(self, members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """See `HConv.add`; each state through its member's map, times its scale."""
        return add_layers([self._mapped(i, states) for i, states in enumerate(members)], max(self.layers))

    def _mapped(self, i: int, states: Sequence[Tensor]) -> list[Tensor]:
        down, up, scales = self.down[i], self.up[i], self.scales[i]
        assert isinstance(down, nn.Linear) and isinstance(up, nn.Linear)
        projection = self.match.projection(i)
        if projection is None:
            matched = [self.match.match(i, state) for state in states]
            return [state * scale + F.linear(down(state), up.weight * scale) for state, scale in zip(matched, scales)]
        # The member's own Linear takes map and scale in: one product of a frame instead of three.
        weight, bias = (w + up.weight @ (down.weight @ w) for w in (projection.weight, projection.bias))
        return [F.linear(state, weight * scale, bias * scale) for state, scale in zip(states, scales)]
