"""One upstream under one task, fold, learning rate and seed: what it is made of, its folder, its commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import __version__, checkpoint, identity
from ...assets import downstream_configs_dir
from ...config import FusionConfig
from ...corpora.base import Prepared
from ...corpora.inventory import content_of
from ...errors import UsageError
from ...files import as_json, read_mapping
from ...host.arguments import WHERE, override, set_value, split_overrides, words_of
from ...names import label
from ...source import content_digest
from ..layout import SEED, RunFolder, variant
from ..own_files import own_digest, recipe_files
from ..tasks import Task
from .forks import PROGRAM
from .stages import Stamp

STAGES = ("train", "evaluate", "score")


@dataclass(frozen=True)
class Upstream:
    """What is benchmarked, resolved once.

    Attributes:
        name: run_downstream's ``-u``; a fusion YAML's path is absolute.
        fusion: what it means.
        made_of: what a run trains on, see `host.checks.made_of`.
        model_config: run_downstream's ``-g``, absolute.
    """

    name: str
    fusion: FusionConfig
    made_of: Mapping[str, Any]
    model_config: str | None = None

    @property
    def label(self) -> str:
        """What it is called, also in EXP."""
        return label(self.name)


@dataclass(frozen=True)
class Settings:
    """What all experiments of one call share."""

    exp: Path  # absolute
    configs: Path  # folder of asr.yaml, pr.yaml, ...
    device: str | None = None  # None: the runner decides
    options: Mapping[str, Any] = field(default_factory=dict)  # run_downstream's for every training, by their long names
    runner: Sequence[str] = (*PROGRAM, "run")
    environment: Mapping[str, str] = field(default_factory=dict)  # of every run, beside what it inherits

    @property
    def overrides(self) -> list[str]:
        """What run_downstream's -o says among the options, `key=value` each."""
        return split_overrides(self.options.get("override", ()))


