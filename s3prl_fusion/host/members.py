"""Upstreams from s3prl's hub: what there is, what a member needs, what its code is, and loading it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from ..config import FusionConfig, MemberConfig
from ..devices import check_device
from ..errors import MissingFileError, UsageError, UserError, unknown, within
from ..files import read_mapping
from ..grammar import presets
from ..imports import load_object
from ..names import is_fused_name
from ..schema import Problem, Section, by_default
from ..source import code_digest
from ..upstreams.chosen import check_layers
from ..upstreams.entries import ENTRIES, MODEL_TYPES, Entry, known
from ..upstreams.layers import count_layers
from ..upstreams.outputs import check_output
from ..upstreams.pretrained import check_ckpt
from ..upstreams.references import EXPERT, parse
from . import loading, own_upstreams, shared
from .defined import definitions, replaced
from .hub import entry_files, hub

Factory = Callable[..., nn.Module]


def entries() -> dict[str, Factory]:
    """List every upstream that a member can name: s3prl's own and the ones that this package adds."""
    found = {name: value for name, value in vars(hub()).items() if _is_entry(name, value)}
    return {**found, **added_entries()}


def _is_entry(name: str, value: Any) -> bool:
    hidden = name.startswith("_") or name in ("options", "load_and_convert_fairseq_ckpt") or is_fused_name(name)
    return not hidden and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)))


def added_entries() -> dict[str, Factory]:
    """Make the hub entries that s3prl lacks: Whisper, x-vectors, and the demo's tiny models."""
    return {row.name: _added(row) for row in ENTRIES.values() if row.factory or row.via}


def _added(row: Entry) -> Factory:
    def entry(ckpt: str | None = None, model_config: str | Mapping[str, Any] | None = None, **kwargs: Any) -> nn.Module:
        ckpt, config = ckpt or row.pretrained, model_config or dict(row.options)
        cls = _own_class(row.name)
        if cls is None:
            return getattr(hub(), row.via)(ckpt, model_config=config, **kwargs)
        if isinstance(config, str):
            config = read_mapping(config)
        kwargs.pop("refresh", None)  # s3prl passes it to every entry
        return cls(ckpt, **{**config, **kwargs})

    entry.__name__ = row.name
    entry.__doc__ = f"{row.ckpt or 'A ckpt'} through {row.via or row.factory}."
    return entry


def _own_class(name: str) -> type[nn.Module] | None:
    """Import what loads an entry, or the entry that it goes through; None where that is s3prl's affair."""
    factory = known(known(name).via or name).factory
    return load_object("upstream", factory, nn.Module)[0] if factory else None


def check(fusion: FusionConfig) -> None:
    """Refuse members that cannot load, before any does.

    Raises:
        UserError: a name is unknown, an entry without a checkpoint of its own gets none, a local file or a device is
            not there; the message says which member. Or a file is where the cache's folder is to be.
    """
    if fusion.cache is not None:
        folder = fusion.cache.path.absolute()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise UsageError(f"the cache {folder}: {there} is a file, and a folder is needed; choose another path")
    factories = _sources(fusion)
    for i, member in enumerate(fusion.members):
        try:
            _check_member(member, factories, fusion.stock)
        except UserError as error:
            if fusion.stock:
                raise
            raise within(f"members[{i}]: ", error) from error


def _check_member(member: MemberConfig, factories: Mapping[str, Factory | Path], stock: bool) -> None:
    if is_fused_name(member.name):
        raise UsageError(f"{member.name!r} is a fused upstream itself; list its members instead")
    if parse(member.name):
        own_upstreams.check(member)
    else:
        _check_entry(member, factories, stock)
    count = count_layers(member)
    if count is not None:
        check_layers(member, count)
    if member.device is not None:
        check_device(member.device)


def _check_entry(member: MemberConfig, factories: Mapping[str, Factory | Path], stock: bool) -> None:
    if member.name not in factories:
        fused = [*presets(), "fused"] if stock else []
        raise UsageError(_unknown(member.name, [*factories, *fused]))
    _check_replaced(member, factories)
    _check_files(member, stock)
    _check_options(member)


def _unknown(name: str, names: list[str]) -> str:
    """Say that there is no such entry. The entries for transformers' models are few and look alike, so the nearest one
    would be one for another architecture."""
    if (Path(name) / EXPERT).is_file():
        return f"unknown upstream {name!r}; of the folder here say ./{name}"
    if not name.startswith("hf_"):
        return unknown("upstream", name, names)
    loaded = ", ".join(f"{entry} ({kind})" for entry, kind in MODEL_TYPES.items() if entry[:3] == "hf_")
    family = [entry for entry in names if entry.partition("_")[0] == name.split("_")[1]]
    others = f"; s3prl's own entries of that family: {', '.join(sorted(family))}" if family else ""
    return f"unknown upstream {name!r}; models saved by transformers are loaded by {loaded}{others}"


def _sources(fusion: FusionConfig) -> Mapping[str, Factory | Path]:
    """List what a member can name, and what its code is in. s3prl is imported only if its files do not tell."""
    if "s3prl.hub" not in sys.modules:
        found: dict[str, Factory | Path] = {**entry_files(), **added_entries()}
        needed = [member.name for member in fusion.members if not parse(member.name)]
        if all(name in found for entry in needed for name in (entry, known(entry).via) if name):
            return found
    return entries()


