"""docs/evidence.md's tables, from the CSV alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.statistics import mean
from s3prl_fusion.superb.tasks import Task
from s3prl_fusion.text import markdown

from .cells import OFF, ON, Cell, Evidence, best_on_test, choose
from .rule import SINGLES, Outcome, Policy, judge


def short(members: Sequence[str]) -> str:
    """Name a set without what all its names begin with."""
    return " + ".join(member.removeprefix("demo_") for member in members)


def header(evidence: Evidence) -> list[str]:
    """Name a column for each task."""
    return [f"{task.column} % {task.metric.arrow}" for task in evidence.tasks]


def table_of(header: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown, or that there is none."""
    return markdown(header, table) if table else "Not run.\n"


def text_of(cell: Cell | None) -> str:
    """Write `65.0 ± 1.2`, without a spread for a single seed; nothing for what has not been run."""
    if cell is None:
        return ""
    score, spread = cell.score
    return f"{score:.1f}" + ("" if math.isnan(spread) else f" ± {spread:.1f}")


def scores(evidence: Evidence) -> str:
    """Every set under every interface, normalized: mean and standard deviation over the seeds."""
    table = []
    for members in evidence.sets:
        for variant in evidence.variants_of(members):
            cells = [evidence.get(task.name, members, variant) for task in evidence.tasks]
            if any(cells):
                params = next(cell for cell in cells if cell).runs["featurizer_params"].iloc[0]
                table.append([short(members), variant, *map(text_of, cells), f"{params:,}"])
    return table_of(["members", "interface", *header(evidence), "interface's parameters"], table)


def fused(evidence: Evidence) -> str:
    """The default interface against the best single member, a row a task and set."""
    outcome = judge(evidence, fixed(evidence, DEFAULT_INTERFACE))
    table = []
    for cell in outcome.cells if outcome else ():
        oracle = best_on_test(evidence.find(cell.fused.task, [(member,) for member in cell.members], SINGLES))
        table.append(
            [
                f"{task_of(evidence, cell.fused).column}",
                short(cell.members),
                text_of(cell.fused),
                f"{text_of(cell.single)} ({named(cell.single)})",
                cell.gain.text(),
                f"{cell.p:.3f}",
                cell.verdict,
                f"{text_of(oracle)} ({named(oracle)})",
            ]
        )
    columns = ["score", "members", f"{DEFAULT_INTERFACE}", "best single, by dev", "gain", "p (Holm)", "fusing is"]
    return table_of([*columns, "best single, by test"], table)


def named(cell: Cell) -> str:
    """Name a cell in a few words."""
    return f"{short(cell.members)} {cell.variant}"


def task_of(evidence: Evidence, cell: Cell) -> Task:
    """Return a cell's task."""
    return next(task for task in evidence.tasks if task.name == cell.task)


def fixed(evidence: Evidence, variant: str) -> Policy:
    """Make the policy that fuses everything under one interface."""
    return lambda task, members: evidence.get(task, members, variant)


def policies(evidence: Evidence) -> Iterator[tuple[str, Policy]]:
    """List what is held against the rule: each interface, and choices on dev."""
    for variant in evidence.variants:
        yield variant, fixed(evidence, variant)
    yield "`auto`", lambda task, members: evidence.auto(task, members, SINGLES)
    every = evidence.variants
    yield (
        "dev among all subsets and interfaces",
        lambda task, members: evidence.auto(task, members, every, subsets=True),
    )


def rule(evidence: Evidence) -> str:
    """The rule's outcome, a row a policy, and where each is better and worse."""
    found = [(name, judge(evidence, policy)) for name, policy in policies(evidence)]
    outcomes = [(name, outcome) for name, outcome in found if outcome]
    columns = ["what is used", "rule met", "cells", "worse than the best single", "better", "better in the mean: pairs"]
    columns += ["mean gain over the best single", "mean gain over hconv"]
    table = table_of(columns, [outcome_cells(name, outcome) for name, outcome in outcomes])
    return (
        table + "".join(f"\n{line}" for name, outcome in outcomes for line in in_words(evidence, name, outcome)) + "\n"
    )


def outcome_cells(name: str, outcome: Outcome) -> list[str]:
    """Write a row of `rule`."""
    counts = [len(outcome.cells), outcome.count("worse"), outcome.count("better")]
    pairs = f"{outcome.better_pairs} of {len(outcome.pairs)}"
    gains = [outcome.over_single.text(), outcome.over_hconv.text()]
    return [name, "yes" if outcome.is_met else "no", *map(str, counts), pairs, *gains]


def in_words(evidence: Evidence, name: str, outcome: Outcome) -> Iterator[str]:
    """Say where a policy is told apart from the best single, a line a policy."""
    for verdict in ("worse", "better"):
        cells = [cell for cell in outcome.cells if cell.verdict == verdict]
        where = "; ".join(f"{task_of(evidence, cell.fused).title} {short(cell.members)}" for cell in cells)
        if cells:
            yield f"- {name} is {verdict} than the best single in: {where}."


