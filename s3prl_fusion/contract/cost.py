"""What an upstream costs, and how long an utterance may be here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import costs
from ..text import seconds_text
from ..upstreams.outputs import TOLERABLE_SEQLEN_DIFF, are_finite
from .findings import FAILS, OK, WARNING, Finding, explained
from .probe import Probe

SECONDS = 10.0
# Memory as a quadratic function of these tells that of longer ones: attention's matrices are frames x frames.
MEASURED = (2.5, 5.0, 10.0)
# Longer than nearly all of SUPERB's utterances, which must work; and as long as a recording may be.
LONG, LONGEST = 30.0, 300.0
_MOST = 0.8  # of the free memory


def cost(probe: Probe, files: Sequence[Path] = ()) -> Finding:
    """Measure speed and memory on noise, and count weights.

    Args:
        probe: the upstream.
        files: what it is loaded from, as far as that lies on this disk.
    """
    wavs = probe.noise(SECONDS)
    run = partial(probe.states, wavs)
    factor, peak = costs.fastest(run, probe.device) / SECONDS, costs.peak_memory(run, probe.device)
    weights = costs.count_parameters(probe.module)
    tensors = [*probe.module.parameters(), *probe.module.buffers()]
    memory = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    disk = sum(file.stat().st_size for file in files)
    values = {
        "seconds": SECONDS,
        "real_time_factor": factor,
        "peak_bytes": peak,
        "parameters": weights,
        "weight_bytes": memory,
        "disk_bytes": disk or None,
        "macs_per_second": round(costs.count_macs(run) / SECONDS),
    }
    on_disk = f", {disk / 1e6:,.1f} MB on disk" if disk else ""
    said = (
        f"{weights:,} parameters, {memory / 1e6:,.1f} MB in memory{on_disk}; on {probe.device} {factor:.2g} s a second "
        f"of speech, and {peak / 1e6:,.0f} MB at most beside the weights for {SECONDS:g} s"
    )
    return Finding("cost", OK, said, values)


def longest(probe: Probe) -> Finding:
    """Run `LONG` and `LONGEST`, as far as memory allows: how long that takes, and whether the frames are as many as the
    rate says."""
    peaks = [costs.peak_memory(partial(probe.states, probe.noise(length)), probe.device) for length in MEASURED]
    curve, free = np.polyfit(MEASURED, peaks, 2), free_memory(probe.device)
    found: list[Finding] = []
    for length in (LONG, LONGEST):
        found.append(_run(probe, length, max(0.0, float(np.polyval(curve, length))), free))
        if found[-1].mark != OK:
            break
    values = {"free_bytes": free, "tried": [each.values for each in found]}
    return Finding("longest", found[-1].mark, "; ".join(each.said for each in found), values)


def _run(probe: Probe, length: float, wanted: float, free: int | None) -> Finding:
    """Run one utterance of ``length`` seconds, if the ``wanted`` bytes are within the free ones."""
    broken = FAILS if length == LONG else WARNING
    values: dict[str, Any] = {"seconds": length, "expected_peak_bytes": round(wanted)}
    if free is not None and wanted > _MOST * free:
        said = f"{length:g} s not tried: about {wanted / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free"
        return Finding("longest", WARNING, said, values)
    (wav,), started = probe.noise(length), time.perf_counter()
    try:
        states = probe.states([wav])
    except Exception as error:  # of whatever kind its code, or a full memory, raises
        return Finding("longest", broken, f"{length:g} s: {explained(error)}", values)
    values["run_seconds"], values["frames"] = time.perf_counter() - started, states[probe.target].size(1)
    said = f"{length:g} s in {seconds_text(values['run_seconds'])}, {values['frames']} frames"
    surplus = probe.surplus(values["frames"], len(wav))
    if not are_finite(states):
        return Finding("longest", FAILS, f"{said}, with NaN or infinity", values)
    if abs(surplus) >= TOLERABLE_SEQLEN_DIFF:
        said += f"; at {probe.rate} samples a frame {values['frames'] - surplus} would be right"
        return Finding("longest", broken, said, values)
    return Finding("longest", OK, said, values)


def free_memory(device: str) -> int | None:
    """Return the bytes that may still be allocated, of a GPU, or of the machine and its container; None where nobody
    says."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(torch.device(device))[0]
    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":") for line in meminfo.read_text(encoding="ascii").splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    limit, used = (Path("/sys/fs/cgroup") / f"memory.{name}" for name in ("max", "current"))
    if limit.is_file() and used.is_file() and limit.read_text().strip().isdigit():
        found.append(int(limit.read_text()) - int(used.read_text()))
    return min(found, default=None)
