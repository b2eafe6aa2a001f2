"""What is run, as data: sets of the demo's members, interfaces and options; every part on every task and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from s3prl_fusion.config import FusionConfig, InterfaceConfig, MemberConfig
from s3prl_fusion.interfaces import DEFAULT_INTERFACE, list_interfaces
from s3prl_fusion.interfaces.base import MATCH_DIM

from .capacity import controls
from .cells import Evidence

MEMBERS = ("demo_hubert", "demo_whisper", "demo_xvector")
CANDIDATES: list[tuple[str, dict[str, Any]]] = [
    ("hconv", {"match_dim": "project_all"}),
    *((name, {}) for name in ("scaled", "gated", "lowrank", "stacked", "narrow")),
]
SEEDS = (1337, 1, 2, 3, 4)
ALL = [members for number in range(1, len(MEMBERS) + 1) for members in combinations(MEMBERS, number)]
FUSED = [members for members in ALL if len(members) > 1]


@dataclass(frozen=True)
class Wanted:
    """One upstream of the evidence.

    Attributes:
        members: entries, in order.
        interface: one of `list_interfaces`.
        options: the interface's, as in a YAML; `output_dim` among them.
        normalize: see `FusionConfig`.
    """

    members: tuple[str, ...]
    interface: str
    options: Mapping[str, Any] = field(default_factory=dict)
    normalize: bool = True

    @property
    def words(self) -> dict[str, str]:
        """What tells it from others, as the CSV has it."""
        options = " ".join(f"{key}={self.options[key]}" for key in sorted(self.options))
        return {
            "members": "+".join(self.members),
            "interface": self.interface,
            "options": options,
            "normalize": "on" if self.normalize else "off",
        }

    @property
    def label(self) -> str:
        """A name for its YAML, and so for its folder."""
        members, interface, options, normalize = self.words.values()
        parts = [members.replace("+", "-"), interface, *options.replace("=", "-").split(), f"normalize-{normalize}"]
        return "_".join(parts)

    @property
    def fusion(self) -> FusionConfig:
        """What it is to the package, without a cache."""
        options = dict(self.options)
        interface = InterfaceConfig(self.interface, options.pop("output_dim", None), options)
        return FusionConfig(tuple(map(MemberConfig, self.members)), interface, normalize=self.normalize)


def product(sets: Iterable[tuple[str, ...]], interfaces: Sequence[str], **more: Any) -> list[Wanted]:
    """Multiply sets of members by interfaces."""
    return [Wanted(members, interface, **more) for members in sets for interface in interfaces]


def core(evidence: Evidence, task: str) -> list[Wanted]:
    """List the paper's interfaces over all sets. With one member chconv is hconv."""
    return [*product(ALL, ["weighted_sum", "hconv"]), *product(FUSED, ["chconv"])]


def candidates(evidence: Evidence, task: str) -> list[Wanted]:
    """List the interfaces that can turn a member down, those of them that there are in this release."""
    there = [(name, options) for name, options in CANDIDATES if exists(name, options)]
    return [Wanted(members, name, options) for members in FUSED for name, options in there]


def exists(interface: str, options: Mapping[str, Any]) -> bool:
    """Tell whether this release has an interface, and a way to match widths."""
    return interface in list_interfaces() and options.get("match_dim", MATCH_DIM[0]) in MATCH_DIM


def default(evidence: Evidence, task: str) -> list[Wanted]:
    """List the default interface over all sets."""
    return product(ALL, [DEFAULT_INTERFACE])


def not_normalized(evidence: Evidence, task: str) -> list[Wanted]:
    """List what tells of `normalize`: the hidden states as they are."""
    return product(ALL, ["weighted_sum", "hconv"], normalize=False)


def capacity(evidence: Evidence, task: str) -> list[Wanted]:
    """List the controls of the default interface, which its own runs have to come before."""
    return [Wanted((member,), "hconv", {"output_dim": width}) for member, width in controls(evidence, task)]


# What each adds to the runs of one task.
PARTS: dict[str, Callable[[Evidence, str], list[Wanted]]] = {
    "core": core,
    "default": default,
    "not_normalized": not_normalized,
    "capacity": capacity,
    "candidates": candidates,
}
