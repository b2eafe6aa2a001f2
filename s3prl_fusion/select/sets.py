"""Members, and the sets of them that are tried: each is a fusion YAML below DIR, and so an upstream of `superb`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cache.config import CacheConfig
from ..config import FusionConfig, InterfaceConfig, MemberConfig
from ..errors import UsageError, within
from ..files import write_whole
from ..names import absolute, is_fused_name, label, resolve
from ..superb.layout import RunFolder
from ..superb.runs.experiment import Upstream
from ..superb.tasks import Task
from ..upstreams.entries import aliases

FOLDER = "fusions"  # below DIR


@dataclass(frozen=True)
class Member:
    """One of the models that may be fused: what the user calls it, and what it is."""

    name: str
    config: MemberConfig


@dataclass(frozen=True)
class Candidate:
    """A set of members under an interface.

    Attributes:
        members: in the order of ``-u``.
        interface: its name.
        output_dim: the features' width, where it is not the interface's own choice.
    """

    members: tuple[Member, ...]
    interface: str
    output_dim: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names."""
        return tuple(member.name for member in self.members)

    @property
    def label(self) -> str:
        """What its folder is called, and its YAML."""
        return f"{'+'.join(self.names)}_{self.interface}{f'_{self.output_dim}' if self.output_dim else ''}"

    def fusion(self, cache: CacheConfig | None = None) -> FusionConfig:
        """Make the fusion that is trained."""
        interface = InterfaceConfig(self.interface, self.output_dim)
        return FusionConfig(tuple(member.config for member in self.members), interface, cache=cache)


@dataclass(frozen=True)
class Tried:
    """A candidate on one task.

    Attributes:
        candidate: what was tried, or left out.
        task: on what.
        runs: scored, one a seed and fold; none where it was left out or never got better than nothing.
        why_not: then why; a few words.
        control_of: the label of the candidate whose capacity control it is.
    """

    candidate: Candidate
    task: Task
    runs: tuple[RunFolder, ...] = ()
    why_not: str = ""
    control_of: str = ""


def parse_members(names: Sequence[str]) -> list[Member]:
    """Look up what -u names: aliases, entries of s3prl's hub, a user's own, and fusion YAMLs of one member.

    Raises:
        UsageError: something fuses several members, or two would be called the same.
    """
    found: list[Member] = []
    for name in names:
        member = Member(label(name).removeprefix("fused_").lstrip("_"), _config(name))
        for other in found:
            if member.config == other.config:
                raise UsageError(f"-u: {other.name} and {name} are one and the same; leave one out")
            if member.name == other.name:
                raise UsageError(f"-u: two members would be called {member.name!r}; rename one of the YAMLs")
        found.append(member)
    return found


def _config(name: str) -> MemberConfig:
    if not is_fused_name(name):
        entry = aliases().get(name)
        return MemberConfig(entry.name if entry else absolute(name))
    fusion = resolve(name)
    if len(fusion.members) > 1:
        raise UsageError(
            f"-u {name}: it fuses {' + '.join(fusion.member_names)}, and which of them to fuse is what select finds "
            "out; name each on its own (a YAML with one member each)"
        )
    return _from_anywhere(fusion.members[0])


def _from_anywhere(member: MemberConfig) -> MemberConfig:
    """Make the paths of a member's files absolute, as its YAML will lie in another folder."""
    return replace(member, ckpt=_absolute(member.ckpt), model_config=_absolute(member.model_config))


def _absolute(value: Any) -> Any:
    return str(Path(value).absolute()) if isinstance(value, str) and Path(value).exists() else value


def upstream_of(candidate: Candidate, exp: Path, cache: CacheConfig, given: argparse.Namespace) -> Upstream:
    """Make a candidate an upstream.

    Args:
        candidate: the set.
        exp: DIR, below which its YAML lies.
        cache: where states are kept.
        given: run_downstream's arguments for every training.

    Raises:
        UserError: it cannot be loaded.
    """
    from ..superb.runs.upstreams import describe

    fusion, path = candidate.fusion(cache), exp / FOLDER / f"{candidate.label}.yaml"
    try:
        made_of = describe(fusion, given)
    except UsageError as error:
        raise within(f"-u {'+'.join(candidate.names)}: ", error) from error
    write_whole(path, fusion.to_yaml())
    return Upstream(str(path), fusion, made_of)
