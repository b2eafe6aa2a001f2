"""What several recipes' files use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...assets import downstream_configs_dir, own_file
from ...errors import MissingFileError, UsageError
from ...source import content_digest
from ..hub import s3prl_folder

TRAINED_WITH = "own_file_sha256"  # of a recipe's config


def check_paths(config: dict[str, Any], section: str, *keys: str) -> None:
    """Raise MissingFileError for a path, or a list of them, in a section of the recipe's config that is not there."""
    for key in keys:
        values = config["downstream_expert"][section].get(key)
        for value in values if isinstance(values, list) else [values]:
            if value is None or not Path(value).exists():
                name = f"downstream_expert.{section}.{key}"
                raise MissingFileError(
                    f"{name} is {value!r}, which does not exist; correct the config, or give "
                    f"-o \"config.{name}='PATH'\" (`s3prl-fusion superb` fills it in from your corpora)"
                )


def supply_file(config: dict[str, Any], section: str, key: str, checkout: str) -> None:
    """Put a dictionary's path into the config where the usual one is meant, and is not there: the wheel has none.

    Of a dictionary of the user's, the config, and so the checkpoint, keeps what it says: with another one of as many
    letters, a trained head would say other letters.

    Args:
        config: the run's, changed in place.
        section, key: where the path is in the recipe's config.
        checkout: where a source checkout of s3prl has the file, below downstream/.

    Raises:
        MissingFileError: the config names another file, which is not there.
        UsageError: the user's is not the one that the head was trained with.
    """
    usual = s3prl_folder() / "downstream" / checkout
    expert, shipped = config["downstream_expert"], downstream_configs_dir() / usual.name
    settings = expert[section]
    own = own_file(settings.get(key), usual.name)
    if own is None and not Path(settings.get(key) or "").is_file():
        settings[key] = str(usual if usual.is_file() else shipped)
    check_paths(config, section, key)
    digest = content_digest(settings[key])
    if expert.get(TRAINED_WITH, digest) != digest:
        raise UsageError(
            f"{settings[key]} (downstream_expert.{section}.{key}) is not what the experiment was trained with; give "
            "the file as it was, or train again in another folder"
        )
    if own and digest != content_digest(shipped):
        expert[TRAINED_WITH] = digest


def max_timestep(config: dict[str, Any]) -> int | None:
    """Return the samples of the random crops that VoxCeleb1's recipes train on."""
    return config["downstream_expert"]["datarc"].get("max_timestep")


def empty(dataset: type, **attributes: Any) -> type:
    """Return a data set class whose instances have no items, but the attributes given."""
    return type(dataset.__name__, (dataset,), {"__init__": lambda *_, **__: None, "__len__": lambda _: 0, **attributes})


def logits(expert: Any, features: list[Tensor], lengths_on: torch.device) -> Tensor:
    """Run a trained head.

    Args:
        expert: the recipe's DownstreamExpert.
        features: B sequences of (T_i, D).
        lengths_on: where the recipe's own forward has the lengths: the CPU (PR), or beside the features (SID, ER).
    """
    lengths = torch.tensor([len(feature) for feature in features], dtype=torch.int, device=lengths_on)
    return expert.model(expert.projector(pad_sequence(features, batch_first=True)), lengths)[0]
