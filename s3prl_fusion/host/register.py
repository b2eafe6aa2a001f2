"""Registration with s3prl: names into its hub, the featurizer seam and the mends into its runner."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import torch
from torch import nn

from .. import __version__, checkpoint
from ..config import FusionConfig
from ..errors import HostError, KindError, UserError
from ..featurizer import FusionFeaturizer
from ..files import whole_file, write_sealed
from ..grammar import presets
from ..names import resolve
from ..upstreams import fused
from ..upstreams.references import parse
from . import distributed, own_upstreams, shims
from .checks import check_run, made_of
from .hub import host_version, hub
from .members import added_entries, check, stock_loader
from .patches import Patches
from .problem import default_to_cpu, read_rows, supply_unused
from .proxy import Proxy
from .recipes import find
from .recipes.ctc import supply_corpora
from .resume import KEY, Position, SharedPosition, follow
from .upstream import FusedUpstream

_patches = Patches()
_attached: set[str] = set()


def register() -> None:
    """Make s3prl in this process know the fused names, and run them with the fusion featurizer.

    Idempotent. Stock upstreams keep the stock featurizer.

    Example:
        >>> sf.register()
        >>> s3prl.nn.S3PRLUpstream("fused__fbank__mfcc").num_layers
        2

    Raises:
        HostError: s3prl, or a package that its runner imports, is missing or too new; the message says which.
    """
    if not shims.supplied():
        shims.supply()
        _patches.add(shims.withdraw)
    hub()
    for name in SEAMS:
        if name in LATER and name not in sys.modules:
            continue
        try:
            module = import_module(name)
        except ImportError as error:
            unregister()
            raise HostError(
                f"{name} cannot be imported: {error}. Install what s3prl_fusion declares: "
                "pip install --upgrade s3prl-fusion"
            ) from error
        attach(module)


def attach(module: ModuleType) -> None:
    """Make the changes to one module of `SEAMS`, which is imported already. Idempotent."""
    if module.__name__ not in _attached:
        _attached.add(module.__name__)
        SEAMS[module.__name__](module, _patches)


def unregister() -> None:
    """Leave s3prl, and what it needs, as `register` found them. Idempotent."""
    _patches.undo()
    _attached.clear()


def _fused_entry(name: str) -> Callable[..., FusedUpstream]:
    """Make a hub entry, which s3prl calls with ckpt, model_config and refresh (s3prl/downstream/runner.py:149), and
    s3prl.nn with what its user says in ``extra_conf`` (s3prl/nn/upstream.py:113)."""

    def entry(
        ckpt: str | None = None, model_config: str | None = None, refresh: bool = False, **options: Any
    ) -> FusedUpstream:
        _check_extra_conf(name, model_config, options)
        return FusedUpstream(resolve(name, model_config, ckpt))

    entry.__name__ = name
    entry.__doc__ = f"The fused upstream {name}; see s3prl_fusion.names."
    return entry


def _own_entry(name: str) -> Callable[..., nn.Module]:
    """Make a hub entry of an upstream of the user's own."""

    def entry(ckpt: str | None = None, model_config: Any = None, refresh: bool = False, **options: Any) -> nn.Module:
        if options and model_config is not None:
            raise KindError(f"{name!r}: give {', '.join(sorted(options))} in the model_config, or leave that out")
        fusion = resolve(name, None, ckpt)
        member = replace(fusion.members[0], model_config=options or model_config)
        check(replace(fusion, members=(member,)))
        return stock_loader(member)(refresh=refresh)

    entry.__name__ = name
    return entry


def _check_extra_conf(name: str, model_config: Any, options: dict[str, Any]) -> None:
    """Raise KindError for what only a fusion YAML can say, so that nothing is ignored in silence."""
    if options:
        raise KindError(
            f"{name!r} takes no {', '.join(sorted(options))}, only model_config; give its members theirs in a fusion "
            "YAML (extra_conf: {model_config: fusion.yaml}, with the upstream 'fused')"
        )
    if model_config is not None and not isinstance(model_config, (str, os.PathLike)):
        raise KindError(
            f"{name!r}: model_config must be the path of a fusion YAML; got {type(model_config).__name__}. Write it to "
            "a file, or make the upstream in Python: FusedUpstream(FusionConfig.from_dict(...))"
        )


