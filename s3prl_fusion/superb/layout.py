"""An experiment folder's layout. Nobody else knows where a run's files are, or what they are called.

EXP/data                                                    what `prepare` makes
EXP/<upstream>/<task>[_lr<rate>][_seed<seed>][/<fold>]      a run: a folder of s3prl's runner, and what is added here
EXP/<upstream>/<task>....old<k>                             one that was set aside
EXP/<upstream>__auto/<task>[_seed<seed>][/<fold>]           what `--interfaces auto` chose, from the run's own folder
EXP/slurm, EXP/.lock                                        Slurm's files; held while a pipeline works here
EXP/cache                                                   the demo's hidden states
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint import RUN_FILE, states_by_step
from .table_tasks import is_name
from .tasks import Task, is_known

SEED = 1337  # s3prl's, which stands in no folder's name
_SET_ASIDE = re.compile(r"\.old\d+$")
_VARIANT = re.compile(r"(?P<task>.+?)(_lr[^_]+)?(_seed\d+)?")  # of what `variant` says
_STAMPS, _RESULT = "stages", "score.json"
_DATA, _SLURM, _CACHE = "data", "slurm", "cache"
_AUTO = "__auto"


@dataclass(frozen=True)
class RunFolder:
    """One run: an upstream under one task, fold, learning rate and seed."""

    path: Path

    @classmethod
    def of(
        cls, exp: Path, upstream: str, task: Task, fold: str | None = None, seed: int = SEED, lr: float | None = None
    ) -> RunFolder:
        """Name a run's folder.

        Args:
            exp: the experiment folder.
            upstream: what the upstream is called.
            task, fold, seed: of the run.
            lr: its learning rate; None is the recipe's.
        """
        return cls(exp / upstream / variant(task, seed, lr) / (fold or ""))

    @property
    def result(self) -> Path:
        """What the score stage writes."""
        return self.path / _RESULT

    @property
    def run_file(self) -> Path:
        """What the training says of itself."""
        return self.path / RUN_FILE

    def log(self, stage: str) -> Path:
        """Name the output of a stage."""
        return self.path / f"{stage}.log"

    def stamp(self, stage: str) -> Path:
        """Name the file of what is known of a stage."""
        return self.path / _STAMPS / f"{stage}.json"

    def best_ckpt(self, task: Task) -> Path:
        """Name the checkpoint with the best dev score."""
        return self.path / task.best_ckpt

    def hypothesis(self, task: Task, fold: str | None) -> Path:
        """Name the file of what the evaluation predicts."""
        return self.path / task.file(task.hypothesis, fold)

    def reference(self, task: Task, fold: str | None) -> Path:
        """Name the file of what would be right."""
        return self.path / task.file(task.reference, fold)

    def best_ckpts(self) -> list[Path]:
        """Every best checkpoint, whatever the task."""
        return sorted(self.path.glob("*-best.ckpt"))

    def has_states(self) -> bool:
        """Whether there is a checkpoint to go on from, or scores of a search for the best states."""
        return any(self.path.glob("states-*"))

    def states(self) -> list[Path]:
        """Every checkpoint to go on from, the first step first."""
        return states_by_step(self.path)

    def is_empty(self) -> bool:
        """Whether nothing is there yet."""
        return not self.path.is_dir() or not any(self.path.iterdir())

    def aside(self) -> Path:
        """Where the folder goes when another run takes its place: the first free ``<name>.old<k>``."""
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        return target

    @property
    def upstream(self) -> Path:
        """EXP/<upstream>, which is one folder further up from a fold."""
        is_fold = is_known(_task_of(self.path.parent))
        return self.path.parents[1] if is_fold else self.path.parent


def task_on_table(run: RunFolder) -> str | None:
    """Return the name of the task on a user's table that a run's folder is called by; None where it is another's."""
    names = (_task_of(folder) for folder in (run.path, run.path.parent))
    return next((name for name in names if is_name(name)), None)


def variant(task: Task, seed: int = SEED, lr: float | None = None) -> str:
    """Name the task and whatever is not the recipe's own, for example `asr_lr0.001_seed2`."""
    return f"{task.name}{'' if lr is None else f'_lr{lr!r}'}" + ("" if seed == SEED else f"_seed{seed}")


def is_reserved(upstream: str) -> bool:
    """Tell whether no upstream can be called so in EXP."""
    return upstream in (_DATA, _SLURM, _CACHE, ".", "..") or bool(_SET_ASIDE.search(upstream)) or is_auto_name(upstream)


def auto_name(upstream: str) -> str:
    """Name the row, and its folder in EXP, of what is chosen for an upstream."""
    return upstream + _AUTO


def is_auto_name(name: str) -> bool:
    """Tell whether a folder in EXP is such a row's."""
    return name.endswith(_AUTO)


def _task_of(folder: Path) -> str:
    found = _VARIANT.fullmatch(folder.name)
    return found["task"] if found else ""


def data_folder(exp: Path) -> Path:
    """Name the folder of what `prepare` makes."""
    return exp / _DATA


def slurm_folder(exp: Path) -> Path:
    """Name the folder of what submitit writes, and of which job each run is in."""
    return exp / _SLURM


def cache_folder(exp: Path) -> Path:
    """Name the folder of the hidden states that the demo's runs share."""
    return exp / _CACHE


def lock_file(exp: Path) -> Path:
    """Name the file that is held while a pipeline works in an experiment folder."""
    return exp / ".lock"


def find_scored(folder: Path) -> list[RunFolder]:
    """Find the runs in a folder and below it that have a score, sorted, without what was set aside.

    Args:
        folder: for example EXP, EXP/fused_demo, EXP/fused_demo/er, or one run's.
    """
    return [RunFolder(path.parent) for path in _find(folder, _RESULT) if path.parent.name != _STAMPS]


def find_stamps(folders: Iterable[Path], stage: str) -> list[Path]:
    """Find the stamps of a stage below some folders, sorted, without what was set aside."""
    return sorted({path for folder in folders for path in _find(folder, f"{_STAMPS}/{stage}.json")})


def _find(folder: Path, name: str) -> list[Path]:
    found = folder.rglob(name)
    return sorted(path for path in found if not any(map(_SET_ASIDE.search, path.relative_to(folder).parts[:-1])))


def variant_folders(upstream: Path, task: Task) -> list[Path]:
    """Find EXP/<upstream>/<task> and its variants, `<task>_lr0.001_seed2`, without what was set aside."""
    folders = [folder for folder in upstream.glob(f"{task.name}*") if _task_of(folder) == task.name]
    return sorted(folder for folder in folders if folder.is_dir() and not _SET_ASIDE.search(folder.name))
