"""SF: Audio SNIPS, in letters and the marks of slots; another corpus of ``-d ctc``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from ...corpora.snips import clips_of
from ...errors import UsageError, unknown
from ..patches import Patches
from . import Recipe, _snips, ctc
from ._ctc_data import keep_config
from ._shared import check_paths, supply_file


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Supply the letters, check the paths, keep what the head says, and mend the choice of the best checkpoint.

    Raises:
        MissingFileError: a path is not there.
        UsageError: the slots are not those that the head was trained with.
    """
    supply_file(config, "text", "vocab_file", "ctc/vocab/character.txt")
    check_paths(config, "corpus", "path")
    check_paths(config, "text", "slots_file")
    keep_config(patches)
    expert, text = config["downstream_expert"], import_module("s3prl.downstream.ctc.text")
    marks = text.load_text_encoder(**expert["text"]).slots
    if expert.setdefault(_snips.MARKS, marks) != marks:
        raise UsageError(
            f"{expert['text']['slots_file']} (downstream_expert.text.slots_file) is not what the experiment was "
            "trained with; give the file as it was, or train again in another folder"
        )
    _count_zero(patches)
    module = import_module("s3prl.downstream.ctc.expert")
    patches.set(module, "slot_value_cer", _defined_or_nan(module.slot_value_cer))


def _count_zero(patches: Patches) -> None:
    """Let an F1 of 0 be better than none at all: a head that has found no slot yet has no best checkpoint otherwise
    (s3prl/downstream/ctc/expert.py:57)."""
    expert_class = import_module("s3prl.downstream.ctc.expert").DownstreamExpert
    stock_init = expert_class.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stock_init(self, *args, **kwargs)
        if self.metric_higher_better:
            self.best_score -= 1

    patches.set(expert_class, "__init__", init)


def _defined_or_nan(stock: Callable[..., float]) -> Callable[..., float]:
    """Let texts have no slot, as those of the steps that are logged may: stock divides by the letters of none
    (s3prl/downstream/ctc/metric.py:132)."""

    def slot_value_cer(**texts: Any) -> float:
        try:
            return stock(**texts)
        except ZeroDivisionError:
            return math.nan

    return slot_value_cer


def check_texts(config: dict[str, Any], splits: Sequence[str]) -> None:
    """Read the texts of some splits."""
    expert, known = config["downstream_expert"], ctc.splits(config)
    for split in splits:
        if split not in known:
            raise UsageError(f"downstream_expert.corpus: {unknown('split', split, known)}")
    tokenizer = import_module("s3prl.downstream.ctc.text").load_text_encoder(**expert["text"])
    for split in splits:
        _snips.SnipsDataset(expert["corpus"][split], tokenizer, 1, **expert["corpus"])


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Supply the letters, and the marks that the checkpoint's config has; one that s3prl alone has trained names a file
    of slots instead."""
    supply_file(config, "text", "vocab_file", "ctc/vocab/character.txt")
    text, module = (import_module(f"s3prl.downstream.ctc.{name}") for name in ("text", "expert"))
    expert = config["downstream_expert"]
    if _snips.MARKS not in expert:
        check_paths(config, "text", "slots_file")
        return
    letters = Path(expert["text"]["vocab_file"]).read_text(encoding="utf-8").split("\n")
    encoder = text.CharacterTextSlotEncoder([letter for letter in letters if letter], expert[_snips.MARKS])
    patches.set(module, "load_text_encoder", lambda **_: encoder)


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the clips of a split's speakers."""
    corpus = config["downstream_expert"]["corpus"]
    speakers, root = _snips.speakers_of(corpus, corpus[split]), Path(corpus["path"])
    for folder in corpus[split]:
        (root / folder).stat()  # raises FileNotFoundError
    return [clip.stem for folder in corpus[split] for clip in clips_of(root, folder, speakers)]


RECIPE = Recipe(
    "ctc",
    "sf.yaml",
    mend,
    without_corpus,
    ctc.decoded,
    "inference.ark",
    corpus="snips",
    others=("libriphone", *ctc.OTHERS),
    check_texts=check_texts,
    listed=listed,
    settings=ctc.settings,
    splits=ctc.splits,
)
