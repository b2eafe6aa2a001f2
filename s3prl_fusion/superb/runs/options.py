"""What a command line of the benchmark asks for, checked before anything is written."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ... import assets
from ...cache.config import DIR_VARIABLE
from ...corpora import demo
from ...corpora.base import Corpus, Prepared, Source
from ...disk import check_folder
from ...errors import MissingFileError, Mistakes, UsageError, within
from ...host import arguments
from ..layout import SEED, cache_folder, data_folder
from ..prepare import Sources, corpora_of, prepare, used_by
from ..table_tasks import KINDS
from ..tasks import TASKS, Task, parse_tasks
from .experiment import Settings, read_recipe
from .launch import make_start
from .plan import Plan, parse_rates, parse_seeds
from .table_options import tables_of
from .upstreams import choose_upstreams, missing, resolve_autos, resolve_names, resolve_upstreams

DEFAULT_TASKS = "asr,pr,sid,er"
DEMO_UPSTREAMS = "fused_demo,fused_demo_hubert,fused_demo_whisper,fused_demo_xvector"
DEMO_EXP = Path("exp") / "demo"
DEMO_SEEDS = f"{SEED},1,2"
# Of run_downstream's arguments, those that `superb` writes.
OWN = "mode evaluate_split past_exp init_ckpt config downstream upstream expname expdir auto_resume seed help".split()


def make_plan(args: argparse.Namespace) -> Plan:
    """Make the plan that the command asks for, all of it checked.

    Raises:
        UserError: tells every mistake, one line each, but for those that another one hides.
    """
    mistakes = Mistakes()
    tasks = mistakes.of(choose_tasks, args) or []
    names, autos = mistakes.of(choose_upstreams, args) or ([], [])
    exp = mistakes.of(choose_folder, args)
    given = mistakes.of(run_arguments, args)
    rates = mistakes.of(parse_rates, args.lr)
    seeds = mistakes.of(parse_seeds, args.seeds)
    configs = mistakes.of(choose_configs, args.configs, tasks, args.demo)
    if given:
        mistakes.of(check_overrides, given, tasks, args.lr)
    fusions = mistakes.of(resolve_names, [*names, *autos], given) if given else {}
    mistakes.tell()  # what follows imports torch, which takes seconds
    mistakes.of(make_start, args, 1)
    corpora = mistakes.of(prepare_corpora, args, tasks, exp, False)
    for task in tasks:
        filled_in = {"optimizer.lr": rates[0]} if args.lr is not None and task.trains else {}
        overrides = arguments.split_overrides(given.override)
        mistakes.of(read_recipe, task, configs / task.config, filled_in, overrides)
    mistakes.of(check_devices, args, given)
    upstreams = mistakes.of(resolve_upstreams, {name: fusions[name] for name in names}, given)
    chosen = mistakes.of(resolve_autos, autos, fusions, given, upstreams or (), exp)
    mistakes.tell()
    options = {name: value for name, value in arguments.given(given).items() if name != "device"}
    shared = demo_environment(exp, given) if args.demo else {}
    settings = Settings(exp, configs, args.device or given.device, options, environment=shared)
    return Plan(tasks, upstreams, settings, corpora, args.demo, rates, seeds, chosen)


def demo_environment(exp: Path, given: argparse.Namespace) -> dict[str, str]:
    """Say where the demo's runs share their hidden states; what the user has set stays, an empty name for no cache."""
    if DIR_VARIABLE in os.environ or given.upstream_trainable:
        return {}
    return {DIR_VARIABLE: str(cache_folder(exp))}


def choose_tasks(args: argparse.Namespace) -> list[Task]:
    """Look up the tasks asked for; the demo has not all of them."""
    tables = tables_of(args)
    if tables and args.demo:
        raise UsageError("--demo has its own speech; leave it or --table out")
    if tables and args.tasks is None:
        raise UsageError(f"-t is missing: what to do with the table? Choose from {', '.join(KINDS)}")
    tasks = parse_tasks(args.tasks or DEFAULT_TASKS, tables)
    lacking = [task.name for task in tasks if args.demo and not task.demo_folds]
    if lacking:
        raise UsageError(f"-t {','.join(lacking)}: the demo has no corpus for it; leave it out, or leave --demo out")
    return tasks


def choose_folder(args: argparse.Namespace) -> Path:
    """Return EXP, absolute."""
    exp = (args.exp or missing("-o EXP")).expanduser().resolve()
    check_folder("-o", exp)
    return exp


def check_devices(args: argparse.Namespace, given: argparse.Namespace) -> None:
    """Refuse a device that is not there; what a Slurm job will find, cannot be told here."""
    from ...devices import check_device

    for device in (args.device, given.device):
        if device is not None:
            check_device(device, here=args.slurm is None)


