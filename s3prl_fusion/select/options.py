"""What the command line of `select` asks for, checked before anything is written; with the checks of `superb`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..cache.config import DIR_VARIABLE, DTYPE_VARIABLE, CacheConfig
from ..errors import Mistakes, UsageError, UserError, within
from ..host import arguments
from ..interfaces import DEFAULT_INTERFACE, interface_class, list_interfaces
from ..superb.layout import is_reserved
from ..superb.prepare import corpora_of
from ..superb.runs import options, upstreams
from ..superb.runs.experiment import Settings, read_recipe
from ..superb.runs.launch import make_start
from ..superb.runs.plan import parse_rates, parse_seeds
from ..superb.runs.table_options import table_words
from ..superb.tasks import TASKS
from . import recipes, sample
from .layout import Wanted
from .plan import Plan
from .sets import Candidate, Member, parse_members

LEAST_SEEDS = 3  # with fewer, nobody can tell a gain from luck


def make_plan(args: argparse.Namespace) -> Plan:
    """Make the plan that the command asks for, all of it checked.

    Raises:
        UserError: tells every mistake, one line each, but for those that another one hides.
    """
    mistakes = Mistakes()
    tasks = mistakes.of(options.choose_tasks, args) or []
    mistakes.of(sample.check_tasks, tasks)
    members = mistakes.of(choose_members, args)
    interfaces = mistakes.of(choose_interfaces, args)
    exp = mistakes.of(options.choose_folder, args)
    given = mistakes.of(options.run_arguments, args)
    seeds = mistakes.of(choose_seeds, args)
    mistakes.of(check_numbers, args)
    rate = mistakes.of(choose_rate, args)
    cache = mistakes.of(choose_cache, args, exp) if exp else None
    configs = mistakes.of(options.choose_configs, args.configs, tasks, args.demo)
    if given:
        mistakes.of(options.check_overrides, given, tasks, args.lr)
    mistakes.tell()  # what follows imports torch, which takes seconds
    assert cache is not None  # or its mistake has been told
    mistakes.of(make_start, args, 1)
    mistakes.of(options.prepare_corpora, args, tasks, exp, False)
    for task in tasks:
        mistakes.of(read_recipe, task, configs / task.config, {}, arguments.split_overrides(given.override))
    mistakes.of(options.check_devices, args, given)
    for member in members:
        mistakes.of(_check_member, member, interfaces, cache, given)
    mistakes.tell()
    more = {name: value for name, value in arguments.given(given).items() if name != "device"}
    settings = Settings(exp, exp / recipes.FOLDER, args.device or given.device, more)
    return Plan(
        tasks=tasks,
        members=members,
        interfaces=interfaces,
        seeds=seeds,
        max_members=min(args.max_members, len(members)),
        budget=args.budget_macs,
        exhaustive=args.exhaustive,
        settings=settings,
        configs=configs,
        corpora=sample.where(exp, tasks),
        wanted=Wanted(3600 * args.hours),
        cache=cache,
        steps=args.steps,
        rate=rate,
        given=given,
    )


def choose_members(args: argparse.Namespace) -> list[Member]:
    """Look up the members.

    Raises:
        UserError: see `sets.parse_members`; or there are not two.
    """
    names = [name.strip() for name in (args.upstreams or "").split(",")]
    members = parse_members(list(dict.fromkeys(filter(None, names))))
    if len(members) < 2:
        raise UsageError(
            f"-u: got {args.upstreams!r}; name two members or more, for example wavlm,hubert,whisper,my.yaml; for one "
            "upstream there is nothing to choose: see `superb`"
        )
    return members


def _check_member(member: Member, interfaces: Sequence[str], cache: CacheConfig, given: argparse.Namespace) -> None:
    if is_reserved(member.name):
        raise UsageError(f"-u {member.name}: that is a name of ours; rename the YAML")
    try:
        upstreams.describe(Candidate((member,), interfaces[0]).fusion(cache), given)
    except UserError as error:
        raise within(f"-u {member.name}: ", error) from error


def choose_interfaces(args: argparse.Namespace) -> list[str]:
    """Read the interfaces to try; by default that of short names."""
    names = [name.strip() for name in (args.interfaces or DEFAULT_INTERFACE).split(",")]
    names = list(dict.fromkeys(filter(None, names)))
    if not names:
        raise UsageError(f"--interfaces: got {args.interfaces!r}; name one or more, for example {DEFAULT_INTERFACE}")
    upstreams.check_interfaces(names, list_interfaces())
    for name in names:
        interface_class(name)
    return names


def choose_seeds(args: argparse.Namespace) -> list[int]:
    """Read the seeds.

    Raises:
        UsageError: there are fewer than 3.
    """
    seeds = parse_seeds(args.seeds)
    if len(seeds) < LEAST_SEEDS:
        raise UsageError(
            f"--seeds: got {args.seeds!r}; give {LEAST_SEEDS} or more: from fewer, a gain cannot be told from luck"
        )
    return seeds


def choose_rate(args: argparse.Namespace) -> float | None:
    """Read the learning rate; None for the short recipes' own."""
    rates = parse_rates(args.lr)
    if len(rates) > 1:
        raise UsageError(f"--lr: got {args.lr!r}; select takes one learning rate for all its runs")
    return rates[0]


def check_numbers(args: argparse.Namespace) -> None:
    """Check how many members, multiply-accumulates, hours and steps.

    Raises:
        UsageError: tells all that are too small.
    """
    asked = (
        ("--max-members", args.max_members, "a number of members, at least 1"),
        ("--budget-macs", args.budget_macs, "multiply-accumulates a second of speech, for example 1.5e10"),
        ("--hours", args.hours, "hours of speech for each task, more than 0"),
        ("--steps", args.steps, f"a number of steps; without it there are {recipes.SHARE:.0%} of the recipe's"),
    )
    strange = [
        f"{option}: got {value:g}; give {what}"
        for option, value, what in asked
        if value is not None and not 0 < value < float("inf")
    ]
    if strange:
        raise UsageError("\n".join(strange))


def choose_cache(args: argparse.Namespace, exp: Path) -> CacheConfig:
    """Tell where hidden states are kept: what --cache says, else the environment, else below DIR; as int8 where the
    environment does not say otherwise, as an hour of a Base model has 2 GB then."""
    dtype = os.environ.get(DTYPE_VARIABLE) or "int8"
    folder = args.cache or os.environ.get(DIR_VARIABLE) or exp / "cache"
    try:
        return CacheConfig(str(Path(folder).expanduser().absolute()), dtype)
    except ValueError as error:
        raise UsageError(f"{DTYPE_VARIABLE}: {error}") from error


def corpora_words(args: argparse.Namespace) -> list[str]:
    """Write the options that say where the corpora are, as `superb` takes them."""
    if args.demo:
        return ["--demo"]
    words = ["--configs", str(args.configs)] if args.configs else []
    words += table_words(args)
    tables = {corpus.name for corpus in corpora_of(list(TASKS.values())) if corpus.given}
    for name, source in options.sources_of(args).items():
        if name in tables:
            continue
        words += [f"--{name}", str(source.root)]
        for option, files in source.options.items():
            words += [f"--{option}", ",".join(map(str, files))]
    return words
