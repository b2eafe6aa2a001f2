"""Tables of results, from score files alone: a row an upstream and interface, a column a task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...identity import digest
from ...metrics import Metric, ScoreError
from ...text import markdown, seconds_text
from ..layout import RunFolder
from ..tasks import TASKS, Task
from . import leaderboard
from .kept import read
from .labels import unique_labels
from .published import leaderboard_score, paper_score
from .results import choice_in_words, chosen_rates

if TYPE_CHECKING:
    import pandas

FLOOR = "(chance)"
RUN = ["identity", "task", "fold", "seed"]  # what tells one run of an upstream from another


def read_runs(folders: Sequence[RunFolder]) -> pandas.DataFrame:
    """Read scored runs, a row each, those of the learning rates with the best dev scores.

    Columns are as in score.json, but no fold is "", and there are `identity`, which is the same for what was trained on
    the same, `label`, which names that for people, unlike any other's, and `expdir`.

    Raises:
        UsageError: the same run is there twice, one is of a task that is not known, or a score does not follow from
            its files (any more).
    """
    import pandas

    rows = [{**_read(folder), "expdir": str(folder.path)} for folder in folders]
    labels = unique_labels(rows)
    runs = pandas.DataFrame([{"label": labels[row["identity"]], **row, "fold": row["fold"] or ""} for row in rows])
    runs = chosen_rates(runs)
    for (_, task), same in runs.groupby(["identity", "task"]) if "config_hash" in runs else ():
        if same["config_hash"].nunique() > 1:
            one, other, *_ = same.drop_duplicates("config_hash")["expdir"]
            raise ScoreError(f"{one} and {other}: {task} with other settings of the recipe; name one of them")
    for _, same in runs[runs.duplicated(RUN, keep=False)].groupby(RUN):
        first, second, *_ = same["expdir"]
        raise ScoreError(f"{first} and {second} are the same task, fold and seed; name folders that hold one of them")
    return runs


def _read(folder: RunFolder) -> dict[str, Any]:
    """Read a score that follows from its files, with its `identity`; an older release's has no more than names."""
    row = read(folder)
    if "fusion" not in row:
        members = [{"name": name} for name in row.get("members") or [row["upstream"]]]
        row["fusion"] = {"members": members, "interface": {"name": row["interface"]}}
        row["made_of"] = {"upstream": row["upstream"], **row["fusion"]}
    return {"identity": row["auto"]["identity"] if "auto" in row else digest(row["made_of"]), **row}


def tasks_of(runs: pandas.DataFrame) -> list[Task]:
    """List the tasks that were run, in the order of TASKS."""
    return [task for task in TASKS.values() if task.name in set(runs["task"])]


def tabulate(runs: pandas.DataFrame) -> pandas.DataFrame:
    """One row an upstream and interface, and a last row with what needs no speech at all.

    A seed's score is the mean over the task's folds, and counts when it has every fold that the table has.

    Args:
        runs: As `read_runs` returns them.

    Returns:
        Columns upstream, interface; for each task its columns (percent, the mean over seeds, NaN where not run), and
        the same with " spread" (standard deviation over seeds, NaN for one) and " seeds"; featurizer_parameters,
        <task>_downstream_parameters, frozen_parameters, seconds (train + evaluate, of all runs).
    """
    import pandas

    rows, tasks = [], tasks_of(runs)
    folds = {task.name: runs.loc[runs["task"] == task.name, "fold"].nunique() for task in tasks}
    for _, group in runs.groupby("identity", sort=False):
        first = group.iloc[0]
        row = {"upstream": first["label"], "interface": _interface(group)}
        for task in tasks:
            for column, metric in task.columns.items():
                mine = group[group["task"] == task.name]
                seeds = scores_of(mine, task, metric).groupby(mine["seed"]).agg(["mean", "size"])
                scores = seeds.loc[seeds["size"] == folds[task.name], "mean"]
                row.update(zip(_columns(column), (scores.mean(), scores.std(), len(scores))))
        row["featurizer_parameters"] = group["featurizer_parameters"].max()
        for task in tasks:
            heads = group.loc[group["task"] == task.name, "downstream_parameters"]
            row[f"{task.name}_downstream_parameters"] = heads.max()
        row["frozen_parameters"] = group["frozen_parameters"].max()
        row["seconds"] = (group["train_seconds"] + group["evaluate_seconds"]).sum()
        rows.append(row)
    floor = {"upstream": FLOOR, "interface": ""}
    for task in tasks:
        mine = runs[runs["task"] == task.name]
        floor.update({column: chance_of(mine, task, metric).mean() for column, metric in task.columns.items()})
    table = pandas.DataFrame([*rows, floor])
    whole = [column for column in table if column.endswith(("parameters", "seeds"))]
    table[whole] = table[whole].astype("Float64").round().astype("Int64")
    return table


