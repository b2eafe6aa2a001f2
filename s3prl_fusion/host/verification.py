"""What takes the place of broken parts of the SV recipe (``-d sv_voxceleb1``).

The data sets read and trim without libsox, train on the listed speakers only, and keep the trimmed lengths of each
corpus apart. The expert runs without a GPU, evaluates the dev trials, and writes the truth beside its predictions.
"""

from __future__ import annotations

import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ..errors import UsageError
from ..files import cache_dir, write_json, write_whole
from .distributed import leader_first
from .patches import Patches
from .silence import trim_silence

CONTEXT = 14  # frames that the x-vector's TDNN layers take off (s3prl/downstream/sv_voxceleb1/expert.py:207)


def read_trimmed(path: Path) -> np.ndarray:
    """A clip without its silences: (T,) float32, empty if there is no sound in it."""
    import soundfile

    return trim_silence(soundfile.read(str(path), dtype="float32")[0])


def read_sound(path: Path) -> np.ndarray:
    """As `read_trimmed`.

    Raises:
        ValueError: there is no sound in it.
    """
    wav = read_trimmed(path)
    if len(wav) == 0:
        raise UsageError(f"{path} is silence; remove it from the lists, or fetch it again")
    return wav


def trimmed_lengths(root: Path, clips: Sequence[str]) -> list[int]:
    """Samples of each clip once its silences are out; kept in the user's cache folder, one file a list of clips."""
    stats = [(root / clip).stat() for clip in clips]
    listed = [[clip, stat.st_size, stat.st_mtime_ns] for clip, stat in zip(clips, stats)]
    key = hashlib.sha256(json.dumps([str(root.resolve()), listed]).encode()).hexdigest()[:16]
    path = cache_dir() / "sv_voxceleb1" / f"{key}.json"
    if path.is_file():
        return json.loads(path.read_text())
    with ThreadPoolExecutor() as pool:
        counted = pool.map(lambda clip: len(read_trimmed(root / clip)), clips)
        lengths = list(tqdm(counted, total=len(clips), desc="trimming VoxCeleb1"))
    write_json(path, lengths)
    return lengths


class Clips(Dataset):
    """What both data sets share."""

    def __len__(self) -> int:
        return len(self.dataset)

    def collate_fn(self, samples: Sequence[tuple]) -> Any:
        """Columns in place of rows."""
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
        self.all_speakers = sorted(Path(meta_data).read_text(encoding="utf-8").split())
        self.speaker_num = len(self.all_speakers)
        clips = [
            path.relative_to(self.root).as_posix()
            for speaker in self.all_speakers
            for path in sorted((self.root / speaker).glob("*/*.wav"))
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


class TrialClips(Clips):
    """Every clip of a list of trials once: (wav (T,), path) items; ``pair_table`` has [label, path, path] rows.

    Args:
        vad_config: unused; no trial is left out.
        file_path: folder that the trials' paths are below.
        meta_data: lines of ``0|1 <clip> <clip>``; 1 is the same speaker.
    """

    def __init__(self, vad_config: dict[str, int], file_path: Path, meta_data: str) -> None:
        lines = [line.split() for line in Path(meta_data).read_text(encoding="utf-8").splitlines()]
        self.pair_table = [[label, *(str(Path(file_path) / clip) for clip in clips)] for label, *clips in lines]
        self.dataset = list(dict.fromkeys(path for _, *paths in self.pair_table for path in paths))

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        return read_sound(Path(self.dataset[index])), self.dataset[index]


def trial_name(first: str, second: str) -> str:
    """What the recipe, and the leaderboard, call a trial: ``id1-video-clip_id2-video-clip``."""
    return "_".join("-".join(Path(path).with_suffix("").parts[-3:]) for path in (first, second))


def forward(
    self: Any,
    mode: str,
    features: Sequence[Tensor],
    utter_idx: Sequence[str],
    labels: Sequence[int] | None = None,
    records: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    """Takes the place of the expert's ``forward``, which puts its mask on a GPU in any case (expert.py:215)."""
    taken = CONTEXT if self.modelrc["module"] == "XVector" else 0
    short = [name for name, feature in zip(utter_idx, features) if len(feature) <= taken]
    if short:
        raise UsageError(f"{short[0]} has {taken} frames or fewer without its silence; remove it from the lists")
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    masks = [torch.zeros(len(feature) - taken, device=padded.device) for feature in features]
    mask = torch.nn.utils.rnn.pad_sequence(masks, batch_first=True, padding_value=-100000.0)
    connected = self.connector(padded)
    if mode == "train":
        loss = self.objective(self.model(connected, mask), torch.tensor(labels, device=padded.device))
        records["loss"].append(loss.item())
        return loss
    vectors = torch.nn.functional.normalize(self.model.inference(connected, mask), dim=-1)
    records.update(zip(utter_idx, vectors.detach().cpu()))
    return torch.tensor(0)


def log_trials(self: Any, mode: str, records: dict[str, Any], logger: Any, global_step: int) -> list[str]:
    """Scores the trials of ``dev`` or ``test``: what the expert's ``log_records`` should do.

    Stock looks for the test trials also where the dev ones were evaluated (expert.py:259), and writes no truth (:282).
    """
    trials = {"dev": self.dev_dataset, "test": self.test_dataset}[mode].pair_table
    scores = [self.score_fn(records[first], records[second]).item() for _, first, second in trials]
    names = [trial_name(first, second) for _, first, second in trials]
    labels = [int(label) for label, *_ in trials]
    eer = float(self.eval_metric(np.array(labels), np.array(scores))[0])
    logger.add_scalar(f"sv-voxceleb1/{mode}-EER", eer, global_step=global_step)
    print(f"sv-voxceleb1/{mode}-EER: {eer}")
    for kind, values in (("predict", scores), ("truth", labels)):
        write_whole(
            Path(self.expdir) / f"{mode}_{kind}.txt",
            "".join(f"{name} {value}\n" for name, value in zip(names, values)),
        )
    if mode == "dev" and eer < self.best_score:
        self.best_score = torch.ones(1) * eer
        return [f"{mode}-best.ckpt"]
    return []


def mend_expert(expert: type, patches: Patches) -> None:
    """Replaces methods of s3prl's class; a subclass in its place would not do, as its ``super()`` goes by name."""
    stock = expert.log_records

    def log_records(
        self: Any, mode: str, records: dict[str, Any], logger: Any, global_step: int, **kwargs: Any
    ) -> list[str]:
        if mode == "train":
            return stock(self, mode, records=records, logger=logger, global_step=global_step, **kwargs)
        return log_trials(self, mode, records, logger, global_step)

    patches.set(expert, "forward", forward)
    patches.set(expert, "log_records", log_records)
