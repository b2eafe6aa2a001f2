"""Runs all benchmarks, one process each, and ends with one table, which it also puts into README.md here."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common import HERE, RESULTS, Row, publish, table

SCRIPTS = ["interfaces", "cache", "members", "ddp", "startup", "selection", "sweeps", "queries"]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns how many benchmarks failed to run; a target that is not met is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a smoke test of every script; changes no file")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(SCRIPTS))
    if unknown:
        parser.error(f"unknown benchmarks {', '.join(unknown)}; choose from {', '.join(SCRIPTS)}")
    names = [name for name in SCRIPTS if name in args.names or not args.names]
    failed = [name for number, name in enumerate(names) if not _run(name, f"{number + 1}/{len(names)}", args.quick)]
    if not args.quick:
        results = {name: RESULTS / f"{name}.json" for name in SCRIPTS}
        whole = summary([path for path in results.values() if path.is_file()])
        publish("benchmarks", whole)
        print("\n" + whole, end="")
    if failed:
        print(f"failed to run: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _run(name: str, number: str, quick: bool) -> bool:
    script = HERE / f"{name}.py"
    print(f"[{number}] {name} ...", end=" ", flush=True)
    started = time.perf_counter()
    command = [sys.executable, str(script), *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"{time.perf_counter() - started:.0f} s" + ("" if done.returncode == 0 else ": failed\n" + done.stdout))
    return done.returncode == 0


def summary(paths: Sequence[Path]) -> str:
    """One table of the results at the paths, and below it what they were measured on."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    rows = [Row(**row) for result in results for row in result["rows"]]
    machines = dict.fromkeys(
        "{cpu}, {cores} cores, {threads} threads, Python {python}, torch {torch}, {date}".format(**result["machine"])
        for result in results
    )
    return table(rows) + "\n" + "".join(f"Measured on {machine}.\n" for machine in machines)


if __name__ == "__main__":
    sys.exit(main())
