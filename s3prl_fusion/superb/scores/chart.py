"""results.png: one panel a task, one bar an upstream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...files import write_with
from ..tasks import Task
from .tables import FLOOR, percent

if TYPE_CHECKING:
    import pandas

# Okabe and Ito's palette: told apart by people with any kind of colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")


def draw(table: pandas.DataFrame, tasks: Sequence[Task], path: Path) -> None:
    """Draw scores, their spread over seeds, and a dashed line where no speech is needed.

    Args:
        table: As `tables.tabulate` returns it.
        tasks: The panels.
        path: The PNG.
    """
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
        values, spread = real[task.column], real[f"{task.column} spread"]
        colours = [COLOURS[index % len(COLOURS)] for index in range(len(labels))]
        style = {"color": colours, "edgecolor": "black", "linewidth": 0.6, "error_kw": {"capsize": 3}}
        whiskers = None if spread.isna().all() else spread.fillna(0.0)
        bars = panel.barh(range(len(labels)), values.fillna(0.0), xerr=whiskers, **style)
        texts = [percent(*pair) or "not run" for pair in zip(values, spread)]
        panel.bar_label(bars, labels=texts, padding=3, fontsize=9)
        panel.axvline(floor[task.column], color="0.35", linestyle="--", linewidth=1.2)
        panel.set_yticks(range(len(labels)), labels)
        up = task.metric.higher_is_better
        panel.set_title(f"{task.column} (%)\n{'higher is better →' if up else '← lower is better'}")
        top = max(100.0 if up else 0.0, floor[task.column], values.max() + spread.fillna(0.0).max())
        panel.set_xlim(0, (1.18 if whiskers is None else 1.35) * top)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].invert_yaxis()
    figure.text(0.99, 0.01, "dashed: chance, or an empty transcript", ha="right", fontsize=8, color="0.35")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    try:
        write_with(path, lambda temporary: figure.savefig(temporary, dpi=150, format="png"))
    finally:
        pyplot.close(figure)
