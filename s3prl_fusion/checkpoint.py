"""What a checkpoint says about the fusion that it was trained with.

The record is in the metadata of the featurizer's state dict: safe to read, and invisible to whoever loads the weights,
such as s3prl's own featurizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from . import __version__
from .config import FusionConfig
from .errors import UsageError
from .interfaces import interface_options

KEY = "s3prl_fusion"  # in the metadata
_ABSENT = object()


def record(config: FusionConfig, layers: Sequence[int], dims: Sequence[int]) -> dict[str, Any]:
    """What is to be remembered of a featurizer.

    Args:
        config: the fusion, as it took effect.
        layers, dims: number and width of each member's hidden states.
    """
    return {"version": __version__, "fusion": _in_full(config), "layers": list(layers), "dims": list(dims)}


def _in_full(config: FusionConfig) -> dict[str, Any]:
    """The config with every default of its interface's options, which a later release may change, and without devices
    and cache, which change no value that is trained on: a checkpoint may be used on another machine."""
    options = {**interface_options(config.interface.name), **config.interface.options}
    interface = replace(config.interface, options=options)
    members = tuple(replace(member, device=None) for member in config.members)
    return replace(config, members=members, interface=interface, cache=None).to_dict()


def read(state_dict: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `record` of a featurizer's state dict; None where there is none, as in s3prl's own checkpoints."""
    return getattr(state_dict, "_metadata", {}).get("", {}).get(KEY)


def check(remembered: Mapping[str, Any] | None, config: FusionConfig) -> None:
    """Refuses weights that were trained with another fusion, or by a release that may compute otherwise.

    Of paths only the last part counts: a checkpoint may be used on another machine.

    Raises:
        ValueError: names each difference.
    """
    if remembered is None:
        return
    if _release(remembered["version"]) != _release(__version__):
        raise UsageError(
            f"the checkpoint is from s3prl_fusion {remembered['version']}, and this is {__version__}, which may give "
            f"other features; pip install s3prl-fusion=={remembered['version']}, or train again"
        )
    found = list(_differences("", remembered["fusion"], _in_full(config)))
    if found:
        raise UsageError(
            f"the checkpoint was trained with another fusion: {'; '.join(found)}. "
            "Give the upstream that it was trained with (-u, -g), or train again"
        )


def _release(version: str) -> list[str]:
    """What must be equal: the major version, and before 1.0 the minor one."""
    parts = version.split(".")
    return parts[:2] if parts[0] == "0" else parts[:1]


def _differences(where: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(f"{where}.{key}".lstrip("."), before.get(key, _ABSENT), now.get(key, _ABSENT))
    elif where == "members" and len(before) == len(now):
        for i, pair in enumerate(zip(before, now)):
            yield from _differences(f"{where}[{i}]", *pair)
    elif _plain(before) != _plain(now):
        yield f"{where} was {_show(where, before)}, is {_show(where, now)}"


def _plain(value: Any) -> Any:
    return PurePath(value).name if isinstance(value, str) else value


def _show(where: str, value: Any) -> str:
    if value is _ABSENT:
        return "not given"
    return " + ".join(member["name"] for member in value) if where == "members" else repr(value)
