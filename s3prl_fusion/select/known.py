"""What is measured of the members before any set is trained, once: costs, and how much others know of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import FusionConfig
from ..errors import HostError, UsageError
from ..files import read_json, write_sealed
from ..identity import digest
from .draw import shuffled
from .sets import Candidate

if TYPE_CHECKING:
    from .costs import MemberCost
    from .plan import Plan

FILE = "members.json"  # below DIR
UTTERANCES = 96  # of the sample, on which redundancy is measured
Redundancies = Mapping[tuple[tuple[str, ...], str], float]


@dataclass(frozen=True)
class Known:
    """What is known of the members.

    Attributes:
        costs: by the members' names.
        redundancies: R2 of a member's states from those of others: (others' names, its name) -> at most 1.
    """

    costs: Mapping[str, MemberCost]
    redundancies: Redundancies

    def macs(self, candidate: Candidate) -> float:
        """Count the multiply-accumulates of a set, a second of speech."""
        from .costs import of_set

        return of_set([self.costs[name] for name in candidate.names], candidate.fusion().interface).macs


def measure(plan: Plan) -> Known:
    """Load every member once and measure it, or read what an earlier call has measured of the same members.

    They are loaded in a process of its own, which gives their memory back, a GPU's too, before the trainings.

    Raises:
        UserError: a member cannot be loaded, or the sample has too few clips.
        HostError: that process was killed.
    """
    path, clips = plan.settings.exp / FILE, _clips(plan)
    whole = Candidate(tuple(plan.members), plan.interfaces[0])
    key = digest([plan.made_of(whole)["members"], plan.max_members, [str(clip.resolve()) for clip in clips]])
    found = _read(path, key)
    if found is None:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            fusion, names = whole.fusion(plan.cache).to_dict(), whole.names
            try:
                found = pool.submit(_measure, fusion, names, clips, plan.device, plan.max_members).result()
            except BrokenProcessPool as error:
                raise HostError(
                    "the process that measures the members was killed, as where memory is short; name fewer members, "
                    "or smaller ones"
                ) from error
        told = [[list(others), name, value] for (others, name), value in found.redundancies.items()]
        costs = {name: cost.to_dict() for name, cost in found.costs.items()}
        write_sealed(path, {"key": key, "costs": costs, "redundancies": told})
    return found


def _read(path: Path, key: str) -> Known | None:
    from .costs import MemberCost

    try:
        kept = read_json(path)
        if kept.get("key") != key:
            return None
        costs = {name: MemberCost(**cost) for name, cost in kept["costs"].items()}
        return Known(costs, {(tuple(names), name): value for names, name, value in kept["redundancies"]})
    except (UsageError, KeyError, TypeError, ValueError):  # damaged, or an earlier release's: measured anew
        return None


def _measure(
    config: Mapping[str, Any], names: Sequence[str], clips: Sequence[Path], device: str, max_members: int
) -> Known:
    from tqdm import tqdm

    from ..audio import load
    from ..host.upstream import FusedUpstream
    from . import costs, redundancy

    upstream = FusedUpstream(FusionConfig.from_dict(config)).to(device).eval()
    measured = dict(zip(names, costs.measure(upstream, device)))
    wavs = [load(clip).to(device) for clip in tqdm(clips, desc="redundancy", leave=False, disable=None)]
    asked = [
        (others, name)
        for size in range(1, max_members)
        for others in combinations(names, size)
        for name in names
        if name not in others
    ]
    return Known(measured, redundancy.redundancy(redundancy.read_frames(upstream, names, wavs), asked))


def _clips(plan: Plan) -> list[Path]:
    """Draw clips that are trained on, from every task's sample."""
    roots = {str(root): root for root in plan.corpora.roots.values()}
    found: list[Path] = []
    for root in roots.values():
        paths = {
            path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.suffix in (".flac", ".wav")
        }
        drawn = shuffled([name for name in paths if not name.startswith("test")], plan.wanted.seed)
        found += [paths[name] for name in drawn[: UTTERANCES // len(roots)]]
    return found
