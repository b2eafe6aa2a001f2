"""docs/evidence/*.png, from the CSV alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_fusion.files import write_with
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.superb.scores.chart import COLOURS
from s3prl_fusion.superb.tasks import Task

from .cells import Cell, Evidence
from .page import short
from .rule import SINGLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^v"


def draw_all(evidence: Evidence, folder: Path) -> None:
    """Draw every picture."""
    for name, draw in (("gains", gains), ("members", by_members), ("size", by_size)):
        save(draw(evidence), folder / f"{name}.png")


def save(figure: Any, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    from matplotlib import pyplot

    try:
        write_with(path, lambda temporary: figure.savefig(temporary, dpi=130, format="png"))
    finally:
        pyplot.close(figure)


def panels(evidence: Evidence, height: float, **more: Any) -> tuple[Any, Sequence[Axes]]:
    """Make a figure with a panel a task."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (3.2 * len(evidence.tasks) + 1.0, height)
    figure, axes = pyplot.subplots(1, len(evidence.tasks), figsize=size, squeeze=False, **more)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def finish(figure: Any, axes: Sequence[Axes], note: str) -> Any:
    """Put one legend and a note below the panels."""
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(list(found.values()), list(found), loc="lower center", ncols=len(found), frameon=False)
    figure.text(0.99, 0.005, note, ha="right", fontsize=8, color="0.35")
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    return figure


def shown(evidence: Evidence) -> list[str]:
    """List the interfaces that are drawn: the paper's and the default."""
    wanted = ("weighted_sum", "hconv", "chconv", DEFAULT_INTERFACE)
    return [variant for variant in evidence.variants if variant in wanted]


def gains(evidence: Evidence) -> Any:
    """Draw each set's gain over its best single member, with intervals, an interface beside the other."""
    sets = [members for members in evidence.sets if len(members) > 1]
    figure, axes = panels(evidence, 1.6 + 0.8 * len(sets), sharey=True)
    for axis, task in zip(axes, evidence.tasks):
        for number, variant in enumerate(shown(evidence)):
            cells = [evidence.get(task.name, members, variant) for members in sets]
            rows = [i for i, cell in enumerate(cells) if cell]
            found = [cell.gain(evidence.best_single(task.name, cell.members, SINGLES)) for cell in cells if cell]
            where = [row + 0.8 * ((number + 0.5) / len(shown(evidence)) - 0.5) for row in rows]
            errors = [[gain.value - gain.low for gain in found], [gain.high - gain.value for gain in found]]
            style = {"fmt": MARKERS[number % len(MARKERS)], "color": COLOURS[number % len(COLOURS)], "label": variant}
            axis.errorbar([gain.value for gain in found], where, xerr=errors, markersize=4, capsize=2, **style)
        axis.axvline(0.0, color="0.35", linewidth=1.0)
        axis.set_yticks(range(len(sets)), [short(members) for members in sets])
        axis.set_title(f"{task.column}: gain, points\nbetter than the best single →", fontsize=10)
    axes[0].invert_yaxis()
    return finish(figure, axes, "95 % intervals over utterances and seeds")


def by_members(evidence: Evidence) -> Any:
    """Draw scores against the number of members: every set a point, and the mean over the sets a line."""
    figure, axes = panels(evidence, 3.6)
    numbers = sorted({len(members) for members in evidence.sets})
    for axis, task in zip(axes, evidence.tasks):
        for index, variant in enumerate(shown(evidence)):
            cells = [cell for members in evidence.sets if (cell := evidence.get(task.name, members, variant))]
            shift, colour = 0.08 * (index - (len(shown(evidence)) - 1) / 2), COLOURS[index % len(COLOURS)]
            scores = {number: [cell.score[0] for cell in cells if len(cell.members) == number] for number in numbers}
            there = [number for number in numbers if scores[number]]
            for number in there:
                axis.plot([number + shift] * len(scores[number]), scores[number], "o", color=colour, markersize=3)
            means = [sum(scores[number]) / len(scores[number]) for number in there]
            axis.plot([number + shift for number in there], means, "-", color=colour, label=variant)
        axis.set_xticks(numbers)
        axis.set_xlabel("members")
        title(axis, task)
    return finish(figure, axes, "points: sets, means over seeds; lines: means over sets")


def by_size(evidence: Evidence) -> Any:
    """Draw scores against the frozen parameters, every set a point with its spread over seeds, under hconv."""
    figure, axes = panels(evidence, 3.6)
    for axis, task in zip(axes, evidence.tasks):
        for index, members in enumerate(evidence.sets):
            cell: Cell | None = evidence.get(task.name, members, "hconv")
            if cell is not None:
                style = {"fmt": MARKERS[(len(members) - 1) % len(MARKERS)], "color": COLOURS[index % len(COLOURS)]}
                score, spread = cell.score
                axis.errorbar(cell.frozen / 1e6, score, yerr=spread, capsize=3, label=short(members), **style)
        axis.set_xlabel("frozen parameters, millions")
        title(axis, task)
    return finish(figure, axes, "hconv; mean and standard deviation over seeds")


def title(axis: Axes, task: Task) -> None:
    """Say which score it is, and which way is better."""
    axis.set_title(f"{task.column} (%) {task.metric.arrow}", fontsize=10)
