"""The demo's scores with members that run and with both caches, several seeds each, into README.md here.

Takes most of an hour, so `make bench` leaves it out: python benchmarks/cache_scores.py -o exp/cache_scores
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import publish

from s3prl_fusion.cache.config import DIR_VARIABLE, DTYPE_VARIABLE, DTYPES
from s3prl_fusion.superb.scores.results import find_results
from s3prl_fusion.superb.tasks import TASKS
from s3prl_fusion.text import markdown


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is not there yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--exp", type=Path, required=True, metavar="DIR", help="experiments and caches")
    parser.add_argument("-t", "--tasks", default="asr,pr,sid,er", metavar="TASK[,TASK...]", help="default: all four")
    parser.add_argument("--seeds", default="1,2,3", metavar="N[,N...]", help="default: 1,2,3")
    args = parser.parse_args(argv)
    tasks = args.tasks.split(",")
    rows = []
    for kind in ("live", *DTYPES):
        command = [sys.executable, "-m", "s3prl_fusion", "superb", "--demo", "-u", "fused_demo", "-t", args.tasks]
        command += ["--seeds", args.seeds, "-o", str(args.exp / kind)]
        if subprocess.run(command, env=environment(kind, args.exp)).returncode:
            return 1
        rows.append([kind, args.seeds, *scores(args.exp / kind, tasks)])
    table = markdown(["fused_demo", "seeds", *(TASKS[task].column for task in tasks)], rows)
    publish("cache scores", table)
    print(table, end="")
    return 0


def environment(kind: str, exp: Path) -> Mapping[str, str]:
    """The process's own, with the cache of this kind or none."""
    found = {key: value for key, value in os.environ.items() if key not in (DIR_VARIABLE, DTYPE_VARIABLE)}
    return found if kind == "live" else {**found, DIR_VARIABLE: str(exp / "cache"), DTYPE_VARIABLE: kind}


def scores(exp: Path, tasks: Sequence[str]) -> list[str]:
    """For each task the mean over seeds, and the standard deviation."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in find_results(exp)]
    by_task = {task: [result["score"] for result in results if result["task"] == task] for task in tasks}
    return [
        f"{statistics.mean(found):.2f} ± {statistics.stdev(found) if len(found) > 1 else 0:.2f}"
        for found in by_task.values()
    ]


if __name__ == "__main__":
    sys.exit(main())
