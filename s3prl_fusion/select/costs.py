"""What a set of members costs, a second of speech: each member is measured once, and what they cost adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from ..config import FusionConfig, InterfaceConfig
from ..costs import count_macs, count_parameters, fastest, noise
from ..errors import UsageError
from ..interfaces import build_interface
from ..interfaces.base import Interface
from ..upstreams.fused import FusedUpstream
from ..waveforms import SAMPLE_RATE

SECONDS = 10  # of the utterance that is measured: attention costs more in longer ones


@dataclass(frozen=True)
class MemberCost:
    """One frozen member, and what an interface has to know of it.

    Attributes:
        macs: multiply-accumulates, a second of speech.
        parameters: all of them.
        real_time_factor: time for a second of speech, in seconds.
        layers, dim: number and width of its hidden states.
        rate: samples a frame.
    """

    macs: float
    parameters: int
    real_time_factor: float
    layers: int
    dim: int
    rate: int

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; ``MemberCost(**found)`` reads it."""
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """A set of members under an interface, as it runs: members and interface, without the head.

    Attributes:
        macs, parameters, real_time_factor: see `MemberCost`.
        interface_parameters: those of them that are trained.
    """

    macs: float
    parameters: int
    real_time_factor: float
    interface_parameters: int


@torch.no_grad()
def measure(upstream: FusedUpstream, device: str = "cpu") -> list[MemberCost]:
    """Measure each member of an upstream in evaluation mode, on noise; no cache is read or written."""
    (wavs,) = noise([SECONDS * SAMPLE_RATE], device)
    upstream.member_states(wavs, cached=False)
    found = []
    for i, member in enumerate(upstream.members):
        run, where = partial(upstream.run_member, i, wavs), upstream.fusion.members[i].device or device
        factor = fastest(run, where) / SECONDS
        shape = (upstream.layers[i], upstream.dims[i], upstream.grid.rates[i])
        found.append(MemberCost(count_macs(run) / SECONDS, count_parameters(member), factor, *shape))
    return found


@torch.no_grad()
def of_set(members: Sequence[MemberCost], interface: InterfaceConfig) -> Cost:
    """Add members up, and the interface that fuses them, which is measured on a second of noise."""
    module = interface_of(members, interface).eval()
    frames = SAMPLE_RATE // min(member.rate for member in members)
    states = [[torch.randn(1, frames, member.dim) for _ in range(member.layers)] for member in members]
    run = partial(module, states)
    own = count_parameters(module)
    return Cost(
        sum(member.macs for member in members) + count_macs(run),
        sum(member.parameters for member in members) + own,
        sum(member.real_time_factor for member in members) + fastest(run),
        own,
    )


def interface_of(members: Sequence[MemberCost], interface: InterfaceConfig) -> Interface:
    """Build an interface for members, with random weights; the run's random numbers stay as they are."""
    layers, dims = [member.layers for member in members], [member.dim for member in members]
    with torch.random.fork_rng(devices=[]):
        return build_interface(interface.name, layers, dims, interface.output_dim, **interface.options)


def costs_of(
    members: Mapping[str, MemberCost], sets: Mapping[str, tuple[Sequence[str], FusionConfig]]
) -> dict[str, Cost]:
    """Cost sets, each the names of its members and its fusion, by what they are called."""
    return {
        label: of_set([members[name] for name in names], fusion.interface) for label, (names, fusion) in sets.items()
    }


def check_budget(members: Mapping[str, MemberCost], macs: float | None) -> None:
    """Refuse a budget that no member is within.

    Raises:
        UsageError: says which member costs least, and what.
    """
    least = min(members, key=lambda name: members[name].macs)
    if macs is not None and members[least].macs > macs:
        raise UsageError(
            f"--budget-macs: got {macs:g} multiply-accumulates a second of speech, and no member is within it: "
            f"{least}, which costs least, has {members[least].macs:.3g}; raise it, or name a smaller member"
        )
