"""The recipes' settings for short runs: the same head, the same optimizer, fewer steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..files import read_mapping, write_whole
from ..host.arguments import set_value
from ..superb.own_files import own_digest, recipe_files
from ..superb.tasks import Task

FOLDER = "configs"  # below DIR
SHARE = 0.01  # of a recipe's steps
LEAST = 100  # steps, but never more than the recipe has
EVALUATIONS = 5  # of dev in a run
# So few steps lead nowhere with SUPERB's 1e-4, and PR's 1e-2 is too much for interfaces.
RATES = (1e-3, 2e-3)
# What the sample of LibriSpeech has, whatever else a recipe's settings train on.
SPLITS = {"train": ["train-clean-100"], "dev": ["dev-clean"], "dev-clean": ["dev-clean"]}


def steps_of(config: dict[str, Any], asked: int | None = None) -> int:
    """Tell how many steps a short run has.

    Args:
        config: the recipe's.
        asked: what --steps says.
    """
    whole = config["runner"]["total_steps"]
    return asked or min(whole, max(LEAST, round(SHARE * whole)))


def shorten(config: dict[str, Any], task: Task, steps: int | None = None, rate: float | None = None) -> dict[str, Any]:
    """Make a recipe's settings those of a short run, in place.

    Args:
        config: the recipe's.
        task: whose recipe it is.
        steps: of the optimizer; by default `SHARE` of the recipe's.
        rate: of learning; by default the recipe's, but within `RATES`.
    """
    runner, whole = config["runner"], config["runner"]["total_steps"]
    steps = steps_of(config, steps)
    every = max(1, steps // EVALUATIONS)
    runner.update(total_steps=steps, eval_step=every, save_step=every, log_step=every)
    # The part of dev that gives the score is looked at once.
    runner["eval_dataloaders"] = [task.best_ckpt.partition("-best.ckpt")[0]]
    least, most = RATES
    config["optimizer"]["lr"] = rate or min(max(float(config["optimizer"]["lr"]), least), most)
    scheduler = config.get("scheduler") or {}
    if "num_warmup_steps" in scheduler:
        scheduler["num_warmup_steps"] = round(scheduler["num_warmup_steps"] * steps / whole)
    for section in config["downstream_expert"].values():
        if isinstance(section, dict):
            if not task.corpus.given:
                section.update(
                    {split: folders for split, folders in SPLITS.items() if isinstance(section.get(split), list)}
                )
            # A short epoch is over before processes for it have begun; states come from the cache.
            section.update({"num_workers": 0} if "num_workers" in section else {})
            # Whole clips, which the sample has no long ones of: states of random crops cannot be kept.
            section.update({"max_timestep": None} if "max_timestep" in section else {})
    return config


def write(tasks: Sequence[Task], configs: Path, exp: Path, steps: int | None = None, rate: float | None = None) -> Path:
    """Write the short recipes' YAMLs, and return their folder.

    Args:
        tasks: the recipes'.
        configs: the folder with the whole recipes' settings.
        exp: DIR.
        steps, rate: see `shorten`.
    """
    folder = exp / FOLDER
    for task in tasks:
        whole = configs / task.config
        config = shorten(read_mapping(whole), task, steps, rate)
        for key, path in recipe_files(task, whole).items():  # a relative one of the user's begins at the recipe's file
            if own_digest(path, task.paths[key]) is not None:
                set_value(config, key, str(path))
        write_whole(folder / task.config, yaml.safe_dump(config, sort_keys=False))
    return folder
