"""Is the difference between two experiments more than luck? A paired bootstrap over utterances, and over seeds.

The test set is resampled for both experiments and all of their seeds alike: how far would the difference move on other
utterances of the same kind? An experiment of several seeds tells what others would change, too; one of a single seed
does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...metrics import Metric, ScoreError, Statistic, Texts
from ...statistics import RESAMPLES, Fold, check, difference, scores
from ...text import markdown
from ..layout import RunFolder, find_scored
from ..tasks import TASKS, Task
from .tables import read_runs

if TYPE_CHECKING:
    import pandas


def read_side(folder: Path) -> pandas.DataFrame:
    """Read the runs of one experiment at the chosen rates, see `tables.read_runs`.

    Raises:
        ScoreError: There are no runs, runs of several upstreams, or one run twice.
    """
    scored = find_scored(folder)
    if not scored:
        raise ScoreError(f"{folder}: no score.json in it or below; give EXP/<upstream> of a finished experiment")
    runs = read_runs(scored)
    upstreams = sorted(set(runs["label"]))
    if len(upstreams) > 1:
        raise ScoreError(f"{folder} has the upstreams {', '.join(upstreams)}; name one of them: EXP/<upstream>")
    return runs


def folds_of(task: Task, sides: Sequence[pandas.DataFrame]) -> list[str]:
    """Return the folds of one task, which every seed of both experiments must have.

    Raises:
        ScoreError: One lacks a fold.
    """
    union = {fold for runs in sides for fold in runs["fold"]}
    for runs in sides:
        for seed, group in runs.groupby("seed"):
            missing = sorted(union - set(group["fold"]))
            if missing:
                raise ScoreError(
                    f"{task.title}: seed {seed} in {group['expdir'].iloc[0]} lacks {missing};"
                    " both experiments need the same folds, for every seed"
                )
    return sorted(union)


def read_fold(task: Task, fold: str, sides: Sequence[pandas.DataFrame]) -> Fold:
    """Read the runs of one fold, whose scores are known to follow from their files.

    Raises:
        ScoreError: The references differ.
    """
    where = f"{task.title} {fold}".strip()
    read: list[tuple[Path, Texts]] = []
    statistics: tuple[list[Statistic], list[Statistic]] = ([], [])
    for runs, side in zip(sides, statistics):
        for _, run in runs[runs["fold"] == fold].sort_values("seed").iterrows():
            references, statistic = read_run(task, fold, Path(run["expdir"]))
            read.append(references)
            check_same_references(where, read[0], read[-1])
            side.append(statistic)
    return Fold(len(read[0][1]), statistics)


def read_run(task: Task, fold: str, expdir: Path) -> tuple[tuple[Path, Texts], Statistic]:
    """Read a run's references, with their file, and the statistic of its hypotheses; no fold is ""."""
    files = RunFolder(expdir)
    path = files.reference(task, fold)
    references = task.references(path)
    return (path, references), task.metric.resampled(task.hypotheses(files.hypothesis(task, fold)), references)


def check_same_references(where: str, one: tuple[Path, Texts], other: tuple[Path, Texts]) -> None:
    """Raise ScoreError unless two reference files hold the same utterances and texts."""
    (path, texts), (other_path, other_texts) = one, other
    differing = sorted(key for key in texts.keys() | other_texts.keys() if texts.get(key) != other_texts.get(key))
    if differing:
        raise ScoreError(
            f"{where}: {path} and {other_path} differ in {len(differing)} utterances, {differing[:3]};"
            " both experiments must be evaluated on the same data"
        )


