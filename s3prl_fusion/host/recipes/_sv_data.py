"""SV's data sets: read and trimmed without libsox, of the listed speakers only, their lengths kept for each corpus."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from torch.utils.data import Dataset
from tqdm import tqdm

from ...corpora.lines import read_lines
from ...corpora.voxceleb1 import read_trials, speaker_clips
from ...errors import UsageError
from ...files import cache_dir, make_cache_dir, read_json, write_sealed
from ...schema import Items, Section, whole
from ..distributed import leader_first
from ..shims import sox
from ..shims.audio import load_speech

# s3prl/downstream/sv_voxceleb1/dataset.py:22.
EFFECTS = [
    ["channels", "1"],
    ["rate", "16000"],
    ["gain", "-3.0"],
    ["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"],
]
_LENGTHS = Section({"lengths": Items(whole(0))})


def read_trimmed(path: Path) -> np.ndarray:
    """Read a clip without its silences: (T,) float32, empty if there is no sound in it."""
    return sox.apply_effects_tensor(*load_speech(path), EFFECTS)[0][0].numpy()


def read_sound(path: Path) -> np.ndarray:
    """Do as `read_trimmed`.

    Raises:
        UsageError: there is no sound in it.
    """
    wav = read_trimmed(path)
    if len(wav) == 0:
        raise UsageError(f"{path} is silence; remove it from the lists, or fetch it again")
    return wav


def trimmed_lengths(root: Path, clips: Sequence[str]) -> list[int]:
    """Count clips' samples once its silences are out; kept in the user's cache folder, one file a list of clips."""
    stats = [(root / clip).stat() for clip in clips]
    listed = [[clip, stat.st_size, stat.st_mtime_ns] for clip, stat in zip(clips, stats)]
    key = hashlib.sha256(json.dumps([str(root.resolve()), listed]).encode()).hexdigest()[:16]
    path = cache_dir() / "sv_voxceleb1" / f"{key}.json"
    with contextlib.suppress(UsageError):  # what is damaged is made anew
        known = read_json(path, _LENGTHS).get("lengths")
        if known is not None:
            return known
    make_cache_dir("sv_voxceleb1")  # before 150,000 clips are read
    with ThreadPoolExecutor() as pool:
        counted = pool.map(lambda clip: len(read_trimmed(root / clip)), clips)
        lengths = list(tqdm(counted, total=len(clips), desc="trimming VoxCeleb1"))
    write_sealed(path, {"lengths": lengths})
    return lengths


class Clips(Dataset):
    """What both data sets share."""

    dataset: list[str]

    def __len__(self) -> int:
        return len(self.dataset)

    def collate_fn(self, samples: Sequence[tuple]) -> Any:
        """Make columns of rows."""
        return zip(*samples)


class TrainingClips(Clips):
    """Random crops of the training speakers' clips: (wav (T,), clip's name, speaker's index) items.

    Args:
        vad_config: clips of ``min_sec`` samples or fewer, without silence, are left out.
        key_list: unused; stock names its cache by it.
        file_path: one folder of ``<speaker>/<video>/<clip>.wav``.
        meta_data: the training speakers, one a line.
        max_timestep: longest crop in samples; ``None`` for whole clips.
    """

    def __init__(
        self,
        vad_config: dict[str, int],
        key_list: Sequence[str],
        file_path: Sequence[Path],
        meta_data: str,
        max_timestep: int | None = None,
    ) -> None:
        (self.root,) = map(Path, file_path)
        self.max_timestep = max_timestep
        self.all_speakers = _read_speakers(Path(meta_data), self.root)
        self.speaker_num = len(self.all_speakers)
        clips = [
            path.relative_to(self.root).as_posix()
            for speaker in self.all_speakers
            for path in speaker_clips(self.root / speaker)
        ]
        with leader_first():
            lengths = trimmed_lengths(self.root, clips)
        self.dataset = [clip for clip, length in zip(clips, lengths) if length > vad_config["min_sec"]]
        if not self.dataset:
            raise UsageError(
                f"no clip of {self.speaker_num} speakers below {self.root} has more than {vad_config['min_sec']} "
                "samples of sound; check the corpus, or lower downstream_expert.datarc.vad_config.min_sec"
            )

    def __getitem__(self, index: int) -> tuple[np.ndarray, str, int]:
        clip = self.dataset[index]
        wav = read_sound(self.root / clip)
        if self.max_timestep is not None and len(wav) > self.max_timestep:
            start = random.randint(0, len(wav) - self.max_timestep)
            wav = wav[start : start + self.max_timestep]
        speaker = clip.split("/")[0]
        return wav, clip.replace("/", "-").removesuffix(".wav"), self.all_speakers.index(speaker)


def check_lists(datarc: dict[str, Any]) -> None:
    """Refuse lists of speakers and trials that the data sets would refuse, once the upstream has loaded."""
    _read_speakers(Path(datarc["train_meta_data"]), Path(datarc["file_path"]) / "dev" / "wav")
    for key in ("dev_meta_data", "test_meta_data"):
        read_trials(Path(datarc[key]))


def _read_speakers(path: Path, root: Path) -> list[str]:
    speakers: dict[str, str] = {}
    for where, line in read_lines(path):
        if not (root / line).is_dir():
            raise UsageError(f"{where}: there is no folder {root / line}; correct the list, or check the corpus")
        if line in speakers:
            raise UsageError(f"{where}: {line} is there twice; remove the line")
        speakers[line] = where
    return sorted(speakers)


class TrialClips(Clips):
    """Every clip of a list of trials once: (wav (T,), path) items; ``pair_table`` has [label, path, path] rows.

    Args:
        vad_config: unused; no trial is left out.
        file_path: folder that the trials' paths are below.
        meta_data: lines of ``0|1 <clip> <clip>``; 1 is the same speaker.
    """

    def __init__(self, vad_config: dict[str, int], file_path: Path, meta_data: str) -> None:
        trials = read_trials(Path(meta_data))
        self.pair_table = [[label, *(str(Path(file_path) / clip) for clip in clips)] for label, *clips in trials]
        self.dataset = list(dict.fromkeys(path for _, *paths in self.pair_table for path in paths))

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        return read_sound(Path(self.dataset[index])), self.dataset[index]
