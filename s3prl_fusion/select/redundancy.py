"""How much of one member others know already: R2 of linear maps between their hidden states.

A copy, however rotated, has an R2 near 1; independent noise one near 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from ..upstreams.fused import FusedUpstream

FRAMES = 2000  # in all
DIRECTIONS = 512  # of a member: where its states vary most
MORE = 16  # directions that the search for these looks at
FOLDS = 4  # of utterances: two to fit, one to choose the ridge, one to look at
RIDGES = (1e-7, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the sum of the fitted frames' squares


@dataclass(frozen=True)
class Frames:
    """Sampled frames of all members.

    Attributes:
        states: for each member (n, at most `DIRECTIONS`), whose squares sum to 1 a frame, in the mean.
        folds: (n,), which part of the utterances each frame is of.
    """

    states: Mapping[str, Tensor]
    folds: Tensor

    @classmethod
    def of(cls, states: Mapping[str, Tensor], utterances: Tensor, seed: int = 0) -> Frames:
        """Make them of layer-normalized states.

        Args:
            states: for each member (n, L, D); each layer counts the same.
            utterances: (n,), the number of each frame's utterance; an utterance is fitted or looked at as a whole.
            seed: of the division into parts.

        Raises:
            UsageError: there are too few utterances.
        """
        known = utterances.unique()
        if len(known) < FOLDS:
            raise UsageError(f"redundancy needs at least {FOLDS} utterances; got {len(known)}: give more --hours")
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))
        part = torch.empty(len(known), dtype=torch.long)
        part[order] = torch.arange(len(known)) % FOLDS
        folds = part[torch.searchsorted(known, utterances)]
        return cls({name: _main_directions(layers) for name, layers in states.items()}, folds)


def _main_directions(states: Tensor) -> Tensor:
    """Reduce states to the directions in which they vary most, (n, L, D) -> (n, k)."""
    centred = states - states.mean(dim=0)
    variances = centred.square().sum(dim=2).mean(dim=0)  # (L,)
    # A layer that never changes tells nothing; rounding leaves it a little variance.
    scales = torch.where(variances > 1e-6, variances.clamp_min(1e-6).rsqrt(), 0.0)
    flat = (centred * scales[:, None]).flatten(1)
    if min(flat.shape) <= DIRECTIONS + MORE:
        left, values, _ = torch.linalg.svd(flat, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            left, values, _ = torch.svd_lowrank(flat, DIRECTIONS + MORE, niter=2)
    reduced = (left * values)[:, :DIRECTIONS].double()
    return reduced / reduced.square().sum(dim=1).mean().sqrt().clamp_min(1e-12)


@torch.no_grad()
def read_frames(
    upstream: FusedUpstream, names: Sequence[str], wavs: Sequence[Tensor], frames: int = FRAMES, seed: int = 0
) -> Frames:
    """Draw frames of each utterance, the same ones of every member.

    Args:
        upstream: of all members, which aligns their frames; from its cache, where it has one.
        names: what to call the members, in its order.
        wavs: utterances, each (T',).
        frames: in all, about.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    each = max(1, round(frames / len(wavs)))
    drawn: list[list[Tensor]] = [[] for _ in names]
    utterances = []
    for number, wav in enumerate(wavs):
        members = upstream.member_states([wav])
        length = min(states[0].size(1) for states in members)
        chosen = torch.randperm(length, generator=generator)[:each]
        for found, states in zip(drawn, members):
            layers = torch.stack([state[0, chosen.to(state.device)].float() for state in states], dim=1)
            found.append(F.layer_norm(layers, layers.shape[-1:]).cpu())
        utterances.append(torch.full((len(chosen),), number))
    states_of = {name: torch.cat(found) for name, found in zip(names, drawn)}
    return Frames.of(states_of, torch.cat(utterances), seed)


def redundancy(frames: Frames, asked: Iterable[tuple[Sequence[str], str]]) -> dict[tuple[tuple[str, ...], str], float]:
    """Predict a member's states from those of others.

    Each part of the utterances is looked at once, by maps that were fitted on the others; the ridge is chosen on one of
    these. So a wide set of members does not win by its width.

    Args:
        frames: of all members.
        asked: from which members, to which one.

    Returns:
        R2: the share of the variance of all its layers, each counting the same, that is predicted; 0 is what their
        means alone would predict, and less is possible.
    """
    return {(tuple(names), name): _r2(frames, names, name) for names, name in asked}


def _r2(frames: Frames, names: Sequence[str], name: str) -> float:
    source, target = torch.cat([frames.states[one] for one in names], dim=1), frames.states[name]
    error = whole = 0.0
    for part in range(FOLDS):
        held_out, choosing = frames.folds == part, frames.folds == (part + 1) % FOLDS
        on_choosing = _errors(source, target, ~(held_out | choosing), choosing, RIDGES)
        ridge = min(zip(on_choosing, RIDGES))[1]
        error += next(_errors(source, target, ~held_out, held_out, [ridge]))
        whole += float((target[held_out] - target[~held_out].mean(dim=0)).square().sum())
    return 1.0 - error / whole if whole else 0.0


def _errors(source: Tensor, target: Tensor, fitted: Tensor, told: Tensor, ridges: Sequence[float]) -> Iterator[float]:
    """Yield for each ridge the sum of the squared errors of what is told by a map from other frames."""
    x_mean, y_mean = source[fitted].mean(dim=0), target[fitted].mean(dim=0)
    x, y = source[fitted] - x_mean, target[fitted] - y_mean
    products, crossed = x.T @ x, x.T @ y
    scale = products.diagonal().sum().clamp_min(1e-12)
    for ridge in ridges:
        strength = ridge * scale * torch.eye(len(products), dtype=products.dtype)
        map_ = torch.cholesky_solve(crossed, torch.linalg.cholesky(products + strength))
        yield float((target[told] - y_mean - (source[told] - x_mean) @ map_).square().sum())