def compare(first: Path, second: Path, resamples: int = RESAMPLES, seed: int = 1337) -> pandas.DataFrame:
    """Bootstrap the difference of two experiments, task by task.

    An experiment's score is the mean over its seeds of the mean over the folds. Utterances are drawn with replacement
    within each fold, the same ones for both experiments and all seeds; where an experiment has several seeds, they are
    drawn too, see `statistics.difference`. Interval and p are those of `statistics.Estimate`.

    SV's trials share speakers and recordings, which are drawn here as if they did not: its interval is too narrow
    rather than too wide.

    Args:
        first: Folder with the runs of one upstream: EXP/<upstream>, EXP/<upstream>/<task>, or one run.
        second: The same for the other experiment; its tasks that `first` lacks are left out, and the other way round.
        resamples: How many.
        seed: Of the draws; the same for every task.

    Returns:
        One row a task and metric with the columns task, metric, first, second, difference (first - second), low, high
        (percent or percent points), p, utterances (of all folds), seeds_first, seeds_second. `attrs` has the arguments.

    Raises:
        ScoreError: The experiments have no task in common, or cannot be paired.
    """
    import pandas

    check(resamples, seed)
    sides = [read_side(folder) for folder in (first, second)]
    tasks = [task for task in TASKS.values() if all(task.name in set(runs["task"]) for runs in sides)]
    if not tasks:
        got = " and ".join(", ".join(dict.fromkeys(runs["task"])) for runs in sides)
        raise ScoreError(f"{first} and {second} have no task in common: {got}")
    rows = []
    for task in tasks:
        of = [runs[runs["task"] == task.name] for runs in sides]
        rows += [_row(replace(task, metric=metric), of, resamples, seed) for metric in task.columns.values()]
    frame = pandas.DataFrame(rows)
    frame.attrs = {"first": str(first), "second": str(second), "resamples": resamples, "seed": seed}
    return frame


def pair(task: Task, sides: Sequence[pandas.DataFrame]) -> list[Fold]:
    """Read what two experiments predicted under one task, a `Fold` each of its folds.

    Args:
        task: the task.
        sides: the runs of each, as `tables.read_runs` returns them.

    Raises:
        ScoreError: they cannot be paired.
    """
    return [read_fold(task, fold, sides) for fold in folds_of(task, sides)]


def _row(task: Task, sides: Sequence[pandas.DataFrame], resamples: int, seed: int) -> dict[str, object]:
    folds = pair(task, sides)
    found = difference(folds, resamples, seed, over_seeds=True, name=task.column)
    first, second = scores(folds)
    return {
        "task": task.name,
        "metric": task.column,
        "first": first,
        "second": second,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "utterances": sum(fold.utterances for fold in folds),
        "seeds_first": sides[0]["seed"].nunique(),
        "seeds_second": sides[1]["seed"].nunique(),
    }


def _metric(row: pandas.Series) -> Metric:
    return TASKS[row["task"]].columns[row["metric"]]


def better(row: pandas.Series) -> str:
    """`first` or `second` where the interval excludes 0, else `no difference shown`."""
    if row["low"] <= 0 <= row["high"]:
        return "no difference shown"
    return "first" if (row["low"] > 0) == _metric(row).higher_is_better else "second"


def _two_decimals(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # + 0.0: no "-0.00"


def compare_table(frame: pandas.DataFrame) -> str:
    """Return `compare`'s frame in Markdown, with a sentence under it on how it was made."""
    header = ["score %", "better", "first", "second", "first - second", "95 % interval", "p", "utterances", "seeds"]
    rows = []
    for _, row in frame.iterrows():
        scores = [_two_decimals(row[name]) for name in ("first", "second", "difference")]
        interval = f"[{_two_decimals(row['low'])}, {_two_decimals(row['high'])}]"
        p = "< 0.01" if row["p"] < 0.005 else f"{row['p']:.2f}"
        seeds = f"{row['seeds_first']} / {row['seeds_second']}"
        rows.append(
            [
                f"{row['metric']} {_metric(row).arrow}",
                better(row),
                *scores,
                interval,
                p,
                f"{row['utterances']:,}",
                seeds,
            ]
        )
    made = frame.attrs
    note = (
        f"first: `{made['first']}`, second: `{made['second']}`. Paired bootstrap over utterances, within each fold, and"
        f" over seeds where a side has several: {made['resamples']:,} resamples with seed {made['seed']}, percentile"
        " interval of first - second. A side is better where the interval excludes 0.\n"
    )
    metrics = {row["metric"]: _metric(row) for _, row in frame.iterrows()}
    note += "".join(f"{column}: {metric.definition}.\n" for column, metric in metrics.items() if metric.definition)
    return f"{markdown(header, rows)}\n{note}"