@dataclass(frozen=True)
class Experiment:
    """One training, and what follows it."""

    upstream: Upstream
    task: Task
    fold: str | None
    settings: Settings
    corpora: Prepared
    seed: int = SEED
    lr: float | None = None  # None: the recipe's

    @property
    def label(self) -> str:
        """Name for people, for example `fused_demo er fold1`."""
        parts = (self.upstream.label, variant(self.task, self.seed, self.lr), self.fold)
        return " ".join(part for part in parts if part)

    @property
    def folder(self) -> RunFolder:
        """Where everything of it is."""
        return RunFolder.of(self.settings.exp, self.upstream.label, self.task, self.fold, self.seed, self.lr)

    @property
    def config(self) -> Path:
        """The recipe's config file."""
        return self.settings.configs / self.task.config

    def stamp(self, stage: str) -> Stamp:
        """Return the stamp of one of STAGES."""
        return Stamp(self.folder.stamp(stage))

    def outputs(self, stage: str) -> list[Path]:
        """List the files without which a stage is not done."""
        folder = self.folder
        written = [folder.hypothesis(self.task, self.fold), folder.reference(self.task, self.fold)]
        written += [folder.path / name for name in self.task.with_it]
        return {
            "train": [folder.best_ckpt(self.task)],
            "evaluate": [*written, folder.log("evaluate")],
            "score": [folder.result],
        }[stage]

    def paths(self) -> dict[str, Any]:
        """Say where the corpus is, and what was made beside it, by the config's keys."""
        found = {key: self.corpora.value(self.task.corpus, name) for key, name in self.task.paths.items()}
        return {**found, **{key: str(path) for key, path in recipe_files(self.task, self.config).items()}}

    def overrides(self) -> str:
        """Write run_downstream's -o: paths in place of the config's placeholders, the fold, and the learning rate.

        Raises:
            UsageError: a path has characters that -o cannot carry.
        """
        values = {f"config.{key}": value for key, value in self._filled_in().items()}
        values["args.expdir"] = str(self.folder.path)
        # A checkpoint remembers where these were, which may have moved.
        values["args.upstream"] = self.upstream.name
        if self.upstream.model_config:
            values["args.upstream_model_config"] = self.upstream.model_config
        for value in values.values():
            if "=" in str(value) or ",," in str(value):
                raise UsageError(
                    f"s3prl's -o cannot carry the path {value}: it has '=' or ',,' in it; rename the folder"
                )
        return ",,".join(f"{key}={json.dumps(value)}" for key, value in values.items())

    def train_arguments(self) -> list[str]:
        """Write the arguments of the training run; -a resumes from the folder's last checkpoint."""
        options = {**self.settings.options, "upstream_model_config": self.upstream.model_config}
        own = {name: value for name, value in options.items() if value is not None and name != "override"}
        return [
            *("-m", "train", "-u", self.upstream.name, "-d", self.task.downstream, "-c", str(self.config)),
            *("-p", str(self.folder.path), "-a", "--seed", str(self.seed), *self._device()),
            # run_downstream heeds its last -o only.
            *("-o", ",,".join([self.overrides(), *self.settings.overrides]), *words_of(own)),
        ]

    def evaluate_arguments(self) -> list[str]:
        """Write the arguments of the evaluation of the best checkpoint."""
        ckpt = str(self.folder.best_ckpt(self.task))
        return [
            *("-m", "evaluate", "-t", self.task.eval_split, "-e", ckpt, *self._device()),
            *("-o", self.overrides()),
        ]

    def _device(self) -> tuple[str, ...]:
        return ("--device", self.settings.device) if self.settings.device else ()

    def made_of(self) -> dict[str, Any]:
        """Describe everything that decides the result, and nothing else, by content: where things are, and on what
        device they run, is left out."""
        recipe, others = self._recipe()
        made = self.corpora.made(self.task.corpus, self.task.products)
        read = content_of(self.corpora.inventory(self.task.corpus, self.task.name))
        return {
            "s3prl_fusion": ".".join(checkpoint.release(__version__)),
            "upstream": self.upstream.made_of,
            "run": {"task": self.task.name, "fold": self.fold, "seed": self.seed},
            "recipe": identity.by_content(recipe),
            "corpus": {
                "layout": self.corpora.version,
                **{path.name: content_digest(path)[:16] for path in made if path.exists()},
                **({"files": read} if read else {}),
            },
            "options": others,
        }

    def key(self, stage: str) -> str:
        """Return what the stamp of a stage must hold for it to be done: of its score, a user's own file counts too."""
        own = self.task.source.rpartition(":")[0] if stage == "score" else ""
        code = content_digest(own) if own.endswith(".py") else None
        return identity.digest([self.made_of(), code] if code else self.made_of())

    def recipe(self) -> dict[str, Any]:
        """Read the recipe's config as the training will; see `read_recipe`."""
        return read_recipe(self.task, self.config, self._filled_in(), self.settings.overrides)

    def _filled_in(self) -> dict[str, Any]:
        """Say what replaces the config's placeholders: paths and the fold; and the learning rate, if it is ours."""
        values = self.paths()
        if self.fold:
            values[self.task.fold_key] = self.fold
        if self.lr is not None:
            values["optimizer.lr"] = self.lr
        return values

    def _recipe(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the recipe's values, and what other options change. Our own paths are left out; of a user's own file
        in the place of a shipped one the content counts."""
        recipe = self.recipe()
        about_upstream = ("override", "upstream_trainable", "upstream_feature_normalize", "upstream_model_config")
        selections = ("upstream_feature_selection", "upstream_layer_selection", "upstream_ckpt")
        known = (*WHERE, *about_upstream, *selections)
        others = {name: value for name, value in self.settings.options.items() if name not in known}
        own = recipe_files(self.task, self.config)
        for key in self.task.filled_in:
            set_value(recipe, key, own_digest(own[key], self.task.paths[key]) if key in own else None)
        for key in ("log_step", "save_step", "max_keep"):  # a resumed training is the same to the bit
            set_value(recipe, f"runner.{key}", None)
        return recipe, others

    def changes(self) -> list[str]:
        """Say why the run that is in the folder is another one than this: what differs, a clause each; nothing where it
        is this one, or there is none."""
        stamp = self.stamp("train").read()
        if self.folder.is_empty():
            return []
        if stamp.get("key") == identity.digest(self.made_of()):
            lost = stamp.get("status") == "done" and not self.folder.best_ckpt(self.task).is_file()
            return [f"its {self.task.best_ckpt} is gone"] if lost else []
        if "made_of" in stamp:
            return list(identity.differences(stamp["made_of"], as_json(self.made_of())))
        return ["its folder does not say what it was made of (another tool's, an earlier release's, or damaged)"]


def read_recipe(task: Task, path: Path, filled_in: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Read a recipe's config as it takes effect.

    Args:
        task: whose recipe it is.
        path: the YAML file.
        filled_in: what `superb` itself says, by the config's keys.
        overrides: what run_downstream's -o says, `key=value` each.

    Raises:
        UsageError: names every mistake, one line each.
    """
    from ...host import recipes

    config = read_mapping(path)
    for key, value in filled_in.items():
        set_value(config, key, value)
    override(config, overrides)
    recipes.check(task.downstream, config, str(path))
    if not task.trains:
        return config
    runner, (split, best, _) = config["runner"], task.best_ckpt.partition("-best.ckpt")
    if best and split not in runner["eval_dataloaders"]:
        got = runner["eval_dataloaders"]
        raise UsageError(
            f"{path}: runner.eval_dataloaders must have {split}, by which {task.best_ckpt} is chosen; got {got}"
        )
    _check_test_set(task, config["downstream_expert"], path)
    if task.downstream == "ctc":
        _check_choice(task, config["downstream_expert"], split, path)
    if runner["eval_step"] > runner["total_steps"]:
        raise UsageError(
            f"{path}: runner.eval_step must be at most total_steps, {runner['total_steps']}, or nothing is ever "
            f"evaluated; got {runner['eval_step']}"
        )
    return config


def _check_test_set(task: Task, expert: Mapping[str, Any], path: Path) -> None:
    """Refuse another test set than the task's: what is scored, and submitted, would be other utterances."""
    shipped = downstream_configs_dir() / task.config
    if task.source or not shipped.is_file():  # a user's own task
        return
    for section, values in read_mapping(shipped)["downstream_expert"].items():
        for name, official in values.items() if isinstance(values, dict) else ():
            is_of_it = name == task.eval_split or name.startswith(f"{task.eval_split}_")
            if is_of_it and isinstance(official, list) and (got := expert[section].get(name)) != official:
                key = f"downstream_expert.{section}.{name}"
                raise UsageError(f"{path}: {key} must be {official}, the task's test set; got {got}")


def _check_choice(task: Task, expert: Mapping[str, Any], split: str, path: Path) -> None:
    """Refuse a best checkpoint that is chosen on another split, or by another metric, than the score says."""
    on, metric = expert.get("save_best_on", split), task.logged.rpartition(" ")[2]
    if split not in ([on] if isinstance(on, str) else on):
        raise UsageError(
            f"{path}: downstream_expert.save_best_on must have {split}, on which {task.best_ckpt} is chosen; got {on}"
        )
    if expert["metric"][0] != metric:
        raise UsageError(
            f"{path}: downstream_expert.metric must begin with {metric}, by which {task.best_ckpt} is chosen; got "
            f"{expert['metric']}"
        )


def own_tasks(tasks: Sequence[Task]) -> list[str]:
    """Write the option that tells another command of a user's own tasks."""
    own = [task.source for task in tasks if task.source]
    return ["-t", ",".join(own)] if own else []


def commands(experiment: Experiment, stages: Sequence[str] = STAGES) -> Iterator[str]:
    """Write the shell commands of one experiment, runnable by hand and in this order."""
    runner, log = experiment.settings.runner, shlex.quote(str(experiment.folder.log("evaluate")))
    for stage in stages:
        if stage == "train":
            yield shlex.join([*runner, *experiment.train_arguments()])
        elif stage == "evaluate":
            yield f"{shlex.join([*runner, *experiment.evaluate_arguments()])} > {log} 2>&1"
        else:
            yield shlex.join([*PROGRAM, "score", str(experiment.folder.path), *own_tasks([experiment.task])])
