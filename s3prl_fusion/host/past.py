"""Runs that go on from a checkpoint (``-e``, ``-a``): what it may say, and what is the user's alone to say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..checkpoint import RUN_FILE
from ..errors import UsageError
from ..permissions import allowing, is_allowed
from .arguments import split_overrides

# Of run_downstream's arguments, what decides where a run writes to and what it sends away.
_PLACES = ("expdir", "expname", "cache_dir", "push_to_hf_hub", "hf_hub_org", "from_hf_hub")


def overridden(args: argparse.Namespace, name: str) -> bool:
    """Tell whether the user's ``-o`` says an argument."""
    texts = [args.override] if isinstance(args.override, str) else args.override or []
    return any(part.partition("=")[0].strip() == f"args.{name}" for part in split_overrides(texts))


def place(args: argparse.Namespace) -> list[str]:
    """Say where a run writes that goes on from ``-e`` and is not told: its experiment's folder, else where the user is.

    Stock takes the folder that the checkpoint says (s3prl/run_downstream.py:131).

    Raises:
        UsageError: it is a training, and the checkpoint lies in no experiment's folder.
    """
    if args.past_exp is None or args.expdir is not None or args.expname is not None:
        return []
    path = Path(args.past_exp)
    folder = path if path.is_dir() else path.parent
    if overridden(args, "expdir") or (folder / RUN_FILE).exists() or any(folder.glob("args_*.yaml")):
        return ["-p", str(folder)]
    if args.mode == "train":
        raise UsageError(
            f"-e {path} lies in no experiment's folder ({folder} has no {RUN_FILE} and no args_*.yaml); say with "
            "-p EXPDIR where the training is to be saved"
        )
    return ["-p", "."]


def restore(path: Any, **options: Any) -> dict[str, Any]:
    """Read a checkpoint for run_downstream, without what is the user's alone to say.

    Args:
        path: the file.
        **options: torch.load's, in whose place this is called.

    Raises:
        UsageError: it is none.
    """
    from .ckpt import read_experiment

    states = read_experiment(path)
    for name in _PLACES:
        vars(states["Args"]).pop(name, None)
    return states


def check_repository(args: argparse.Namespace) -> None:
    """Raise UsageError where a checkpoint says that the upstream is a repository of the hub, whose code would run
    (s3prl/downstream/runner.py:122), and the user has not allowed it."""
    fetched = getattr(args, "hub", None) == "huggingface" or getattr(args, "from_hf_hub", False)
    if fetched and args.past_exp and not is_allowed(args.upstream):
        raise UsageError(
            f"{args.past_exp} was trained on {args.upstream}, a repository of the hub whose code would run here: read "
            f"it, then allow it with {allowing(args.upstream)}"
        )
