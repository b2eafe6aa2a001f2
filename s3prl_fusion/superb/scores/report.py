"""results.md, results.csv, results.json, runs.csv and results.png, made from the score files alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...files import write_json, write_whole, write_with
from ...text import markdown
from ..layout import RunFolder
from ..tasks import TASKS, Task
from . import tables
from .chart import draw
from .results import candidate_in_words, find_rates
from .tables import FLOOR, percent
from .verdict import NOTE, verdicts

if TYPE_CHECKING:
    import pandas


def report(folders: Sequence[RunFolder], title: str, output: Path | None = None) -> str:
    """Tabulate runs, and write results.md, results.csv, results.json, runs.csv and results.png.

    Args:
        folders: the runs to show, in the order of the rows.
        title: first line of results.md.
        output: where to write, made when missing; None writes nothing.

    Returns:
        The main table in Markdown, and where the rest is.

    Raises:
        ScoreError: the same run is there twice.
    """
    runs = tables.read_runs(folders)
    table, tasks, judged = tables.tabulate(runs), tables.tasks_of(runs), verdicts(runs)
    said = [*states_lines(runs), *(one.line for one in judged)]
    main = "\n".join([tables.main_table(table, tasks), *said]) + ("\n" if said else "")
    parts = {
        f"# {title}\n": f"{main}\n{notes(table, runs, tasks, bool(judged))}",
        "## Runs\n": tables.runs_table(runs),
        "## Learning rates: dev scores\n": rates_table(find_rates(folders)),
        "## Chosen by auto: dev scores\n": autos_table(runs),
        "## Hidden states: dev scores\n": states_table(runs),
        "## SUPERB score\n": superb_part(table, runs),
        "## Beside published scores\n": tables.published_table(table, runs),
    }
    text = "\n".join(f"{head}\n{part}" for head, part in parts.items() if part)
    if output is None:
        return f"{text}\n-o DIR writes this to DIR, with a chart, and as .csv and .json"
    write_whole(output / "results.md", text)
    write_with(output / "results.csv", lambda path: table.to_csv(path, index=False, float_format="%.4f"))
    write_with(output / "runs.csv", lambda path: _flat(runs).to_csv(path, index=False, float_format="%.4f"))
    # pandas writes NaN as null, which json does not.
    content = {name: json.loads(frame.to_json(orient="records")) for name, frame in (("table", table), ("runs", runs))}
    content["fused_against_single"] = [one.told() for one in judged]
    write_json(output / "results.json", {"s3prl_fusion": __version__, **content})
    draw(table, tasks, output / "results.png")
    return f"{main}\nwritten to {output}: results.md, results.csv, results.json, runs.csv, results.png"


def _flat(runs: pandas.DataFrame) -> pandas.DataFrame:
    """Without what has a structure, which is in score.json and results.json."""
    return runs.drop(columns=["fusion", "made_of", "cache", "auto", "more", "more_chance", "states"], errors="ignore")


def notes(table: pandas.DataFrame, runs: pandas.DataFrame, tasks: Sequence[Task], judged: bool) -> str:
    """Say what a reader of the main table, and of verdicts under it, must know."""
    lines = [f"`{FLOOR}`: a blind guess among the labels, or an empty transcript. Times: wall time, train + evaluate."]
    if any(table[f"{task.column} seeds"].max() > 1 for task in tasks):
        lines.append("`a ± b`: mean and standard deviation over seeds.")
    for task in tasks:
        folds = set(runs.loc[runs["task"] == task.name, "fold"])
        if task.fold_key and task.folds and folds != set(task.folds):
            lines.append(f"{task.title}: {', '.join(sorted(folds))} of {len(task.folds)} folds.")
    lines += [NOTE] if judged else []
    metrics = [column_and_metric for task in tasks for column_and_metric in task.columns.items()]
    lines += [f"{column}: {metric.definition}." for column, metric in metrics if metric.definition]
    return "\n".join(lines) + "\n"


def rates_table(rates: pandas.DataFrame) -> str | None:
    """Dev scores of the learning rates that were tried, a row an upstream and task; None where nothing was searched."""
    rows = []
    for (_, name), group in rates.groupby(["identity", "task"], sort=False):
        if len(group) > 1:
            task = TASKS[name]
            best = group["dev_score"].agg(task.dev_metric.best)
            tried = [
                f"{row.lr:g}: " + (f"**{percent(row.dev_score)}**" if row.dev_score == best else percent(row.dev_score))
                for row in group.itertuples()
            ]
            rows.append([group["upstream"].iloc[0], _dev_column(task), ", ".join(tried)])
    return markdown(["upstream", "dev score", "learning rate: score"], rows) if rows else None


def autos_table(runs: pandas.DataFrame) -> str | None:
    """Dev scores of what `auto` has tried, a row an upstream and task; None where there is none."""
    rows = []
    for (label, name), group in runs.groupby(["label", "task"], sort=False):
        auto, task = group.iloc[0].get("auto"), TASKS[name]
        if tables.is_auto(group.iloc[0]):
            texts = [
                (one["upstream"] == auto["chosen"], f"{candidate_in_words(one, auto)}: {_dev(one)}")
                for one in auto["candidates"]
            ]
            tried = ", ".join(f"**{text}**" if chosen else text for chosen, text in texts)
            rows.append([label, _dev_column(task), tried])
    return markdown(["upstream", "dev score", "candidate: score"], rows) if rows else None


def states_lines(runs: pandas.DataFrame) -> list[str]:
    """Say of tasks that train nothing with which hidden states they were run."""
    return [
        f"- {label}, {task.title}: {states['chosen']}, the best on dev of {len(states['tried'])} choices of states"
        for label, task, states in _states(runs)
    ]


def states_table(runs: pandas.DataFrame) -> str | None:
    """Dev scores of all choices of hidden states, a row an upstream and task; None where nothing was chosen."""
    rows = []
    for label, task, states in _states(runs):
        texts = [(one["states"], f"{one['states']}: {percent(one['dev_score'])}") for one in states["tried"]]
        tried = ", ".join(f"**{text}**" if name == states["chosen"] else text for name, text in texts)
        rows.append([label, _dev_column(task), tried])
    return markdown(["upstream", "dev score", "hidden states: score"], rows) if rows else None


def _states(runs: pandas.DataFrame) -> Iterator[tuple[str, Task, Mapping[str, Any]]]:
    for _, run in runs.iterrows():
        if isinstance(run.get("states"), Mapping):
            yield run["label"], TASKS[run["task"]], run["states"]


def _dev(candidate: Mapping[str, Any]) -> str:
    return "none" if candidate["dev_score"] is None else percent(candidate["dev_score"])


def _dev_column(task: Task) -> str:
    return f"{task.title} {task.dev_metric.name} % {task.dev_metric.arrow}"


def superb_part(table: pandas.DataFrame, runs: pandas.DataFrame) -> str | None:
    """Tabulate the tasks' SUPERB scores, and say what stands in the way of a total.

    None where no official test set was scored.
    """
    scores = tables.superb_table(table, runs)
    note = "0: FBANK, 1000: the best of the leaderboard's first table. The SUPERB score is the mean of all ten tasks.\n"
    return f"{scores}\n{note}" if scores else None
