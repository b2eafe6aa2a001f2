"""Which runs count: of several learning rates those of the one that was best on dev."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...files import read_json
from ...metrics import ScoreError
from ..layout import RunFolder, find_stamps
from ..records import STAMP
from ..tasks import TASKS, Task

if TYPE_CHECKING:
    import pandas


def best_rate(scores: Mapping[float, float], task: Task) -> float:
    """Choose the learning rate with the best dev score, the lowest of equals."""
    sign = 1 if task.dev_metric.higher_is_better else -1
    # Rounded, because the mean of equal scores depends on their order.
    return max(scores, key=lambda rate: (sign * round(scores[rate], 9), -rate))


def choice_in_words(auto: Mapping[str, Any]) -> str:
    """Name what `--interfaces auto` chose, as score.json keeps it: `hconv of hubert_base`, `hconv of all`."""
    (chosen,) = (one for one in auto["candidates"] if one["upstream"] == auto["chosen"])
    return candidate_in_words(chosen, auto)


def candidate_in_words(candidate: Mapping[str, Any], auto: Mapping[str, Any]) -> str:
    """Name one of the candidates."""
    members = candidate["members"]
    of = "all" if members == auto["members"] and len(members) > 1 else " + ".join(members)
    return f"{PurePath(candidate['interface']).name} of {of}"


def chosen_rates(runs: pandas.DataFrame) -> pandas.DataFrame:
    """Drop the runs of the learning rates that were not best on dev.

    Args:
        runs: Columns as in score.json, and `identity`. For each of these and each task the rate with the best mean
            `dev_score` is chosen, see `best_rate`.

    Returns:
        The rows that stay, in their order and under their index.

    Raises:
        ScoreError: There are several rates, and a run without dev score.
    """
    if "lr" not in runs:
        return runs
    kept: list[object] = []
    for (_, name), group in runs.groupby(["identity", "task"], sort=False):
        if group["lr"].nunique(dropna=False) > 1:
            if group[["lr", "dev_score"]].isna().any(axis=None):
                raise ScoreError(
                    f"{group['upstream'].iloc[0]} {name}: several learning rates, and a run whose score.json has no lr"
                    " or dev_score; score it again, or move its folder away"
                )
            if "fold" in group:  # a rate that has not run them all yet says nothing
                folds = group.groupby("lr")["fold"].transform("nunique")
                group = group[folds == folds.max()]
            best = best_rate(group.groupby("lr")["dev_score"].mean().to_dict(), TASKS[name])
            group = group[group["lr"] == best]
        kept.extend(group.index)
    return runs[runs.index.isin(kept)]


def find_rates(runs: Iterable[RunFolder]) -> pandas.DataFrame:
    """Find the dev scores of every learning rate that was tried for the upstreams and tasks of some scored runs.

    Returns:
        Columns upstream, task, lr, dev_score (percent, the mean over folds and over the seeds that every rate was
        trained on), lower rates first.
    """
    import pandas

    # What was tried and not chosen has no score file, but a stamp of its training.
    stamps = find_stamps({run.upstream for run in runs}, "train")
    read = [read_json(stamp, STAMP, "remove it, or give the `superb` command again") for stamp in stamps]
    done = [row for row in read if row.get("status") == "done" and "dev_score" in row and row.get("task") in TASKS]
    rows = [{"identity": row.get("upstream"), **row} for row in done]
    frame = pandas.DataFrame(rows, columns=["identity", "upstream", "task", "seed", "lr", "dev_score"])
    keys = ["identity", "upstream", "task"]
    of = frame.groupby(keys)["lr"].transform("nunique")
    shared = frame.groupby([*keys, "seed"])["lr"].transform("nunique") == of
    return frame[shared].groupby([*keys, "lr"], as_index=False)["dev_score"].mean()
