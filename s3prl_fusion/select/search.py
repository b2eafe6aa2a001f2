"""The search: every member alone, then sets that grow around the best, as long as they can win.

The rule, for each task:

1. Every member alone, under every interface. The best dev score is the best single.
2. A pair is the best single with one other member; a set of three is the best pair with one other, and so on. Nothing
   grows from a set whose gain over the best single has an interval that ends below 0.
3. Left out are sets over the budget, and growth by a member that those before foretell: redundant, see `redundancy`.
4. What is recommended says `choice`; a set only after its capacity control was trained.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from ..superb.runs.experiment import STAGES, Experiment
from ..superb.runs.stages import NeverBetter, StageError
from ..superb.tasks import Task
from . import capacity
from .choice import Choice, choose, enough
from .costs import costs_of
from .known import Known
from .plan import Plan
from .sets import Candidate, Member, Tried
from .trials import Trial, gain

REDUNDANT = 0.95  # R2 from which on a member brings nothing that a linear map does not
Start = Callable[[Sequence[Experiment], Sequence[str]], Mapping[str, StageError]]


@dataclass
class Outcome:
    """What a search has found.

    Attributes:
        tried: every candidate that was looked at, with its runs, or why it has none.
        failures: by the experiments' labels; a run that never got better than nothing is none.
        runs: how many there were in all.
    """

    tried: list[Tried] = field(default_factory=list)
    failures: dict[str, StageError] = field(default_factory=dict)
    runs: int = 0
    _read: dict[tuple[str, str, str], Trial] = field(default_factory=dict, compare=False)

    def trials(self, task: Task | None = None) -> list[Trial]:
        """Read what has runs, of one task or of all; each once, as edit distances take their time."""
        of = [one for one in self.tried if one.runs and task in (None, one.task)]
        for one in of:
            key = _key(one)
            if key not in self._read:
                self._read[key] = Trial.read(one)
        return [self._read[_key(one)] for one in of]

    def best(self, task: Task, size: int) -> Trial | None:
        """Return the trial of so many members with the best score, the first of equals; None where none was scored."""
        of = (one for one in self.trials(task) if len(one.members) == size and not one.control_of)
        return max(of, key=lambda one: one.merit, default=None)


def _key(tried: Tried) -> tuple[str, str, str]:
    return tried.task.name, tried.candidate.label, tried.control_of


def search(plan: Plan, start: Start, known: Known) -> Outcome:
    """Search for every task at once, so that the trainings of one size run side by side.

    Args:
        plan: what to try.
        start: runs experiments, and returns the failures by label.
        known: of the members.
    """
    outcome = Outcome()
    for size in range(1, plan.max_members + 1):
        planned = [
            Tried(candidate, task, why_not=left_out(plan, known, candidate, base))
            for task in plan.tasks
            for candidate, base in _candidates(plan, task, size, outcome)
        ]
        outcome.tried += [one for one in planned if one.why_not]
        train(plan, start, [one for one in planned if not one.why_not], outcome)
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


def train(plan: Plan, start: Start, planned: Sequence[Tried], outcome: Outcome) -> None:
    """Train candidates on their tasks, and add them to an outcome."""
    experiments = [plan.experiments(one.candidate, one.task) for one in planned]
    everything = [experiment for found in experiments for experiment in found]
    for line in _changes(everything):
        print(line, file=sys.stderr)
    failures = start(everything, STAGES) if everything else {}
    outcome.runs += len(everything)
    for one, found in zip(planned, experiments):
        failed = [failures[experiment.label] for experiment in found if experiment.label in failures]
        if not failed:
            outcome.tried.append(replace(one, runs=tuple(experiment.folder for experiment in found)))
        elif all(isinstance(error, NeverBetter) for error in failed):
            outcome.tried.append(replace(one, why_not="never better than nothing"))
        else:
            outcome.tried.append(replace(one, why_not=f"failed: {failed[0]}"))
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
    grown = [member for member in plan.members if member.name in base.members]
    for member in plan.members:
        if member not in grown:
            together = tuple(one for one in plan.members if one in (*grown, member))
            yield from ((Candidate(together, interface), grown) for interface in plan.interfaces)


def seed_of_growth(task: Task, size: int, outcome: Outcome) -> Trial | None:
    """Return the best set of one member fewer, if sets that grow from it can win."""
    base, single = outcome.best(task, size - 1), outcome.best(task, 1)
    if base is None or single is None:
        return None
    return None if size > 2 and gain(base, single).high < 0 else base


def control(plan: Plan, start: Start, known: Known, outcome: Outcome) -> None:
    """Train capacity controls: the best single member with as many trained parameters as the set that would be
    recommended, which must not win by these alone; until what is recommended has one, or is a single member."""
    looked_at: set[tuple[str, str]] = set()
    while True:
        choices = [choice for task in plan.tasks if (choice := _choose(plan, known, task, outcome))]
        several = [choice for choice in choices if not choice.recommended.is_single]
        new = [choice for choice in several if (choice.task.name, choice.recommended.label) not in looked_at]
        if not new:
            return
        looked_at |= {(choice.task.name, choice.recommended.label) for choice in new}
        wide = [(choice, _widened(plan, known, choice)) for choice in new]
        train(
            plan,
            start,
            [Tried(one, choice.task, control_of=choice.recommended.label) for choice, one in wide if one],
            outcome,
        )


def _choose(plan: Plan, known: Known, task: Task, outcome: Outcome) -> Choice | None:
    trials = outcome.trials(task)
    costs = costs_of(known.costs, {trial.label: (trial.members, trial.fusion) for trial in trials})
    return choose(trials, costs, plan.budget, enough(trials))


def _widened(plan: Plan, known: Known, choice: Choice) -> Candidate | None:
    """Widen the best single member; None where it has as many parameters as what is recommended."""
    single = next(one for one in plan.singles() if one.label == choice.single.label)
    cost = known.costs[single.names[0]]
    (first, *_) = plan.experiments(single, choice.task)
    head = capacity.head_of(first.folder.best_ckpt(choice.task), cost.rate)
    wide = capacity.control(choice.single.fusion, cost, choice.recommended.parameters, head)
    return None if wide is None else replace(single, output_dim=wide.interface.output_dim)
