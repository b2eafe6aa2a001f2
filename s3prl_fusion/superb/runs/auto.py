"""`--interfaces auto`: interface and members, each member alone among them, are chosen by dev scores for each task.

What is tried is trained as any other run, in its own folder; only what is chosen is evaluated. Its score, with the
choice in it, and the files that it follows from are then put into a folder of the row's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from ... import identity
from ...config import FusionConfig
from ...files import each_file, link_or_copy, read_json, whole_folder, write_sealed
from ...interfaces import DEFAULT_INTERFACE
from ...names import spellings
from ..layout import RunFolder, auto_name, variant_folders
from ..records import RUN, SCORE
from ..scores.results import choice_in_words
from ..tasks import Task
from .experiment import Experiment, Upstream
from .stages import NeverBetter, StageError

# What each set of members is tried under, beside the upstream's own. Each is a training more for every set.
INTERFACES = tuple(dict.fromkeys((DEFAULT_INTERFACE, "hconv", "weighted_sum")))


@dataclass(frozen=True)
class Auto:
    """A row of the table whose members and interface dev scores choose.

    Attributes:
        name: what the fused upstream is called.
        made_of: what a run of it trains on.
        candidates: its members together, and each alone, under each interface.
    """

    name: str
    made_of: Mapping[str, Any]
    candidates: tuple[Upstream, ...]

    @property
    def identity(self) -> str:
        """What tells this row from others, whatever is chosen."""
        return identity.digest(["auto", self.made_of, [upstream.made_of for upstream in self.candidates]])

    def cost_in_words(self, seeds: int, rates: int) -> str:
        """Say what it takes to choose: the rates are tried on the first seed, the best one of each on all."""
        number = len(self.candidates)
        return (
            f"{self.name}, auto: {number} candidates, {number * (seeds + rates - 1)} trainings for each task and fold; "
            "only what is best on dev is evaluated"
        )


@dataclass(frozen=True)
class Tried:
    """A candidate under one task, at its learning rate.

    Attributes:
        upstream: the candidate.
        runs: of all seeds and folds.
        dev_score: the mean over them in percent; None where one of them never got better than nothing.
    """

    upstream: Upstream
    runs: Sequence[Experiment]
    dev_score: float | None

    @property
    def cost(self) -> tuple[int, int]:
        """Parameters of the upstream, and of what is trained on it, as its first run has counted them."""
        counts = read_json(self.runs[0].folder.run_file, RUN).get("parameters", {})
        return counts.get("upstream") or 0, (counts.get("featurizer") or 0) + (counts.get("downstream") or 0)

    def told(self) -> dict[str, Any]:
        """Describe it for people, as score.json keeps it."""
        fusion, (frozen, trained) = self.upstream.fusion, self.cost
        return {
            "upstream": self.upstream.label,
            "interface": fusion.interface.name,
            "members": fusion.member_names,
            "dev_score": self.dev_score,
            "lr": self.runs[0].lr,
            "upstream_parameters": frozen,
            "trained_parameters": trained,
            "train_seconds": sum(run.stamp("train").read().get("seconds", 0.0) for run in self.runs),
        }


@dataclass(frozen=True)
class Choice:
    """What dev scores chose for a row and task.

    Attributes:
        auto: the row.
        tried: every candidate, in the order in which they are listed.
        best: one of them.
    """

    auto: Auto
    tried: Sequence[Tried]
    best: Tried

    def told(self) -> dict[str, Any]:
        """Describe it, as score.json keeps it."""
        return {
            "upstream": self.auto.name,
            "identity": self.auto.identity,
            "made_of": self.auto.made_of,
            "members": self.auto.candidates[0].fusion.member_names,
            "chosen": self.best.upstream.label,
            "seeds": sorted({run.seed for run in self.best.runs}),
            "candidates": [one.told() for one in self.tried],
        }

    def row(self, run: Experiment) -> Experiment:
        """Return a chosen run as one of the row: with the folder that it is put into."""
        upstream = replace(run.upstream, name=auto_name(self.auto.name), model_config=None)
        return replace(run, upstream=upstream, lr=None)


def candidates(name: str, fusion: FusionConfig) -> list[list[str]]:
    """Name what is tried for a fused upstream, each in every way to say it: all members, then each of several alone."""
    sets = [None, *(fusion.member_names if len(fusion.members) > 1 else ())]
    interfaces = dict.fromkeys([fusion.interface.name, *INTERFACES])
    return [spellings(name, fusion, member, interface) for member in sets for interface in interfaces]


def choose(
    autos: Sequence[Auto],
    runs: Sequence[Experiment],
    failures: Mapping[str, StageError],
    rates: Mapping[tuple[str, str], float] | None = None,
) -> tuple[list[Choice], dict[str, StageError]]:
    """Choose for each row and task the candidate with the best dev score, the cheapest of equals.

    Args:
        autos: the rows.
        runs: those of the candidates, trained.
        failures: by experiment label. As in `search.choose`, what never got better than nothing loses, and any other
            failure leaves its rows and task without a choice.
        rates: what `search.choose` returns, where there were several.

    Returns:
        The choices, and the failures that stand in the way of one.
    """
    chosen: list[Choice] = []
    blocking: dict[str, StageError] = {}
    tasks = {run.task.name: run.task for run in runs}
    for auto, task in ((auto, task) for auto in autos for task in tasks.values()):
        tried = [_try(upstream, [run for run in runs if run.task == task], rates) for upstream in auto.candidates]
        failed = {run.label: failures[run.label] for one in tried for run in one.runs if run.label in failures}
        broken = {label: error for label, error in failed.items() if not isinstance(error, NeverBetter)}
        better = [one for one in tried if one.dev_score is not None]
        if broken or not better:
            blocking.update(broken or failed)
        else:
            chosen.append(Choice(auto, tried, min(better, key=lambda one: _rank(one, task))))
    return chosen, blocking


def _try(upstream: Upstream, runs: Sequence[Experiment], rates: Mapping[tuple[str, str], float] | None) -> Tried:
    every = [run for run in runs if run.upstream.label == upstream.label]
    chosen = [run for run in every if rates is None or run.lr == rates.get((upstream.label, run.task.name))]
    mine = chosen or every  # where no rate was any good, or could be tried
    scores: list[Any] = [run.stamp("train").read().get("dev_score") for run in mine]
    return Tried(upstream, mine, None if None in scores else fmean(scores))


def _rank(tried: Tried, task: Task) -> tuple[float, tuple[int, int]]:
    sign = -1 if task.dev_metric.higher_is_better else 1
    assert tried.dev_score is not None
    return sign * round(tried.dev_score, 9), tried.cost  # rounded: the mean of equal scores depends on their order


def publish(choices: Sequence[Choice], failures: Container[str]) -> list[Experiment]:
    """Put what was chosen, evaluated and scored into the folders of its rows; what was there is an earlier choice.

    Args:
        choices: of some rows and tasks.
        failures: labels of the runs that have no score; without one of its folds, a seed has none.

    Returns:
        The runs of the rows, see `Choice.row`.
    """
    rows = []
    for choice in choices:
        task = choice.best.runs[0].task
        broken = {run.seed for run in choice.best.runs if run.label in failures}
        whole = [run for run in choice.best.runs if run.seed not in broken]
        for folder in variant_folders(choice.row(choice.best.runs[0]).folder.upstream, task) if whole else ():
            shutil.rmtree(folder)
        for run in whole:
            rows.append(choice.row(run))
            _put(run, rows[-1], choice.told())
    return rows


def _put(run: Experiment, row: Experiment, told: Mapping[str, Any]) -> None:
    """Put one run into the row's folder: its files, and its score with the choice in it."""
    source, target = run.folder, row.folder.path
    kept = [source.best_ckpt(run.task), source.run_file, *run.outputs("evaluate")]
    with whole_folder(target, unless=lambda: False) as draft:
        for file in kept:
            each_file(file, source.path, draft, link_or_copy)
        write_sealed(RunFolder(draft).result, {**read_json(source.result, SCORE), "auto": told})


def in_words(choices: Sequence[Choice]) -> str:
    """One line a choice."""
    return "\n".join(
        f"{choice.auto.name} {choice.best.runs[0].task.name}: {choice_in_words(choice.told())} is the best on dev of "
        f"{len(choice.tried)}"
        for choice in choices
    )
