"""What is recommended for a task, and why: a set of members only where it is surely better than the best single one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy

from ..statistics import RESAMPLES, Estimate, holm, mean
from ..superb.tasks import Task
from .capacity import NEAR
from .costs import Cost
from .trials import Trial, gain

ALPHA = 0.05
LITTLE = 1.0  # percent points: what nobody pays a second model for
CHEAPER = 0.9  # of the MACs: what counts as a smaller set that is as good


@dataclass(frozen=True)
class Choice:
    """The trials of one task, compared.

    Attributes:
        task: which.
        trials: without controls, the best first.
        single: the best single member that the budget allows.
        gains: by label, over `single`; its own is 0.
        p_values: by label, of the sets that the budget allows, after Holm's correction.
        over_control: by label, over the best single that is as large as the set, see `choose`.
        recommended: what to take.
    """

    task: Task
    trials: Sequence[Trial]
    single: Trial
    gains: Mapping[str, Estimate]
    p_values: Mapping[str, float]
    over_control: Mapping[str, Estimate]
    recommended: Trial

    @cached_property
    def sets(self) -> list[Trial]:
        """The sets that the budget allows, the largest gain first."""
        return sorted(
            (trial for trial in self.trials if trial.label in self.p_values),
            key=lambda trial: -self.gains[trial.label].value,
        )

    @property
    def clause(self) -> str:
        """The recommendation in a few words."""
        name, members = self.task.name, " + ".join(self.recommended.members)
        if not self.recommended.is_single:
            return f"fuse {members} for {name} ({self.gains[self.recommended.label].text(1)})"
        return f"for {name} use {members} alone: {self._why_alone()}"

    def _why_alone(self) -> str:
        if not self.sets:
            return "no set of members was trained"
        best = self.sets[0]
        its_gain, members = self.gains[best.label], " + ".join(best.members)
        control = self.over_control.get(best.label)
        if its_gain.low > 0 and control is not None and control.low <= 0:
            return f"what {members} adds, {its_gain.text(1)}, as many parameters for it alone may add too"
        if its_gain.low > 0:
            return f"of {len(self.sets)} sets, {members} adding {its_gain.text(1)} may be luck"
        most = max(self.gains[one.label].high for one in self.sets)
        if most <= LITTLE:
            return f"nothing adds more than {most:.1f}" if most > 0 else "nothing adds to it"
        return f"no gain is shown (at best {members} {its_gain.text(1)})"


def choose(
    trials: Sequence[Trial], costs: Mapping[str, Cost], budget: float | None = None, resamples: int = RESAMPLES
) -> Choice | None:
    """Choose among the trials of one task; None where no single member within the budget is among them.

    A set is in question if the interval of its gain over the best single member is above 0, its p after Holm's
    correction over the sets at most `ALPHA`, and, where it has more trained parameters than that, the interval of its
    gain over a capacity control above 0 too: its own, or else the one of about as many parameters. Of these sets the
    best is taken, or the cheapest that is not told apart from it and costs at most `CHEAPER` of its MACs. If there is
    none, it is the best single member.

    Args:
        trials: all on one task.
        costs: by the trials' labels.
        budget: MACs a second of speech; None is no limit.
        resamples: of each bootstrap; see `enough`.
    """
    plain = sorted((one for one in trials if not one.control_of), key=lambda one: (-one.merit, costs[one.label].macs))
    allowed = [one for one in plain if budget is None or costs[one.label].macs <= budget]
    single = next((one for one in allowed if one.is_single), None)
    if single is None:
        return None
    gains = {one.label: gain(one, single, resamples) for one in plain if one is not single}
    gains[single.label] = Estimate(0.0, numpy.zeros(resamples))
    sets = [one for one in allowed if not one.is_single]
    p_values = dict(zip((one.label for one in sets), holm([gains[one.label].p for one in sets])))
    controls = [one for one in trials if one.control_of]
    pairs = [(one, _control_of(one, single, controls)) for one in sets]
    over = {one.label: gain(one, control, resamples) for one, control in pairs if control}
    sure = [
        one
        for one in sets
        if gains[one.label].low > 0
        and p_values[one.label] <= ALPHA
        and (one.label not in over or over[one.label].low > 0)
    ]
    recommended = _cheapest_of_equals(sure, costs, resamples) if sure else single
    return Choice(single.task, plain, single, gains, p_values, over, recommended)


def _control_of(one: Trial, single: Trial, controls: Sequence[Trial]) -> Trial | None:
    own = next((control for control in controls if control.control_of == one.label), None)
    if own or (1 - NEAR) * one.parameters <= single.parameters:
        return own
    return min(controls, key=lambda control: abs(control.parameters - one.parameters), default=None)


def _cheapest_of_equals(sure: Sequence[Trial], costs: Mapping[str, Cost], resamples: int) -> Trial:
    best, *others = sure  # the best first
    most = CHEAPER * costs[best.label].macs
    equal = [one for one in others if costs[one.label].macs <= most and gain(best, one, resamples).low <= 0]
    return min(equal, key=lambda one: costs[one.label].macs, default=best)


def enough(trials: Sequence[Trial]) -> int:
    """Say how many resamples tell the sets of a task apart after Holm's correction, see `Estimate.p`."""
    tasks = {trial.task.name for trial in trials}
    sets = [one.task.name for one in trials if len(one.members) > 1]
    most = max(map(sets.count, tasks), default=0)
    return max(RESAMPLES, round(2 * most / ALPHA))


def over_tasks(choices: Sequence[Choice]) -> dict[str, Estimate]:
    """Average the gains over the tasks' best single members, in percent points, of whatever has run on all tasks.

    Returns:
        By label, the largest gain first.
    """
    common = [label for label in choices[0].gains if all(label in choice.gains for choice in choices)]
    found = {label: mean([choice.gains[label] for choice in choices]) for label in common}
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def sentence(choices: Mapping[str, Choice | None]) -> str:
    """Say in one sentence what is recommended for each task."""
    hopeless = "for {} nothing can be said: no single member got better than nothing, give more --hours or --steps"
    return "; ".join(choice.clause if choice else hopeless.format(name) for name, choice in choices.items()) + "."
