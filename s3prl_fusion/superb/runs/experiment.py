"""One upstream under one task, fold, learning rate and seed: its folder, its files, its commands."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import __version__
from ...errors import UsageError
from ..data.corpora import Corpora
from ..scores.score import RESULT, STAMPS, log_of
from ..tasks import Task
from .stages import Stamp, key_of

STAGES = ("train", "evaluate", "score")
PROGRAM = (sys.executable, "-m", "s3prl_fusion")
SEED = 1337  # s3prl's


@dataclass(frozen=True)
class Settings:
    """What all experiments of one call share."""

    exp: Path  # absolute
    configs: Path  # folder of asr.yaml, pr.yaml, ...
    device: str | None = None  # None: the runner decides
    extra: Sequence[str] = ()  # more arguments for every train run
    runner: Sequence[str] = (*PROGRAM, "run")

    @property
    def model_config(self) -> str | None:
        """The upstream's config file among `extra`: run_downstream's -g."""
        return model_config_in(self.extra)


@dataclass(frozen=True)
class Experiment:
    """One training, and what follows it: an experiment folder of s3prl's runner."""

    upstream: str
    task: Task
    fold: str | None
    settings: Settings
    corpora: Corpora
    seed: int = SEED
    lr: float | None = None  # None: the recipe's

    @property
    def variant(self) -> str:
        """The task and whatever is not the recipe's own, for example `asr_lr0.001_seed2`."""
        lr = "" if self.lr is None else f"_lr{self.lr:g}"
        return f"{self.task.name}{lr}" + ("" if self.seed == SEED else f"_seed{self.seed}")

    @property
    def label(self) -> str:
        """Name for people, for example `fused_demo er fold1`."""
        return " ".join(part for part in (self.upstream, self.variant, self.fold) if part)

    @property
    def expdir(self) -> Path:
        """EXP/<upstream>/<variant>, and one folder a fold below it."""
        folder = self.settings.exp / self.upstream / self.variant
        return folder / self.fold if self.fold else folder

    @property
    def config(self) -> Path:
        """The recipe's config file."""
        return self.settings.configs / self.task.config

    @property
    def best_ckpt(self) -> Path:
        """The checkpoint with the best dev score."""
        return self.expdir / self.task.best_ckpt

    @property
    def hypothesis(self) -> Path:
        """What the evaluation predicts."""
        return self.expdir / self.task.file(self.task.hypothesis, self.fold)

    @property
    def reference(self) -> Path:
        """What would be right."""
        return self.expdir / self.task.file(self.task.reference, self.fold)

    def stamp(self, stage: str) -> Stamp:
        """The stamp of one of STAGES."""
        return Stamp(self.expdir / STAMPS / f"{stage}.json")

    def log(self, stage: str) -> Path:
        """The log of one of STAGES."""
        return log_of(self.expdir, stage)

    @property
    def result(self) -> Path:
        """What the score stage writes."""
        return self.expdir / RESULT

    def outputs(self, stage: str) -> list[Path]:
        """The files without which a stage is not done."""
        return {
            "train": [self.best_ckpt],
            "evaluate": [self.hypothesis, self.reference, self.log("evaluate")],
            "score": [self.result],
        }[stage]

    def overrides(self) -> str:
        """run_downstream's -o: paths in place of the config's placeholders, the fold, and the learning rate.

        Raises:
            ValueError: A path has characters that -o cannot carry.
        """
        values = {f"config.{key}": self.corpora.value(field) for key, field in self.task.paths.items()}
        if self.fold:
            values[f"config.{self.task.fold_key}"] = self.fold
        values["args.expdir"] = str(self.expdir)
        for value in values.values():
            if "=" in str(value) or ",," in str(value):
                raise UsageError(
                    f"s3prl's -o cannot carry the path {value}: it has '=' or ',,' in it; rename the folder"
                )
        if self.lr is not None:
            values["config.optimizer.lr"] = self.lr
        return ",,".join(f"{key}={json.dumps(value)}" for key, value in values.items())

    def train_arguments(self) -> list[str]:
        """Arguments of the training run; -a resumes from the folder's last checkpoint."""
        extra, overrides = split_overrides(self.settings.extra)
        return [
            *("-m", "train", "-u", self.upstream, "-d", self.task.downstream, "-c", str(self.config)),
            *("-p", str(self.expdir), "-a", "--seed", str(self.seed), *self._device()),
            *("-o", ",,".join([self.overrides(), *overrides]), *extra),
        ]

    def evaluate_arguments(self) -> list[str]:
        """Arguments of the evaluation of the best checkpoint."""
        return [
            *("-m", "evaluate", "-t", self.task.eval_split, "-e", str(self.best_ckpt), *self._device()),
            *("-o", self.overrides()),
        ]

    def key(self, stage: str) -> str:
        """Hash of everything that decides a stage's result; a change makes it run again."""
        replacements = {str(self.config): "{config}", str(self.settings.exp): "{exp}"}
        arguments = [stage, *self.train_arguments()]
        model_config = self.settings.model_config
        files = [self.config, *([Path(model_config)] if model_config else [])]
        inputs = [__version__, self.corpora.version, *(path.read_text(encoding="utf-8") for path in files)]
        return key_of(arguments, inputs, replacements)

    def _device(self) -> tuple[str, ...]:
        return ("--device", self.settings.device) if self.settings.device else ()


def model_config_in(extra: Sequence[str]) -> str | None:
    """The upstream's config file among run arguments: run_downstream's -g."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-g", "--upstream_model_config")
    return parser.parse_known_args(extra)[0].upstream_model_config


def split_overrides(extra: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take `-o X` and `--override X` out of run arguments, because run_downstream heeds only its last -o."""
    rest, overrides, words = [], [], iter(extra)
    for word in words:
        if word in ("-o", "--override"):
            value = next(words, None)
            if value is None:
                raise UsageError(f"{word} after -- needs a value")
            overrides.append(value)
        elif word.startswith("--override="):
            overrides.append(word.partition("=")[2])
        else:
            rest.append(word)
    return rest, overrides


def commands(experiment: Experiment, stages: Sequence[str] = STAGES) -> list[str]:
    """The shell commands of one experiment, runnable by hand and in this order."""
    runner, log = experiment.settings.runner, shlex.quote(str(experiment.log("evaluate")))
    lines = {
        "train": shlex.join([*runner, *experiment.train_arguments()]),
        "evaluate": f"{shlex.join([*runner, *experiment.evaluate_arguments()])} > {log} 2>&1",
        "score": shlex.join([*PROGRAM, "score", str(experiment.expdir)]),
    }
    return [lines[stage] for stage in stages]
