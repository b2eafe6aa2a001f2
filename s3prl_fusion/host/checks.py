"""Every check of a run that needs no model: before anything loads, with messages for the user."""

from __future__ import annotations

import argparse
import glob
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..cache_config import DIR_VARIABLE, CacheConfig
from ..config import FusionConfig, MemberConfig
from ..errors import UsageError, unknown
from ..names import fusion_of, presets
from .patches import Patches


def check_name(name: str, model_config: str | None = None) -> FusionConfig | None:
    """Checks what ``-u`` and ``-g`` say, before anything loads.

    Args:
        name: an upstream's name, fused or stock.
        model_config: the fusion YAML; needed by, and only used for, the name ``fused``.

    Returns:
        The fusion behind a fused name, with the cache that the environment asks for if it names none itself; ``None``
        for a stock upstream.

    Raises:
        ValueError, TypeError, FileNotFoundError: the name, the YAML or a member is wrong; the message says how.
    """
    config = fusion_of(name, model_config)
    # Not before: what a fused name or its YAML has wrong is told without torch and s3prl.
    from .members import added_entries, check_members, entries, hub

    if config is None:
        if name not in {**vars(hub()), **added_entries()}:
            raise UsageError(unknown("upstream", name, [*entries(), *presets(), "fused"]))
        return None
    check_members(config.members)
    return config if config.cache else replace(config, cache=CacheConfig.from_env())


def check_device(device: str) -> None:
    """Raises ValueError for what torch does not take for a device, and for a GPU that is not there."""
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UsageError(f"device {device!r} is none: {error}") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r}: torch finds no GPU here; say cpu, or leave it out")
    if kind == "cuda" and (torch.device(device).index or 0) >= torch.cuda.device_count():
        found = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count()))
        raise UsageError(f"device {device!r}: torch does not find it here, only {found}; say one of them, or cpu")


def refuse_ckpt(name: str, ckpt: str | None) -> None:
    """Raises ValueError for run_downstream's ``-k`` beside a fused upstream."""
    if ckpt is not None:
        raise UsageError(
            f"{name!r} takes no checkpoint of its own (-k {ckpt}); give its members theirs in a fusion YAML"
        )


def fusion_or_single(name: str, model_config: str | None = None, ckpt: str | None = None) -> FusionConfig:
    """What -u, -g and -k say; a stock upstream is a fusion of one.

    Raises:
        ValueError, TypeError, OSError: as `check_name`, or a fused upstream is given a checkpoint.
    """
    fusion = check_name(name, model_config)
    if fusion is None:
        return FusionConfig((MemberConfig(name, ckpt, model_config),))
    refuse_ckpt(name, ckpt)
    return fusion


def find_fusion_yaml(args: argparse.Namespace) -> str | None:
    """A fusion YAML's absolute path, which goes into the checkpoint; for a past experiment whose YAML is gone, the copy
    that the runner keeps in the expdir, wherever that has been moved to."""
    if args.upstream_model_config is None:
        return None
    path = Path(args.upstream_model_config)
    if path.is_file():
        return str(path.resolve())
    folders = [Path(args.expdir), *([Path(args.init_ckpt).parent] if args.init_ckpt else [])]
    pattern = f"{glob.escape(path.stem)}_*{glob.escape(path.suffix)}"
    copies = [copy for folder in folders for copy in sorted(folder.glob(pattern))]
    return str(copies[-1].resolve()) if copies else str(path)


def check_run(args: argparse.Namespace, config: dict[str, Any], patches: Patches) -> None:
    """Checks a run's arguments and config, completes them, and mends its recipe, before the runner loads anything.

    Raises:
        ValueError, TypeError, OSError: something is wrong with them; the message says how.
    """
    from ..featurizer import check_selection
    from . import recipes

    if args.upstream == "fused":
        args.upstream_model_config = find_fusion_yaml(args)
    downloaded = getattr(args, "hub", None) == "huggingface"
    fusion = None if downloaded else check_name(args.upstream, args.upstream_model_config)
    if fusion is not None:
        refuse_ckpt(args.upstream, args.upstream_ckpt)
        check_selection(args.upstream_feature_selection, args.upstream_layer_selection)
        _check_frozen(fusion, args.upstream_trainable)
        if args.init_ckpt:
            normalize = fusion.normalize or args.upstream_feature_normalize
            _check_ckpt(args.init_ckpt, replace(fusion, normalize=normalize))
    recipes.mend(args.downstream, config, patches)
    if args.mode == "inference":
        recipes.add_inference(args.downstream, config, patches)


def _check_frozen(fusion: FusionConfig, trainable: bool) -> None:
    if trainable and fusion.cache is not None:
        raise UsageError(
            f"-f trains the members, so their hidden states cannot come from the cache {fusion.cache.dir}; leave -f "
            f"out, or take cache: out of the fusion YAML and unset {DIR_VARIABLE}"
        )


def _check_ckpt(path: str, fusion: FusionConfig) -> None:
    """Refuses a checkpoint of another fusion, of which only the featurizer's metadata is read into memory."""
    from .ckpt import read_ckpt

    states = read_ckpt(path, mmap=True)
    try:
        checkpoint.check(checkpoint.read(states["Featurizer"]), fusion)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
