"""The leaderboard's form, filled in as far as the checkpoints and the upstream tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from ...names import label
from ...upstreams.entries import known
from ..scores.leaderboard import PROFILED_SAMPLES
from .entry import Costs, Entry

OPEN = "**to fill in**"  # marks what only the user knows
SAMPLES_PER_MS = 16


def track(entry: Entry) -> tuple[str, str]:
    """Return the leaderboard's track, and why."""
    interface, all_tasks = _own(entry.first.fusion["interface"]["name"]), entry.trained
    picked = [one.run.task.title for one in all_tasks if one.is_picked]
    changed = [one.run.task.title for one in all_tasks if not one.stock_head]
    if entry.first.args.upstream_trainable:
        return "public / unconstrained", "the upstream is fine-tuned (-f)"
    if interface != "weighted_sum":
        return "less constrained", f"the interface {interface} is trained in place of the weighted sum"
    if not all(one.only_weights for one in all_tasks):
        why = "the weighted sum also learns a projection that `match_dim: interpolate` does without"
        return "less constrained", why
    if picked:
        return "less constrained", f"{', '.join(picked)}: states are picked (-s, -l) in place of the weighted sum"
    if changed:
        return "less constrained", f"the downstream model of {', '.join(changed)} is not configured as SUPERB's"
    return "constrained", "frozen upstream, weighted sum, stock downstream"


def fill_in(entry: Entry, costs: Costs | None) -> str:
    """Return the form, in Markdown; without costs, what they would tell is left open where nothing else tells it."""
    name, why = track(entry)
    labelled = [label(member) for member in entry.members if known(member).labelled]
    lines = [f"# {entry.name} for the SUPERB leaderboard\n", f"Track: *{name}* ({why}).\n"]
    if labelled:
        lines.append(
            f"Note: {', '.join(labelled)} was pretrained with labels. The SUPERB challenge's hidden set does not allow "
            "such upstreams.\n"
        )
    lines += [_table(("the form asks for", "answer"), _answers(entry, costs)), "## Runs\n"]
    header = ("task", "folder", "seed", "learning rate", "interface parameters", "head parameters")
    rows = [
        (
            one.run.task.title,
            one.run.folder.name,
            one.run.seed,
            _rate(one.run.lr),
            one.featurizer,
            one.head,
        )
        for one in entry.trained
    ]
    lines.append(_table(header, rows))
    if costs and costs.interface_macs:
        macs = ", ".join(f"{group} {count}" for group, count in costs.interface_macs.items())
        lines.append(f"The form's MACs are of the upstream's forward alone. The interface's, beside them: {macs}.\n")
    return "\n".join(lines)


def _answers(entry: Entry, costs: Costs | None) -> list[tuple[str, object]]:
    rate = costs.rate if costs else min((size.downsample_rate for size in entry.sizes or ()), default=None)
    parameters = entry.first.upstream
    tuned = entry.first.args.upstream_trainable
    macs = costs.macs if costs else dict.fromkeys(("total", *PROFILED_SAMPLES), OPEN)
    return [
        ("submission name", entry.name),
        ("model URL", f"{OPEN}: where the model can be had"),
        ("description", _description(entry)),
        ("stride (ms)", OPEN if rate is None else f"{rate / SAMPLES_PER_MS:g}"),
        ("input format", "waveform, 16 kHz, one channel"),
        ("corpus", "; ".join(_corpus(name) for name in dict.fromkeys(entry.members))),
        ("parameter description", _parameter_description(entry, parameters)),
        *((f"MACs, {group}", macs[group]) for group in ("total", *PROFILED_SAMPLES)),
        ("shared parameters", 0 if tuned else parameters),
        ("fine-tuned parameters", parameters if tuned else 0),
        *((f"task-specific parameters, {one.run.task.title}", one.featurizer + one.head) for one in entry.trained),
    ]


def _description(entry: Entry) -> str:
    fusion, tuned = entry.first.fusion, entry.first.args.upstream_trainable
    shapes = entry.first.shapes or [(size.layers, size.dim) for size in entry.sizes or ()]
    members = []
    for i, member in enumerate(fusion["members"]):
        ckpt = member.get("ckpt")
        text = label(member["name"]) + (
            f" ({PurePath(ckpt).name if PurePath(ckpt).is_absolute() else ckpt})" if ckpt else ""
        )
        if member.get("layers"):
            text += f", layers {', '.join(map(str, member['layers']))}"
        members.append(text + (f", {shapes[i][0]} x {shapes[i][1]}" if shapes else ""))
    options = {key: value for key, value in fusion["interface"].items() if key != "name"}
    interface = "s3prl's weighted sum" if entry.is_stock else f"the interface {_own(fusion['interface']['name'])}"
    if options:
        interface += f" ({', '.join(f'{key}: {value}' for key, value in options.items())})"
    normalized = ", each normalized over its features," if fusion.get("normalize") else ""
    state = "fine-tuned" if tuned else "frozen"
    return f"{state} {' + '.join(members)} (hidden states x width){normalized} under {interface} of all hidden states"


def _rate(lr: float | None) -> str:
    return "none" if lr is None else f"{lr:g}"


def _own(interface: str) -> str:
    """Return a user's own interface without its folder."""
    return PurePath(interface).name


def _corpus(member: str) -> str:
    return f"{label(member)}: {known(member).corpus or f'{OPEN}, what it was pretrained on'}"


def _parameter_description(entry: Entry, parameters: int) -> str:
    whose = "fine-tuned for each task" if entry.first.args.upstream_trainable else "frozen, shared by all tasks"
    interface = "weighted sum" if entry.is_stock else f"interface {_own(entry.first.fusion['interface']['name'])}"
    featurizer = sorted({one.featurizer for one in entry.trained if one.run.task.trains} or {0})
    return (
        f"upstream: {parameters} parameters, {whose}; {interface}: {' or '.join(map(str, featurizer))}, trained "
        "for each task and counted with its head as task-specific"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, ["---"] * len(header), *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
