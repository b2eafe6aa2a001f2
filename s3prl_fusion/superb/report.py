"""The table and the chart, made from the score files alone: results.md, results.csv, runs.csv, results.png."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_whole, write_with
from .progress import seconds_text
from .published import paper_score
from .tasks import Task

if TYPE_CHECKING:
    import pandas

FROZEN = re.compile(r"frozen parameters: ([\d,]+)")  # printed by `s3prl_fusion run` at the start
FLOOR = "(chance)"
# Okabe and Ito's palette: told apart by people with any kind of colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")


def count_parameters(ckpt: Path, log: Path) -> dict[str, int | None]:
    """Trained numbers in a checkpoint of s3prl's runner, and frozen ones where the log tells.

    Args:
        ckpt: A checkpoint; holds the states "Featurizer" and "Downstream".
        log: The training log.

    Returns:
        featurizer_parameters, downstream_parameters, frozen_parameters (None when the log does not say).
    """
    import argparse

    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        states = torch.load(ckpt, map_location="cpu", weights_only=True)
    counts: dict[str, int | None] = {}
    for entry in ("Featurizer", "Downstream"):
        # best_score is the recipes' own buffer, no parameter
        tensors = [tensor for name, tensor in states.get(entry, {}).items() if name != "best_score"]
        counts[f"{entry.lower()}_parameters"] = sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
    frozen = FROZEN.search(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else None
    counts["frozen_parameters"] = int(frozen.group(1).replace(",", "")) if frozen else None
    return counts


def read_runs(results: Sequence[Path]) -> pandas.DataFrame:
    """One row a score file."""
    import pandas

    return pandas.DataFrame([json.loads(path.read_text(encoding="utf-8")) for path in results])


def tabulate(runs: pandas.DataFrame, tasks: Sequence[Task]) -> pandas.DataFrame:
    """One row an upstream, and a last row with what needs no speech at all.

    Args:
        runs: Columns as in score.json; folds are averaged.
        tasks: Which columns there are, in order.

    Returns:
        Columns upstream, interface, one a task (percent, NaN where not run), featurizer_parameters,
        <task>_downstream_parameters, frozen_parameters, seconds (train + evaluate, all tasks).
    """
    import pandas

    rows = []
    for upstream, group in runs.groupby("upstream", sort=False):
        row = {"upstream": upstream, "interface": group["interface"].iloc[0]}
        for task in tasks:
            row[task.column] = group.loc[group["task"] == task.name, "score"].mean()
        row["featurizer_parameters"] = group["featurizer_parameters"].max()
        for task in tasks:
            heads = group.loc[group["task"] == task.name, "downstream_parameters"]
            row[f"{task.name}_downstream_parameters"] = heads.max()
        row["frozen_parameters"] = group["frozen_parameters"].max()
        row["seconds"] = (group["train_seconds"] + group["evaluate_seconds"]).sum()
        rows.append(row)
    floor = {"upstream": FLOOR, "interface": ""}
    floor.update({task.column: runs.loc[runs["task"] == task.name, "chance"].mean() for task in tasks})
    table = pandas.DataFrame([*rows, floor])
    whole = [column for column in table if column.endswith("parameters")]
    table[whole] = table[whole].astype("Float64").round().astype("Int64")
    return table


def _number(value: object) -> str:
    import pandas

    return "" if pandas.isna(value) else f"{int(value):,}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---" if index < 2 else "---:" for index in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ruler, *rows))


def _score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def main_table(table: pandas.DataFrame, tasks: Sequence[Task]) -> str:
    """`tabulate`'s table in Markdown; the best score of each column is bold."""
    header = ["upstream", "interface"]
    header += [f"{task.column} % {'↑' if task.higher_is_better else '↓'}" for task in tasks]
    header += [
        "featurizer params",
        f"head params ({' / '.join(task.title for task in tasks)})",
        "frozen params",
        "time",
    ]
    real = table[table["upstream"] != FLOOR]
    best = {task.column: real[task.column].agg("max" if task.higher_is_better else "min") for task in tasks}
    rows = []
    for _, row in table.iterrows():
        is_floor = row["upstream"] == FLOOR
        cells = [row["upstream"], row["interface"]]
        for task in tasks:
            text = _score(row[task.column])
            is_best = not is_floor and len(real) > 1 and row[task.column] == best[task.column]
            cells.append(f"**{text}**" if is_best else text)
        heads = " / ".join(_number(row[f"{task.name}_downstream_parameters"]) for task in tasks)
        cells += [_number(row["featurizer_parameters"]), "" if is_floor else heads, _number(row["frozen_parameters"])]
        rows.append([*cells, "" if is_floor else seconds_text(row["seconds"])])
    return _markdown(header, rows)


