"""What the command line of `select` asks for, checked before anything is written; with the checks of `superb`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cache.config import DIR_VARIABLE, DTYPE_VARIABLE, CacheConfig
from ..corpora.base import Prepared
from ..errors import Mistakes, UsageError, UserError, within
from ..files import read_mapping
from ..host import arguments
from ..interfaces import DEFAULT_INTERFACE, interface_class, list_interfaces
from ..superb.layout import is_reserved
from ..superb.prepare import Sources
from ..superb.runs import options, upstreams
from ..superb.runs.experiment import Experiment, Settings, read_recipe
from ..superb.runs.launch import make_start
from ..superb.runs.plan import Plan as PlanOfSuperb
from ..superb.runs.plan import parse_rates, parse_seeds, prepare_lines
from ..superb.tasks import Task
from . import recipes, sample
from .layout import Wanted
from .sets import Candidate, Member, parse_members, upstream_of

LEAST_SEEDS = 3  # with fewer, nobody can tell a gain from luck


@dataclass(frozen=True)
class Plan:
    """One call of `select`.

    Attributes:
        tasks, members, interfaces: what is tried.
        seeds: a training each.
        max_members: of a set.
        budget: multiply-accumulates a second of speech that a set may cost; None is any number.
        exhaustive: every set, whether it can win or not.
        settings: of the trainings: those of `superb`, with the short recipes.
        configs: the folder of the whole recipes.
        corpora: the samples.
        wanted: how large these are.
        cache: where hidden states are kept.
        steps, rate: of the short recipes, where they are asked for.
        given: run_downstream's arguments for every training.
    """

    tasks: Sequence[Task]
    members: Sequence[Member]
    interfaces: Sequence[str]
    seeds: Sequence[int]
    max_members: int
    budget: float | None
    exhaustive: bool
    settings: Settings
    configs: Path
    corpora: Prepared
    wanted: Wanted
    cache: CacheConfig
    steps: int | None
    rate: float | None
    given: argparse.Namespace

    def singles(self) -> list[Candidate]:
        """List each member alone, under each interface."""
        return [Candidate((member,), interface) for member in self.members for interface in self.interfaces]

    @property
    def device(self) -> str:
        """Where members are measured: where the trainings run."""
        from ..host.runner import default_device

        return self.settings.device or default_device()

    def made_of(self, candidate: Candidate) -> dict[str, Any]:
        """Describe a candidate by content."""
        return upstreams.describe(candidate.fusion(self.cache), self.given)

    def experiments(self, candidate: Candidate, task: Task) -> list[Experiment]:
        """List a candidate's trainings on a task; its fusion YAML is written."""
        upstream = upstream_of(candidate, self.settings.exp, self.cache, self.given)
        return [
            Experiment(upstream, task, fold, self.settings, self.corpora, seed)
            for seed in self.seeds
            for fold in sample.folds(task)
        ]


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
    numbers = mistakes.of(check_numbers, args)
    steps = mistakes.of(recipes.parse_steps, args.steps)
    rates = mistakes.of(choose_rate, args)
    cache = mistakes.of(choose_cache, args, exp) if exp else None
    configs = mistakes.of(options.choose_configs, args.configs, tasks, args.demo)
    if given:
        mistakes.of(options.check_overrides, given, tasks, args.lr)
    mistakes.tell()  # what follows imports torch, which takes seconds
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
    max_members, budget, wanted = numbers
    return Plan(
        *(tasks, members, interfaces, seeds, min(max_members, len(members)), budget, args.exhaustive, settings),
        *(configs, sample.where(exp, tasks), wanted, cache, steps, rates, given),
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


def check_numbers(args: argparse.Namespace) -> tuple[int, float | None, Wanted]:
    """Check how many members, multiply-accumulates and hours.

    Raises:
        UsageError: tells all that are too small.
    """
    asked = (
        ("--max-members", args.max_members, 1, "a number of members"),
        ("--budget-macs", args.budget_macs, 0, "multiply-accumulates a second of speech, for example 1.5e10"),
        ("--hours", args.hours, 0, "hours of speech for each corpus"),
    )
    strange = [
        f"{option}: got {value:g}; give {what}, {'at least 1' if least else 'more than 0'}"
        for option, value, least, what in asked
        if value is not None and not (value >= least and 0 < value < float("inf"))
    ]
    if strange:
        raise UsageError("\n".join(strange))
    return args.max_members, args.budget_macs, Wanted(3600 * args.hours)


def choose_cache(args: argparse.Namespace, exp: Path) -> CacheConfig:
    """Tell where hidden states are kept: what --cache says, else the environment, else below DIR; as int8 where the
    environment does not say otherwise, as an hour of a Base model has 2 GB then."""
    dtype = os.environ.get(DTYPE_VARIABLE) or "int8"
    folder = args.cache or os.environ.get(DIR_VARIABLE) or exp / "cache"
    try:
        return CacheConfig(str(Path(folder).expanduser().absolute()), dtype)
    except ValueError as error:
        raise UsageError(f"{DTYPE_VARIABLE}: {error}") from error


def lines(plan: Plan, sources: Sources, is_demo: bool) -> list[str]:
    """Write what would run, as far as it can be told beforehand: which sets are tried, the members alone decide."""
    whole = PlanOfSuperb(plan.tasks, (), plan.settings, plan.corpora, is_demo)
    found = prepare_lines(replace(whole, settings=replace(plan.settings, configs=plan.configs)), sources)
    hours = plan.wanted.seconds / 3600
    found.append(f"# then a sample of {hours:g} h of train and dev in {plan.corpora.folder}, and on it:")
    for task in plan.tasks:
        steps, folds = recipes.steps_of(read_mapping(plan.configs / task.config), plan.steps), sample.folds(task)
        each = "; ".join(filter(None, [f"seeds {', '.join(map(str, plan.seeds))}", ", ".join(filter(None, folds))]))
        runs = f"{len(plan.seeds) * len(folds)} runs of {steps} steps ({each})"
        found += [f"#   {candidate.label} {task.name}: {runs}" for candidate in plan.singles()]
    counts = [f"{len(plan.members) - size + 1} sets of {size} members" for size in range(2, plan.max_members + 1)]
    found.append(f"# then, for each task and interface: at most {', '.join(counts)}, around the best")
    return found
