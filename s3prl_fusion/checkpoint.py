"""What a checkpoint says about the fusion that it was trained with.

The record is in the metadata of the featurizer's state dict: safe to read, and invisible to whoever loads the weights,
such as s3prl's own featurizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import __version__
from .config import FusionConfig
from .errors import UsageError
from .identity import describe, differences
from .interfaces import DEFAULT_INTERFACE, interface_options

KEY = "s3prl_fusion"  # in the metadata
OLD, OLD_INTERFACE = ["0", "1"], "hconv"  # a release whose checkpoints load here, and its default; normalize was off
RUN_FILE = "run.json"  # in an expdir: what a training says of itself


def record(
    fusion: FusionConfig, made_of: Mapping[str, Any], layers: Sequence[int], dims: Sequence[int]
) -> dict[str, Any]:
    """Put together what is to be remembered of a featurizer.

    Args:
        fusion: as it took effect.
        made_of: its description, see `identity.describe`.
        layers, dims: number and width of each member's hidden states.
    """
    remembered = {"version": __version__, "fusion": in_full(fusion), "made_of": dict(made_of)}
    return {**remembered, "layers": list(layers), "dims": list(dims)}


def in_full(fusion: FusionConfig, normalize: bool = False) -> dict[str, Any]:
    """Write out a fusion with every default of its interface's options, which a later release may change, and without
    devices and cache: a checkpoint may be used on another machine.

    Args:
        fusion: the fusion.
        normalize: whether its states are normalized even where it does not say so.
    """
    options = {**interface_options(fusion.interface.name), **fusion.interface.options}
    interface = replace(fusion.interface, options=options)
    members = tuple(replace(member, device=None) for member in fusion.members)
    normalize = normalize or fusion.normalize
    return replace(fusion, members=members, interface=interface, normalize=normalize, cache=None).to_dict()


def read(state_dict: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the `record` of a featurizer's state dict; None where there is none, as in s3prl's own checkpoints."""
    return getattr(state_dict, "_metadata", {}).get("", {}).get(KEY)


def with_old_defaults(fusion: FusionConfig, remembered: Mapping[str, Any] | None) -> FusionConfig:
    """Give a fusion, as its name or YAML reads in this release, the defaults of the release that a checkpoint is of.

    Args:
        fusion: what the checkpoint was trained with.
        remembered: the checkpoint's `record`.
    """
    if fusion.stock or remembered is None or release(remembered["version"]) != OLD:
        return fusion
    # Today's default, where it is another one, was not known then: whoever has it now named none.
    was_default = fusion.interface.name == DEFAULT_INTERFACE
    interface = replace(fusion.interface, name=OLD_INTERFACE) if was_default else fusion.interface
    return replace(fusion, interface=interface, normalize=remembered["fusion"].get("normalize", False))


def check(remembered: Mapping[str, Any] | None, fusion: FusionConfig, made_of: Mapping[str, Any]) -> None:
    """Refuse weights that were trained with another fusion, or by a release that may compute otherwise.

    Args:
        remembered: the `record`; None accepts any weights.
        fusion, made_of: what the weights are to be loaded for, and its description.

    Raises:
        UsageError: names each difference.
    """
    if remembered is None:
        return
    if release(remembered["version"]) not in (release(__version__), OLD):
        raise UsageError(
            f"the checkpoint is from s3prl_fusion {remembered['version']}, and this is {__version__}, which may give "
            f"other features; pip install s3prl-fusion=={remembered['version']}, or train again"
        )
    before, now = remembered.get("made_of"), made_of
    if before is None:  # of a release that kept no more than names
        past = FusionConfig.from_record(remembered["fusion"])
        before, now = describe(past, contents=False), describe(fusion, contents=False)
    found = list(differences(before, now))
    if found:
        raise UsageError(
            f"the checkpoint was trained with another fusion: {'; '.join(found)}. "
            "Give the upstream that it was trained with (-u, -g), or train again"
        )


def release(version: str) -> list[str]:
    """Tell what must be equal of two versions: the major one, and before 1.0 the minor one too."""
    parts = version.split(".")
    return parts[:2] if parts[0] == "0" else parts[:1]


def states_by_step(expdir: Path) -> list[Path]:
    """List the ``states-<step>.ckpt`` of an experiment's folder, the first step first."""
    states = [path for path in expdir.glob("states-*.ckpt") if path.stem.rpartition("-")[2].isdecimal()]
    return sorted(states, key=lambda path: int(path.stem.rpartition("-")[2]))
