"""What trained recipes predict, and ``-m inference`` for PR, SID and ER.

s3prl has the latter for ASR only (s3prl/downstream/asr/expert.py:225).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..files import write_whole


def transcripts(expert: Any, features: list[Tensor]) -> list[str]:
    """ASR: the recipe's own decoding.

    Args:
        expert: the recipe's DownstreamExpert.
        features: B sequences of (T_i, D).

    Returns:
        B lines of text.
    """
    return expert.inference(features, [])


def phonemes(expert: Any, features: list[Tensor]) -> list[str]:
    """PR: greedy CTC decoding, as the recipe's evaluation does. As `transcripts`, but phonemes."""
    logits = _logits(expert, features, torch.device("cpu"))
    skipped = (expert.tokenizer.pad_idx, expert.tokenizer.eos_idx)
    best = [tokens.unique_consecutive().tolist() for tokens in logits.argmax(dim=-1)]
    return [expert.tokenizer.decode([token for token in tokens if token not in skipped]) for tokens in best]


def speakers(expert: Any, features: list[Tensor]) -> list[str]:
    """SID: the most likely speakers."""
    return expert.test_dataset.label2speaker(_logits(expert, features, features[0].device).argmax(-1).tolist())


def emotions(expert: Any, features: list[Tensor]) -> list[str]:
    """ER: the most likely emotions."""
    best = _logits(expert, features, features[0].device).argmax(-1).tolist()
    return [expert.test_dataset.idx2emotion[index] for index in best]


PREDICT: dict[str, Callable[[Any, list[Tensor]], list[str]]] = {
    "asr": transcripts,
    "ctc": phonemes,
    "voxceleb1": speakers,
    "emotion": emotions,
}


def add_inference(downstream: str) -> Callable[[Any, list[Tensor], list[str]], list[str]]:
    """An ``inference`` method for a recipe's expert: it writes what `PREDICT` says into the expdir, and prints it."""
    predict, name = PREDICT[downstream], "inference.ark" if downstream == "ctc" else "inference.txt"

    def inference(expert: Any, features: list[Tensor], filenames: list[str]) -> list[str]:
        results = predict(expert, features)
        lines = "".join(f"{filename} {result}\n" for filename, result in zip(filenames, results))
        write_whole(Path(expert.expdir) / name, lines)
        print(lines, end="")
        return results

    return inference


def _logits(expert: Any, features: list[Tensor], lengths_on: torch.device) -> Tensor:
    """The head's result; the recipe's own forward has the lengths on the CPU (PR), or beside the features (SID, ER)."""
    lengths = torch.tensor([len(feature) for feature in features], dtype=torch.int, device=lengths_on)
    return expert.model(expert.projector(pad_sequence(features, batch_first=True)), lengths)[0]
