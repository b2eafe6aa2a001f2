"""The command line of the benchmark: `s3prl-fusion superb`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..superb.layout import SEED
from ..superb.runs.options import DEFAULT_TASKS, DEMO_EXP, DEMO_SEEDS, DEMO_UPSTREAMS, add_corpora
from ..superb.runs.table_options import add_table
from ..superb.table_tasks import KINDS
from ..superb.tasks import TASKS, load_named

if TYPE_CHECKING:
    from ..superb.runs.experiment import Experiment

load_own = load_named
EPILOG = (
    "Arguments after -- go to every training run of s3prl's run_downstream, for example: -- -o config.optimizer.lr=1e-3"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `s3prl-fusion superb`; arguments after `--` land in `args.run_args`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--demo", action="store_true", help="all four tasks on the recordings and models that ship with the package")
    add("-u", "--upstreams", metavar="NAME[,NAME...]", help=f"upstreams (with --demo: {DEMO_UPSTREAMS})")
    known = f"{', '.join(TASKS)}, or your own: my_task.py:NAME (default: {DEFAULT_TASKS})"
    add("-t", "--tasks", metavar="TASK[,TASK...]", help=f"{known}; with --table: {', '.join(KINDS)} of your speech")
    add("-o", "--exp", type=Path, metavar="DIR", help=f"experiment folder (with --demo: {DEMO_EXP})")
    choice = "auto: dev scores choose one, and whether all members or the best alone"
    add("--interfaces", metavar="NAME[,NAME...]", help=f"run fused upstreams with each of these interfaces; {choice}")
    add("--lr", metavar="RATE[,RATE...]", help="learning rates; the best dev score chooses (default: the recipe's)")
    default = f"{SEED}, s3prl's; with --demo: {DEMO_SEEDS}"
    add("--seeds", metavar="N[,N...]", help=f"a training run each (default: {default})")
    add_ways_to_run(parser)
    add("--dry-run", action="store_true", help="print the commands and do nothing")
    add_table(parser)
    add_corpora(parser)  # the last, so that a user's own corpus takes no name of these
    add("run_args", nargs="*", metavar="-- run args", help="more arguments for every training run")


def add_ways_to_run(parser: argparse.ArgumentParser) -> None:
    """Declare the recipes' settings, and where and how many at a time runs are; `select` has them too."""
    add = parser.add_argument
    add("--configs", type=Path, metavar="DIR", help="your own asr.yaml, pr.yaml ... (default: SUPERB's settings)")
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda when there is one, else cpu)")
    add("--jobs", type=int, metavar="N", help="runs at a time (default: a CPU core each with --demo, else 1)")
    add(
        "--slurm",
        nargs="?",
        const="",
        metavar="KEY=VALUE[,KEY=VALUE...]",
        help="a Slurm job for each run, with submitit's options: slurm_partition=gpu,timeout_min=600",
    )


def main(args: argparse.Namespace) -> int:
    """Run the benchmark; the exit status is 0 when every run has a score, 1 when a run failed."""
    with terminate_as_interrupt():
        return run(args)


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, and a terminal that closes, like Ctrl-C, so that the children end with us."""
    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    # Under nohup SIGHUP is ignored, and stays so.
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(args: argparse.Namespace) -> int:
    """Check, prepare, run, report. Raises ValueError or FileNotFoundError for what the user can mend."""
    from ..superb.runs import launch, options
    from ..superb.runs.forks import ForkServer
    from ..superb.runs.pipeline import summary

    fill_in_demo(args)
    plan = options.make_plan(args)
    lines = plan.lines(options.sources_of(args))  # also refuses paths that the runs could not be told
    changed = plan.changed()
    told = [*plan.costs(), *in_words(changed)]
    if args.dry_run:
        print("\n".join([*map("# {}".format, told), *lines]))
        return 0
    exp = plan.settings.exp
    with ForkServer() as server, launch.only_one(exp) as lock:
        start = launch.make_start(args, len(plan.experiments()), server)
        launch.check_own(args, plan.untried(changed), plan.settings, len(plan.experiments()), server, lock)
        options.prepare_corpora(args, plan.tasks, exp, write=True)
        for line in told:
            print(line, file=sys.stderr)
        experiments, failures = launch.run_plan(plan, partial(start, keep_open=lock))
        try:
            show_results(experiments, failures, exp, "The demo's scores" if args.demo else "Scores")
        finally:  # also where the table cannot be written
            if failures:
                print(summary(failures, len(plan.experiments())), file=sys.stderr)
    return 1 if failures else 0


def in_words(changed: Mapping[str, Sequence[str]]) -> list[str]:
    """Tell, before it happens, which earlier runs are set aside and trained again, and why."""
    return [f"{label} is set aside and trained again: {'; '.join(why)}" for label, why in changed.items()]


def fill_in_demo(args: argparse.Namespace) -> None:
    """Fill in what --demo means for the options that were not given."""
    if args.demo:
        args.upstreams, args.exp = args.upstreams or DEMO_UPSTREAMS, args.exp or DEMO_EXP
        args.seeds = DEMO_SEEDS if args.seeds is None else args.seeds


def show_results(experiments: Sequence[Experiment], failures: Container[str], exp: Path, title: str) -> None:
    """Write and print the table of everything that has a score."""
    from ..superb.scores.report import report

    # The mean over some of a task's folds is not the task's score: it is left out until all are there.
    broken = {e.folder.path.parent for e in experiments if e.label in failures and e.fold}
    scored = [e for e in experiments if e.label not in failures and e.folder.path.parent not in broken]
    if scored:
        print(f"\n{report([e.folder for e in scored], title, exp)}")
