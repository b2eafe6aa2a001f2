"""s3prl's recipes, as its runner builds them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from s3prl_fusion.host import recipes
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.recipes.ctc import supply_corpora
from s3prl_fusion.superb.tasks import Task


@contextlib.contextmanager
def expert_of(task: Task, config: dict[str, Any], expdir: Path) -> Iterator[Any]:
    """Give a recipe's DownstreamExpert for features of width 8; what it prints is dropped."""
    patches = Patches()
    supply_corpora(patches)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            recipes.mend(task.downstream, config, patches)
            expert_class = import_module(f"s3prl.downstream.{task.downstream}.expert").DownstreamExpert
            yield expert_class(upstream_dim=8, upstream_rate=160, **config, expdir=str(expdir))
        finally:
            patches.undo()


def start(task: Task, config: dict[str, Any], expdir: Path) -> None:
    """Do what the runner does first: build model and optimizer, and take a batch of each split."""
    from s3prl.optimizers import get_optimizer

    recipes.check(task.downstream, config)  # a text that means a number becomes one
    with expert_of(task, config, expdir) as expert:
        runner = config["runner"]
        get_optimizer([expert], runner["total_steps"], config["optimizer"])
        for split in (runner.get("train_dataloader", "train"), *runner["eval_dataloaders"]):
            next(iter(expert.get_dataloader(split)))
