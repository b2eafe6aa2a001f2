"""PR: LibriSpeech, in phonemes; one corpus of several that ``-d ctc`` has."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
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
from . import Recipe, _libriphone, _snips
from ._ctc_data import keep_config, supply
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
_MODE_OF = {
    "libriphone": ("word", "whose phonemes are separated by spaces"),
    "snips": ("character-slot", "whose slots are marked"),
}
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
    {"save_best_on": one_or_several(TEXT), _snips.MARKS: several(TEXT)},
)


def settings(key: str, value: Any, problems: list[Problem]) -> Any:
    """Check the expert's section; the best checkpoint is the one whose first metric is best, not worst."""
    before = len(problems)
    read = SETTINGS(key, value, problems)
    if len(problems) == before:
        first, higher = read["metric"][0], read["metric_higher_better"]
        if higher != ("f1" in first):  # s3prl's others are error rates
            told = f"{key}.metric_higher_better must be {'false' if higher else 'true'} for {first}; got {higher!r}"
            problems.append(Problem(f"{key}.metric_higher_better", told))
        corpus, mode = read["corpus"]["name"].lower(), read["text"]["mode"]
        if mode != _MODE_OF.get(corpus, (mode,))[0]:
            needed, why = _MODE_OF[corpus]
            told = f"{key}.text.mode must be {needed} for {corpus}, {why}; got {mode!r}"
            problems.append(Problem(f"{key}.text.mode", told))
        if corpus == "snips":
            problems += _snips.find_missing_speakers(
                f"{key}.corpus", read["corpus"], splits({"downstream_expert": read})
            )
    return read


def supply_corpora(patches: Patches) -> None:
    """Stand in for the data sets that the wheel lacks, see `_ctc_data.supply`."""
    supply(patches, libriphone=_libriphone, snips=_snips)


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Supply the phonemes, check the paths, and keep the config as it is, see `keep_config`."""
    without_corpus(config, {}, patches)
    check_paths(config, "corpus", "path", "lexicon")
    text = config["downstream_expert"]["text"]
    if text["mode"] == "word":
        read_phonemes(Path(text["vocab_file"]))
    keep_config(patches)


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


def decoded(expert: Any, features: list[Tensor]) -> list[str]:
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


def splits(config: dict[str, Any]) -> list[str]:
    """Name the corpus's splits: its other lists are of something else."""
    names = splits_of(config["downstream_expert"]["corpus"])
    return [name for name in names if name != "lexicon" and not name.endswith(_snips.SPEAKERS)]


RECIPE = Recipe(
    "ctc",
    "pr.yaml",
    mend,
    without_corpus,
    decoded,
    "inference.ark",
    corpus="libriphone",
    others=OTHERS,
    check_texts=check_texts,
    listed=listed,
    settings=settings,
    splits=splits,
)
