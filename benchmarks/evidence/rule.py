"""Does fusing lose? Every fused cell against the best single member of its set, and against hconv of the same set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from s3prl_fusion.statistics import Estimate, holm, mean
from s3prl_fusion.superb.runs.auto import INTERFACES

from .cells import Cell, Evidence

ALPHA = 0.05
SINGLES = INTERFACES  # that a single member is tried with: those of `superb --interfaces auto`
Policy = Callable[[str, Sequence[str]], "Cell | None"]  # task, set -> what is used there


@dataclass(frozen=True)
class Comparison:
    """One cell of the matrix under one policy.

    Attributes:
        fused: what the policy uses.
        single: the best single member, chosen on dev.
        gain: of the first over the second.
        p: of the gain, corrected for the number of cells (Holm).
        members: of the set that there was to choose from.
    """

    fused: Cell
    single: Cell
    gain: Estimate
    p: float
    members: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Return better, worse or not told apart."""
        if self.p > ALPHA or self.gain.sign == 0:
            return "not told apart"
        return "better" if self.gain.value > 0 else "worse"


@dataclass(frozen=True)
class Outcome:
    """The rule for one policy.

    Attributes:
        cells: tasks and sets of two or more members.
        over_hconv: the mean over the cells of the gain over hconv with the same set.
        is_whole: whether all cells have been run.
    """

    cells: Sequence[Comparison]
    over_hconv: Estimate
    is_whole: bool

    @property
    def over_single(self) -> Estimate:
        """The mean over the cells of the gain over the best single member."""
        return mean([cell.gain for cell in self.cells])

    def count(self, verdict: str) -> int:
        """Count cells by verdict."""
        return sum(cell.verdict == verdict for cell in self.cells)

    @property
    def pairs(self) -> list[Comparison]:
        """The cells with two members to choose from."""
        return [cell for cell in self.cells if len(cell.members) == 2]

    @property
    def better_pairs(self) -> int:
        """Count the pairs' cells that are better in the mean."""
        return sum(cell.gain.value > 0 for cell in self.pairs)

    @property
    def is_met(self) -> bool:
        """Whether it is worse in no cell, better in half of the pairs, and better than hconv in the mean."""
        is_safe = self.is_whole and self.count("worse") == 0
        return is_safe and 2 * self.better_pairs >= len(self.pairs) and self.over_hconv.sign > 0


def judge(evidence: Evidence, policy: Policy) -> Outcome | None:
    """Hold a policy against the rule, in the cells that have been run; None where there are none."""
    matrix = [(task.name, members) for task in evidence.tasks for members in evidence.sets if len(members) > 1]
    rows = []
    for task, members in matrix:
        fused, hconv = policy(task, members), evidence.get(task, members, "hconv")
        if fused and hconv:
            rows.append((members, fused, hconv, evidence.best_single(task, members, SINGLES)))
    if not rows:
        return None
    gains = [fused.gain(single) for _, fused, _, single in rows]
    corrected = holm([gain.p for gain in gains])
    cells = [Comparison(row[1], row[3], gain, p, row[0]) for row, gain, p in zip(rows, gains, corrected)]
    return Outcome(cells, mean([fused.gain(hconv) for _, fused, hconv, _ in rows]), len(rows) == len(matrix))
