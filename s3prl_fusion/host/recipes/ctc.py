"""PR: LibriSpeech, in phonemes; one corpus of several that ``-d ctc`` has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...corpora.symbols import read_phonemes
from ...corpora.transcripts import find_audio
from ...errors import UsageError, unknown
from ...schema import SWITCH, TEXT, Kind, OneOf, Problem, Section, one_or_several, several
from ..defined import definitions
from ..hub import s3prl_folder
from ..patches import Patches
from . import Recipe, _libriphone
from ._models import Model
from ._settings import BATCH, FOLDERS, PATH, WORKERS, splits_of, with_splits
from ._shared import check_paths, logits, supply_file

OTHERS = ("librispeech", "snips", "common_voice", "sbcsae")  # s3prl/downstream/ctc/data.py:50


def _metric(value: Any) -> str:
    if value not in definitions(s3prl_folder() / "downstream" / "ctc" / "metric.py"):  # s3prl evaluates the name
        raise ValueError
    return value


_CORPUS = Section(
    {"name": TEXT, "train": FOLDERS, "bucketing": SWITCH, "batch_size": BATCH},
    {"path": PATH, "lexicon": one_or_several(PATH, null=True), "num_workers": WORKERS},
)
_MODES = ("character", "character-slot", "subword", "subword-slot", "word")
_TEXT = Section({"mode": OneOf("mode", _MODES)}, {"vocab_file": PATH, "slots_file": PATH})
SETTINGS = Section(
    {
        "corpus": with_splits(_CORPUS),
        "text": _TEXT,
        "model": Model(
            ("model.py", "asr/model.py"),
            width="project_dim",
            without=("UtteranceLevel",),
            needed={"zero_infinity": SWITCH},
        ),
        "metric": several(Kind("one of s3prl's (per, wer, cer ...)", _metric), least=1),
        "metric_higher_better": SWITCH,
    },
    {"save_best_on": one_or_several(TEXT)},
)


def _settings(key: str, value: Any, problems: list[Problem]) -> Any:
    """Check the expert's section; the best checkpoint is the one whose first metric is best, not worst."""
    before = len(problems)
    read = SETTINGS(key, value, problems)
    if len(problems) == before:
        first, higher = read["metric"][0], read["metric_higher_better"]
        if higher != ("f1" in first):  # s3prl's others are error rates
            told = f"{key}.metric_higher_better must be {'false' if higher else 'true'} for {first}; got {higher!r}"
            problems.append(Problem(f"{key}.metric_higher_better", told))
        mode = read["text"]["mode"]
        if read["corpus"]["name"] == "libriphone" and mode != "word":
            told = f"{key}.text.mode must be word for libriphone, whose phonemes are separated by spaces; got {mode!r}"
            problems.append(Problem(f"{key}.text.mode", told))
    return read


def supply_libriphone(patches: Patches) -> None:
    """Stand in for the package downstream/ctc/corpus: the wheel lacks it, and the import would fail."""
    package = "s3prl.downstream.ctc.corpus"
    # What is supplied already, by a registration, has no spec to be found.
    if package not in sys.modules and util.find_spec(package) is None:
        patches.set_item(sys.modules, package, ModuleType(package))
        patches.set_item(sys.modules, f"{package}.libriphone", _libriphone)


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Supply the phonemes, check the paths, and let every split have the config's num_workers and whole names."""
    without_corpus(config, {}, patches)
    check_paths(config, "corpus", "path", "lexicon")
    text = config["downstream_expert"]["text"]
    if text["mode"] == "word":
        read_phonemes(Path(text["vocab_file"]))
    module = import_module("s3prl.downstream.ctc.expert")
    stock = module.load_dataset

    def load_dataset(split: str, tokenizer: Any, corpus: dict[str, Any]) -> Any:
        # Stock takes num_workers out of the config for good (s3prl/downstream/ctc/data.py:76): the next split got 12.
        loader = stock(split, tokenizer, dict(corpus))
        loader.collate_fn = partial(_libriphone.collate, split=split)
        return loader

    patches.set(module, "load_dataset", load_dataset)


def check_texts(config: dict[str, Any], splits: Sequence[str]) -> None:
    """Read the texts of some splits, and hold them against the lexicon and the phonemes."""
    expert = config["downstream_expert"]
    tokenizer, corpus = import_module("s3prl.downstream.ctc.text").load_text_encoder(**expert["text"]), expert["corpus"]
    for split in splits:
        if not isinstance(corpus.get(split), list):
            known = [key for key, value in corpus.items() if isinstance(value, list) and key != "lexicon"]
            raise UsageError(f"downstream_expert.corpus: {unknown('split', split, known)}")
        _libriphone.LibriPhoneDataset(corpus[split], tokenizer, 1, corpus["path"], corpus["lexicon"])


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Supply the phonemes; the data sets are built when they are asked for."""
    supply_file(config, "text", "vocab_file", "ctc/vocab/phoneme.txt")


def phonemes(expert: Any, features: list[Tensor]) -> list[str]:
    """Decode greedily, as the recipe's evaluation does."""
    skipped = (expert.tokenizer.pad_idx, expert.tokenizer.eos_idx)
    best = logits(expert, features, torch.device("cpu")).argmax(dim=-1)
    sequences = [tokens.unique_consecutive().tolist() for tokens in best]
    return [expert.tokenizer.decode([token for token in tokens if token not in skipped]) for tokens in sequences]


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the utterances below the split's folders."""
    corpus = config["downstream_expert"]["corpus"]
    folders = [Path(corpus["path"]) / name for name in corpus[split]]
    for folder in folders:
        folder.stat()  # raises FileNotFoundError
    return [file.stem for folder in folders for file in find_audio(folder).values()]


RECIPE = Recipe(
    "ctc",
    "pr.yaml",
    mend,
    without_corpus,
    phonemes,
    "inference.ark",
    corpus="libriphone",
    others=OTHERS,
    check_texts=check_texts,
    listed=listed,
    settings=_settings,
    splits=lambda config: [name for name in splits_of(config["downstream_expert"]["corpus"]) if name != "lexicon"],
)
