"""The search for a learning rate: each is trained on the first seed, the best dev score wins, test sets stay shut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ..scores.results import best_rate
from .experiment import Experiment
from .stages import NeverBetter, StageError

Choices = dict[tuple[str, str], float]  # (upstream's label, task) -> learning rate


def choose(
    candidates: Sequence[Experiment], failures: Mapping[str, StageError]
) -> tuple[Choices, dict[str, StageError]]:
    """Return the rate with the best dev score, the mean over a task's folds, for each upstream and task.

    Args:
        candidates: Trained with every rate.
        failures: By experiment label. A rate that never got better than nothing loses; any other failure leaves its
            upstream and task without a choice, since a rate that could not be tried might be the best one.

    Returns:
        The choices, and the failures that stand in the way of one.
    """
    chosen: Choices = {}
    blocking: dict[str, StageError] = {}
    groups: dict[tuple[str, str], list[Experiment]] = {}
    for experiment in candidates:
        groups.setdefault((experiment.upstream.label, experiment.task.name), []).append(experiment)
    for key, group in groups.items():
        failed = {e.label: failures[e.label] for e in group if e.label in failures}
        broken = {label: error for label, error in failed.items() if not isinstance(error, NeverBetter)}
        tried = {e.lr: _dev_score(group, e.lr) for e in group if e.label not in failed and e.lr is not None}
        scores = {rate: score for rate, score in tried.items() if score is not None}
        if broken or not scores:
            blocking.update(broken or failed)
        else:
            chosen[key] = best_rate(scores, group[0].task)
    return chosen, blocking


def _dev_score(group: Sequence[Experiment], rate: float) -> float | None:
    """Take the mean over the folds; None when one of them never got better than nothing."""
    scores: list[Any] = [
        experiment.stamp("train").read().get("dev_score") for experiment in group if experiment.lr == rate
    ]
    return None if None in scores else fmean(scores)


def in_words(choices: Choices) -> str:
    """One line a choice."""
    return "\n".join(f"{upstream} {task}: learning rate {rate:g}" for (upstream, task), rate in choices.items())
