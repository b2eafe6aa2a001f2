"""What the recipes need and `pip install s3prl` does not give, each in one small function with its reason.

Where a source checkout of s3prl has a piece, the checkout's is used.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import s3prl
from tqdm import tqdm

from ..assets import downstream_configs_dir
from ..errors import MissingFileError, UsageError
from ..files import cache_dir, write_whole
from . import libriphone
from .patches import Patches

CONFIGS = {
    "asr": "asr.yaml",
    "ctc": "pr.yaml",
    "voxceleb1": "sid.yaml",
    "emotion": "er.yaml",
    "sv_voxceleb1": "sv.yaml",
}


def default_config(downstream: str) -> Path | None:
    """The config of a recipe that is run without ``-c``, or ``None`` if there is none.

    Stock looks in ./downstream only, which depends on the current directory, and the wheel has no YAML at all.
    """
    relative = Path("downstream") / downstream / "config.yaml"
    candidates = [relative, Path(s3prl.__file__).parent / relative]
    if downstream in CONFIGS:
        candidates.append(downstream_configs_dir() / CONFIGS[downstream])
    return next((path for path in candidates if path.is_file()), None)


def supply_libriphone(patches: Patches) -> None:
    """The wheel lacks the package downstream/ctc/corpus, so ``-d ctc`` ends in a ModuleNotFoundError."""
    package = "s3prl.downstream.ctc.corpus"
    # What is supplied already, by a registration, has no spec to be found.
    if package not in sys.modules and util.find_spec(package) is None:
        patches.set_item(sys.modules, package, ModuleType(package))
        patches.set_item(sys.modules, f"{package}.libriphone", libriphone)


def mend(downstream: str, config: dict[str, Any], patches: Patches) -> None:
    """Checks a recipe's config and supplies what it lacks, in place, before any model loads.

    Raises:
        FileNotFoundError: a path in the config is not there; the message names the config's key.
        ValueError: a list of files is malformed.
    """
    # With max_keep 1 the runner deletes the last checkpoint before it writes the next (s3prl/downstream/runner.py:387):
    # killed in between, an experiment would be lost.
    config["runner"]["max_keep"] = max(2, config["runner"].get("max_keep", 2))
    supply_files(downstream, config)
    if downstream in _MENDS:
        _MENDS[downstream](config["downstream_expert"], patches)


def supply_files(downstream: str, config: dict[str, Any]) -> None:
    """The wheel lacks the recipes' dictionaries: one that is named as usual, but is not there, is taken from here."""
    expert = config["downstream_expert"]
    if downstream == "asr":
        _supply_file(expert["datarc"], "dict_path", "char.dict", Path("asr"))
    elif downstream == "ctc":
        _supply_file(expert["text"], "vocab_file", "phoneme.txt", Path("ctc") / "vocab")


def _supply_file(config: dict[str, Any], key: str, name: str, folder: Path) -> None:
    path = Path(config.get(key) or name)
    in_checkout = Path(s3prl.__file__).parent / "downstream" / folder / name
    if path.name == name and not path.is_file():
        config[key] = str(in_checkout if in_checkout.is_file() else downstream_configs_dir() / name)


def _mend_asr(expert: dict[str, Any], patches: Patches) -> None:
    datarc = expert["datarc"]
    _check_paths("downstream_expert.datarc", datarc, "libri_root", "bucket_file", "dict_path")


def _mend_pr(expert: dict[str, Any], patches: Patches) -> None:
    _check_paths("downstream_expert.text", expert["text"], "vocab_file")
    _check_paths("downstream_expert.corpus", expert["corpus"], "path", "lexicon")
    module = import_module("s3prl.downstream.ctc.expert")
    stock = module.load_dataset

    def load_dataset(split: str, tokenizer: Any, corpus: dict[str, Any]) -> Any:
        # Stock takes num_workers out of the config for good (s3prl/downstream/ctc/data.py:76): the next split got 12.
        return stock(split, tokenizer, dict(corpus))

    patches.set(module, "load_dataset", load_dataset)


def _mend_sid(expert: dict[str, Any], patches: Patches) -> None:
    datarc = expert["datarc"]
    _check_paths("downstream_expert.datarc", datarc, "file_path", "meta_data")
    folder = cache_file_lists(Path(datarc["file_path"]), Path(datarc["meta_data"]))
    # Stock keeps one list a split inside the package, whatever the corpus (s3prl/downstream/voxceleb1/dataset.py:18).
    patches.set(import_module("s3prl.downstream.voxceleb1.dataset"), "CACHE_PATH", str(folder))


def _mend_er(expert: dict[str, Any], patches: Patches) -> None:
    datarc = expert["datarc"]
    _check_paths("downstream_expert.datarc", datarc, "root", "meta_data")
    fold = datarc.get("test_fold")
    if fold:
        session = Path(datarc["meta_data"]) / fold.replace("fold", "Session")
        for path in (session / "train_meta_data.json", session / "test_meta_data.json"):
            if not path.is_file():
                raise MissingFileError(
                    f"{path} does not exist: downstream_expert.datarc.test_fold is {fold!r}; name one that is there, "
                    "or let `s3prl-fusion superb` make all five from your corpus"
                )


def _mend_sv(expert: dict[str, Any], patches: Patches) -> None:
    from . import verification

    lists = ("train_meta_data", "dev_meta_data", "test_meta_data")
    _check_paths("downstream_expert.datarc", expert["datarc"], "file_path", *lists)
    if "sox" not in sys.modules and util.find_spec("sox") is None:
        # Imported for a class that is never used (s3prl/downstream/sv_voxceleb1/dataset.py:13).
        patches.set_item(sys.modules, "sox", ModuleType("sox"))
        sys.modules["sox"].Transformer = None
    module = import_module("s3prl.downstream.sv_voxceleb1.expert")
    patches.set(module, "SpeakerVerifi_train", verification.TrainingClips)
    patches.set(module, "SpeakerVerifi_test", verification.TrialClips)
    verification.mend_expert(module.DownstreamExpert, patches)


_MENDS: dict[str, Callable[[dict[str, Any], Patches], None]] = {
    "asr": _mend_asr,
    "ctc": _mend_pr,
    "voxceleb1": _mend_sid,
    "emotion": _mend_er,
    "sv_voxceleb1": _mend_sv,
}


def _check_paths(section: str, config: dict[str, Any], *keys: str) -> None:
    for key in keys:
        values = config.get(key)
        for value in values if isinstance(values, list) else [values]:
            if value is None or not Path(value).exists():
                raise MissingFileError(
                    f"{section}.{key} is {value!r}, which does not exist; correct the config, or give "
                    f"-o \"config.{section}.{key}='PATH'\" (`s3prl-fusion superb` fills it in from your corpora)"
                )


def cache_file_lists(root: Path, split_list: Path) -> Path:
    """SID's file lists of one corpus, as s3prl reads them, in the user's cache folder.

    Args:
        root: VoxCeleb1's root: clips are found at ``*/wav/<line's path>``.
        split_list: lines of ``1|2|3 id10001/video/clip.wav``, for train, dev and test.

    Returns:
        A folder with train.pkl, dev.pkl and test.pkl, lists of paths as s3prl/downstream/voxceleb1/dataset.py builds.

    Raises:
        FileNotFoundError: clips of the list are not below ``root``; the message counts them and names the first.
        ValueError: a line of the list is malformed.
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
