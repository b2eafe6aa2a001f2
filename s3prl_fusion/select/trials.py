"""What trained candidates say: dev scores, and whether one is better than another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy

from ..config import FusionConfig
from ..errors import UsageError
from ..metrics import Statistic
from ..statistics import RESAMPLES, Estimate, Fold, difference, mean_and_spread
from ..superb.scores import kept
from ..superb.scores.compare import check_same_references, read_run
from ..superb.tasks import Task

if TYPE_CHECKING:
    from .sets import Tried


@dataclass(frozen=True)
class Scored:
    """The runs of one fold: how many utterances they are scored on, and the statistic of each seed."""

    utterances: int
    statistics: Sequence[Statistic]


@dataclass(frozen=True)
class Trial:
    """A set of members under an interface, trained on one task.

    Attributes:
        task: on what.
        label: what it is called; no two of a task alike.
        members: their names.
        fusion: what was trained.
        folds: its runs, which the other trials of the task have alike.
        parameters: trained ones, of interface and head.
        control_of: the label of the trial whose capacity control it is.
    """

    task: Task
    label: str
    members: tuple[str, ...]
    fusion: FusionConfig
    folds: Mapping[str, Scored]
    parameters: int
    control_of: str = ""

    @classmethod
    def read(cls, tried: Tried) -> Trial:
        """Read the runs of a candidate, whose scores must follow from their files.

        Raises:
            UserError: one is damaged or gone, or the seeds of a fold were scored on other utterances.
        """
        task, rows = tried.task, [(kept.read(run), run) for run in tried.runs]
        folds = {}
        for fold in sorted({row["fold"] or "" for row, _ in rows}):
            of_fold = sorted((row["seed"], run.path) for row, run in rows if (row["fold"] or "") == fold)
            folds[fold] = _read_fold(task, fold, [path for _, path in of_fold])
        parameters = max((row["featurizer_parameters"] or 0) + (row["downstream_parameters"] or 0) for row, _ in rows)
        candidate = tried.candidate
        return cls(task, candidate.label, candidate.names, candidate.fusion(), folds, parameters, tried.control_of)

    @cached_property
    def seeds(self) -> list[float]:
        """The score of each seed, in percent: the mean over the folds."""
        by_fold = [
            numpy.concatenate([one(numpy.ones((1, fold.utterances))) for one in fold.statistics])
            for fold in self.folds.values()
        ]
        return numpy.mean(by_fold, axis=0).tolist()

    @property
    def score(self) -> float:
        """The mean over seeds, in percent."""
        return mean_and_spread(self.seeds)[0]

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; NaN for one."""
        return mean_and_spread(self.seeds)[1]

    @property
    def merit(self) -> float:
        """The score as one of which more is better; rounded, as a mean of equal scores depends on their order."""
        return round(self.score if self.task.metric.higher_is_better else -self.score, 9)

    @property
    def is_single(self) -> bool:
        """Whether it has one member, and is no control."""
        return len(self.members) == 1 and not self.control_of


def _read_fold(task: Task, fold: str, folders: Sequence[Path]) -> Scored:
    read = [read_run(task, fold, folder) for folder in folders]
    for references, _ in read:
        check_same_references(f"{task.title} {fold}".strip(), read[0][0], references)
    return Scored(len(read[0][0][1]), [statistic for _, statistic in read])


def gain(one: Trial, other: Trial, resamples: int = RESAMPLES) -> Estimate:
    """Estimate how much better one trial is than another on one task, over seeds and utterances, in percent points.

    Raises:
        UsageError: they have other folds.
    """
    if one.folds.keys() != other.folds.keys():
        raise UsageError(
            f"{one.task.title}: {one.label} has the folds {sorted(one.folds)}, and {other.label} "
            f"{sorted(other.folds)}; give the same command again, which trains what is missing"
        )
    folds = [
        Fold(scored.utterances, (scored.statistics, other.folds[fold].statistics)) for fold, scored in one.folds.items()
    ]
    found = difference(folds, resamples, over_seeds=True, name=f"{one.task.name} {one.label}")
    return found if one.task.metric.higher_is_better else -found
