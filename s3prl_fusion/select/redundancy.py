"""How much of one member others know already: R2 of linear maps between their hidden states.

A copy, however rotated, has an R2 near 1; independent noise one near 0. Ridge regression in its dual form: it needs no
more of a member than the products of its frames with each other, and those of several members add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from ..upstreams.fused import FusedUpstream

FRAMES = 2000  # in all: so many equations are solved at once
FOLDS = 4  # of utterances: two to fit, one to choose the ridge, one to look at
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the sum of the fitted frames' squares


@dataclass(frozen=True)
class Frames:
    """Sampled frames of all members.

    Attributes:
        products: for each member (n, n), of its frames with each other.
        folds: (n,), which part of the utterances each frame is of.
    """

    products: Mapping[str, Tensor]
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
        return cls({name: _products(layers) for name, layers in states.items()}, folds)


def _products(states: Tensor) -> Tensor:
    """Multiply frames with each other, (n, L, D) -> (n, n), whose diagonal is 1 in the mean."""
    total = states.new_zeros(len(states), len(states), dtype=torch.float64)
    layers = 0
    for layer in states.unbind(1):
        centred = layer - layer.mean(dim=0)
        variance = centred.square().sum(dim=1).mean()
        if variance > 0:  # one that never changes tells nothing
            total += (centred @ centred.T / variance).double()
            layers += 1
    return total / max(1, layers)


@torch.no_grad()
def read_frames(
    upstream: FusedUpstream, names: Sequence[str], wavs: Sequence[Tensor], frames: int = FRAMES, seed: int = 0
) -> Frames:
    """Draw frames of each utterance, the same ones of every member.

    Args:
        upstream: of all members, which aligns their frames; from its cache, where it has one.
        names: what to call the members, in its order.
        wavs: utterances, each (T',), one held in memory at a time besides the drawn frames.
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
    found: dict[tuple[tuple[str, ...], str], float] = {}
    wanted: dict[tuple[str, ...], list[str]] = {}
    for names, name in asked:
        wanted.setdefault(tuple(names), []).append(name)
    for names, targets in wanted.items():
        errors = torch.zeros(len(targets), 2, dtype=torch.float64)
        source = torch.stack([frames.products[name] for name in names]).mean(dim=0)
        for part in range(FOLDS):
            errors += _fold(source, [frames.products[name] for name in targets], frames.folds, part)
        for target, (error, whole) in zip(targets, errors.tolist()):
            found[names, target] = 1.0 - error / whole if whole else 0.0
    return found


def _fold(source: Tensor, targets: Sequence[Tensor], folds: Tensor, part: int) -> Tensor:
    """Return for each target the squared error on one part, and that of its mean: (targets, 2)."""
    held_out, choosing = folds == part, folds == (part + 1) % FOLDS
    fitted = ~(held_out | choosing)
    maps = _maps(source, fitted, choosing, RIDGES)
    on_choosing = [[_errors(map_, target, fitted, choosing)[0] for target in targets] for map_ in maps]
    best = torch.tensor(on_choosing).argmin(dim=0)
    ridges = sorted(set(best.tolist()))
    map_of = dict(zip(ridges, _maps(source, ~held_out, held_out, [RIDGES[ridge] for ridge in ridges])))
    rows = [_errors(map_of[ridge], target, ~held_out, held_out) for ridge, target in zip(best.tolist(), targets)]
    return torch.tensor(rows, dtype=torch.float64)


def _maps(source: Tensor, fitted: Tensor, told: Tensor, ridges: Sequence[float]) -> Iterator[Tensor]:
    """Yield for each ridge the weights of the fitted frames in a prediction of the others, (told, fitted)."""
    products = _centred(source, fitted)
    own, others = products[fitted][:, fitted], products[told][:, fitted]
    scale = own.diagonal().sum().clamp_min(1e-12)
    for ridge in ridges:
        factor = torch.linalg.cholesky(own + ridge * scale * torch.eye(len(own), dtype=own.dtype))
        yield torch.cholesky_solve(others.T, factor).T


def _centred(products: Tensor, fitted: Tensor) -> Tensor:
    """Return the products of frames less the mean of the fitted ones."""
    means = products[:, fitted].mean(dim=1)
    return products - means[:, None] - means[None, :] + means[fitted].mean()


def _errors(map_: Tensor, target: Tensor, fitted: Tensor, told: Tensor) -> tuple[float, float]:
    """Sum the squared errors of predictions, and of the mean of the fitted frames in their place."""
    products = _centred(target, fitted)
    whole = products.diagonal()[told].sum()
    crossed = (map_ * products[told][:, fitted]).sum()
    predicted = ((map_ @ products[fitted][:, fitted]) * map_).sum()
    return float(whole - 2 * crossed + predicted), float(whole)
