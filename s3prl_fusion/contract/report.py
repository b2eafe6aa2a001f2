"""Everything that is looked at in one upstream, in order, and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from .batch import batch
from .cost import cost, longest
from .findings import FAILS, WARNING, Finding, explained, reasons
from .modes import deterministic, gradients, half_precision, training
from .probe import Probe
from .reach import reach, shortest
from .shapes import finite, lengths, rate, shapes, silence, waveforms

Look = Callable[[Probe], Finding]
# The contract, in seconds; and what its author wants to know beyond it.
QUICK: dict[str, Look] = {
    "hidden states": shapes,
    "waveforms": waveforms,
    "finite": finite,
    "rate": rate,
    "lengths": lengths,
    "batch": batch,
}
# Where one of these fails, nothing else can be told.
BASIC = ("hidden states", "finite")
MORE: dict[str, Look] = {
    "deterministic": deterministic,
    "silence": silence,
    "receptive field": reach,
    "shortest": shortest,
    "half precision": half_precision,
    "training mode": training,
    "gradients": gradients,
    "cost": cost,
    "longest": longest,
}


def examine(probe: Probe, quick: bool = False, files: Sequence[Path] = ()) -> Iterator[Finding]:
    """Look at an upstream, with a progress bar, as far as something can be told, see `BASIC`.

    Args:
        probe: the upstream.
        quick: the contract alone.
        files: what it is loaded from, as far as that lies on this disk.
    """
    looks = {**QUICK, **({} if quick else {**MORE, "cost": partial(cost, files=files)})}
    with tqdm(looks.items(), leave=False, disable=None) as bar:  # none in a log, where the lines tell enough
        for what, look in bar:
            bar.set_description(what)
            finding = _look(what, look, probe)
            yield finding
            if what in BASIC and finding.mark == FAILS:
                return


def _look(what: str, look: Look, probe: Probe) -> Finding:
    """Make what an upstream raises a finding too; beyond the contract it is a warning."""
    try:
        return look(probe)
    except Exception as error:  # of whatever kind its code raises
        return Finding(what, FAILS if what in QUICK else WARNING, explained(error))


def line(finding: Finding) -> str:
    """Write a finding for people."""
    return f"  {finding.mark:<8} {finding.what:<16} {finding.said}"


def verdict(name: str, findings: Sequence[Finding]) -> str:
    """Say in a line whether an upstream can be used."""
    broken, warnings = reasons(findings), sum(finding.mark == WARNING for finding in findings)
    if broken:
        return f"{name} cannot be used as it is: {'; '.join(broken)}"
    noted = f", with {warnings} warning{'s' * (warnings > 1)}" if warnings else ""
    return f"{name} keeps to run_downstream's contract{noted}"