def _register_names(module: ModuleType, patches: Patches) -> None:
    for name in [*presets(), "fused"]:
        patches.set(module, name, _fused_entry(name))
    for name, entry in added_entries().items():
        if not hasattr(module, name):
            patches.set(module, name, entry)

    def entry_of(name: str) -> Any:
        # Asked only for what the module lacks: any name of the grammar, any YAML, and any upstream of the user's own,
        # becomes an entry when it is used.
        if name.startswith("__"):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        own = parse(name)
        try:
            if own:
                own_upstreams.check_name(name)  # what it is called with is looked at when it is called
            else:
                check(resolve(name))
        except UserError as error:
            raise AttributeError(str(error)) from error
        return _own_entry(name) if own else _fused_entry(name)

    patches.set(module, "__getattr__", entry_of)


def _register_runner(runner: ModuleType, patches: Patches) -> None:
    stock_featurizer, stock_init = runner.Featurizer, runner.Runner.__init__
    position: Position | SharedPosition | None = None
    own: Callable[..., nn.Module] | None = None  # the recipe's

    def featurizer(upstream: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        is_fused = isinstance(_bare(upstream), fused.FusedUpstream)
        return (own or (FusionFeaturizer if is_fused else stock_featurizer))(upstream, *args, **kwargs)

    def save(states: Any, path: str) -> None:
        # The runner writes dev-best.ckpt over itself (s3prl/downstream/runner.py:419): killed there, it would be lost.
        if position is not None:
            states[KEY] = position.state()
        with whole_file(path) as temporary:
            torch.save(states, temporary)

    def init(self: Any, args: argparse.Namespace, config: dict[str, Any]) -> None:
        nonlocal position, own
        position, own = None, None
        if args.device == "cuda" and not (torch.cuda.is_available() or _says_device()):
            args.device = "cpu"  # stock takes cuda anywhere (s3prl/run_downstream.py:82)
        entry = Patches()  # the runner asks the hub for the upstream, which is known here already
        with distributed.leader_first():
            fusion = check_run(args, config, patches)
        if fusion is not None:
            entry.set(hub(), args.upstream, _loader(fusion))
        elif getattr(args, "from_hf_hub", False):
            import huggingface_hub

            download = huggingface_hub.snapshot_download
            entry.set(huggingface_hub, "snapshot_download", shims.huggingface.as_before(download))
        recipe = find(args.downstream, config)
        if recipe and (args.mode == "train" or args.past_exp or (fusion is not None and not fusion.stock)):
            own = recipe.featurizer  # else -l and -s choose among a stock upstream's states
        try:
            stock_init(self, args, config)
        finally:
            entry.undo()
        description = describe_run(self, fusion)
        if runner.is_leader_process():
            print(_in_words(description), flush=True)
        if args.mode == "train":
            upstream, run_file = _bare(self.upstream.model), Path(args.expdir) / checkpoint.RUN_FILE
            if recipe and isinstance(upstream, fused.FusedUpstream):
                upstream.crop_samples = recipe.crop(config)
            if recipe and recipe.choose:
                chosen = recipe.choose
                self.train = lambda: write_sealed(run_file, {**description, "states": chosen(self, description)})
            else:
                position = follow(self)
            if runner.is_leader_process():
                write_sealed(run_file, description)

    # The runner has the name bound since its import (s3prl/downstream/runner.py:24): it is replaced there.
    patches.set(runner, "Featurizer", featurizer)
    patches.set(runner.Runner, "__init__", init)
    patches.set(runner, "torch", Proxy(runner.torch, save=save))
    patches.set(runner, "torchaudio", Proxy(runner.torchaudio, load=shims.audio.load_speech))  # for -m inference
    patches.set(runner, "DDP", distributed.wrap)
    supply_corpora(patches)
    # Its checkpoints hold one (s3prl/downstream/runner.py:401). The shims allow it too, but whoever has used
    # torch.serialization.safe_globals for it has taken it back from all.
    shims.checkpoints.allow(patches, [argparse.Namespace])


def _says_device() -> bool:
    """Tell whether the command line has ``--device``, or what argparse takes for it."""
    return any(word.startswith("--de") for word in sys.argv[1:])


def _loader(fusion: FusionConfig) -> Callable[..., nn.Module]:
    """Make what the runner calls for an upstream, with ckpt and model_config, which the fusion knows, and refresh."""
    if not fusion.stock:
        return lambda **_: FusedUpstream(fusion)
    load = stock_loader(fusion.members[0])
    return lambda refresh=False, **_: load(refresh=refresh)


def _bare(module: nn.Module) -> nn.Module:
    """Return a module without what distributed training wraps it in."""
    return getattr(module, "module", module)


def _register_nn(module: ModuleType, patches: Patches) -> None:
    from .nn_featurizer import FusionNNFeaturizer

    stock_class, stock_init = module.Featurizer, module.Featurizer.__init__

    def init(self: Any, upstream: Any, *args: Any, **kwargs: Any) -> None:
        # s3prl.nn, s3prl.problem.base and ESPnet have the class bound by now: so its instances are changed.
        if type(self) is stock_class and isinstance(getattr(upstream, "upstream", None), fused.FusedUpstream):
            self.__class__ = FusionNNFeaturizer
            FusionNNFeaturizer.__init__(self, upstream, *args, **kwargs)
        else:
            stock_init(self, upstream, *args, **kwargs)

    patches.set(stock_class, "__init__", init)


def describe_run(runner: Any, fusion: FusionConfig | None) -> dict[str, Any]:
    """Describe what a run is made of: the fusion, versions, device, and numbers of parameters.

    A training keeps it in its `checkpoint.RUN_FILE`.
    """
    args, device = runner.args, torch.device(runner.args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "s3prl_fusion": __version__,
        "host": host_version().partition(" (")[0],
        "torch": torch.__version__,
        "device": f"{device.type} ({name})" if name else device.type,
        "processes": torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
        "fusion": checkpoint.in_full(fusion, args.upstream_feature_normalize) if fusion else None,
        "made_of": made_of(fusion, args) if fusion else None,
        "upstream_trained": runner.upstream.trainable,
        "cache": fusion.cache.to_dict() if fusion and fusion.cache else None,
        "parameters": {e.name.lower(): sum(p.numel() for p in e.model.parameters()) for e in runner.all_entries},
    }


def _in_words(description: dict[str, Any]) -> str:
    """Say how much of a run is frozen and how much is trained."""
    counts = {name: f"{count:,}" for name, count in description["parameters"].items()}
    upstream = "trained" if description["upstream_trained"] else "frozen"
    return (
        f"[s3prl_fusion] {upstream} parameters: {counts['upstream']} (upstream); "
        f"trained: {counts['featurizer']} (featurizer), {counts['downstream']} (downstream)"
    )


# What is not imported for us: it takes seconds, and only s3prl-main needs it, which the hook attends to.
LATER = ("s3prl.problem.base",)
# What is changed in which module of s3prl.
SEAMS: dict[str, Callable[[ModuleType, Patches], None]] = {
    "s3prl.hub": _register_names,
    "s3prl.dataio": lambda module, patches: supply_unused(patches),  # where s3prl.problem's imports begin
    "s3prl.nn.upstream": _register_nn,
    "s3prl.downstream.runner": _register_runner,
    "s3prl.problem.base": default_to_cpu,
    "s3prl.dataio.corpus.base": read_rows,
}
