"""Miniature corpora in the layouts of LibriSpeech, VoxCeleb1 and IEMOCAP, and the recipes' configs for them.

`official` makes the layouts as they come (official_layouts.py); the other functions add what `prepare` would make.
No dropout, no worker processes, one batch an epoch: so a run does not depend on how often it was interrupted.
"""

from __future__ import annotations

import json
from pathlib import Path

import soundfile
import yaml
from official_layouts import TRANSCRIPTS, clip, write_chapter
from official_layouts import official as official

LEXICON = {"HELLO": "HH AH0 L OW1", "WORLD": "W ER1 L D", "GOOD": "G UH1 D", "DAY": "D EY1"}
SPEAKERS = ("id10001", "id10002")
EMOTIONS = ("neu", "hap", "ang", "sad")
RUNNER = {
    "total_steps": 2,
    "gradient_clipping": 1,
    "gradient_accumulate_steps": 1,
    "log_step": 1,
    "eval_step": 2,
    "save_step": 1,
    "max_keep": 1,
}
OPTIMIZER = {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1.0e-3}


def librispeech(root: Path) -> dict[str, Path]:
    """LibriSpeech's layout, the buckets of the ASR recipe and a lexicon for PR."""
    corpus, buckets, lexicon = root / "LibriSpeech", root / "len_for_bucket", root / "lexicon.txt"
    buckets.mkdir(parents=True)
    for s, (split, texts) in enumerate(TRANSCRIPTS.items()):
        files = write_chapter(corpus / split / f"{s + 1}" / "7", texts, 10 * s)
        rows = [f"{file.relative_to(corpus)},{soundfile.info(file).frames},0" for file in files]
        (buckets / f"{split}.csv").write_text("\n".join(["file_path,length,label", *rows]) + "\n")
    lexicon.write_text("".join(f"{word} {phonemes}\n" for word, phonemes in LEXICON.items()))
    return {"root": corpus, "buckets": buckets, "lexicon": lexicon}


def voxceleb1(root: Path, seed: int = 50) -> dict[str, Path]:
    """VoxCeleb1's layout: two speakers, one clip of each in every split, and the list of the splits."""
    lines = []
    for s, speaker in enumerate(SPEAKERS):
        for split in (1, 2, 3):
            name = f"{speaker}/video{split}/00001.wav"
            clip(root / "VoxCeleb1" / ("test" if split == 3 else "dev") / "wav" / name, seed + 10 * s + split)
            lines.append(f"{split} {name}\n")
    split_list = root / "iden_split.txt"
    split_list.write_text("".join(lines))
    return {"root": root / "VoxCeleb1", "list": split_list}


def iemocap(root: Path) -> dict[str, Path]:
    """IEMOCAP's layout, as much of it as the recipe's meta data points to: fold 1."""
    labels = {label: i for i, label in enumerate(EMOTIONS)}
    for part, session, count in (("train", 2, 5), ("test", 1, 4)):
        items = []
        for i in range(count):
            path = Path(f"Session{session}/sentences/wav/Ses0{session}F_impro01/Ses0{session}F_impro01_F{i:03d}.wav")
            clip(root / "IEMOCAP" / path, 100 * session + i)
            items.append({"path": str(path), "label": EMOTIONS[i % 4], "speaker": f"Ses0{session}F"})
        table = root / "meta_data" / "Session1" / f"{part}_meta_data.json"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(json.dumps({"labels": labels, "meta_data": items}))
    return {"root": root / "IEMOCAP", "meta": root / "meta_data"}


def write_configs(folder: Path, vocabularies: Path, libri: dict, voxceleb: dict, emotions: dict) -> dict[str, Path]:
    """One tiny config a recipe, by the recipe's name."""
    folder.mkdir()
    utterance = {"projector_dim": 8, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}
    rnn = {
        "total_rate": -1,
        "module": "LSTM",
        "bidirection": True,
        "dim": [8],
        "dropout": [0],
        "layer_norm": [False],
        "proj": [False],
        "sample_rate": [1],
        "sample_style": "concat",
    }
    experts = {
        "asr": {
            "datarc": {
                "libri_root": str(libri["root"]),
                "bucket_file": str(libri["buckets"]),
                "dict_path": str(vocabularies / "char.dict"),
                "train": ["train-clean-100"],
                "dev-clean": ["dev-clean"],
                "test-clean": ["test-clean"],
                "num_workers": 0,
                # The recipe halves full batches of long clips: one that is never full stays whole.
                "batch_size": 8,
                "train_batch_size": 8,
                "eval_batch_size": 1,
                "zero_infinity": True,
                "decoder_args": {"decoder_type": "None"},
            },
            "modelrc": {"project_dim": 8, "select": "RNNs", "RNNs": rnn},
        },
        "ctc": {
            "corpus": {
                "name": "libriphone",
                "path": str(libri["root"]),
                "lexicon": [str(libri["lexicon"])],
                "train": ["train-clean-100"],
                "dev": ["dev-clean"],
                "test": ["test-clean"],
                "bucketing": True,
                "batch_size": 4,
                "num_workers": 0,
            },
            "text": {"mode": "word", "vocab_file": str(vocabularies / "phoneme.txt")},
            "model": {"project_dim": 8, "zero_infinity": True, "select": "FrameLevel"},
            "save_best_on": ["dev"],
            "metric_higher_better": False,
            "metric": ["per"],
        },
        "voxceleb1": {
            "datarc": {
                "file_path": str(voxceleb["root"]),
                "meta_data": str(voxceleb["list"]),
                "num_workers": 0,
                "train_batch_size": 2,
                "eval_batch_size": 1,
                "max_timestep": 128000,
            },
            "modelrc": utterance,
        },
        "emotion": {
            "datarc": {
                "root": str(emotions["root"]),
                "meta_data": str(emotions["meta"]),
                "test_fold": "fold1",
                "pre_load": True,
                "train_batch_size": 4,
                "eval_batch_size": 2,
                "num_workers": 0,
                "valid_ratio": 0.2,
            },
            "modelrc": utterance,
        },
    }
    evaluated = {"asr": ["dev-clean"], "ctc": ["dev"], "voxceleb1": ["dev", "test"], "emotion": ["dev", "test"]}
    paths = {}
    for name, expert in experts.items():
        config = {
            "runner": {**RUNNER, "eval_dataloaders": evaluated[name]},
            "optimizer": OPTIMIZER,
            "downstream_expert": expert,
        }
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(yaml.safe_dump(config))
    return paths
