"""Does fusing pay here? Each fused row of a table against the best of its members alone, which dev scores choose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...metrics import ScoreError
from ...statistics import Estimate, difference
from ..tasks import Task
from .compare import pair
from .tables import is_auto, tasks_of

if TYPE_CHECKING:
    import pandas

NOTE = (
    "Better, worse: than the best of the row's members alone in this table, as dev scores choose it; by how many"
    " percent points, with a 95 % interval (of `results --compare`) that excludes 0."
)


@dataclass(frozen=True)
class Verdict:
    """A fused row under one task.

    Attributes:
        upstream: the row.
        task: the task.
        single: the best of the row's members alone on dev.
        gain: how much better the row is, in percent points; None where the two cannot be paired.
        problem: why not.
    """

    upstream: str
    task: Task
    single: str
    gain: Estimate | None
    problem: str = ""

    @property
    def line(self) -> str:
        """Say it in one line."""
        row = f"- {self.upstream}, {self.task.column}: "
        if self.gain is None:
            return f"{row}cannot be held against {self.single}: {self.problem}"
        said = {1: "better than", -1: "worse than", 0: "not told apart from"}[self.gain.sign]
        return f"{row}{said} {self.single} ({self.gain.text()})"

    def told(self) -> dict[str, Any]:
        """Describe it, as results.json keeps it."""
        gain = self.gain and {"gain": self.gain.value, "low": self.gain.low, "high": self.gain.high, "p": self.gain.p}
        return {"upstream": self.upstream, "task": self.task.name, "single": self.single, **(gain or {})}


def verdicts(runs: pandas.DataFrame) -> list[Verdict]:
    """Judge every fused row whose members stand alone in the table too.

    Args:
        runs: as `tables.read_runs` returns them.
    """
    return [verdict for task in tasks_of(runs) for verdict in _of_task(task, runs[runs["task"] == task.name])]


def _of_task(task: Task, runs: pandas.DataFrame) -> Iterator[Verdict]:
    rows = {label: group for label, group in runs.groupby("label", sort=False)}
    members = {label: _members(group.iloc[0]) for label, group in rows.items()}
    for label, group in rows.items():
        alone = [
            other
            for other in rows
            if len(members[other]) == 1 and len(members[label]) > 1 and members[other][0] in members[label]
        ]
        if alone:
            single = _best_on_dev(task, [rows[other] for other in alone])
            yield _judge(task, group, single)


def _members(run: pandas.Series) -> Sequence[Any]:
    """Return what the members of a row are made of; of a choice's row, of the fused upstream."""
    return (run["auto"] if is_auto(run) else run)["made_of"].get("members", [])


def _best_on_dev(task: Task, rows: Sequence[pandas.DataFrame]) -> pandas.DataFrame:
    sign = 1 if task.dev_metric.higher_is_better else -1
    return max(rows, key=lambda runs: sign * runs["dev_score"].astype(float).mean())


def _judge(task: Task, fused: pandas.DataFrame, single: pandas.DataFrame) -> Verdict:
    row, best = fused["label"].iloc[0], single["label"].iloc[0]
    try:
        found = difference(pair(task, [fused, single]), over_seeds=True, name=task.column)
    except ScoreError as error:
        return Verdict(row, task, best, None, str(error))
    return Verdict(row, task, best, found if task.metric.higher_is_better else -found)
