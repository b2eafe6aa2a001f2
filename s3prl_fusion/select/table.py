"""What is told of each trial: a row with everything, and a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..statistics import Estimate
from ..superb.scores.tables import percent
from ..text import markdown
from .choice import Choice
from .costs import Cost
from .trials import Trial

if TYPE_CHECKING:
    import pandas

Redundancies = Mapping[tuple[tuple[str, ...], str], float]


def rows_of(
    choice: Choice, trials: Sequence[Trial], costs: Mapping[str, Cost], redundancies: Redundancies
) -> Iterator[dict[str, Any]]:
    """Tell everything of each trial of a task, the best first and controls last; None is what there is not."""
    controls = [trial for trial in trials if trial.control_of]
    for trial in (*choice.trials, *controls):
        gain, over = choice.gains.get(trial.label), choice.over_control.get(trial.label)
        redundant = None if trial.control_of else _most_redundant(trial.members, redundancies)
        yield {
            "task": trial.task.name,
            "label": trial.label,
            "members": " + ".join(trial.members),
            "interface": trial.fusion.interface.name,
            "control_of": trial.control_of or None,
            "score": trial.score,
            "spread": None if len(trial.seeds) < 2 else trial.spread,
            "seeds": len(trial.seeds),
            **_ends("gain", gain),
            "p": choice.p_values.get(trial.label),
            **_ends("over_control", over),
            "redundancy": redundant and redundant[0],
            "redundant_member": redundant and redundant[1],
            **asdict(costs[trial.label]),
            "trained_parameters": trial.parameters,
            "recommended": trial is choice.recommended,
        }


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    ends = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends))


def _most_redundant(members: Sequence[str], redundancies: Redundancies) -> tuple[float, str] | None:
    """Find the member of a set that the others foretell best."""
    found = [
        (value, name)
        for (names, name), value in redundancies.items()
        if name not in names and {*names, name} == set(members)
    ]
    return max(found, default=None)


def table(rows: Sequence[Mapping[str, Any]], missing: Sequence[Mapping[str, str]]) -> str:
    """Write a task's rows, and what was not trained, in Markdown."""
    header = ["members", "interface", "score", "gain", "p", "over control", "R2", "GMACs", "parameters", "trained"]
    header.append("time")
    cells = []
    for row in rows:
        members = f"control of {row['control_of']}: {row['members']}" if row["control_of"] else row["members"]
        cells.append(
            [
                f"**{members}**" if row["recommended"] else members,
                row["interface"],
                percent(row["score"], *([] if row["spread"] is None else [row["spread"]])),
                _interval(row, "gain"),
                "" if row["p"] is None else f"{row['p']:.3f}",
                _interval(row, "over_control"),
                "" if row["redundancy"] is None else f"{row['redundancy']:.2f} {row['redundant_member']}",
                f"{row['macs'] / 1e9:.3g}",
                f"{row['parameters']:,}",
                f"{row['trained_parameters']:,}",
                f"{row['real_time_factor']:.3g}",
            ]
        )
    cells += [[row["members"], row["interface"], f"not trained: {row['why_not']}", *[""] * 8] for row in missing]
    return markdown(header, cells)


def _interval(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None or row[name] == row[f"{name}_low"] == row[f"{name}_high"] == 0.0:
        return ""
    return f"{row[name]:+.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"


def frame(rows: Sequence[Mapping[str, Any]], missing: Sequence[Mapping[str, str]]) -> pandas.DataFrame:
    """Put what was tried and what was not into one frame."""
    import pandas

    return pandas.DataFrame([*rows, *missing])
