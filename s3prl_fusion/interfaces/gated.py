"""Gated: hconv whose members pass a gate each, which looks at the frame."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from .hconv import HConv, add_layers


class Gated(HConv):
    """hconv over states that are multiplied by their member's gate at that frame before they are added.

    A gate is 2 sigmoid(w_i x + b_i) for the mean x, (B, T, D), of the member's states over layers: a member may count
    where it knows something (a speaker encoder in voiced frames), and not at all elsewhere. w_i and b_i are zero at
    first, so that every gate is 1, which is hconv; they cost N (D + 1) parameters.

    Args:
        layers, dims, output_dim, match_dim: see `HConv`.
    """

    def __init__(
        self, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, *, match_dim: str = "project"
    ) -> None:
        super().__init__(layers, dims, output_dim, match_dim=match_dim)
        self.gates = nn.ModuleList(nn.Linear(self.match.dim, 1) for _ in dims)
        for parameter in self.gates.parameters():
            nn.init.zeros_(parameter)

    def add(self, members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """See `HConv.add`; each member's states times its gate."""
        gated = []
        for states, gate in zip(self.match(members), self.gates):
            # The gate of the mean is the mean of the gates before the sigmoid, which needs no sum of wide states.
            opening = 2 * torch.stack([gate(state) for state in states]).mean(dim=0).sigmoid()
            gated.append([state * opening for state in states])
        return add_layers(gated, max(self.layers))
