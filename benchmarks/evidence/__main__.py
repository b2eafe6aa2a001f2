"""Run what docs/evidence/runs.csv lacks, a row a run, and make docs/evidence.md from it. Interrupted, it goes on.

A run is known by what it is made of: a row whose members, recipe or corpus are others by now is run again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from common import put

from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.cli import build_parser
from s3prl_fusion.commands.superb import terminate_as_interrupt
from s3prl_fusion.files import write_whole
from s3prl_fusion.superb.runs import launch, options
from s3prl_fusion.superb.runs.experiment import STAGES, Experiment
from s3prl_fusion.superb.runs.forks import ForkServer
from s3prl_fusion.superb.runs.pipeline import is_done, summary, usable_cores
from s3prl_fusion.superb.runs.stages import StageError

from . import pictures, rows
from .cells import Evidence
from .page import TABLES
from .runs import PARTS, SEEDS, Wanted

DOCS = Path(__file__).resolve().parents[2] / "docs"
TASKS = ("asr", "pr", "sid", "er")


def main(argv: Sequence[str] | None = None) -> int:
    """Run batch after batch, one for each part, seed and task; the CSV is whole after each of them. Then make the page.

    Returns:
        1 if a run failed.
    """
    args = parse(argv)
    if args.page:
        publish(args.csv)
        return 0
    failures: dict[str, StageError] = {}
    with terminate_as_interrupt(), ForkServer() as server, launch.only_one(args.exp) as lock:
        for part in args.parts:
            for seed in args.seeds:
                for task in args.tasks:
                    failures.update(run_batch(args, part, task, seed, server, lock))
    if failures:
        print(summary(failures, len(failures)), file=sys.stderr)
    if not args.list:
        publish(args.csv)
    return 1 if failures else 0


def publish(csv: Path) -> None:
    """Make the page's tables and pictures."""
    evidence = Evidence(rows.read(csv))
    for name, table in TABLES.items():
        put(name, table(evidence), DOCS / "evidence.md")
    pictures.draw_all(evidence, DOCS / "evidence")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("make evidence", description=__doc__)
    add = parser.add_argument
    add("-o", "--exp", type=Path, default=Path("exp/evidence"), metavar="DIR", help="default: exp/evidence")
    add(
        "--csv",
        type=Path,
        default=DOCS / "evidence" / "runs.csv",
        metavar="FILE",
        help="default: docs/evidence/runs.csv",
    )
    add("--parts", type=names(PARTS), default=list(PARTS), metavar="NAME[,NAME...]", help=f"of {', '.join(PARTS)}")
    add("--tasks", type=names(TASKS), default=list(TASKS), metavar="NAME[,NAME...]", help=f"of {', '.join(TASKS)}")
    add(
        "--seeds",
        type=int,
        default=len(SEEDS),
        metavar="N",
        help=f"the first N of {', '.join(map(str, SEEDS))} (default: all)",
    )
    add(
        "--only",
        type=words,
        default=[""],
        metavar="TEXT[,TEXT...]",
        help="upstreams whose labels begin so: demo_hubert_",
    )
    add("--jobs", type=int, default=usable_cores(), metavar="N", help="runs at a time (default: one a core)")
    add("--list", action="store_true", help="say how many runs are left, and do nothing")
    add("--page", action="store_true", help="make the page from the CSV as it is")
    args = parser.parse_args(argv)
    args.exp, args.seeds = args.exp.resolve(), SEEDS[: args.seeds]
    return args


def words(text: str) -> list[str]:
    """Read a comma-separated list."""
    return text.split(",")


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """Make a reader of comma-separated names."""

    def read(text: str) -> list[str]:
        found = words(text)
        if unknown := sorted(set(found) - set(known)):
            raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; choose from {', '.join(known)}")
        return found

    return read


def run_batch(
    args: argparse.Namespace, part: str, task: str, seed: int, server: ForkServer, lock: Sequence[int]
) -> dict[str, StageError]:
    """Run what has no row of one part, task and seed, and put its rows into the CSV.

    Returns:
        The failures by label.
    """
    table = rows.read(args.csv)
    found = {cell.label: cell for cell in PARTS[part](Evidence(table), task)}
    wanted = {label: cell for label, cell in found.items() if label.startswith(tuple(args.only))}
    if not wanted:
        return {}
    experiments = plan(args, list(wanted.values()), task, seed)
    there = set(table["identity"])
    left = [experiment for experiment in experiments if experiment.key("train") not in there]
    print(f"{part}, {task}, seed {seed}: {len(left)} of {len(experiments)} runs are left", flush=True)
    if args.list or not left:
        return {}
    stale = [rows.key_of(experiment, wanted[experiment.upstream.label]) for experiment in left]
    rows.write(rows.without(table, stale), args.csv)
    start = launch.make_start(superb_arguments(args, [], task, seed), len(left), server)
    try:
        return start(left, STAGES, keep_open=lock)
    finally:  # also what has ended before an interruption
        keep(args.csv, left, wanted)


def keep(csv: Path, experiments: Sequence[Experiment], wanted: Mapping[str, Wanted]) -> None:
    """Put the runs that have a score into the CSV, and remove their folders: hundreds of MB that nobody reads again."""
    scored = [experiment for experiment in experiments if is_done(experiment, "score")]
    found = [rows.row_of(experiment, wanted[experiment.upstream.label]) for experiment in scored]
    rows.write(rows.put(rows.read(csv), found), csv)
    for experiment in scored:
        shutil.rmtree(experiment.folder.path)


def plan(args: argparse.Namespace, cells: Sequence[Wanted], task: str, seed: int) -> list[Experiment]:
    """Write the cells' YAMLs, which share a cache, and say what `superb --demo` makes of them."""
    cache = CacheConfig(str(args.exp / "cache"))
    files = [args.exp / "fusions" / f"{cell.label}.yaml" for cell in cells]
    for file, cell in zip(files, cells):
        write_whole(file, replace(cell.fusion, cache=cache).to_yaml())
    given = superb_arguments(args, list(map(str, files)), task, seed)
    options.prepare_corpora(given, options.choose_tasks(given), args.exp, write=True)
    return options.make_plan(given).experiments()


def superb_arguments(args: argparse.Namespace, upstreams: Sequence[str], task: str, seed: int) -> argparse.Namespace:
    """Write and parse the command line of `superb`."""
    words = ["superb", "--demo", "-u", ",".join(upstreams), "-t", task, "--seeds", str(seed)]
    words += ["-o", str(args.exp), "--device", "cpu", "--jobs", str(args.jobs)]
    return build_parser(words).parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