def check_overrides(given: argparse.Namespace, tasks: Sequence[Task], rates: str | None) -> None:
    """Refuse -o for what `superb` itself says."""
    keys = [*(key for task in tasks for key in task.filled_in), *(["optimizer.lr"] if rates else [])]
    for part in arguments.split_overrides(given.override):
        key = part.partition("=")[0].strip()
        if key in [f"config.{own}" for own in keys]:
            who = "--lr" if key == "config.optimizer.lr" else "`superb` itself"
            raise UsageError(f"after --: -o {key} is what {who} fills in; leave it out")


def choose_configs(given: Path | None, tasks: Sequence[Task], is_demo: bool = False) -> Path:
    """Choose the folder with the recipes' settings."""
    shipped = assets.downstream_configs_dir()
    given = given and given.expanduser().resolve()
    folder = given or (shipped / "demo" if is_demo else shipped)
    missing = [task for task in tasks if not (folder / task.config).is_file()]
    if missing:
        named = [Path(task.config).name if task.source else task.config for task in missing]
        names, own = ", ".join(named), [task.source for task in missing if task.source]
        advice = f"put your own beside {', '.join(own)}" if own else f"copy them from {shipped} and edit"
        raise MissingFileError(f"{'--configs: ' if given else ''}{folder} has no {names}; {advice}")
    return folder


def run_arguments(args: argparse.Namespace) -> argparse.Namespace:
    """Parse what follows `--`, by run_downstream's names.

    Raises:
        UsageError: it is not run_downstream's, `superb` says it itself, or a stray word stands before the `--`.
    """
    words = [word for word in args.run_args or () if word != "--"]
    if words and not words[0].startswith("-"):
        raise UsageError(f"unexpected argument {words[0]!r}; upstreams follow -u, arguments for the runs follow --")
    try:
        given = arguments.parse_strictly(words)
    except UsageError as error:
        raise within("after --: ", error) from error
    for part in arguments.split_overrides(given.override):
        if not re.fullmatch(r"config(\.[^.=\s]+)+\s*=[^=]*", part):
            raise UsageError(
                f"after --: -o {part} is not config.KEY=VALUE, for example config.optimizer.lr=1e-3; "
                "what is not of the recipe's config has an option of its own"
            )
    own = sorted(set(arguments.given(given)) & set(OWN))
    if own:
        raise UsageError(f"after --: --{own[0]} is what `superb` itself says; see its own options with -h")
    return given


def add_corpora(parser: argparse.ArgumentParser) -> None:
    """Declare where the corpora are: an option for each corpus of the tasks, and those that it has itself."""
    for corpus in with_options():
        _add(parser, corpus, corpus.name, f"{corpus.folder} ({used_by(corpus)})", type=Path, metavar="DIR")
        add_options(parser, corpus)


def with_options() -> list[Corpus]:
    """List the corpora that the command line has an option for."""
    return [corpus for corpus in corpora_of(list(TASKS.values())) if not corpus.root]


def add_options(parser: argparse.ArgumentParser, corpus: Corpus) -> None:
    """Declare the options that a corpus has beside its folder."""
    for name, option in corpus.options.items():
        metavar = "FILE[,FILE...]" if option.several else "FILE"
        _add(parser, corpus, name, f"{option.help} ({used_by(corpus, name)})", metavar=metavar)


def _add(parser: argparse.ArgumentParser, corpus: Corpus, name: str, text: str, **more: Any) -> None:
    try:
        parser.add_argument(f"--{name}", help=text.replace("%", "%%"), **more)
    except argparse.ArgumentError as error:
        raise UsageError(f"corpus {corpus.name!r}: --{name} is an option already; give it another name") from error


def read_source(args: argparse.Namespace, corpus: Corpus, root: Path) -> Source:
    """Read what the command line says of a corpus."""
    texts = {name: getattr(args, name.replace("-", "_")) for name in corpus.options}
    given = {
        name: [Path(part.strip()) for part in (text.split(",") if corpus.options[name].several else [text])]
        for name, text in texts.items()
        if text
    }
    return Source(root, given)


def sources_of(args: argparse.Namespace) -> Sources:
    """Read which corpora the user points to."""
    corpora = with_options()
    roots = {corpus.name: getattr(args, corpus.name.replace("-", "_")) for corpus in corpora}
    sources = {corpus.name: read_source(args, corpus, roots[corpus.name]) for corpus in corpora if roots[corpus.name]}
    tables = [corpus for corpus in corpora_of(list(TASKS.values())) if corpus.given]
    return {**sources, **{corpus.name: Source(corpus.given) for corpus in tables if corpus.given}}


def prepare_corpora(args: argparse.Namespace, tasks: Sequence[Task], exp: Path, write: bool) -> Prepared:
    """Lay the demo's corpora out, or check the user's and make lists; both below EXP/data, and only if `write`."""
    if args.demo:
        return demo.prepare(Path(assets.demo_dir()) / "corpus", data_folder(exp), write=write)
    return prepare(tasks, sources_of(args), data_folder(exp), write, choose_configs(args.configs, tasks))
