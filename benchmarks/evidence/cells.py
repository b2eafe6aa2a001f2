"""The runs of the CSV, cell by cell, and what is asked of them: gains with intervals, choices on dev, the rule.

A gain is how much better something is, in percent points of the task's score, whichever way the score goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy

from s3prl_fusion.errors import UsageError
from s3prl_fusion.statistics import Estimate, Fold, difference, mean_and_spread
from s3prl_fusion.superb.tasks import TASKS, Task

if TYPE_CHECKING:
    import pandas

RESAMPLES = 2000
ON, OFF = "on", "off"  # normalize


@dataclass(frozen=True)
class Cell:
    """The runs of one upstream on one task, a seed each.

    Attributes:
        task: name.
        members, interface, options, normalize: as in the CSV; members apart.
        runs: their rows, by seed.
    """

    task: str
    members: tuple[str, ...]
    interface: str
    options: str
    normalize: str
    runs: pandas.DataFrame

    @cached_property
    def errors(self) -> numpy.ndarray:
        """(S, U), a seed and an utterance."""
        return numpy.array([line.split() for line in self.runs["errors"]], dtype=float)

    @cached_property
    def lengths(self) -> numpy.ndarray:
        """(U,), the references' tokens."""
        return numpy.array(self.runs["lengths"].iloc[0].split(), dtype=float)

    @property
    def variant(self) -> str:
        """What the interface is called in tables."""
        options = self.options.replace("match_dim=", "").replace("output_dim=", "width ")
        return f"{self.interface} {options}".strip()

    @property
    def is_control(self) -> bool:
        """Whether it is one member, widened to have as many trained parameters as some set."""
        return self.options.startswith("output_dim=")

    @property
    def dev(self) -> float:
        """Mean over seeds of the dev score, in percent, less being better."""
        return float(self.runs["dev_score"].mean()) * (-1.0 if TASKS[self.task].metric.higher_is_better else 1.0)

    @property
    def score(self) -> tuple[float, float]:
        """Mean and standard deviation over seeds of the test score, in percent."""
        return mean_and_spread(self.runs["test_score"].tolist())

    @property
    def trained(self) -> int:
        """Trained parameters, of featurizer and head."""
        return int(self.runs["featurizer_params"].iloc[0] + self.runs["head_params"].iloc[0])

    @property
    def frozen(self) -> int:
        """Parameters of the members."""
        return int(self.runs["frozen_params"].iloc[0])

    def is_as_large_as(self, other: Cell) -> bool:
        """Whether both have the same number of trained parameters, to 2 %."""
        return abs(self.trained - other.trained) <= 0.02 * other.trained

    def gain(self, other: Cell) -> Estimate:
        """Bootstrap how much better this cell is than another one of its task, over utterances and seeds."""
        if self.runs["identity"].tolist() == other.runs["identity"].tolist():
            return Estimate(0.0, numpy.zeros(RESAMPLES))
        fold = Fold.of_counts(other.errors, self.errors, self.lengths)
        return difference([fold], RESAMPLES, over_seeds=True)


class Evidence:
    """All cells of a CSV.

    Args:
        runs: as `rows.read` returns them.
    """

    def __init__(self, runs: pandas.DataFrame) -> None:
        keys = ["task", "members", "interface", "options", "normalize"]
        self.cells = [
            Cell(task, tuple(members.split("+")), *rest, group.sort_values("seed"))
            for (task, members, *rest), group in runs.groupby(keys, sort=False)
        ]
        self.tasks: list[Task] = [task for name, task in TASKS.items() if name in set(runs["task"])]
        self.sets = sorted({cell.members for cell in self.cells}, key=lambda members: (len(members), members))

    @cached_property
    def variants(self) -> list[str]:
        """The interfaces of normalized cells, the paper's first; those that control capacity are none of them."""
        found = {cell.variant for cell in self.cells if cell.normalize == ON and not cell.is_control}
        first = [variant for variant in ("weighted_sum", "hconv", "chconv") if variant in found]
        return [*first, *sorted(found - set(first))]

    def variants_of(self, members: Sequence[str]) -> list[str]:
        """List the interfaces that differ for a set: with one member, chconv is hconv."""
        return [variant for variant in self.variants if len(members) > 1 or variant != "chconv"]

    def find(
        self,
        task: str,
        sets: Iterable[Sequence[str]] | None = None,
        variants: Iterable[str] | None = None,
        normalize: str = ON,
    ) -> list[Cell]:
        """List the cells of a task: of these sets, under these interfaces; all by default."""
        wanted = None if sets is None else [tuple(members) for members in sets]
        known = None if variants is None else list(variants)
        return [
            cell
            for cell in self.cells
            if (cell.task, cell.normalize) == (task, normalize)
            and (wanted is None or cell.members in wanted)
            and (cell.variant in known if known is not None else not cell.is_control)
        ]

    def get(self, task: str, members: Sequence[str], variant: str, normalize: str = ON) -> Cell | None:
        """Return one cell, None where it has not been run; with one member, chconv is hconv."""
        variant = "hconv" if variant == "chconv" and len(members) == 1 else variant
        return next(iter(self.find(task, [members], [variant], normalize)), None)

    def best_single(self, task: str, members: Sequence[str], variants: Iterable[str], normalize: str = ON) -> Cell:
        """Choose, on dev, the best of a set's members alone, and under which of the interfaces."""
        return choose(self.find(task, [(member,) for member in members], variants, normalize))

    def control(self, fused: Cell) -> Cell | None:
        """Find the member of a set that is widened to about as many trained parameters, None where it was not run."""
        widened = [cell for cell in self.cells if cell.is_control and cell.task == fused.task]
        near = [cell for cell in widened if {*cell.members} <= {*fused.members} and cell.is_as_large_as(fused)]
        return min(near, key=lambda cell: abs(cell.trained - fused.trained), default=None)

    def auto(self, task: str, members: Sequence[str], variants: Iterable[str], subsets: bool = False) -> Cell:
        """Choose, on dev, among a set and its members alone, or all of its subsets, under each of the interfaces."""
        among = [found for number in range(1, len(members) + 1) for found in combinations(members, number)]
        wanted = [found for found in among if subsets or len(found) in (1, len(members))]
        return choose(self.find(task, wanted, variants))


def choose(cells: Sequence[Cell]) -> Cell:
    """Return the cell that is best on dev in the mean over seeds; of equals the smallest, as `superb` does it."""
    if not cells:
        raise UsageError("no cells to choose from; run `make evidence`")
    return min(cells, key=lambda cell: (round(cell.dev, 9), cell.frozen, cell.trained))


def best_on_test(cells: Sequence[Cell]) -> Cell:
    """Return the oracle's choice, which nobody can make who has not seen the test set."""
    return min(cells, key=lambda cell: (cell.errors.mean(axis=0).sum(), cell.frozen, cell.trained))
