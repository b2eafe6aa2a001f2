"""SID: VoxCeleb1's speakers."""

from __future__ import annotations

import hashlib
import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ...errors import MissingFileError, UsageError
from ...files import cache_dir, write_whole
from ..patches import Patches
from . import Recipe
from ._shared import check_paths, empty, logits, max_timestep


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
        MissingFileError: clips of the list are not below ``root``; the message counts them and names the first.
        UsageError: a line of the list is malformed.
    """
    root, text = root.resolve(), split_list.read_text(encoding="utf-8")
    key = hashlib.sha256(f"{root}\n{text}".encode()).hexdigest()[:16]
    folder = cache_dir() / "voxceleb1" / key
    splits = {"1": "train", "2": "dev", "3": "test"}
    if all((folder / f"{split}.pkl").is_file() for split in splits.values()):
        return folder
    clips: dict[str, list[str]] = {split: [] for split in splits.values()}
    missing = []
    wav_dirs = sorted(root.glob("*/wav"))
    for number, line in enumerate(tqdm(text.splitlines(), desc="clips of VoxCeleb1", leave=False), 1):
        index, _, clip = line.strip().partition(" ")
        if index not in splits or not clip:
            raise UsageError(f"{split_list}:{number}: expected '1|2|3 id10001/video/clip.wav'; got {line!r}")
        path = next((str(wav / clip) for wav in wav_dirs if (wav / clip).is_file()), None)
        clips[splits[index]].append(path or "")
        if path is None:
            missing.append(clip)
    if missing:
        raise MissingFileError(f"{len(missing)} clips of {split_list} are not below {root}/*/wav, e.g. {missing[0]}")
    folder.mkdir(parents=True, exist_ok=True)
    for split, paths in clips.items():
        write_whole(folder / f"{split}.pkl", pickle.dumps(paths))
    return folder


RECIPE = Recipe("voxceleb1", "sid.yaml", mend, without_corpus, speakers, crop=max_timestep)
