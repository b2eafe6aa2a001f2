"""s3prl's checkpoints: which one an experiment's folder means, and what is in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import states_by_step
from ..errors import MissingFileError, UsageError
from .weights import read_weights

_KINDS = {"Args": argparse.Namespace, "Config": dict, "Featurizer": dict, "Downstream": dict}


def find_ckpt(expdir_or_ckpt: str | Path) -> Path:
    """Find a checkpoint; of a folder the best on the dev set (``dev*best.ckpt``), else the last ``states-*.ckpt``.

    Raises:
        MissingFileError: there is neither.
    """
    path = Path(expdir_or_ckpt)
    if path.is_file():
        return path
    by_step = states_by_step(path)
    found = [*by_step, *sorted(path.glob("dev*best.ckpt"))]
    if not found:
        raise MissingFileError(
            f"{path} {'has no dev*best.ckpt and no states-*.ckpt' if path.is_dir() else 'does not exist'}; "
            "give a checkpoint, or the -p folder of a training run"
        )
    return found[-1]


def read_ckpt(path: str | Path, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint of s3prl's runner, its tensors on the CPU; nothing in it is executed.

    Args:
        path: the file.
        mmap: tensors are read when they are used, for who wants few of them.

    Raises:
        UsageError: it is not one, is damaged, or holds more than weights and settings.
    """
    # A Namespace (s3prl/downstream/runner.py:401) runs nothing, so it stays allowed: torch has one list for all
    # threads, which none could take it from while another one reads.
    torch.serialization.add_safe_globals([argparse.Namespace])
    states = read_weights(path, mmap)
    keys = states if isinstance(states, dict) else {}
    lacking = [key for key, kind in _KINDS.items() if not isinstance(keys.get(key), kind)]
    lacking += ["weights in Downstream"] if not lacking and not keys["Downstream"] else []
    if lacking:
        raise UsageError(f"{path} is no checkpoint of s3prl's run_downstream: it has no {', '.join(lacking)}")
    return states


def read_experiment(path: str | Path) -> dict[str, Any]:
    """Do as `read_ckpt`, for what is built anew from its Args and Config.

    Raises:
        UsageError: as for it, or its Args name no upstream or no downstream.
    """
    states = read_ckpt(path)
    lacking = [name for name in ("upstream", "downstream") if not isinstance(getattr(states["Args"], name, None), str)]
    if lacking or not isinstance(states["Config"].get("downstream_expert"), dict):
        raise UsageError(
            f"{path} is no checkpoint of s3prl's run_downstream: it has no "
            f"{', '.join(f'Args.{name}' for name in lacking) or 'Config.downstream_expert'}"
        )
    return states
