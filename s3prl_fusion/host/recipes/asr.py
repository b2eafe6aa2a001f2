"""ASR: LibriSpeech, in letters."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from ...corpora.symbols import read_letters
from ...schema import SWITCH, TEXT, Kind, OneOf, Section, number, whole
from ..patches import Patches
from . import Recipe, _asr_data
from ._models import Model
from ._settings import BATCH, FOLDERS, PATH, WORKERS, splits_of, with_splits
from ._shared import check_paths, supply_file


def _weight(value: Any) -> Any:
    return value if value in ("-math.inf", "math.inf") else number(finite=False).read(value)  # s3prl evaluates a text


_DECODER = Section(
    {"decoder_type": OneOf("decoder", ("None", "kenlm"), null=True)},
    {
        "nbest": whole(1),
        "criterion": TEXT,
        "beam": whole(1),
        "beam_threshold": number(least=0),
        "kenlm_model": PATH,
        "lexicon": PATH,
        "lm_weight": number(),
        "word_score": number(),
        "unk_weight": Kind("a number, or -math.inf", _weight),
        "sil_weight": number(),
    },
)
_DATARC = Section(
    {
        "batch_size": BATCH,
        "eval_batch_size": BATCH,
        "num_workers": WORKERS,
        "zero_infinity": SWITCH,
        "decoder_args": _DECODER,
        "train": FOLDERS,
    },
    {"libri_root": PATH, "bucket_file": PATH, "dict_path": PATH, "train_batch_size": BATCH},
)
_MODEL = Model(
    ("model.py", "asr/model.py"), width="project_dim", without=("FrameLevel", "UtteranceLevel"), explicit=True
)
SETTINGS = Section({"datarc": with_splits(_DATARC), "modelrc": _MODEL})


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Supply the letters, check the paths, and replace the data set."""
    without_corpus(config, {}, patches)
    check_paths(config, "datarc", "libri_root", "bucket_file")
    read_letters(_dictionary(config))
    patches.set(import_module("s3prl.downstream.asr.expert"), "SequenceDataset", _asr_data.LetterDataset)


def check_texts(config: dict[str, Any], splits: Sequence[str]) -> None:
    """Read the tables and texts of some splits, and hold the texts against the letters."""
    letters = read_letters(_dictionary(config))
    for split in splits:
        _asr_data.check_split(config["downstream_expert"]["datarc"], split, letters)


def _dictionary(config: dict[str, Any]) -> Path:
    return Path(config["downstream_expert"]["datarc"]["dict_path"])


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Supply the letters; the data sets are built when they are asked for."""
    supply_file(config, "datarc", "dict_path", "asr/char.dict")


def transcripts(expert: Any, features: list[Tensor]) -> list[str]:
    """Return the recipe's own decoding."""
    return expert.inference(features, [])


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the utterances of the split's tables of lengths."""
    datarc = config["downstream_expert"]["datarc"]
    tables = [Path(datarc["bucket_file"]) / f"{name}.csv" for name in datarc[split]]
    for table in tables:
        table.stat()  # raises FileNotFoundError
    return [Path(file).stem for table in tables for file in _asr_data.read_table(table)["file_path"]]


RECIPE = Recipe(
    "asr",
    "asr.yaml",
    mend,
    without_corpus,
    transcripts,
    check_texts=check_texts,
    listed=listed,
    settings=SETTINGS,
    splits=lambda config: splits_of(config["downstream_expert"]["datarc"]),
)