def _check_replaced(member: MemberConfig, sources: Mapping[str, Factory | Path]) -> None:
    """Refuse a ckpt or a model_config for an entry that has one of its own, and takes no other."""
    name = known(member.name).via or member.name
    source = sources[name]
    file = source if isinstance(source, Path) else Path(inspect.getsourcefile(inspect.unwrap(source)) or "")
    if not file.is_file():
        return
    own = replaced(file, name)
    for what in ("ckpt", "model_config"):
        value = getattr(member, what)
        if value is None or what not in own:
            continue
        others = [entry for entry in definitions(file) if known(entry).needs_ckpt and what not in replaced(file, entry)]
        advice = f"name an entry that takes one: {', '.join(others)}" if others else "choose another entry"
        raise UsageError(
            f"{what} {value!r}: {member.name!r} has one of its own, and s3prl would ignore yours; leave it "
            f"out, or {advice}"
        )


def _check_files(member: MemberConfig, stock: bool) -> None:
    what = "model_config" if member.name == "baseline_local" else "ckpt"
    if known(member.name).needs_ckpt and member.ckpt is None and getattr(member, what) is None:
        option = {"ckpt": "-k CKPT", "model_config": "-g FILE"}[what]
        advice = f"the member a {what}, in a fusion YAML: {{name: {member.name}, {what}: PATH}}"
        raise UsageError(
            f"{member.name!r} has no checkpoint of its own; give {f'it one: {option}' if stock else advice}"
        )
    for what in ("ckpt", "model_config"):
        value = getattr(member, what)
        local = what == "model_config" or member.name.endswith("_local")
        if local and isinstance(value, str) and not Path(value).exists():
            raise MissingFileError(f"{what} {value!r} of {member.name!r} does not exist; correct the path")
    entry = known(member.name).via or member.name
    if entry in MODEL_TYPES and member.ckpt is not None:
        check_ckpt(entry, member.ckpt)


def _check_options(member: MemberConfig) -> None:
    """Refuse options that an entry of ours does not take; what s3prl's take, only they know."""
    module, _, name = known(known(member.name).via or member.name).factory.partition(":")
    given = member.model_config
    if not module or not isinstance(given, Mapping):
        return
    spec = find_spec(module)
    of = definitions(Path(spec.origin)).get(name) if spec and spec.origin else None
    if of is None:
        return
    kinds = {option: by_default((of.defaults or {}).get(option)) for option in of.names if option != "ckpt"}
    problems: list[Problem] = []
    Section(more=kinds, others=of.forwards)("model_config", dict(given), problems)
    if problems:
        raise UsageError(problems[0].line)


def code(fusion: FusionConfig) -> list[str]:
    """Digest each member's own code: of its hub entry, and what lies beside it in s3prl's layout. Of what this package
    brings, the release stands for it: an empty text; and of a user's own, `identity` knows it."""
    sources = _sources(fusion)
    return [_code(known(member.name).via or member.name, sources) for member in fusion.members]


def _code(name: str, sources: Mapping[str, Factory | Path]) -> str:
    if parse(name) or known(name).factory.startswith(f"{__name__.partition('.')[0]}."):
        return ""
    return code_digest([_own_class(name) or sources[name]])[:16]


def load_members(fusion: FusionConfig) -> list[nn.Module]:
    """Load every member, after `check`; what differs in layers alone is loaded once."""
    check(fusion)
    members = fusion.members
    loaded: list[nn.Module] = []
    for i, member in enumerate(members):
        same = next((j for j in range(i) if members[j].runs_as(member)), None)
        loaded.append(_load(_maker(member), member) if same is None else loaded[same])
    return loaded


def keep(fusion: FusionConfig) -> None:
    """Load a fusion's members for the processes that are forked from this one, see `shared`. What cannot load, or not
    be shared, is left to them."""
    check(fusion)
    shared.keep(fusion, lambda member: _maker(member)())


def stock_loader(member: MemberConfig) -> Callable[..., nn.Module]:
    """Make what loads an upstream for s3prl's own featurizer; each of its outputs is looked at, see `check_output`. It
    takes what the entry takes beside ckpt and model_config, which are the member's."""
    make = _maker(member)

    def load(**options: Any) -> nn.Module:
        upstream = _load(make, member, **options)
        own_upstreams.check_rate(member, upstream)
        upstream.register_forward_hook(partial(check_output, member.name))
        return upstream

    return load


def _load(make: Factory, member: MemberConfig, **more: Any) -> nn.Module:
    found = None if more.get("refresh") else shared.take(member)
    return make(**more) if found is None else found


def _maker(member: MemberConfig) -> Factory:
    """Find what makes a member, now: while s3prl's runner is made, the hub has another entry of that name."""
    if parse(member.name):
        return partial(own_upstreams.load, member)
    return partial(_load_anew, entries()[member.name], member)


def _load_anew(factory: Factory, member: MemberConfig, **more: Any) -> nn.Module:
    """Call an entry as run_downstream does (s3prl/downstream/runner.py:149), leaving out what is not given."""
    given = {"ckpt": member.ckpt, "model_config": member.model_config}
    options = {**more, **{key: value for key, value in given.items() if value is not None}}
    if _own_class(member.name):
        return loading.load(member.name, factory, options)
    with loading.config_as_file(options) as written:
        return loading.load(member.name, factory, written)
