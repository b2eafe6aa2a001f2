"""Which runs count: the score files below a folder, and of several learning rates the one that was best on dev."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..tasks import TASKS, Task
from .scoring import ScoreError

if TYPE_CHECKING:
    import pandas

SET_ASIDE = re.compile(r"\.old\d+$")  # pipeline.set_aside
STAMPS = "stages"  # Experiment.stamp: its score.json tells that the stage is done


def find_results(folder: Path) -> list[Path]:
    """The score files in a folder and below it, sorted; folders that were set aside, `<name>.old<k>`, are skipped.

    Args:
        folder: For example EXP, EXP/fused_demo, EXP/fused_demo/er, or the folder of one run.
    """

    def counts(path: Path) -> bool:
        folders = path.relative_to(folder).parts[:-1]
        return not any(name == STAMPS or SET_ASIDE.search(name) for name in folders)

    return sorted(path for path in folder.rglob("score.json") if counts(path))


def best_rate(scores: Mapping[float, float], task: Task) -> float:
    """The learning rate with the best dev score, the lowest of equals."""
    sign = 1 if task.higher_is_better else -1
    # Rounded, because the mean of equal scores depends on their order.
    return max(scores, key=lambda rate: (sign * round(scores[rate], 9), -rate))


def chosen_rates(runs: pandas.DataFrame) -> pandas.DataFrame:
    """Drop the runs of the learning rates that were not best on dev.

    Args:
        runs: Columns as in score.json. For each upstream and task the rate with the best mean `dev_score` is chosen,
            see `best_rate`.

    Returns:
        The rows that stay, in their order and under their index.

    Raises:
        ScoreError: There are several rates, and a run without dev score.
    """
    if "lr" not in runs:
        return runs
    kept: list[object] = []
    for (upstream, name), group in runs.groupby(["upstream", "task"], sort=False):
        if group["lr"].nunique(dropna=False) > 1:
            if group[["lr", "dev_score"]].isna().any(axis=None):
                raise ScoreError(
                    f"{upstream} {name}: several learning rates, and a run whose score.json has no lr or dev_score;"
                    " score it again, or move its folder away"
                )
            best = best_rate(group.groupby("lr")["dev_score"].mean().to_dict(), TASKS[name])
            group = group[group["lr"] == best]
        kept.extend(group.index)
    return runs[runs.index.isin(kept)]


def find_rates(expdirs: Iterable[Path]) -> pandas.DataFrame:
    """Dev scores of every learning rate that was tried for the upstreams and tasks of some expdirs.

    Args:
        expdirs: Folders EXP/<upstream>/<variant>[/<fold>] of scored runs.

    Returns:
        Columns upstream, task, lr, dev_score (percent, the mean over folds and over the seeds that every rate was
        trained on), lower rates first.
    """
    import pandas

    stamps = set()
    for expdir in expdirs:
        # EXP/<upstream>: what was tried and not chosen has no score file, but a stamp of its training.
        upstream = expdir.parents[1] if expdir.parent.name.partition("_")[0] in TASKS else expdir.parent
        stamps |= {path for path in upstream.glob(f"**/{STAMPS}/train.json") if not SET_ASIDE.search(path.parts[-3])}
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(stamps)]
    done = [row for row in rows if row["status"] == "done" and "dev_score" in row]
    frame = pandas.DataFrame(done, columns=["upstream", "task", "seed", "lr", "dev_score"])
    of = frame.groupby(["upstream", "task"])["lr"].transform("nunique")
    shared = frame.groupby(["upstream", "task", "seed"])["lr"].transform("nunique") == of
    return frame[shared].groupby(["upstream", "task", "lr"], as_index=False)["dev_score"].mean()
