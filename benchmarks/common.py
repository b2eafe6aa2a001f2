"""What the benchmarks share: timing of both sides in turn, the rows of the table, and a result's JSON.

A benchmark is a script of this folder with ``rows(quick=False) -> list[Row]`` and ``main(__file__, rows)`` at its end;
README.md here says more.
"""

from __future__ import annotations

import argparse
import datetime
import inspect
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from s3prl_fusion.files import write_json

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))
from put_table import put  # noqa: E402

RESULTS = HERE / "results"
HEADER = ["what", "ours", "peer", "ratio", "target", "met"]


@dataclass(frozen=True)
class Row:
    """One claim.

    Attributes:
        what: what is measured, on which sizes, and against whom.
        ours, peer: the two sides with their units, e.g. "0.21 s"; "" where there is no such side.
        ratio: what the target is about; each benchmark says which way round by ``what`` and ``target``.
        target: e.g. ">= 1.5"; "" where nothing is promised.
        met: None where nothing is promised.
    """

    what: str
    ours: str
    peer: str
    ratio: float
    target: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        """As a line of the table, see `HEADER`."""
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        return [self.what, self.ours, self.peer, f"{self.ratio:.3g}", self.target, met]


def row(
    what: str, ours: str, peer: str, ratio: float, *, at_least: float | None = None, at_most: float | None = None
) -> Row:
    """A row whose ratio must be at least or at most something, or neither."""
    if at_least is not None:
        return Row(what, ours, peer, ratio, f">= {at_least:g}", ratio >= at_least)
    if at_most is not None:
        return Row(what, ours, peer, ratio, f"<= {at_most:g}", ratio <= at_most)
    return Row(what, ours, peer, ratio)


def speed_up(what: str, ours: float, peer: float, at_least: float | None = None) -> Row:
    """How many times as fast we are: seconds of the peer over ours."""
    return row(what, duration(ours), duration(peer), peer / ours, at_least=at_least)


def share(what: str, ours: float, peer: float, unit: str, at_most: float | None = None) -> Row:
    """Our part of what the peer takes, in any unit, e.g. "MB"."""
    return row(what, f"{ours:.4g} {unit}", f"{peer:.4g} {unit}", ours / peer, at_most=at_most)


def duration(seconds: float) -> str:
    """``12.3 ms``, ``1.23 s``."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def interleaved(
    calls: Mapping[str, Callable[[], Any]], repeats: int = 7, warm_up: int = 1, device: str = "cpu"
) -> dict[str, float]:
    """The median seconds of each call; they take turns, every other round in reverse, so that a machine that slows
    down meanwhile slows all of them down.

    Args:
        calls: for each name what to time.
        repeats: rounds.
        warm_up: rounds that do not count.
        device: a GPU is waited for.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-warm_up, repeats):
        for name in list(calls) if number % 2 else reversed(list(calls)):
            synchronize(device)
            started = time.perf_counter()
            calls[name]()
            synchronize(device)
            if number >= 0:
                spent[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in spent.items()}


def synchronize(device: str) -> None:
    """Waits for a GPU."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """What a result depends on beside the code."""
    described = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": version("torch"),
        "date": datetime.date.today().isoformat(),
    }
    if device.startswith("cuda"):
        import torch

        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    from s3prl_fusion.text import markdown

    return markdown(HEADER, [row.cells() for row in rows])


def publish(name: str, text: str) -> None:
    """Puts a table between the markers for ``name`` of README.md here."""
    put(name, text, HERE / "README.md")


def main(file: str, rows: Callable[..., list[Row]], argv: Sequence[str] | None = None) -> None:
    """A benchmark's command line: measures, prints the table, writes ``results/<name>.json``.

    Args:
        file: the script's ``__file__``.
        rows: measures; called with ``quick``, and with ``device`` if it takes one.
        argv: by default the process's own.
    """
    parser = argparse.ArgumentParser(description=sys.modules[rows.__module__].__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and sizes: is it alive? writes nothing")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="torch's threads; all cores by default")
    options = {}
    if "device" in inspect.signature(rows).parameters:
        parser.add_argument("--device", default="cpu", help="where to measure, e.g. cuda")
    args = parser.parse_args(argv)
    if "device" in args:
        options["device"] = args.device
    import torch

    torch.set_num_threads(args.threads)
    name, device = Path(file).stem, options.get("device", "cpu")
    measured = rows(quick=args.quick, **options)
    print(table(measured), end="")
    if not args.quick:
        name += "" if device == "cpu" else f"-{device.split(':')[0]}"
        result = {"machine": machine(args.threads, device), "rows": [asdict(row) for row in measured]}
        write_json(RESULTS / f"{name}.json", result)
