"""What the runs say: scores of candidates, and whether one is better than another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import fmean

from ..metrics import Statistic
from ..statistics import Estimate, Fold, difference
from ..superb.layout import RunFolder
from ..superb.scores import kept
from ..superb.scores.scoring import read_texts
from ..superb.tasks import TASKS
from ..text import markdown
from .sets import Tried


def score(tried: Tried) -> float:
    """Return the dev score in percent: the mean over seeds and folds, which all candidates have alike."""
    return fmean(kept.read(run)["score"] for run in tried.runs)


def merit(tried: Tried) -> float:
    """Return the score as one of which more is better; rounded, as the mean of equal scores depends on their order."""
    return round(score(tried) * (1 if tried.task.metric.higher_is_better else -1), 9)


def gain(tried: Tried, base: Tried) -> Estimate:
    """Estimate how much better a candidate is than another on the same task, in percent points, over seeds and
    utterances."""
    by_fold = [_by_fold(one) for one in (tried, base)]
    folds = []
    for fold in by_fold[0]:
        first, second = ([_statistic(tried.task.name, fold, run) for run in side[fold]] for side in by_fold)
        folds.append(Fold(first[0][0], ([one for _, one in first], [one for _, one in second])))
    found = difference(folds, over_seeds=True)
    return found if tried.task.metric.higher_is_better else -found


def _by_fold(tried: Tried) -> dict[str | None, list[RunFolder]]:
    found: dict[str | None, list[RunFolder]] = {}
    for run in tried.runs:
        found.setdefault(kept.read(run)["fold"], []).append(run)
    return found


@cache
def _statistic(name: str, fold: str | None, run: RunFolder) -> tuple[int, Statistic]:
    """Return a run's utterances and their statistic, which is made once: edit distances take their time."""
    task = TASKS[name]
    references = read_texts(run.reference(task, fold))
    return len(references), task.metric.resampled(read_texts(run.hypothesis(task, fold)), references)


def best(tried: Sequence[Tried]) -> Tried | None:
    """Return the candidate with the best score, the first of equals; None where none was scored."""
    return max((one for one in tried if one.runs), key=merit, default=None)


def winner(tried: Sequence[Tried]) -> Tried | None:
    """Return the best single member, or the smallest set that nothing larger is better than for sure: the best of each
    size takes its place where the interval of what it gains is above 0."""
    chosen = best([one for one in tried if len(one.candidate.members) == 1])
    for size in sorted({len(one.candidate.members) for one in tried} - {1}):
        larger = best([one for one in tried if len(one.candidate.members) == size])
        if chosen is None or (larger is not None and gain(larger, chosen).low > 0):
            chosen = larger
    return chosen


def trained_parameters(tried: Tried) -> int:
    """Count the parameters of the interface and the head, which are trained."""
    found = kept.read(tried.runs[0])
    return int(found["featurizer_parameters"] + found["downstream_parameters"])


def table(tried: Sequence[Tried]) -> str:
    """Write what was tried, the best of each task first, with its gain over the best single member; in Markdown."""
    rows = []
    for task in {one.task.name: one.task for one in tried}.values():
        found = [one for one in tried if one.task is task]
        single = best([one for one in found if len(one.candidate.members) == 1])
        for one in sorted((one for one in found if one.runs), key=merit, reverse=True):
            by = "" if single is None or one is single else gain(one, single).text()
            set_of = " + ".join(one.candidate.names)
            rows.append([task.column, set_of, one.candidate.interface, f"{score(one):.2f}", by])
        rows += [
            [task.column, " + ".join(one.candidate.names), one.candidate.interface, "", one.why_not]
            for one in found
            if not one.runs
        ]
    return markdown(["task", "members", "interface", "dev score %", "gain over the best single"], rows)
