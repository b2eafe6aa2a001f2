"""What a benchmark runs: every combination of task, upstream, fold, learning rate and seed; as commands, in order."""

from __future__ import annotations

import shlex
from collections.abc import Container, Sequence
from dataclasses import dataclass

from ...corpora.base import Prepared
from ...errors import UsageError
from ..layout import SEED, data_folder
from ..own_files import own_digest, shipped_files
from ..prepare import Sources
from ..tasks import Task
from .auto import Auto
from .experiment import PROGRAM, STAGES, Experiment, Settings, Upstream, commands, own_tasks
from .pipeline import is_done


@dataclass(frozen=True)
class Plan:
    """One call of the benchmark."""

    tasks: Sequence[Task]
    upstreams: Sequence[Upstream]
    settings: Settings
    corpora: Prepared
    demo: bool = False
    rates: Sequence[float | None] = (None,)  # several: the dev score chooses, on the first seed
    seeds: Sequence[int] = (SEED,)
    autos: Sequence[Auto] = ()

    @property
    def run_upstreams(self) -> list[Upstream]:
        """The rows, and what is tried for those of `autos`; each once."""
        tried = [upstream for auto in self.autos for upstream in auto.candidates]
        return list({upstream.label: upstream for upstream in (*self.upstreams, *tried)}.values())

    @property
    def searches(self) -> bool:
        """Whether there is a learning rate to choose."""
        return len(self.rates) > 1

    def experiments(self) -> list[Experiment]:
        """All of them, one task after the other."""
        return [
            Experiment(upstream, task, fold, self.settings, self.corpora, seed, rate)
            for task in self.tasks
            for upstream in self.run_upstreams
            for seed in (self.seeds if task.trains else (SEED,))
            for rate in (self.rates if task.trains else (None,))
            for fold in (task.demo_folds if self.demo else task.folds)
        ]

    def candidates(self) -> list[Experiment]:
        """List what is trained to choose a learning rate: every one, on the first seed."""
        return [e for e in self.experiments() if e.seed == self.seeds[0] and e.task.trains]

    def tried(self) -> list[Experiment]:
        """List what is trained to choose members and interface: every candidate, on every seed."""
        labels = {upstream.label for auto in self.autos for upstream in auto.candidates}
        return [experiment for experiment in self.experiments() if experiment.upstream.label in labels]

    def costs(self) -> list[str]:
        """Say how much is trained for each row of `autos`."""
        return [auto.cost_in_words(len(self.seeds), len(self.rates)) for auto in self.autos]

    def changed(self) -> dict[str, list[str]]:
        """Say which runs are in the way, as something decides their result that has changed, and what; by label."""
        found = {experiment.label: experiment.changes() for experiment in self.experiments()}
        return {label: changes for label, changes in found.items() if changes}

    def untried(self, changed: Container[str]) -> list[Upstream]:
        """List the upstreams of which no run has begun yet, or only such as have `changed`, by their labels."""
        begun = {e.upstream.label for e in self.experiments() if not e.folder.is_empty() and e.label not in changed}
        return [upstream for upstream in self.run_upstreams if upstream.label not in begun]

    def lines(self, sources: Sources) -> list[str]:
        """Write every command, runnable by hand in this order; what is done already is a comment, and what only the
        chosen learning rate, or candidate, needs stands under one."""
        shared = self.settings.environment
        lines = [f"export {name}={shlex.quote(value)}" for name, value in shared.items()]
        lines += prepare_lines(self, sources)
        trained: set[str] = set()
        for of_choice, chosen in (
            (self.candidates() if self.searches else [], "each upstream and task, only the learning rate"),
            (self.tried(), "each task of auto, only the candidate"),
        ):
            new = [experiment for experiment in of_choice if experiment.label not in trained]
            lines += [line for experiment in new for line in stage_lines(experiment, ["train"])]
            trained |= {experiment.label for experiment in new}
            lines += [f"# from here on: for {chosen} with the best dev score"] if of_choice else []
        for experiment in self.experiments():
            lines += stage_lines(experiment, ["evaluate", "score"] if experiment.label in trained else STAGES)
        exp = str(self.settings.exp)
        return [*lines, shlex.join([*PROGRAM, "results", exp, "-o", exp, *own_tasks(self.tasks)])]


def stage_lines(experiment: Experiment, stages: Sequence[str]) -> list[str]:
    """Write an experiment's commands; those of stages that have ended, and will not run again, as comments."""
    done = [not experiment.folder.is_empty() and is_done(experiment, stage) for stage in stages]
    return [f"# done already: {line}" if ended else line for ended, line in zip(done, commands(experiment, stages))]


def prepare_lines(plan: Plan, sources: Sources) -> list[str]:
    """Write the commands that check the corpora and make what the recipes need beside them."""
    folder, configs = str(data_folder(plan.settings.exp)), plan.settings.configs
    if plan.demo:
        return [shlex.join([*PROGRAM, "prepare", "demo", "-o", folder])]
    lines = []
    for task in plan.tasks:
        source = sources[task.corpus.name]
        words = [*(task.corpus.words or ("--corpus", str(source.root.resolve()))), "-o", folder]
        if any(own_digest(path, name) for name, path in shipped_files(task, configs / task.config).items()):
            words += ["--configs", str(configs)]
        for option in task.options:
            files = source.files(option)
            words += [f"--{option}", ",".join(str(path.resolve()) for path in files)] if files else []
        kind = task.name.partition("@")[0]  # of a table's tasks
        lines.append(shlex.join([*PROGRAM, "prepare", task.source or kind, *words]))
    return lines


def parse_rates(text: str | None) -> list[float | None]:
    """Read the learning rates of a comma-separated list, each once; without a list, the recipe's own.

    Raises:
        UsageError: something in it is no positive number.
    """
    if text is None:
        return [None]
    try:
        rates = list(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        rates = []
    if not rates or not all(0 < rate < float("inf") for rate in rates):
        raise UsageError(f"--lr: got {text!r}; give positive numbers, for example 1e-3,1e-4,1e-5")
    return list(rates)


def parse_seeds(text: str | None) -> list[int]:
    """Read the seeds of a comma-separated list, each once; without a list, s3prl's own.

    Raises:
        UsageError: something in it is no natural number that numpy takes for a seed.
    """
    if text is None:
        return [SEED]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() and int(part) < 2**32 for part in parts):
        raise UsageError(f"--seeds: got {text!r}; give whole numbers from 0 to {2**32 - 1}, for example 1,2,3")
    return list(dict.fromkeys(map(int, parts)))
