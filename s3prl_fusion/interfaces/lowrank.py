"""LowRank: hconv whose members have a scale for each layer and a map of low rank each."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from .hconv import HConv, add_layers


class LowRank(HConv):
    """hconv over s (x + U V x): a learnt scale s for each layer of each member, U and V of low rank for each member.

    A map for each member lets the convolutions, which are the same for all, tell the members apart. A whole matrix, as
    with ``match_dim: project_all``, has D^2 parameters a member, which pay with hours of speech and cost with a hundred
    clips; of rank R it has 2 D R. U is zero and s is 1 at first, so that training starts as hconv.

    Args:
        layers, dims, output_dim, match_dim: see `HConv`.
        rank: R.
        dropout: in training, the probability that a member is left out of an utterance, never all of them; the others
            count for more, so that the expectation stays.
    """

    def __init__(
        self,
        layers: Sequence[int],
        dims: Sequence[int],
        output_dim: int | None = None,
        *,
        match_dim: str = "project",
        rank: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(layers, dims, output_dim, match_dim=match_dim)
        if type(rank) is not int or rank < 1:
            raise ValueError(f"rank must be a positive integer; got {rank!r}")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a probability below 1; got {dropout!r}")
        self.dropout, dim = dropout, self.match.dim
        self.down = nn.ModuleList(nn.Linear(dim, rank, bias=False) for _ in dims)
        self.up = nn.ModuleList(nn.Linear(rank, dim, bias=False) for _ in dims)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)
        self.scales = nn.ParameterList(torch.ones(count) for count in layers)

    def add(self, members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """See `HConv.add`; each state through its member's map, times its scale."""
        kept = self._keep(members[0][0])
        mapped = []
        for i, states in enumerate(self.match(members)):
            factors = self.scales[i] if kept is None else self.scales[i] * kept[i]  # (L,) or (B, 1, 1, L)
            maps = (state + self.up[i](self.down[i](state)) for state in states)
            mapped.append([state * factor for state, factor in zip(maps, factors.unbind(-1))])
        return add_layers(mapped, max(self.layers))

    def _keep(self, state: Tensor) -> Tensor | None:
        """Draw which members count in which utterances of (B, T, D), and how much: (N, B, 1, 1, 1); None if all do."""
        if not (self.training and self.dropout):
            return None
        count = len(self.layers)
        kept = torch.rand(count, len(state), 1, 1, 1, device=state.device) >= self.dropout
        kept = kept | ~kept.any(dim=0)
        return kept / (1 - self.dropout + self.dropout**count)
