"""s3prl's checkpoints: which one an experiment's folder means, and what is in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from ..errors import MissingFileError, UsageError


def find_ckpt(expdir_or_ckpt: str | Path) -> Path:
    """Find a checkpoint; of a folder the best on the dev set (``dev*best.ckpt``), else the last ``states-*.ckpt``.

    Raises:
        MissingFileError: there is neither.
    """
    path = Path(expdir_or_ckpt)
    if path.is_file():
        return path
    by_step = sorted(path.glob("states-*.ckpt"), key=lambda ckpt: int(ckpt.stem.rpartition("-")[2]))
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
        UsageError: it is not one.
    """
    # A Namespace (s3prl/downstream/runner.py:401) runs nothing, so it stays allowed: torch has one list for all
    # threads, which none could take it from while another one reads.
    torch.serialization.add_safe_globals([argparse.Namespace])
    try:
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # what torch raises for a file that is none, or is cut short, depends on its bytes
        raise UsageError(f"{path} cannot be read as a checkpoint: {error}") from error
    keys = states if isinstance(states, dict) else {}
    lacking = [key for key in ("Args", "Config", "Featurizer", "Downstream") if key not in keys]
    if lacking:
        raise UsageError(f"{path} is no checkpoint of s3prl's run_downstream: it has no {', '.join(lacking)}")
    return states
