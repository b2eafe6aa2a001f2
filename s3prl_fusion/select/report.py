"""What `select` reports: a sentence, a table, pictures and all numbers, and the commands for what it recommends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..files import write_json, write_whole, write_with
from ..superb.tasks import TASKS
from ..text import markdown
from .choice import ALPHA, Choice, choose, enough, over_tasks, sentence
from .commands import superb_commands
from .costs import MemberCost, costs_of
from .picture import draw
from .table import Redundancies, frame, rows_of, table
from .trials import Trial

if TYPE_CHECKING:
    from .sets import Tried


def not_trained(tried: Sequence[Tried]) -> list[dict[str, str]]:
    """List what was not trained, and why: task, members, interface, why_not."""
    return [
        {
            "task": one.task.name,
            "label": one.candidate.label,
            "members": " + ".join(one.candidate.names),
            "interface": one.candidate.interface,
            "why_not": one.why_not,
        }
        for one in tried
        if not one.runs
    ]


def report(
    trials: Sequence[Trial],
    missing: Sequence[Mapping[str, str]],
    members: Mapping[str, MemberCost],
    redundancies: Redundancies,
    output: Path,
    corpora: Sequence[str] = (),
    budget: float | None = None,
) -> str:
    """Compare what was tried, and write select.md, select.csv, select.json and a picture a task.

    Args:
        trials: of all tasks, capacity controls among them.
        missing: what `not_trained` says of the others.
        members: what each costs, by name.
        redundancies: see `redundancy.redundancy`.
        output: DIR.
        corpora: the words of the command line that say where the corpora are.
        budget: MACs a second of speech that a set may cost.

    Returns:
        What to tell the user: the sentence, the tables, the commands, and where the rest is.
    """
    costs = costs_of(members, {trial.label: (trial.members, trial.fusion) for trial in trials})
    resamples = enough(trials)
    by_task: dict[str, list[Trial]] = {name: [] for name in TASKS if name in _tasks(trials, missing)}
    for trial in trials:
        by_task[trial.task.name].append(trial)
    found = {name: choose(of, costs, budget, resamples) for name, of in by_task.items()}
    choices, told = [choice for choice in found.values() if choice], sentence(found)
    commands = superb_commands(choices, corpora, output)
    rows = [row for choice in choices for row in rows_of(choice, by_task[choice.task.name], costs, redundancies)]
    text = _text(told, choices, rows, missing, commands, resamples, budget)
    for choice in choices:
        draw(choice, costs, output / f"select_{choice.task.name}.png", budget)
    write_with(output / "select.csv", lambda path: frame(rows, missing).to_csv(path, index=False, float_format="%.6g"))
    write_json(output / "select.json", _content(told, choices, rows, missing, members, redundancies, commands))
    write_whole(output / "select.md", f"# Which upstreams to fuse\n\n{text}")
    names = ", ".join(f"select_{choice.task.name}.png" for choice in choices)
    return f"{text}\nwritten to {output}: select.md, select.csv, select.json, {names}"


def _tasks(trials: Sequence[Trial], missing: Sequence[Mapping[str, str]]) -> set[str]:
    return {trial.task.name for trial in trials} | {row["task"] for row in missing}


def _text(
    told: str,
    choices: Sequence[Choice],
    rows: Sequence[Mapping[str, Any]],
    missing: Sequence[Mapping[str, str]],
    commands: Sequence[str],
    resamples: int,
    budget: float | None,
) -> str:
    within = "" if budget is None else f"Within {budget:.3g} multiply-accumulates a second of speech: "
    parts = [f"{within}{told}\n"]
    for choice in choices:
        of = [row for row in rows if row["task"] == choice.task.name]
        gone = [row for row in missing if row["task"] == choice.task.name]
        parts.append(f"## {choice.task.column} % {choice.task.metric.arrow}, on a part of dev\n\n{table(of, gone)}")
    if len(choices) > 1:
        labels = {row["label"]: row for row in rows}
        means = [
            [labels[label]["members"], labels[label]["interface"], one.text()]
            for label, one in over_tasks(choices).items()
        ]
        parts.append(f"## Over all tasks\n\n{markdown(['members', 'interface', 'mean gain'], means)}")
    parts.append(
        "gain: over the best single member, in percent points, more is better, with a 95 % interval over utterances and"
        f" seeds ({resamples:,} resamples). A set is recommended where that, and the gain over its control (the best"
        " single member with as many trained parameters), where there is one, are above 0, and p, after Holm's"
        f" correction over the sets of the task, is at most {ALPHA:g}. R2: how much of the named member the others of"
        " the set foretell linearly. MACs and time: a second of speech, without the head.\n"
    )
    if commands:
        parts.append("```bash\n" + "\n".join(commands) + "\n```\n")
    return "\n".join(parts)


def _content(
    told: str,
    choices: Sequence[Choice],
    rows: Sequence[Mapping[str, Any]],
    missing: Sequence[Mapping[str, str]],
    members: Mapping[str, MemberCost],
    redundancies: Redundancies,
    commands: Sequence[str],
) -> dict[str, Any]:
    return {
        "s3prl_fusion": __version__,
        "sentence": told,
        "recommended": {choice.task.name: choice.recommended.label for choice in choices},
        "commands": list(commands),
        "trials": json.loads(frame(rows, missing).to_json(orient="records")),
        "members": {name: cost.to_dict() for name, cost in members.items()},
        "redundancy": [{"from": list(names), "to": name, "R2": value} for (names, name), value in redundancies.items()],
    }
