"""The command line of the benchmark: `s3prl-fusion superb`."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .corpora import Corpora
    from .experiment import Experiment
    from .tasks import Task

HELP = "prepare, train, evaluate and score SUPERB's tasks"
DEMO_UPSTREAMS = "fused_demo,fused_demo_hubert,fused_demo_whisper"
# Hidden states of different models differ in scale by an order of magnitude, which costs steps that the demo lacks.
DEMO_RUN_ARGS = ("--upstream_feature_normalize",)
DEMO_EXP = Path("exp") / "demo"
MAX_JOBS = 4  # more copies of an upstream than this fill the memory of a common machine
EPILOG = (
    "Arguments after -- go to every training run of s3prl's run_downstream, for example: -- -o config.optimizer.lr=1e-3"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `s3prl-fusion superb`; arguments after `--` land in `args.run_args`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--demo", action="store_true", help="all four tasks on the recordings and models that ship with the package")
    add("-u", "--upstreams", metavar="NAME[,NAME...]", help=f"upstreams (with --demo: {DEMO_UPSTREAMS})")
    add("-t", "--tasks", default="asr,pr,sid,er", metavar="TASK[,TASK...]", help="default: asr,pr,sid,er")
    add("-o", "--exp", type=Path, metavar="DIR", help=f"experiment folder (with --demo: {DEMO_EXP})")
    add("--interfaces", metavar="NAME[,NAME...]", help="run each fused upstream with each of these interfaces")
    add("--librispeech", type=Path, metavar="DIR", help="folder with train-clean-100, dev-clean, test-clean (asr, pr)")
    add("--lexicon", metavar="FILE[,FILE...]", help="pronunciations for pr (default: CMUdict)")
    add("--voxceleb1", type=Path, metavar="DIR", help="folder with dev/wav and test/wav (sid, sv)")
    add("--voxceleb1-list", type=Path, metavar="FILE", help="iden_split.txt, when it is not in the VoxCeleb1 folder")
    add(
        "--voxceleb1-trials",
        type=Path,
        metavar="FILE",
        help="veri_test.txt, when it is not in the VoxCeleb1 folder (sv)",
    )
    add("--iemocap", type=Path, metavar="DIR", help="folder with Session1 ... Session5 (er)")
    add("--seed", type=int, default=1337, help="seed of every training run (default: 1337, s3prl's)")
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda when there is one, else cpu)")
    add("--jobs", type=int, metavar="N", help="runs at a time (default: a CPU core each with --demo, else 1)")
    add("--dry-run", action="store_true", help="print the commands and do nothing")
    add("run_args", nargs="*", metavar="-- run args", help="more arguments for every training run")


def main(args: argparse.Namespace) -> int:
    """Run the benchmark.

    Returns:
        0 when every run has a score, 1 when a run failed, 2 for a mistake in the command, 130 after Ctrl-C.
    """
    try:
        with terminate_as_interrupt():
            return run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; give the same command again to go on where it stopped", file=sys.stderr)
        return 130


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
    from .. import assets
    from . import pipeline
    from .experiment import Experiment, Settings, commands
    from .tasks import parse_tasks

    tasks = parse_tasks(args.tasks)
    lacking = [task.name for task in tasks if args.demo and not task.demo_folds]
    if lacking:
        raise ValueError(f"-t {','.join(lacking)}: the demo has no corpus for it; leave it out, or leave --demo out")
    upstreams = choose_upstreams(args)
    exp = (args.exp or (DEMO_EXP if args.demo else None)) or _missing("-o EXP")
    exp = exp.expanduser().resolve()
    configs = Path(assets.downstream_configs_dir()) / ("demo" if args.demo else "")
    extra = (*(DEMO_RUN_ARGS if args.demo else ()), *run_arguments(args))
    settings = Settings(exp=exp, configs=configs, seed=args.seed, device=args.device, extra=extra)
    check_upstreams(upstreams, extra)
    corpora = prepare_corpora(args, tasks, exp, write=False)
    experiments = [
        Experiment(upstream, task, fold, settings, corpora)
        for task in tasks
        for upstream in upstreams
        for fold in (task.demo_folds if args.demo else task.folds)
    ]
    lines = [line for experiment in experiments for line in commands(experiment)]
    if args.dry_run:
        print("\n".join(lines))
        return 0
    jobs = min(choose_jobs(args), len(experiments))
    with only_one(exp) as lock:
        prepare_corpora(args, tasks, exp, write=True)
        failures = pipeline.run_all(experiments, jobs, thread_limits(jobs), keep_open=lock)
        show_results(experiments, failures, tasks, exp, "The demo's scores" if args.demo else "Scores")
    if failures:
        print(pipeline.summary(failures, len(experiments)), file=sys.stderr)
    return 1 if failures else 0


def run_arguments(args: argparse.Namespace) -> tuple[str, ...]:
    """What follows `--`; a stray word before it is a mistake, not an argument for the runs."""
    extra = tuple(word for word in args.run_args or () if word != "--")
    if extra and not extra[0].startswith("-"):
        raise ValueError(f"unexpected argument {extra[0]!r}; upstreams follow -u, arguments for the runs follow --")
    return extra


def _missing(option: str) -> Path:
    raise ValueError(f"{option} is missing; say --demo to try everything on the recordings that ship with the package")


def choose_upstreams(args: argparse.Namespace) -> list[str]:
    """The upstreams asked for, times the interfaces asked for."""
    names = args.upstreams or (DEMO_UPSTREAMS if args.demo else "")
    upstreams = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not upstreams:
        _missing("-u UPSTREAM")
    interfaces = [name.strip() for name in (args.interfaces or "").split(",") if name.strip()]
    if not interfaces:
        return upstreams
    check_interfaces(interfaces)
    if "fused" in upstreams:
        raise ValueError("--interfaces: the interface of 'fused' stands in its YAML; give it there")
    stock = [name for name in upstreams if not name.startswith("fused_")]
    if stock:
        raise ValueError(f"--interfaces: {stock[0]!r} is not a fused upstream; try 'fused__{stock[0]}'")
    return [
        f"{name}{'__' if name.startswith('fused__') else '_'}{interface}"
        for name in upstreams
        for interface in interfaces
    ]


def check_interfaces(names: Sequence[str]) -> None:
    """Raise ValueError for an interface that does not exist."""
    from ..errors import unknown
    from ..interfaces import list_interfaces

    for name in names:
        if name not in list_interfaces():
            raise ValueError(f"--interfaces: {unknown('interface', name, list_interfaces())}")


def check_upstreams(upstreams: Sequence[str], extra: Sequence[str]) -> None:
    """Raise ValueError or FileNotFoundError for upstreams that cannot load, before anything is prepared."""
    from ..host.checks import check_name
    from .experiment import model_config_in

    model_config = model_config_in(extra)
    if "fused" in upstreams and model_config is None:
        raise ValueError("-u fused needs a fusion file: add `-- -g fusion.yaml` to the end of the command")
    for name in upstreams:
        check_name(name, model_config)


def prepare_corpora(args: argparse.Namespace, tasks: Sequence[Task], exp: Path, write: bool) -> Corpora:
    """Lay the demo's corpora out, or check the user's and make lists; both below EXP/data, and only if `write`."""
    from .. import assets
    from . import demo, prepare

    if args.demo:
        return demo.prepare(Path(assets.demo_dir()) / "corpus", exp / "data", write=write)
    sources = prepare.Sources(
        librispeech=args.librispeech,
        voxceleb1=args.voxceleb1,
        voxceleb1_list=args.voxceleb1_list,
        voxceleb1_trials=args.voxceleb1_trials,
        iemocap=args.iemocap,
        lexicons=prepare.lexicon_files(args.lexicon),
    )
    return prepare.prepare(tasks, sources, exp / "data", write=write)


def choose_jobs(args: argparse.Namespace) -> int:
    """How many runs at a time: a core each for the demo on a CPU, else one."""
    from .pipeline import usable_cores

    if args.jobs is not None:
        if args.jobs < 1:
            raise ValueError(f"--jobs: got {args.jobs}, needs at least 1")
        return args.jobs
    on_gpu = has_gpu() if args.device is None else args.device != "cpu"
    return min(usable_cores(), MAX_JOBS) if args.demo and not on_gpu else 1


def has_gpu() -> bool:
    """Whether torch can use CUDA."""
    import torch

    return torch.cuda.is_available()


def thread_limits(jobs: int) -> dict[str, str]:
    """Share the cores among the runs; what the user has set stays."""
    from .pipeline import usable_cores

    threads = str(max(1, usable_cores() // jobs))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: threads for name in names if name not in os.environ}


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
    with (exp / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{exp} is in use by another `s3prl-fusion superb`, or by a run that one left behind; "
                "wait for it, end it, or choose another -o"
            ) from None
        yield (lock.fileno(),)


def show_results(
    experiments: Sequence[Experiment], failures: Container[str], tasks: Sequence[Task], exp: Path, title: str
) -> str | None:
    """Write and print the table of everything that has a score; None when nothing has."""
    from .report import report

    # The mean over some of a task's folds is not the task's score: it is left out until all are there.
    broken = {(e.upstream, e.task.name) for e in experiments if e.label in failures}
    scored = [e for e in experiments if (e.upstream, e.task.name) not in broken]
    if not scored:
        return None
    order = {upstream: number for number, upstream in enumerate(dict.fromkeys(e.upstream for e in experiments))}
    scored.sort(key=lambda experiment: order[experiment.upstream])
    with_scores = {experiment.task.name for experiment in scored}
    table = report([e.result for e in scored], [t for t in tasks if t.name in with_scores], exp, title)
    print(f"\n{table}\nwritten to {exp}: results.md, results.csv, runs.csv, results.png")
    return table
