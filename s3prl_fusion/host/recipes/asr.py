"""ASR: LibriSpeech, in letters."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..patches import Patches
from . import Recipe
from ._shared import check_paths, supply_file


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Supply the letters, and check the paths."""
    without_corpus(config, {}, patches)
    check_paths(config, "datarc", "libri_root", "bucket_file", "dict_path")


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Supply the letters; the data sets are built when they are asked for."""
    supply_file(config, "datarc", "dict_path", "asr/char.dict")


def transcripts(expert: Any, features: list[Tensor]) -> list[str]:
    """Return the recipe's own decoding."""
    return expert.inference(features, [])


RECIPE = Recipe("asr", "asr.yaml", mend, without_corpus, transcripts)
