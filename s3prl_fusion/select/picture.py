"""select_<task>.png: scores against multiply-accumulates, with the line of those that nothing beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_with
from ..superb.scores.chart import COLOURS
from .choice import Choice
from .costs import Cost
from .trials import Trial

SINGLE, SET, FRONT = COLOURS[0], COLOURS[1], COLOURS[2]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Find the points that no other beats: with at most the cost and at least the merit, and one of them better.

    Args:
        points: (cost, merit) each; more merit is better.

    Returns:
        Their indices, the lowest cost first.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front


def draw(choice: Choice, costs: Mapping[str, Cost], path: Path, budget: float | None = None) -> None:
    """Draw a task's trials: the best interface of each set, with the interval of its gain as an error bar.

    Args:
        choice: what is drawn.
        costs: by label.
        path: the PNG.
        budget: a dotted line, if there is one.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    task, up = choice.task, choice.task.metric.higher_is_better
    shown = list({trial.members: trial for trial in reversed(choice.trials)}.values())  # the best of each set
    macs = [costs[trial.label].macs / 1e9 for trial in shown]
    figure, panel = pyplot.subplots(figsize=(8.0, 5.0))
    for trial, cost in zip(shown, macs):
        _mark(panel, choice, trial, cost)
    front = pareto([(cost, trial.merit) for cost, trial in zip(macs, shown)])
    panel.plot([macs[i] for i in front], [shown[i].score for i in front], color=FRONT, zorder=0, label="Pareto front")
    panel.axhline(choice.single.score, color="0.35", linestyle="--", linewidth=1.2, label="best single member")
    if budget is not None:
        panel.axvline(budget / 1e9, color="0.35", linestyle=":", linewidth=1.2, label="budget")
    panel.set_xscale("log")
    for format_ticks in (panel.xaxis.set_major_formatter, panel.xaxis.set_minor_formatter):
        format_ticks(ticker.LogFormatter(minor_thresholds=(2, 0.5)))
    panel.margins(x=0.2)
    panel.set_xlabel("GMACs (10⁹ multiply-accumulates) a second of speech")
    panel.set_ylabel(f"dev {task.metric.name} (%), {'higher is better →' if up else '← lower is better'}")
    panel.set_title(task.title)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=8, frameon=False)
    note = "bars: 95 % interval of the gain over the best single member; bold: recommended"
    figure.text(0.99, 0.01, note, ha="right", fontsize=8, color="0.35")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    try:
        write_with(path, lambda temporary: figure.savefig(temporary, dpi=150, format="png"))
    finally:
        pyplot.close(figure)


def _mark(panel: Any, choice: Choice, trial: Trial, cost: float) -> None:
    """Draw one trial into a panel of matplotlib's."""
    gain, is_recommended = choice.gains[trial.label], trial.members == choice.recommended.members
    below, above = gain.value - gain.low, gain.high - gain.value
    if not choice.task.metric.higher_is_better:
        below, above = above, below
    panel.errorbar(
        [cost],
        [trial.score],
        yerr=[[max(0.0, below)], [max(0.0, above)]],
        fmt="o" if trial.is_single else "s",
        color=SINGLE if trial.is_single else SET,
        markersize=10 if is_recommended else 6,
        markeredgecolor="black",
        capsize=3,
        linewidth=1.0,
    )
    weight, place = "bold" if is_recommended else "normal", {"xytext": (7, 5), "textcoords": "offset points"}
    panel.annotate(" + ".join(trial.members), (cost, trial.score), fontsize=8, fontweight=weight, **place)
