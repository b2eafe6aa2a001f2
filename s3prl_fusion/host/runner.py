"""The launcher: s3prl's run_downstream, unchanged, in a process where the plugin is registered."""

from __future__ import annotations

import argparse
import builtins
import json
import os
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

from ..errors import UsageError, UserError, within
from ..files import read_mapping
from ..names import FUSIONS, absolute, find_shipped, is_fused_name, is_yaml, resolve
from ..upstreams.references import parse as parse_reference
from . import distributed, past
from .arguments import override, parse, split_overrides
from .hub import check_downstream
from .patches import Patches
from .proxy import Proxy


def run(argv: Sequence[str], fill_in: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Run s3prl.run_downstream.

    Args:
        argv: run_downstream's own arguments, all of them understood.
        fill_in: completes the run's config in place, once overrides are applied and before anything loads.

    Raises:
        UserError: a mistake of the user's.
    """
    completed = complete_arguments(argv)
    check_arguments(parse(completed))
    from .hub import host_version, quiet_torchaudio
    from .register import register

    register()
    if distributed.rank() == 0:
        print(f"[s3prl_fusion] {host_version()}", flush=True)
    try:
        with _process_state(["run_downstream.py", *completed]), _mended_main(completed, fill_in) as main:
            with quiet_torchaudio():
                main()
    except UserError:
        distributed.leave(wait=False)
        raise
    distributed.leave(wait=True)


def complete_arguments(argv: Sequence[str]) -> list[str]:
    """Complete run_downstream's arguments with what stock leaves to the user: device, config and local rank.

    Raises:
        UsageError: no config is given for a recipe that has no default, or a file given is not there.
    """
    args, completed = parse(argv), list(argv)
    if args.help:
        return completed
    for option, path in (("-e", args.past_exp), ("-i", args.init_ckpt)):
        if path is not None and not Path(path).exists():
            raise UsageError(f"{option} {path} does not exist; correct the path")
    if args.past_exp is not None and Path(args.past_exp).is_file() and not zipfile.is_zipfile(args.past_exp):
        raise UsageError(
            f"-e {args.past_exp} is no whole checkpoint of s3prl's run_downstream; give one, or a run's folder"
        )
    folder = None if args.past_exp is None else Path(args.past_exp)
    if folder and folder.is_dir() and not any(folder.glob("states-*.ckpt")):
        raise UsageError(f"-e {args.past_exp} has no states-*.ckpt; train there first (-m train -p {args.past_exp})")
    if args.mode == "inference" and not Path(args.evaluate_split or "").is_file():
        told = "-t is missing" if args.evaluate_split is None else f"-t {args.evaluate_split} does not exist"
        raise UsageError(f"{told}; -m inference needs a sound file")
    completed += past.place(args)
    own = split_overrides(args.override)
    if args.past_exp is None and not _resumes(args):
        completed += _new_experiment(args, own)
    else:
        override({}, own)  # refuses what is malformed
        if args.upstream is not None and (is_yaml(args.upstream) or parse_reference(args.upstream)):
            # run_downstream takes the checkpoint's, but the file may have moved; what it says is checked later.
            own.append(f"args.upstream={json.dumps(absolute(args.upstream))}")
    if own and own != split_overrides(args.override[-1:]):
        completed += ["-o", ",,".join(own)]  # run_downstream heeds its last -o only
    if args.device is None:
        args.device = default_device()
        completed += ["--device", args.device]
    return completed + distributed.completed_arguments(args)


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse a device that is not there, and an upstream that cannot load, before s3prl is imported.

    Args:
        args: complete.

    Raises:
        UserError: says what.
    """
    from ..devices import check_device
    from .checks import check_upstream

    if args.help:
        return
    if args.mode is None:
        raise UsageError("-m is missing: -m train, -m evaluate or -m inference")
    check_device(args.device)
    if args.past_exp is None and not _resumes(args) and args.hub != "huggingface":
        check_upstream(resolve(args.upstream, args.upstream_model_config, args.upstream_ckpt), args)


def default_device() -> str:
    """Choose cuda where there is one, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _resumes(args: argparse.Namespace) -> bool:
    """Tell whether ``-a`` will find a checkpoint to restore everything from (s3prl/run_downstream.py:93)."""
    expdir = Path(args.expdir or f"result/downstream/{args.expname}")
    return args.auto_resume and any(expdir.glob("states-*.ckpt"))


def _new_experiment(args: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Return what a run that is not restored from a checkpoint must say, and a default config if there is one."""
    for option, value in (("-u UPSTREAM", args.upstream), ("-d DOWNSTREAM", args.downstream)):
        if value is None:
            raise UsageError(f"{option} is missing, and there is no -e to restore it from")
    try:
        check_downstream(args.downstream)
    except UsageError as error:
        raise within("-d: ", error) from error
    if args.expdir is None and args.expname is None:
        raise UsageError("-p EXPDIR (or -n EXPNAME) is missing: where should the experiment be saved?")
    added = []
    if args.hub != "huggingface":
        # Told without s3prl. Checkpoints keep paths, which must be found from any folder.
        resolve(args.upstream, args.upstream_model_config, args.upstream_ckpt)
        added = ["-u", absolute(args.upstream)]
        if args.upstream == "fused":
            added += ["-g", str(find_shipped("-g", args.upstream_model_config, FUSIONS).absolute())]
        elif not is_fused_name(args.upstream):
            for option, path in (("-k", args.upstream_ckpt), ("-g", args.upstream_model_config)):
                added += [option, os.path.abspath(path)] if path and Path(path).exists() else []
    if args.config is None:
        path = _default_config(args.downstream)
    else:
        path = find_shipped("-c", args.config, "*.yaml", "demo/*.yaml")
    config = read_mapping(path)
    override(config, overrides)
    from . import recipes

    recipes.check(args.downstream, config, str(path), training=args.mode == "train")
    return added if str(path) == args.config else [*added, "-c", str(path)]


def _default_config(downstream: str) -> Path:
    from . import recipes

    config = recipes.default_config(downstream)
    if config is None:
        raise UsageError(
            f"the recipe {downstream!r} has no default config; give one with -c FILE "
            f"(recipes with a default: {', '.join(recipe.name for recipe in recipes.table())})"
        )
    return config


@contextmanager
def _mended_main(argv: Sequence[str], fill_in: Callable[[dict[str, Any]], None] | None) -> Iterator[Callable[[], None]]:
    """Give run_downstream's main, whose config is filled in, and which trains in several processes on any device."""
    from s3prl import run_downstream

    stock, patches, given = run_downstream.get_downstream_args, Patches(), parse(argv)

    def get_downstream_args() -> tuple[argparse.Namespace, dict[str, Any], list[str]]:
        args, config, backup_files = stock()
        distributed.check_resumed(args)
        if args.past_exp:
            _check_same(given, args)
            if distributed.rank() == 0:
                unread = "; its settings hold, -c is not read" if given.config else ""
                print(f"[s3prl_fusion] goes on from {args.init_ckpt}, writes into {args.expdir}{unread}", flush=True)
        if fill_in:
            fill_in(config)
        return args, config, backup_files

    patches.set(run_downstream, "get_downstream_args", get_downstream_args)
    patches.set(run_downstream, "torch", Proxy(run_downstream.torch, load=past.restore))
    distributed.mend_main(run_downstream, given.device != "cpu", patches)
    try:
        yield run_downstream.main
    finally:
        patches.undo()


def _check_same(given: argparse.Namespace, args: argparse.Namespace) -> None:
    """Refuse what the user says otherwise than the checkpoint that a run goes on from, whose word stock takes.

    Args:
        given: the user's arguments.
        args: what takes effect.
    """
    for option, name in (("-u", "upstream"), ("-d", "downstream"), ("--seed", "seed")):
        said, holds = getattr(given, name), getattr(args, name)
        same = said in (None, holds) or (name == "upstream" and absolute(said) == holds)
        if not same and not past.overridden(given, name):
            raise UsageError(
                f"{option} {said}: the run goes on from {args.init_ckpt}, which was trained with {holds}; leave it "
                "out, or train in another folder (-p)"
            )


@contextmanager
def _process_state(argv: list[str]) -> Iterator[None]:
    """Put back sys.argv, which run_downstream reads, and isinstance, which it replaces (s3prl/utility/helper.py:55)."""
    before_argv, before_isinstance = sys.argv, builtins.isinstance
    sys.argv = argv
    try:
        yield
    finally:
        sys.argv, builtins.isinstance = before_argv, before_isinstance
