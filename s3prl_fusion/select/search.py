"""The search: every member alone, then sets that grow around the best, as long as they can win.

The rule, for each task:

1. Every member alone, under every interface. The best dev score is the best single.
2. A pair is the best single with one other member; a set of three is the best pair with one other, and so on. Nothing
   grows from a set whose gain over the best single has an interval that ends below 0.
3. Left out are sets over the budget, and growth by a member that those before foretell: redundant, see `redundancy`.
4. The winner is the smallest set that nothing larger is better than for sure; see `report`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from ..superb.runs.experiment import STAGES, Experiment
from ..superb.runs.stages import NeverBetter, StageError
from ..superb.tasks import Task
from . import judge
from .known import Known
from .options import Plan
from .sets import Candidate, Member, Tried

REDUNDANT = 0.95  # R2 from which on a member brings nothing that a linear map does not
Start = Callable[[Sequence[Experiment], Sequence[str]], Mapping[str, StageError]]


@dataclass
class Outcome:
    """What a search has found.

    Attributes:
        tried: every candidate that was looked at, with its runs, or why it has none.
        failures: by the experiments' labels; a run that never got better than nothing is none.
    """

    tried: list[Tried] = field(default_factory=list)
    failures: dict[str, StageError] = field(default_factory=dict)

    def of(self, task: Task, size: int | None = None) -> list[Tried]:
        """List what was tried on a task, of so many members if a number is given; without capacity controls."""
        found = [one for one in self.tried if one.task is task and not one.control_of]
        return [one for one in found if size in (None, len(one.candidate.members))]


def search(plan: Plan, start: Start, known: Known) -> Outcome:
    """Search for every task at once, so that the trainings of one size run side by side.

    Args:
        plan: what to try.
        start: runs experiments, and returns the failures by label.
        known: of the members.
    """
    outcome = Outcome()
    for size in range(1, plan.max_members + 1):
        chosen: list[tuple[Task, Candidate]] = []
        for task in plan.tasks:
            for candidate, base in _candidates(plan, task, size, outcome):
                why = left_out(plan, known, candidate, base)
                if why:
                    outcome.tried.append(Tried(candidate, task, why_not=why))
                else:
                    chosen.append((task, candidate))
        train(plan, start, chosen, outcome)
    return outcome


def left_out(plan: Plan, known: Known, candidate: Candidate, base: Sequence[Member]) -> str:
    """Say why a candidate is not tried, in a few words; an empty text where it is.

    Args:
        plan, known: the budget, and what is measured.
        candidate: the set.
        base: what it grows from.
    """
    if plan.budget is not None and known.macs(candidate) > plan.budget:
        return f"{known.macs(candidate):.3g} MACs a second: over the budget"
    others = tuple(member.name for member in base)
    added = [name for name in candidate.names if name not in others]
    r2 = known.redundancies.get((others, added[0])) if base else None
    if r2 is not None and r2 >= REDUNDANT:
        return f"{added[0]} is redundant: {' + '.join(others)} foretells it, R2 {r2:.3f}"
    return ""


def train(
    plan: Plan, start: Start, chosen: Sequence[tuple[Task, Candidate]], outcome: Outcome, control_of: str = ""
) -> None:
    """Train candidates on tasks, and add them to an outcome."""
    experiments = [plan.experiments(candidate, task) for task, candidate in chosen]
    everything = [experiment for found in experiments for experiment in found]
    for line in _changes(everything):
        print(line, file=sys.stderr)
    failures = start(everything, STAGES) if everything else {}
    for (task, candidate), found in zip(chosen, experiments):
        failed = [failures[e.label] for e in found if e.label in failures]
        why, runs = "", tuple(experiment.folder for experiment in found)
        if failed:
            hopeless = all(isinstance(error, NeverBetter) for error in failed)
            why, runs = ("never better than nothing" if hopeless else f"failed: {failed[0]}"), ()
        outcome.tried.append(Tried(candidate, task, runs, why, control_of))
    outcome.failures.update({label: error for label, error in failures.items() if not isinstance(error, NeverBetter)})


def _changes(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Tell, before it happens, which earlier runs are set aside and trained again, and why."""
    for experiment in experiments:
        changes = experiment.changes()
        if changes:
            yield f"{experiment.label} is set aside and trained again: {'; '.join(changes)}"


def _candidates(plan: Plan, task: Task, size: int, outcome: Outcome) -> Iterator[tuple[Candidate, Sequence[Member]]]:
    """Yield candidates of a size for a task, and what each grows from."""
    if size == 1:
        yield from ((candidate, ()) for candidate in plan.singles())
        return
    if plan.exhaustive:
        for members in combinations(plan.members, size):
            yield from ((Candidate(members, interface), ()) for interface in plan.interfaces)
        return
    base = seed_of_growth(task, size, outcome)
    if base is None:
        return
    grown = base.candidate.members
    for member in plan.members:
        if member not in grown:
            together = tuple(one for one in plan.members if one in (*grown, member))
            yield from ((Candidate(together, interface), grown) for interface in plan.interfaces)


def seed_of_growth(task: Task, size: int, outcome: Outcome) -> Tried | None:
    """Return the best set of one member fewer, if sets that grow from it can win."""
    base = judge.best(outcome.of(task, size - 1))
    single = judge.best(outcome.of(task, 1))
    if base is None or single is None:
        return None
    if size > 2 and judge.gain(base, single).high < 0:
        return None
    return base


def control(plan: Plan, start: Start, known: Known, outcome: Outcome) -> None:
    """Train each task's capacity control: the best single member with as many trained parameters as the best set of
    several, which must not win by these alone."""
    chosen = []
    for task in plan.tasks:
        single = judge.best(outcome.of(task, 1))
        several = [one for one in outcome.of(task) if len(one.candidate.members) > 1]
        winner = judge.winner(outcome.of(task))
        winner = winner if winner is not single else judge.best(several)
        if single is None or winner is None:
            continue
        wide = _widened(known, single, judge.trained_parameters(winner))
        if wide is not None:
            chosen.append((task, wide, winner.candidate.label))
    for task, wide, label in chosen:
        train(plan, start, [(task, wide)], outcome, label)


def _widened(known: Known, single: Tried, wanted: int) -> Candidate | None:
    from . import capacity

    cost = known.costs[single.candidate.names[0]]
    head = capacity.head_of(single.runs[0].best_ckpt(single.task), cost.rate)
    wide = capacity.control(single.candidate.fusion(), cost, wanted, head)
    return wide and replace(single.candidate, output_dim=wide.interface.output_dim)
