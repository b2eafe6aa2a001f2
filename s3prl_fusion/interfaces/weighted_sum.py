"""The weighted sum: SUPERB's own featurizer, with one softmax over all layers of all members."""

from __future__ import annotations

from functools import reduce
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
        self, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, *, match_dim: str = "project"
    ) -> None:
        super().__init__(layers, dims, output_dim)
        self.weights = nn.Parameter(torch.zeros(sum(layers)))
        self.match = MatchDims(dims, match_dim)
        self.output_dim = output_dim or self.match.dim
        self.output = None if self.output_dim == self.match.dim else nn.Linear(self.match.dim, self.output_dim)

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        states = [state for states in self.match(members) for state in states]
        weights = F.softmax(self.weights, dim=-1)
        fused = _stock_sum(weights, states) if len(self.layers) == 1 else _Sum.apply(weights, *states)
        return fused if self.output is None else self.output(fused)

    def shares(self) -> list[Tensor]:
        """Return the softmax weights, (L_i,) for each member; over all members they sum to one."""
        return list(F.softmax(self.weights.detach(), dim=-1).split(self.layers))


def _stock_sum(weights: Tensor, states: Sequence[Tensor]) -> Tensor:
    """Sum in the stock featurizer's order of operations: any other differs from it in the last bits."""
    stacked = torch.stack(list(states))
    return (weights.unsqueeze(-1) * stacked.flatten(1)).sum(dim=0).view(stacked.shape[1:])


class _Sum(torch.autograd.Function):
    """Sum of states (B, T, D), each times its entry of the weights (L,), without a copy of the states."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *states: Tensor) -> Tensor:
        ctx.save_for_backward(weights, *states)
        # Half-precision states count as the stock featurizer has them: weighted and summed in the weights' precision.
        dtype = reduce(torch.promote_types, (state.dtype for state in states), weights.dtype)
        total = torch.mul(states[0].to(dtype), weights[0])
        for state, weight in zip(states[1:], weights[1:]):
            total.addcmul_(state.to(dtype), weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, *states = ctx.saved_tensors
        weights_are_trained, *states_are_trained = ctx.needs_input_grad
        of_weights = None
        if weights_are_trained:
            # A sum of products keeps float32's precision over millions of them, which torch.dot does not.
            product = torch.empty_like(grad)
            sums = [torch.mul(grad, state, out=product).sum() for state in states]
            of_weights = torch.stack(sums).to(weights.dtype)
        of_states = (
            (grad * weight).to(state.dtype) if is_trained else None
            for state, weight, is_trained in zip(states, weights, states_are_trained)
        )
        return of_weights, *of_states
