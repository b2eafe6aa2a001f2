"""SID: VoxCeleb1's speakers."""

from __future__ import annotations

import hashlib
import os
import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from ...corpora.lines import read_lines, read_text
from ...corpora.voxceleb1 import clip_name, find_listed, read_speaker_list
from ...errors import UsageError
from ...files import cache_dir, make_cache_dir, read_json, reading_threads, write_sealed, write_whole
from ...schema import Section
from ...source import content_digest
from ..patches import Patches
from . import Recipe
from ._models import Model
from ._settings import CROP, LOADERS, PATH, dev_and_test
from ._shared import check_paths, empty, logits, max_timestep

SETTINGS = Section(
    {
        "datarc": Section({**CROP, **LOADERS}, {"file_path": PATH, "meta_data": PATH}),
        "modelrc": Model(("model.py",), width="projector_dim", without=("FrameLevel",)),
    }
)
_CONTENTS = "contents.json"  # beside the file lists: a digest of each
SPLITS = {"1": "train", "2": "dev", "3": "test"}  # what a line of the list begins with


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check the paths, and keep the file lists of each corpus apart."""
    check_paths(config, "datarc", "file_path", "meta_data")
    datarc = config["downstream_expert"]["datarc"]
    folder = cache_file_lists(Path(datarc["file_path"]), Path(datarc["meta_data"]))
    # Stock keeps one list a split inside the package, whatever the corpus (s3prl/downstream/voxceleb1/dataset.py:18).
    patches.set(import_module("s3prl.downstream.voxceleb1.dataset"), "CACHE_PATH", str(folder))


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Empty the data sets; the number of speakers is that of the head's last parameter, its bias."""
    module = import_module("s3prl.downstream.voxceleb1.expert")
    speakers = list(state.values())[-1].numel()
    patches.set(module, "SpeakerClassifiDataset", empty(module.SpeakerClassifiDataset, speaker_num=speakers))


def speakers(expert: Any, features: list[Tensor]) -> list[str]:
    """Return the most likely speakers."""
    return expert.test_dataset.label2speaker(logits(expert, features, features[0].device).argmax(-1).tolist())


def cache_file_lists(root: Path, split_list: Path) -> Path:
    """Write SID's file lists of one corpus, as s3prl reads them, into the user's cache folder.

    Args:
        root: VoxCeleb1's root: clips are found at ``*/wav/<line's path>``.
        split_list: lines of ``1|2|3 id10001/video/clip.wav``, for train, dev and test.

    Returns:
        A folder with train.pkl, dev.pkl and test.pkl, lists of paths as s3prl/downstream/voxceleb1/dataset.py builds.

    Raises:
        CorpusError: as `voxceleb1.find_listed`.
    """
    root, text = root.resolve(), read_text(split_list)
    read_speaker_list(split_list)  # also where an earlier release kept its file lists
    key = hashlib.sha256(f"{root}\n{text}".encode()).hexdigest()[:16]
    folder = cache_dir() / "voxceleb1" / key
    if _is_whole(folder):
        return folder
    make_cache_dir(f"voxceleb1/{key}")  # before 150,000 clips are looked for
    clips = find_listed(root, split_list)
    for number, split in SPLITS.items():
        paths = [str(clip) for clip, listed in clips.items() if listed == number]
        write_whole(folder / f"{split}.pkl", pickle.dumps(paths))
    write_sealed(folder / _CONTENTS, {split: content_digest(folder / f"{split}.pkl") for split in SPLITS.values()})
    return folder


def _is_whole(folder: Path) -> bool:
    """Tell whether the lists are those that were written, and their clips are still there."""
    try:
        contents = read_json(folder / _CONTENTS)
        lists = {split: folder / f"{split}.pkl" for split in SPLITS.values()}
        if any(contents.get(split) != content_digest(path) for split, path in lists.items()):
            return False
    except (OSError, UsageError):  # made anew
        return False
    clips = [clip for path in lists.values() for clip in pickle.loads(path.read_bytes())]
    with reading_threads() as pool:
        return all(pool.map(os.path.isfile, clips))


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the clips of a split, as the recipe calls them."""
    rows = [line.split() for _, line in read_lines(Path(config["downstream_expert"]["datarc"]["meta_data"]))]
    return [clip_name(clip) for number, clip in rows if SPLITS.get(number) == split]


RECIPE = Recipe(
    "voxceleb1",
    "sid.yaml",
    mend,
    without_corpus,
    speakers,
    crop=max_timestep,
    listed=listed,
    settings=SETTINGS,
    splits=dev_and_test,
)
