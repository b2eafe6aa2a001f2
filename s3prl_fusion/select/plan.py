"""One call of `select`: what is tried, and the trainings of each candidate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cache.config import CacheConfig
from ..corpora.base import Prepared
from ..files import read_mapping
from ..superb.prepare import Sources
from ..superb.runs.experiment import Experiment, Settings
from ..superb.runs.plan import Plan as PlanOfSuperb
from ..superb.runs.plan import prepare_lines
from ..superb.runs.upstreams import describe
from ..superb.tasks import Task
from . import recipes, sample
from .layout import Wanted
from .sets import Candidate, Member, upstream_of


@dataclass(frozen=True)
class Plan:
    """One call of `select`.

    Attributes:
        tasks, members, interfaces: what is tried.
        seeds: a training each.
        max_members: of a set.
        budget: multiply-accumulates a second of speech that a set may cost; None is any number.
        exhaustive: every set, whether it can win or not.
        settings: of the trainings: those of `superb`, with the short recipes.
        configs: the folder of the whole recipes.
        corpora: the samples.
        wanted: how large these are.
        cache: where hidden states are kept.
        steps, rate: of the short recipes, where they are asked for.
        given: run_downstream's arguments for every training.
    """

    tasks: Sequence[Task]
    members: Sequence[Member]
    interfaces: Sequence[str]
    seeds: Sequence[int]
    max_members: int
    budget: float | None
    exhaustive: bool
    settings: Settings
    configs: Path
    corpora: Prepared
    wanted: Wanted
    cache: CacheConfig
    steps: int | None
    rate: float | None
    given: argparse.Namespace

    def singles(self) -> list[Candidate]:
        """List each member alone, under each interface."""
        return [Candidate((member,), interface) for member in self.members for interface in self.interfaces]

    @property
    def device(self) -> str:
        """Where members are measured: where the trainings run."""
        from ..host.runner import default_device

        return self.settings.device or default_device()

    def made_of(self, candidate: Candidate) -> dict[str, Any]:
        """Describe a candidate by content."""
        return describe(candidate.fusion(self.cache), self.given)

    def experiments(self, candidate: Candidate, task: Task) -> list[Experiment]:
        """List a candidate's trainings on a task; its fusion YAML is written."""
        upstream = upstream_of(candidate, self.settings.exp, self.cache, self.given)
        return [
            Experiment(upstream, task, fold, self.settings, self.corpora, seed)
            for seed in self.seeds
            for fold in sample.folds(task)
        ]


def lines(plan: Plan, sources: Sources, is_demo: bool) -> list[str]:
    """Write what would run, as far as it can be told beforehand: which sets are tried, the members alone decide."""
    whole = PlanOfSuperb(plan.tasks, (), plan.settings, plan.corpora, is_demo)
    found = prepare_lines(replace(whole, settings=replace(plan.settings, configs=plan.configs)), sources)
    hours = plan.wanted.seconds / 3600
    found.append(f"# then a sample of {hours:g} h of train and dev in {plan.corpora.folder}, and on it:")
    for task in plan.tasks:
        steps, folds = recipes.steps_of(read_mapping(plan.configs / task.config), plan.steps), sample.folds(task)
        each = "; ".join(filter(None, [f"seeds {', '.join(map(str, plan.seeds))}", ", ".join(filter(None, folds))]))
        runs = f"{len(plan.seeds) * len(folds)} runs of {steps} steps ({each})"
        found += [f"#   {candidate.label} {task.name}: {runs}" for candidate in plan.singles()]
    counts = [f"{len(plan.members) - size + 1} sets of {size} members" for size in range(2, plan.max_members + 1)]
    found.append(f"# then, for each task and interface: at most {', '.join(counts)}, around the best")
    return found
