"""ER: IEMOCAP, in five folds."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import MissingFileError
from ..patches import Patches
from . import Recipe
from ._shared import check_paths, empty, logits


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check the paths, and the fold's."""
    check_paths(config, "datarc", "root", "meta_data")
    datarc = config["downstream_expert"]["datarc"]
    fold = datarc.get("test_fold")
    if fold:
        session = Path(datarc["meta_data"]) / fold.replace("fold", "Session")
        for path in (session / "train_meta_data.json", session / "test_meta_data.json"):
            if not path.is_file():
                raise MissingFileError(
                    f"{path} does not exist: downstream_expert.datarc.test_fold is {fold!r}; name one that is there, "
                    "or let `s3prl-fusion superb` make all five from your corpus"
                )


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Empty the data sets; the labels are read from the meta data (s3prl/downstream/emotion/dataset.py:23)."""
    module = import_module("s3prl.downstream.emotion.expert")
    folder = config["downstream_expert"]["datarc"]["meta_data"]
    found = sorted(Path(folder).glob("Session*/train_meta_data.json"))
    if not found:
        raise MissingFileError(
            f"{folder} has no Session*/train_meta_data.json, which names the emotions that the experiment was trained "
            "on; put one there (the audio is not needed)"
        )
    indices = json.loads(found[0].read_text(encoding="utf-8"))["labels"]
    labels = {index: emotion for emotion, index in indices.items()}
    stand_in = empty(module.IEMOCAPDataset, class_num=len(labels), idx2emotion=labels)
    patches.set(module, "IEMOCAPDataset", stand_in)


def emotions(expert: Any, features: list[Tensor]) -> list[str]:
    """Return the most likely emotions."""
    best = logits(expert, features, features[0].device).argmax(-1).tolist()
    return [expert.test_dataset.idx2emotion[index] for index in best]


RECIPE = Recipe("emotion", "er.yaml", mend, without_corpus, emotions)