def scores_of(runs: pandas.DataFrame, task: Task, metric: Metric) -> pandas.Series:
    """Return the scores of a task's runs by one of its metrics."""
    return runs["score"] if metric == task.metric else _of_more(runs, "more", metric)


def chance_of(runs: pandas.DataFrame, task: Task, metric: Metric) -> pandas.Series:
    """Return what needs no speech at all, by one of a task's metrics; NaN where an older score has none of it."""
    return runs["chance"] if metric == task.metric else _of_more(runs, "more_chance", metric)


def _of_more(runs: pandas.DataFrame, key: str, metric: Metric) -> pandas.Series:
    if key not in runs:
        return runs["score"] * math.nan
    return runs[key].map(lambda more: more.get(metric.name, math.nan) if isinstance(more, dict) else math.nan)


def _interface(runs: pandas.DataFrame) -> str:
    """Name the interface of one row's runs; where dev scores chose it for each task, say what they chose."""
    if not is_auto(runs.iloc[0]):
        return PurePath(runs.iloc[0]["interface"]).name
    by_task = {TASKS[run["task"]].title: choice_in_words(run["auto"]) for _, run in runs.iterrows()}
    titles = {words: [title for title in by_task if by_task[title] == words] for words in by_task.values()}
    told = [words if len(titles) == 1 else f"{', '.join(of)}: {words}" for words, of in titles.items()]
    return f"auto: {'; '.join(told)}"


def is_auto(run: Mapping[str, Any]) -> bool:
    """Whether a run stands in the row of a choice."""
    return isinstance(run.get("auto"), Mapping)


def _columns(column: str) -> tuple[str, str, str]:
    return column, f"{column} spread", f"{column} seeds"


def number(value: Any) -> str:
    """Write a count with its thousands apart, or nothing for none."""
    import pandas

    return "" if pandas.isna(value) else f"{int(value):,}"


def percent(value: float, spread: float = math.nan) -> str:
    """`65.00`, `65.00 ± 1.20`, or nothing for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:.2f}" + ("" if math.isnan(spread) else f" ± {spread:.2f}")


def main_table(table: pandas.DataFrame, tasks: Sequence[Task]) -> str:
    """`tabulate`'s table in Markdown; the best score of each column is bold."""
    columns = {column: metric for task in tasks for column, metric in task.columns.items()}
    header = ["upstream", "interface"]
    header += [f"{column} % {metric.arrow}" for column, metric in columns.items()]
    header += [
        "featurizer params",
        f"head params ({' / '.join(task.title for task in tasks)})",
        "frozen params",
        "time",
    ]
    real = table[table["upstream"] != FLOOR]
    best = {column: real[column].agg(metric.best) for column, metric in columns.items()}
    rows = []
    for _, row in table.iterrows():
        is_floor = row["upstream"] == FLOOR
        cells = [row["upstream"], row["interface"]]
        for column in columns:
            text = percent(*(row[name] for name in _columns(column)[:2]))
            is_best = not is_floor and len(real) > 1 and row[column] == best[column]
            cells.append(f"**{text}**" if is_best else text)
        heads = " / ".join(number(row[f"{task.name}_downstream_parameters"]) for task in tasks)
        cells += [number(row["featurizer_parameters"]), "" if is_floor else heads, number(row["frozen_parameters"])]
        rows.append([*cells, "" if is_floor else seconds_text(row["seconds"])])
    return markdown(header, rows)