def by_dev(evidence: Evidence) -> str:
    """What dev says of each interface, in the mean over the sets of two and three: by this it is chosen."""
    table = []
    for variant in evidence.variants:
        cells = [cell for task in evidence.tasks for cell in evidence.find(task.name, variants=[variant])]
        fused = [cell for cell in cells if len(cell.members) > 1]
        singles = [evidence.best_single(cell.task, cell.members, SINGLES) for cell in fused]
        hconvs = [evidence.get(cell.task, cell.members, "hconv") for cell in fused]
        gains = [single.dev - cell.dev for cell, single in zip(fused, singles)]
        over_hconv = [hconv.dev - cell.dev for cell, hconv in zip(fused, hconvs) if hconv]
        if gains and over_hconv:
            params = sorted(cell.runs["featurizer_params"].iloc[0] for cell in fused)
            better = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
            means = [f"{fmean(values):+.2f}" for values in (gains, over_hconv)]
            table.append([variant, f"{params[0]:,} to {params[-1]:,}", better, *means])
    columns = ["interface", "parameters", "cells better than the best single", "mean gain over it"]
    return table_of([*columns, "mean gain over hconv"], table)


def normalized(evidence: Evidence) -> str:
    """What `normalize` gains, a row a set and interface."""
    table = []
    for members in evidence.sets:
        for variant in evidence.variants_of(members):
            gains = []
            for task in evidence.tasks:
                on, off = (evidence.get(task.name, members, variant, normalize) for normalize in (ON, OFF))
                gains.append(on.gain(off) if on and off else None)
            if any(gains):
                table.append([short(members), variant, *(gain.text(1) if gain else "" for gain in gains)])
    return table_of(["members", "interface", *(task.column for task in evidence.tasks)], table)


def interfaces(evidence: Evidence) -> str:
    """Each interface against hconv with the same set: the mean over the sets of two or more members."""
    table = []
    for variant in evidence.variants:
        gains, params = [], []
        for task in evidence.tasks:
            pairs = [(evidence.get(task.name, s, variant), evidence.get(task.name, s, "hconv")) for s in evidence.sets]
            there = [(one, other) for one, other in pairs if one and other and len(one.members) > 1]
            params += [one.runs["featurizer_params"].iloc[0] for one, _ in there if len(one.members) == 2]
            gains.append(mean([one.gain(other) for one, other in there]).text(1) if there else "")
        cost = f"{min(params):,} to {max(params):,}" if params else ""
        table.append([variant, cost, *gains])
    return table_of(["interface", "parameters of a pair", *(task.column for task in evidence.tasks)], table)


def capacity(evidence: Evidence) -> str:
    """Each set under the default interface, and its best single hconv, widened to as many trained parameters."""
    table = []
    for task in evidence.tasks:
        for cell in evidence.find(task.name, variants=[DEFAULT_INTERFACE]):
            control = evidence.control(cell) if len(cell.members) > 1 else None
            if control is not None:
                texts = [text_of(cell), f"{cell.trained:,}", text_of(control), f"{control.trained:,}"]
                table.append(
                    [task.column, short(cell.members), *texts, short(control.members), cell.gain(control).text()]
                )
    columns = ["score", "members", DEFAULT_INTERFACE, "trained parameters", "control", "its trained parameters"]
    return table_of([*columns, "its member", "gain over it"], table)


def scaling(evidence: Evidence) -> str:
    """Scores by number of members, under each interface: the mean over the sets of so many members, and the best."""
    table = []
    for number in sorted({len(members) for members in evidence.sets}):
        sets = [members for members in evidence.sets if len(members) == number]
        for variant in evidence.variants_of(sets[0]):
            texts = []
            for task in evidence.tasks:
                cells = [cell for cell in (evidence.get(task.name, members, variant) for members in sets) if cell]
                means = [cell.score[0] for cell in cells]
                best = choose(cells).score[0] if cells else 0.0
                texts.append(f"{sum(means) / len(means):.1f}, {best:.1f}" if len(cells) == len(sets) else "")
            if any(texts):
                table.append([str(number), variant, *texts])
    return table_of(["members", "interface", *header(evidence)], table)


def runs(evidence: Evidence) -> str:
    """What the CSV holds."""
    table = []
    for task in evidence.tasks:
        cells = [cell for cell in evidence.cells if cell.task == task.name]
        seeds = [len(cell.runs) for cell in cells]
        spread = f"{min(seeds)}" if min(seeds) == max(seeds) else f"{min(seeds)} to {max(seeds)}"
        table.append([task.column, f"{len(cells[0].lengths)}", f"{len(cells)}", spread, f"{sum(seeds)}"])
    return table_of(["score", "test utterances", "upstreams", "seeds", "runs"], table)


TABLES: dict[str, Callable[[Evidence], str]] = {
    "runs": runs,
    "scores": scores,
    "fused": fused,
    "rule": rule,
    "dev": by_dev,
    "normalize": normalized,
    "interfaces": interfaces,
    "capacity": capacity,
    "scaling": scaling,
}
