"""SF: Audio SNIPS, in letters and the marks of slots; another corpus of ``-d ctc``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from ...corpora.snips import clips_of
from ..patches import Patches
from . import Recipe, _snips, ctc
from ._ctc_data import keep_config
from ._shared import check_paths, supply_file


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Supply the letters, check the paths, keep what the head says, and let the first checkpoint be the best so far."""
    supply_file(config, "text", "vocab_file", "ctc/vocab/character.txt")
    check_paths(config, "corpus", "path")
    check_paths(config, "text", "slots_file")
    keep_config(patches)
    expert, text = config["downstream_expert"], import_module("s3prl.downstream.ctc.text")
    expert[_snips.MARKS] = text.load_text_encoder(**expert["text"]).slots
    _count_zero(patches)


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


def check_texts(config: dict[str, Any], splits: Sequence[str]) -> None:
    """Read the texts of some splits."""
    expert = config["downstream_expert"]
    tokenizer = import_module("s3prl.downstream.ctc.text").load_text_encoder(**expert["text"])
    for split in splits:
        _snips.SnipsDataset(expert["corpus"][split], tokenizer, 1, **expert["corpus"])


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Supply the letters, and the marks that the checkpoint's config has."""
    supply_file(config, "text", "vocab_file", "ctc/vocab/character.txt")
    text, module = (import_module(f"s3prl.downstream.ctc.{name}") for name in ("text", "expert"))
    expert = config["downstream_expert"]
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
