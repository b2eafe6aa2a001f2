"""What a command line of the benchmark asks for, checked before anything is written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ... import assets
from ...errors import MissingFileError, UsageError
from ..data import demo, prepare
from ..data.corpora import Corpora
from ..tasks import Task, parse_tasks
from .experiment import Settings, model_config_in
from .plan import Plan, parse_rates, parse_seeds

DEMO_UPSTREAMS = "fused_demo,fused_demo_hubert,fused_demo_whisper"
# Hidden states of different models differ in scale by an order of magnitude, which costs steps that the demo lacks.
DEMO_RUN_ARGS = ("--upstream_feature_normalize",)
DEMO_EXP = Path("exp") / "demo"


def make_plan(args: argparse.Namespace) -> Plan:
    """What the command asks for, all of it checked."""
    tasks = parse_tasks(args.tasks)
    lacking = [task.name for task in tasks if args.demo and not task.demo_folds]
    if lacking:
        raise UsageError(f"-t {','.join(lacking)}: the demo has no corpus for it; leave it out, or leave --demo out")
    upstreams = choose_upstreams(args)
    exp = (args.exp or _missing("-o EXP")).expanduser().resolve()
    configs = choose_configs(args, tasks)
    extra = (*(DEMO_RUN_ARGS if args.demo else ()), *run_arguments(args))
    settings = Settings(exp=exp, configs=configs, device=args.device, extra=extra)
    rates, seeds = parse_rates(args.lr), parse_seeds(args.seeds)
    check_upstreams(upstreams, extra)
    corpora = prepare_corpora(args, tasks, exp, write=False)
    return Plan(tasks, upstreams, settings, corpora, args.demo, rates, seeds)


def choose_configs(args: argparse.Namespace, tasks: Sequence[Task]) -> Path:
    """The folder with the recipes' settings."""
    shipped = assets.downstream_configs_dir()
    if args.configs is None:
        return shipped / "demo" if args.demo else shipped
    folder = args.configs.expanduser().resolve()
    missing = [task.config for task in tasks if not (folder / task.config).is_file()]
    if missing:
        raise MissingFileError(f"--configs: {folder} has no {', '.join(missing)}; copy them from {shipped} and edit")
    return folder


def run_arguments(args: argparse.Namespace) -> tuple[str, ...]:
    """What follows `--`; a stray word before it is a mistake, not an argument for the runs."""
    extra = tuple(word for word in args.run_args or () if word != "--")
    if extra and not extra[0].startswith("-"):
        raise UsageError(f"unexpected argument {extra[0]!r}; upstreams follow -u, arguments for the runs follow --")
    return extra


def _missing(option: str) -> Path:
    raise UsageError(f"{option} is missing; say --demo to try everything on the recordings that ship with the package")


def choose_upstreams(args: argparse.Namespace) -> list[str]:
    """The upstreams asked for, times the interfaces asked for."""
    names = args.upstreams or ""
    upstreams = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not upstreams:
        _missing("-u UPSTREAM")
    interfaces = [name.strip() for name in (args.interfaces or "").split(",") if name.strip()]
    if not interfaces:
        return upstreams
    check_interfaces(interfaces)
    if "fused" in upstreams:
        raise UsageError("--interfaces: the interface of 'fused' stands in its YAML; give it there")
    stock = [name for name in upstreams if not name.startswith("fused_")]
    if stock:
        raise UsageError(f"--interfaces: {stock[0]!r} is not a fused upstream; try 'fused__{stock[0]}'")
    return [
        f"{name}{'__' if name.startswith('fused__') else '_'}{interface}"
        for name in upstreams
        for interface in interfaces
    ]


def check_interfaces(names: Sequence[str]) -> None:
    """Raise ValueError for an interface that does not exist."""
    from ...errors import unknown
    from ...interfaces import list_interfaces

    for name in names:
        if name not in list_interfaces():
            raise UsageError(f"--interfaces: {unknown('interface', name, list_interfaces())}")


def check_upstreams(upstreams: Sequence[str], extra: Sequence[str]) -> None:
    """Raise ValueError or FileNotFoundError for upstreams that cannot load, before anything is prepared."""
    from ...host.checks import check_name

    model_config = model_config_in(extra)
    if "fused" in upstreams and model_config is None:
        raise UsageError("-u fused needs a fusion file: add `-- -g fusion.yaml` to the end of the command")
    for name in upstreams:
        check_name(name, model_config)


def sources_of(args: argparse.Namespace) -> prepare.Sources:
    """The corpora that the user points to."""
    return prepare.Sources(
        librispeech=args.librispeech,
        voxceleb1=args.voxceleb1,
        voxceleb1_list=args.voxceleb1_list,
        voxceleb1_trials=args.voxceleb1_trials,
        iemocap=args.iemocap,
        lexicons=prepare.lexicon_files(args.lexicon),
    )


def prepare_corpora(args: argparse.Namespace, tasks: Sequence[Task], exp: Path, write: bool) -> Corpora:
    """Lay the demo's corpora out, or check the user's and make lists; both below EXP/data, and only if `write`."""
    if args.demo:
        return demo.prepare(Path(assets.demo_dir()) / "corpus", exp / "data", write=write)
    return prepare.prepare(tasks, sources_of(args), exp / "data", write=write)
