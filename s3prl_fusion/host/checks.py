"""Every check of a run that needs no model, before anything loads; and what a run is made of."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..audio import load
from ..cache.config import DIR_VARIABLE, CacheConfig
from ..config import FusionConfig
from ..errors import MissingFileError, UsageError, within
from ..featurizer import check_selection
from ..files import as_json, read_json
from ..identity import describe, differences
from ..names import absolute, is_fused_name, resolve
from ..upstreams.chosen import check_layers
from ..upstreams.layers import count_layers
from . import members, recipes
from .arguments import override, split_overrides
from .ckpt import read_ckpt
from .past import check_repository, overridden
from .patches import Patches

Record = Callable[[], "Mapping[str, Any] | None"]


def fusion_of(args: argparse.Namespace, record: Record, named: bool) -> FusionConfig:
    """Resolve a run's upstream; of a past experiment whose YAML is gone, what its checkpoint remembers.

    Args:
        args: run_downstream's.
        record: reads the checkpoint's `checkpoint.record`; None where there is no checkpoint.
        named: whether the user says the upstream; a checkpoint's runs no code that is not allowed.
    """
    try:
        return resolve(args.upstream, args.upstream_model_config, args.upstream_ckpt, named)
    except MissingFileError as error:
        gone, remembered = error, record() if is_fused_name(args.upstream) else None
    if remembered is None:
        raise gone
    try:
        fusion = FusionConfig.from_record(remembered["fusion"])
    except UsageError as error:
        raise within(
            f"{args.upstream} is gone, with which the experiment was trained (give where it is now with -u, or with "
            "load_experiment's upstream), and without it: ",
            error,
        ) from None
    return replace(fusion, cache=CacheConfig.from_env())


def made_of(fusion: FusionConfig, args: argparse.Namespace) -> dict[str, Any]:
    """Describe what a run trains on: the fusion with its members' code, and what run_downstream's options change of it.

    Args:
        fusion: what ``-u``, ``-g`` and ``-k`` say.
        args: run_downstream's, of which the ones about the upstream's features count.
    """
    fusion = replace(fusion, normalize=fusion.normalize or args.upstream_feature_normalize)
    changed = {
        "trained": args.upstream_trainable,
        "selection": args.upstream_feature_selection if args.upstream_feature_selection != "hidden_states" else None,
        "layer": args.upstream_layer_selection,
        # Rounding to float16 changes features less than another kind of device does, int8 more.
        "states": "int8" if fusion.cache and fusion.cache.dtype == "int8" else None,
    }
    described = describe(fusion, members.code(fusion))
    return {**described, **{key: value for key, value in changed.items() if value not in (None, False)}}


def check_run(args: argparse.Namespace, config: dict[str, Any], patches: Patches) -> FusionConfig | None:
    """Check a run's arguments and config, complete them, and mend its recipe, before the runner loads anything.

    Returns:
        What the run trains on; None for an upstream that run_downstream fetches from another hub.

    Raises:
        UserError: something is wrong with them.
    """
    fusion = None
    check_repository(args)
    if getattr(args, "hub", None) != "huggingface":
        if not args.past_exp:
            args.upstream = absolute(args.upstream)  # so that the checkpoint's holds from any folder
        named = not args.past_exp or overridden(args, "upstream")
        fusion = fusion_of(args, lambda: _remembered(args), named)
        if args.past_exp and not fusion.stock:
            fusion = checkpoint.with_old_defaults(fusion, _remembered(args))
        check_upstream(fusion, args)
        if args.init_ckpt:
            (check_stock if fusion.stock else _check_ckpt)(args, fusion)
    _check_nothing_trained(args, config)
    said = override({}, split_overrides([args.override])) if args.override and args.past_exp else []
    recipes.check(args.downstream, config, training=args.mode == "train", given=said if args.past_exp else None)
    if args.mode == "evaluate":
        recipes.check_split(args.downstream, config, args.evaluate_split)
    recipes.mend(args.downstream, config, patches)
    runner = config["runner"]
    training = [runner.get("train_dataloader", "train"), *runner.get("eval_dataloaders", ())]
    used = {"train": training, "evaluate": [args.evaluate_split]}.get(args.mode, [])
    recipes.check_texts(args.downstream, config, used)
    if args.mode == "inference":
        load(args.evaluate_split)
        recipes.add_inference(args.downstream, config, patches)
    return fusion


def _check_nothing_trained(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Refuse to train an upstream, or to choose its states by hand, where all that a training does is to choose them.

    Raises:
        UsageError: says what to do.
    """
    recipe = recipes.find(args.downstream, config)
    selection = (args.upstream_feature_selection, args.upstream_layer_selection)
    if args.mode == "train" and recipe and recipe.choose:
        if args.upstream_trainable or selection != ("hidden_states", None):
            raise UsageError(
                f"-m train -d {args.downstream} trains nothing, but tries every hidden state on dev: leave -f, -s and "
                "-l out. To search with one state of a stock upstream: -m evaluate -t dev -l NUMBER"
            )


def check_upstream(fusion: FusionConfig, args: argparse.Namespace) -> None:
    """Refuse members that cannot load, and what run_downstream's options cannot do with a fused upstream.

    Raises:
        UserError: says what.
    """
    members.check(fusion)
    if fusion.stock:
        chosen, count = args.upstream_layer_selection, count_layers(fusion.members[0])
        if chosen is not None and count is not None:
            check_layers(replace(fusion.members[0], layers=(chosen,)), count)
        return
    check_selection(args.upstream_feature_selection, args.upstream_layer_selection)
    if args.upstream_trainable and fusion.cache is not None:
        raise UsageError(
            f"-f trains the members, so their hidden states cannot come from the cache {fusion.cache.dir}; leave -f "
            f"out, or take cache: out of the fusion YAML and unset {DIR_VARIABLE}"
        )


def check_stock(args: argparse.Namespace, fusion: FusionConfig) -> None:
    """Refuse a checkpoint on a stock upstream that is another one by now, as far as the run.json beside it tells.

    s3prl's own featurizer remembers nothing, see `checkpoint`.

    Raises:
        UsageError: names each difference.
    """
    before = read_json(Path(args.init_ckpt).parent / checkpoint.RUN_FILE).get("made_of")
    found = list(differences(before, as_json(made_of(fusion, args)))) if before else []
    if found:
        raise UsageError(
            f"{args.init_ckpt} was trained with another upstream: {'; '.join(found)}. Give the one that it was trained "
            "with, or train again"
        )


def _remembered(args: argparse.Namespace) -> Mapping[str, Any] | None:
    """Read the record of the checkpoint that a run starts from, and of that only the featurizer's metadata."""
    return checkpoint.read(read_ckpt(args.init_ckpt, mmap=True)["Featurizer"]) if args.init_ckpt else None


def _check_ckpt(args: argparse.Namespace, fusion: FusionConfig) -> None:
    """Refuse a checkpoint of another fusion."""
    normalized = replace(fusion, normalize=fusion.normalize or args.upstream_feature_normalize)
    try:
        checkpoint.check(_remembered(args), normalized, describe(normalized, members.code(fusion)))
    except UsageError as error:
        raise within(f"{args.init_ckpt}: ", error) from error
