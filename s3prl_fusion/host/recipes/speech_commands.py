"""KS: Speech Commands, twelve classes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from ...corpora.speech_commands import CLASSES, clip_name, read_test_clips
from ...schema import Section
from ..patches import Patches
from . import Recipe
from ._models import Model
from ._settings import BATCH, PATH, WORKERS, dev_and_test
from ._shared import check_paths, empty, logits

SETTINGS = Section(
    {
        "datarc": Section(
            {"batch_size": BATCH, "num_workers": WORKERS},
            {"speech_commands_root": PATH, "speech_commands_test_root": PATH},
        ),
        "modelrc": Model(("model.py",), width="projector_dim", without=("FrameLevel",)),
    }
)
GRID = 1600  # samples


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check the paths, sort the clips, and cut silence where it can come again."""
    check_paths(config, "datarc", "speech_commands_root", "speech_commands_test_root")
    expert, dataset = (import_module(f"s3prl.downstream.speech_commands.{name}") for name in ("expert", "dataset"))
    for name in ("SpeechCommandsDataset", "SpeechCommandsTestingDataset"):
        patches.set(expert, name, _sorted(getattr(expert, name)))
    # Of minutes of noise s3prl cuts a second anywhere (dataset.py:85): hardly two are alike, and none would be found in
    # a cache.
    randint = dataset.randint
    patches.set(dataset, "randint", lambda low, high: low + GRID * randint(0, (high - low) // GRID))


def _sorted(stock: type) -> type:
    """Have the clips by name: stock has them as the disk gives them, whatever order that is."""

    stock_init: Any = vars(stock)["__init__"]

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stock_init(self, *args, **kwargs)
        order = sorted(range(len(self.data)), key=self.data.__getitem__)
        self.data = [self.data[index] for index in order]
        if hasattr(self, "sample_weights"):
            self.sample_weights = [self.sample_weights[index] for index in order]

    return type(stock.__name__, (stock,), {"__init__": init})


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Empty the data sets."""
    module = import_module("s3prl.downstream.speech_commands.expert")
    patches.set(module, "split_dataset", lambda root: ([], []))
    for name in ("SpeechCommandsDataset", "SpeechCommandsTestingDataset"):
        patches.set(module, name, empty(getattr(module, name), class_num=len(CLASSES)))


def words(expert: Any, features: list[Tensor]) -> list[str]:
    """Return the most likely classes."""
    return [CLASSES[index] for index in logits(expert, features, features[0].device).argmax(-1).tolist()]


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the test clips; of the dev clips some are drawn."""
    root = Path(config["downstream_expert"]["datarc"]["speech_commands_test_root"])
    return [clip_name(clip) for _, clip in read_test_clips(root)] if split == "test" else []


RECIPE = Recipe(
    "speech_commands",
    "ks.yaml",
    mend,
    without_corpus,
    words,
    listed=listed,
    settings=SETTINGS,
    splits=dev_and_test,
)
