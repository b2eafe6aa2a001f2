"""IC: Fluent Speech Commands; an intent is an action, an object and a location."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from ...corpora.fluent_commands import SLOTS, intents, read_table
from ...schema import TEXT, Section, several
from ..patches import Patches
from . import Recipe
from ._models import Model
from ._settings import LOADERS, PATH, dev_and_test
from ._shared import check_paths, empty, logits

INTENTS = "intents"  # of a recipe's config, and so of its checkpoints: each slot's values, as the head numbers them
SETTINGS = Section(
    {
        "datarc": Section({**LOADERS}, {"file_path": PATH}),
        "modelrc": Model(("model.py",), width="projector_dim", without=("FrameLevel",)),
    },
    {INTENTS: Section({slot: several(TEXT, least=1) for slot in SLOTS})},
)
FILES = {"dev": "valid", "test": "test"}  # split -> the table's


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check the path, and keep what the head says with it."""
    check_paths(config, "datarc", "file_path")
    expert = config["downstream_expert"]
    expert[INTENTS] = intents(Path(expert["datarc"]["file_path"]))


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Take the intents from the checkpoint's config, and no data sets."""
    module = import_module("s3prl.downstream.fluent_commands.expert")
    known = config["downstream_expert"][INTENTS]

    def get_dataset(self: Any) -> None:
        self.base_path, self.train_df, self.valid_df, self.test_df = "", None, None, None
        self.values_per_slot = [len(known[slot]) for slot in SLOTS]
        self.Sy_intent = {slot: dict(enumerate(known[slot])) for slot in SLOTS}

    patches.set(module.DownstreamExpert, "get_dataset", get_dataset)
    patches.set(module, "FluentCommandsDataset", empty(module.FluentCommandsDataset))


def commands(expert: Any, features: list[Tensor]) -> list[str]:
    """Return the most likely action, object and location of each, parted by commas."""
    slots = logits(expert, features, features[0].device).split(expert.values_per_slot, dim=1)
    found = zip(*(part.argmax(-1).tolist() for part in slots))
    return [",".join(expert.Sy_intent[slot][index] for slot, index in zip(SLOTS, each)) for each in found]


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the clips of a split, as the recipe calls them."""
    rows = read_table(Path(config["downstream_expert"]["datarc"]["file_path"]), FILES[split])
    return [Path(row["path"]).stem for row in rows]


RECIPE = Recipe(
    "fluent_commands",
    "ic.yaml",
    mend,
    without_corpus,
    commands,
    listed=listed,
    settings=SETTINGS,
    splits=dev_and_test,
)
