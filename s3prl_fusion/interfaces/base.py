"""The contract of an interface, and what interfaces share: matching of layers and widths.

Shape letters, here and everywhere: N members, L layers, B batch, T frames, D features. A hidden state is (B, T, D).
"""

from __future__ import annotations

from itertools import islice
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment import widen

MATCH_DIM = ("project", "interpolate", "project_all")


class Interface(nn.Module):
    """A map from the hidden states of N members, on one frame grid, to one sequence of features.

    A new interface is a subclass with `forward`: one file in this folder, whose name is the interface's, or a class in
    a user's file, which a fusion YAML names as ``module:Class``. The keyword arguments of its constructor are the keys
    that the YAML may give under ``interface:``.

    Args:
        layers: number of hidden states of each member, (L_1, ..., L_N).
        dims: width of each member, (D_1, ..., D_N).
        output_dim: width of the result; ``None`` is the interface's own choice.

    Attributes:
        output_dim: width of the result.
    """

    output_dim: int

    def __init__(self, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None) -> None:
        super().__init__()
        if not layers or len(layers) != len(dims):
            raise ValueError(f"layers and dims need one entry a member; got layers={layers}, dims={dims}")
        if min(layers) < 1 or min(dims) < 1:
            raise ValueError(f"layers and dims must be positive; got layers={layers}, dims={dims}")
        if output_dim is not None and output_dim < 1:
            raise ValueError(f"output_dim must be positive; got {output_dim}")
        self.layers = tuple(layers)
        self.dims = tuple(dims)

    def forward(self, members: Sequence[Sequence[Tensor]]) -> Tensor:
        """Fuse the members' hidden states.

        Args:
            members: for each member its L_i hidden states, each (B, T, D_i).

        Returns:
            (B, T, output_dim)
        """
        raise NotImplementedError

    def shares(self) -> list[Tensor] | None:
        """Tell how much of the result comes from each layer, as far as the parameters alone say.

        Returns:
            (L_i,) for each member; None where it depends on the input, see `occlusion`.
        """
        return None

    @torch.no_grad()
    def occlusion(self, members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Measure how much the result depends on each layer, for any interface; in evaluation mode.

        It is the relative change |y' - y| / |y| (Frobenius norms) of the result when a hidden state is replaced by its
        mean over time. Zero is no influence.

        Args:
            members: as for `forward`; without padding, which would enter the means.

        Returns:
            (L_i,) for each member.
        """
        whole = self(members)
        result = []
        for i, states in enumerate(members):
            changes = []
            for layer, state in enumerate(states):
                occluded = list(states)
                occluded[layer] = state.mean(dim=1, keepdim=True).expand_as(state)
                changes.append((self([*members[:i], occluded, *members[i + 1 :]]) - whole).norm() / whole.norm())
            result.append(torch.stack(changes))
        return result


def by_member(hidden_states: Sequence[Tensor], layers: Sequence[int], normalize: bool) -> list[list[Tensor]]:
    """Group a flat list of hidden states, each (B, T, D_i), as an interface takes it.

    Args:
        hidden_states: the members' L_1 + ... + L_N states.
        layers: (L_1, ..., L_N).
        normalize: whether each is brought to mean 0 and variance 1 over its features first.
    """
    if normalize:
        hidden_states = [F.layer_norm(state, state.shape[-1:]) for state in hidden_states]
    states = iter(hidden_states)
    return [list(islice(states, count)) for count in layers]


class MatchDims(nn.Module):
    """Members of different widths, brought to the largest width, D = max(D_i).

    Args:
        dims: (D_1, ..., D_N).
        match_dim: ``"project"``, a learnt Linear(D_i -> D) for each member that needs one, shared over its layers;
            ``"interpolate"``, linear interpolation along the feature axis (the paper's, section III); or
            ``"project_all"``, a learnt Linear for every member, which starts as the identity where D_i = D.

    Attributes:
        dim: D.
    """

    def __init__(self, dims: Sequence[int], match_dim: str = "project") -> None:
        super().__init__()
        if match_dim not in MATCH_DIM:
            raise ValueError(f"match_dim must be one of {', '.join(MATCH_DIM)}; got {match_dim!r}")
        self.dim = max(dims)
        self.match_dim = match_dim
        narrow = {str(i): dim for i, dim in enumerate(dims) if dim != self.dim and match_dim == "project"}
        mapped = {str(i): dim for i, dim in enumerate(dims)} if match_dim == "project_all" else narrow
        self.projections = nn.ModuleDict({i: _linear(dim, self.dim) for i, dim in mapped.items()})

    def forward(self, members: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Bring every (B, T, D_i) to (B, T, D); states that are wide enough and have no Linear pass untouched."""
        return [[self.match(i, state) for state in states] for i, states in enumerate(members)]

    def projection(self, i: int) -> nn.Linear | None:
        """Return the Linear that member i has, if it has one."""
        return self.projections[str(i)] if str(i) in self.projections else None  # type: ignore[return-value]

    def match(self, i: int, state: Tensor) -> Tensor:
        """Bring one state of member i, (B, T, D_i), to (B, T, D)."""
        if state.size(-1) == self.dim and self.match_dim != "project_all":
            return state
        projection = self.projection(i)
        if projection is not None:
            return projection(state)
        return widen(state, self.dim)


def _linear(dim: int, wide: int) -> nn.Linear:
    """Make a Linear; between equal widths, the identity."""
    linear = nn.Linear(dim, wide)
    if dim == wide:
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear
