"""GumD: every feature dimension of every member picks one layer, by a Gumbel-softmax that hardens over training."""

from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Interface

# The temperature at the start, between the two phases, and at the end.
START, MIDDLE, END = 1.0, 0.1, 1e-4


class Gumbel(Interface):
    """Gumbel-softmax selection of layers, dimension by dimension ("GumD" in the paper; arXiv 2406.12209, section 3).

    In training each dimension draws its layer from softmax(logits / temperature), with straight-through gradients; in
    evaluation it takes the most likely one. The members' selections stand side by side, and a Linear maps their
    D_1 + ... + D_N features to output_dim; it is left out where that changes no width, as with one member.

    The temperature falls linearly from 1 to 0.1, then exponentially to 1e-4. What counts is training forwards with
    gradients: with gradient accumulation there are several of them to an update. The count is in the state dict, so
    that a resumed run goes on where it was.

    Args:
        layers, dims: see `Interface`.
        output_dim: see `Interface`; by default the largest D_i.
        linear_steps: forwards of the first phase.
        exponential_steps: forwards of the second one.
    """

    forwards: Tensor

    def __init__(
        self,
        layers: Sequence[int],
        dims: Sequence[int],
        output_dim: int | None = None,
        *,
        linear_steps: int = 30000,
        exponential_steps: int = 30000,
    ) -> None:
        super().__init__(layers, dims, output_dim)
        for name, steps in (("linear_steps", linear_steps), ("exponential_steps", exponential_steps)):
            if type(steps) is not int or steps < 1:
                raise ValueError(f"{name} must be a positive integer, counted in training forwards; got {steps!r}")
        self.linear_steps, self.exponential_steps = linear_steps, exponential_steps
        self.logits = nn.ParameterList(torch.zeros(count, dim) for count, dim in zip(layers, dims))
        self.register_buffer("forwards", torch.tensor(0))
        self.output_dim = output_dim or max(dims)
        self.output = None if self.output_dim == sum(dims) else nn.Linear(sum(dims), self.output_dim)

    @property
    def temperature(self) -> Tensor:
        """The present temperature, (); a tensor, so that no GPU is waited for."""
        linear = (self.forwards / self.linear_steps).clamp(max=1)
        exponential = ((self.forwards - self.linear_steps) / self.exponential_steps).clamp(0, 1)
        return (START + (MIDDLE - START) * linear) * (END / MIDDLE) ** exponential

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Interface.forward`."""
        selections = [_mix(states, self._choose(logits)) for states, logits in zip(members, self.logits)]
        if self.training and torch.is_grad_enabled():
            self.forwards += 1
        fused = torch.cat(selections, dim=-1)
        return fused if self.output is None else self.output(fused)

    def shares(self) -> list[Tensor]:
        """Return the share of a member's dimensions that choose each of its layers, (L_i,) for each member."""
        return [_hardest(logits.detach()).mean(dim=1) for logits in self.logits]

    def _choose(self, logits: Tensor) -> Tensor:
        """Return one-hot choices of layers, (L_i, D_i)."""
        if self.training:
            return F.gumbel_softmax(logits / self.temperature, hard=True, dim=0)
        return _hardest(logits)


def _hardest(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(dim=0), len(logits)).T.to(logits)


def _mix(states: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Sum states (B, T, D), each times its row of the weights (L, D)."""
    mixed = states[0] * weights[0]
    for state, weight in zip(states[1:], weights[1:]):
        mixed = torch.addcmul(mixed, state, weight)
    return mixed
