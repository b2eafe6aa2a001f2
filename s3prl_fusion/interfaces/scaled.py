"""Scaled: hconv whose members' layers have a learnt scale each, so that a member can be turned down."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from .hconv import HConv, add_layers


class Scaled(HConv):
    """hconv over states that are multiplied by a learnt scale before they are added, one for each layer of each member.

    hconv adds members of one width as they are, and all of them meet the same convolutions: a member that is of no use
    for a task disturbs the others. Here it can be scaled down to nothing. Scales are 1 at first, which is hconv, and
    cost L_1 + ... + L_N parameters.

    Args:
        layers, dims, output_dim, match_dim: see `HConv`.
    """

    def __init__(
        self, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, *, match_dim: str = "project"
    ) -> None:
        super().__init__(layers, dims, output_dim, match_dim=match_dim)
        self.scales = nn.ParameterList(torch.ones(count) for count in layers)

    def add(self, members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """See `HConv.add`; each state times its scale."""
        scaled = [
            [state * scale for state, scale in zip(states, scales)]
            for states, scales in zip(self.match(members), self.scales)
        ]
        return add_layers(scaled, max(self.layers))

    def shares(self) -> list[Tensor]:
        """Return the scales' sizes, (L_i,) for each member, divided by their sum over all members."""
        sizes = torch.cat([scales.detach().abs() for scales in self.scales])
        return list((sizes / sizes.sum()).split(self.layers))