def runs_table(runs: pandas.DataFrame) -> str:
    """One line a run in Markdown: score, what it cost, and what it was made of."""
    header = ["upstream", "run", "seed", "lr", "dev", "score", "featurizer params", "head params", "train", "evaluate"]
    header += ["device", "config", "s3prl_fusion", "s3prl", "torch"]
    rows = []
    for _, row in runs.iterrows():
        task = TASKS[row["task"]]
        cells = [row["label"], f"{task.title} {row['fold']}".strip(), str(row["seed"]), _rate(row["lr"])]
        cells += [percent(row["dev_score"]), f"{task.metric.name} {row['score']:.2f} %"]
        cells += [number(row[f"{part}_parameters"]) for part in ("featurizer", "downstream")]
        cells += [_time(row[f"{stage}_seconds"]) for stage in ("train", "evaluate")]
        made_of = ("device", "config_hash", "s3prl_fusion", "host", "torch")
        rows.append([*cells, *(str(row[key] or "") for key in made_of)])
    return markdown(header, rows)


def _rate(lr: float | None) -> str:
    return "" if lr is None or math.isnan(lr) else f"{lr:g}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None or math.isnan(seconds) else seconds_text(seconds)


def official(runs: pandas.DataFrame, label: str, task: Task) -> bool:
    """Whether an upstream was scored on all of a task's official test set: only then is it comparable."""
    mine = runs[(runs["label"] == label) & (runs["task"] == task.name)]
    counts = {(fold or None): int(n) for fold, n in zip(mine["fold"], mine["utterances"])}
    return counts == task.official


def published_table(table: pandas.DataFrame, runs: pandas.DataFrame) -> str | None:
    """Ours, the paper's and the leaderboard's score, where one of them has the same members, interface and test set.

    In Markdown; None where there is none.
    """
    rows = []
    for _, row in table[table["upstream"] != FLOOR].iterrows():
        for task in tasks_of(runs):
            if math.isnan(row[task.column]) or not official(runs, row["upstream"], task):
                continue
            mine = (runs["label"] == row["upstream"]) & (runs["task"] == task.name)
            fusion = runs.loc[mine, "fusion"].iloc[0]
            theirs = [paper_score(fusion, task.name), leaderboard_score(fusion, task.column)]
            if any(score is not None for score in theirs):
                cells = ["" if score is None else percent(score) for score in (row[task.column], *theirs)]
                rows.append([row["upstream"], row["interface"], task.column, *cells])
    return markdown(["upstream", "interface", "score", "ours", "paper", "leaderboard"], rows) if rows else None


def superb_table(table: pandas.DataFrame, runs: pandas.DataFrame) -> str | None:
    """Each task's SUPERB score, where its official test set was scored; in Markdown, or None where none was."""
    tasks = [task for task in TASKS.values() if task in tasks_of(runs)]
    rows = []
    for _, row in table[table["upstream"] != FLOOR].iterrows():
        values = {
            column: row[column]
            for task in tasks
            for column in task.columns
            if official(runs, row["upstream"], task) and not math.isnan(row[column])
        }
        if values:
            scores = leaderboard.task_scores(values)
            total = leaderboard.superb_score(values)
            cells = [f"{scores[task.title]:.1f}" if task.title in scores else "" for task in tasks]
            rows.append([row["upstream"], row["interface"], *cells, "" if total is None else f"{total:.1f}"])
    header = ["upstream", "interface", *(task.title for task in tasks), "SUPERB score"]
    return markdown(header, rows) if rows else None