def runs_table(runs: pandas.DataFrame, tasks: Mapping[str, Task]) -> str:
    """One line a run in Markdown: score, trainable parameters, wall time."""
    import pandas

    header = ["upstream", "run", "score", "featurizer params", "head params", "train", "evaluate"]
    rows = []
    for _, row in runs.iterrows():
        task = tasks[row["task"]]
        name = task.title if pandas.isna(row["fold"]) else f"{task.title} {row['fold']}"
        times = [seconds_text(row[f"{stage}_seconds"]) for stage in ("train", "evaluate")]
        counts = [_number(row[f"{part}_parameters"]) for part in ("featurizer", "downstream")]
        rows.append([row["upstream"], name, f"{task.metric} {row['score']:.2f} %", *counts, *times])
    return _markdown(header, rows)


def paper_table(table: pandas.DataFrame, tasks: Sequence[Task]) -> str | None:
    """Ours and the paper's score where it has one for the same members, interface and task; in Markdown, or None."""
    rows = []
    for _, row in table[table["upstream"] != FLOOR].iterrows():
        for task in tasks:
            paper = paper_score(row["upstream"], task.name)
            if paper is not None and not math.isnan(row[task.column]):
                ours = row[task.column]
                rows.append([row["upstream"], row["interface"], task.column, _score(ours), _score(paper)])
    return _markdown(["upstream", "interface", "score", "ours", "paper"], rows) if rows else None


def draw(table: pandas.DataFrame, tasks: Sequence[Task], path: Path) -> None:
    """Draw one panel a task: a bar an upstream, and a dashed line where no speech is needed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    real, floor = table[table["upstream"] != FLOOR], table[table["upstream"] == FLOOR].iloc[0]
    labels = list(real["upstream"])
    height = 1.6 + 0.45 * len(labels)
    figure, panels = pyplot.subplots(
        1, len(tasks), figsize=(3.4 * len(tasks) + 1.4, height), sharey=True, squeeze=False
    )
    for panel, task in zip(panels[0], tasks):
        values = real[task.column].fillna(0.0)
        colours = [COLOURS[index % len(COLOURS)] for index in range(len(labels))]
        bars = panel.barh(range(len(labels)), values, color=colours, edgecolor="black", linewidth=0.6)
        texts = [_score(value) or "not run" for value in real[task.column]]
        panel.bar_label(bars, labels=texts, padding=3, fontsize=9)
        panel.axvline(floor[task.column], color="0.35", linestyle="--", linewidth=1.2)
        panel.set_yticks(range(len(labels)), labels)
        panel.set_title(f"{task.column} (%)\n{'higher is better →' if task.higher_is_better else '← lower is better'}")
        panel.set_xlim(0, 1.18 * max(100.0 if task.higher_is_better else 0.0, floor[task.column], values.max()))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].invert_yaxis()
    figure.text(0.99, 0.01, "dashed: chance, or an empty transcript", ha="right", fontsize=8, color="0.35")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    try:
        write_with(path, lambda temporary: figure.savefig(temporary, dpi=150, format="png"))
    finally:
        pyplot.close(figure)


def report(results: Sequence[Path], tasks: Sequence[Task], exp: Path, title: str) -> str:
    """Write the four files into `exp`.

    Args:
        results: The score files to show, in the order of the rows.
        tasks: The columns.
        exp: Where to write.
        title: First line of results.md.

    Returns:
        The main table, in Markdown.
    """
    runs = read_runs(results)
    table = tabulate(runs, tasks)
    main = main_table(table, tasks)
    note = f"`{FLOOR}`: a blind guess among the labels, or an empty transcript. Times: wall time, train + evaluate.\n"
    lines = [f"# {title}\n", main, note, "## Runs\n", runs_table(runs, {task.name: task for task in tasks})]
    beside = paper_table(table, tasks)
    if beside:
        lines += ["## Beside the paper (arXiv 2511.08389)\n", beside]
    write_whole(exp / "results.md", "\n".join(lines))
    write_with(exp / "results.csv", lambda path: table.to_csv(path, index=False, float_format="%.4f"))
    write_with(exp / "runs.csv", lambda path: runs.to_csv(path, index=False, float_format="%.4f"))
    draw(table, tasks, exp / "results.png")
    return main
