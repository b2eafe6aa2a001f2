"""Runs a plan: on this machine, several experiments at a time, or as Slurm jobs; and never two in one folder."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ...errors import UsageError
from ..layout import lock_file
from . import auto, own, pipeline, search, slurm
from .experiment import STAGES, Experiment, Settings, Upstream
from .forks import ForkServer
from .pipeline import usable_cores
from .plan import Plan
from .stages import Children, StageError

MAX_JOBS = 4  # more copies of an upstream than this fill the memory of a common machine

Start = Callable[..., dict[str, StageError]]


def make_start(args: argparse.Namespace, number: int, server: ForkServer | None = None) -> Start:
    """How experiments are run: here, several at a time, forked from a server, or as Slurm jobs."""
    if args.slurm is not None:
        options = slurm.parse_options(args.slurm)
        # Jobs do not inherit the lock: they are found again by their numbers.
        return lambda experiments, stages, keep_open: slurm.run_all(experiments, options, stages)
    jobs = min(choose_jobs(args), number)
    return lambda experiments, stages, keep_open: pipeline.run_all(
        experiments, jobs, thread_limits(jobs), keep_open, stages, server
    )


def check_own(
    args: argparse.Namespace,
    upstreams: Sequence[Upstream],
    settings: Settings,
    number: int,
    server: ForkServer,
    keep_open: Sequence[int] = (),
) -> None:
    """Look at upstreams of the user's own before they are trained, see `own.check_own`; here, also where the trainings
    are Slurm jobs. In the environment of ``number`` runs, so that these are forked from the same process."""
    limits = thread_limits(min(choose_jobs(args), number)) if args.slurm is None else {}
    children = Children({**settings.environment, **limits}, keep_open, server)
    own.check_own(upstreams, settings, children, settings.device if args.slurm is None else "cpu")


def run_plan(plan: Plan, start: Start) -> tuple[list[Experiment], dict[str, StageError]]:
    """Run everything; with several learning rates or candidates, those that are chosen.

    Returns:
        What was to be scored, and every failure by label.
    """
    experiments, rates = plan.experiments(), None
    failures: dict[str, StageError] = {}
    if plan.searches:
        candidates = plan.candidates()
        rates, failures = search.choose(candidates, start(candidates, ["train"]))
        print(search.in_words(rates))
        experiments = [e for e in experiments if rates.get((e.upstream.label, e.task.name)) == e.lr]
    choices, in_the_way = choose_rows(plan, experiments, rates, failures, start) if plan.autos else ([], {})
    of_rows = {e.label for e in plan.experiments() if e.upstream in plan.upstreams}
    # A candidate that was tried in vain and is no row itself has not failed.
    failures = {**{label: error for label, error in failures.items() if label in of_rows}, **in_the_way}
    rows = [e for e in experiments if e.label in of_rows]
    asked = {e.label: e for e in (*rows, *(run for choice in choices for run in choice.best.runs))}
    failures.update(start(list(asked.values()), STAGES) if asked else {})
    return [*rows, *auto.publish(choices, failures)], failures


def choose_rows(
    plan: Plan,
    experiments: Sequence[Experiment],
    rates: search.Choices | None,
    failures: Mapping[str, StageError],
    start: Start,
) -> tuple[list[auto.Choice], dict[str, StageError]]:
    """Train what is tried for the rows of `auto`, and choose; see `auto.choose`.

    Args:
        plan: the plan.
        experiments: what is left of it; of several learning rates, with the best one.
        rates: which that is.
        failures: by label, what stood in the way of it.
        start: runs experiments.
    """
    tried = plan.tried()
    labels = {e.label for e in tried}
    failed = start([e for e in experiments if e.label in labels], ["train"])
    choices, in_the_way = auto.choose(plan.autos, tried, {**failures, **failed}, rates)
    print(auto.in_words(choices))
    return choices, in_the_way


def choose_jobs(args: argparse.Namespace) -> int:
    """How many runs at a time: a core each for the demo on a CPU, else one."""
    if args.jobs is not None:
        if args.jobs < 1:
            raise UsageError(f"--jobs: got {args.jobs}, needs at least 1")
        return args.jobs
    on_gpu = has_gpu() if args.device is None else args.device != "cpu"
    return min(usable_cores(), MAX_JOBS) if args.demo and not on_gpu else 1


def has_gpu() -> bool:
    """Whether torch can use CUDA."""
    import torch

    return torch.cuda.is_available()


def thread_limits(jobs: int) -> dict[str, str]:
    """Share the cores among the runs; what the user has set stays."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    if any(os.environ.get(name) for name in names):  # one of them is enough: of two, torch takes MKL's
        return {}
    return dict.fromkeys(names, str(max(1, usable_cores() // jobs)))


@contextlib.contextmanager
def only_one(exp: Path) -> Iterator[tuple[int, ...]]:
    """Hold EXP/.lock, so that two pipelines never train in the same folders.

    Yields:
        The lock's file descriptors: a child that inherits them holds the lock too, also when we are killed.

    Raises:
        ValueError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no flock
        yield ()
        return
    exp.mkdir(parents=True, exist_ok=True)
    with lock_file(exp).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{exp} is in use by another `s3prl-fusion superb`, or by a run that one left behind; "
                "wait for it, end it, or choose another -o"
            ) from None
        yield (lock.fileno(),)
