"""``-m inference`` for PR, SID and ER: s3prl has one for ASR only (s3prl/downstream/asr/expert.py:225)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..files import write_whole


def phonemes(expert: Any, features: list[Tensor], filenames: list[str]) -> list[str]:
    """PR: greedy CTC decoding, as the recipe's evaluation does; writes ``inference.ark`` into the expdir.

    Args:
        expert: the recipe's DownstreamExpert.
        features: B sequences of (T_i, D).
        filenames: B names.

    Returns:
        B strings of phonemes.
    """
    logits = _logits(expert, features)
    skipped = (expert.tokenizer.pad_idx, expert.tokenizer.eos_idx)
    best = [tokens.unique_consecutive().tolist() for tokens in logits.argmax(dim=-1)]
    hypotheses = [expert.tokenizer.decode([token for token in tokens if token not in skipped]) for tokens in best]
    return _write(expert, "inference.ark", filenames, hypotheses)


def speaker(expert: Any, features: list[Tensor], filenames: list[str]) -> list[str]:
    """SID: the most likely speaker; writes ``inference.txt`` into the expdir. Arguments as for `phonemes`."""
    logits = _logits(expert, features)
    return _write(expert, "inference.txt", filenames, expert.test_dataset.label2speaker(logits.argmax(-1).tolist()))


def emotion(expert: Any, features: list[Tensor], filenames: list[str]) -> list[str]:
    """ER: the most likely emotion; writes ``inference.txt`` into the expdir. Arguments as for `phonemes`."""
    logits = _logits(expert, features)
    names = [expert.test_dataset.idx2emotion[index] for index in logits.argmax(-1).tolist()]
    return _write(expert, "inference.txt", filenames, names)


BY_DOWNSTREAM = {"ctc": phonemes, "voxceleb1": speaker, "emotion": emotion}


def _logits(expert: Any, features: list[Tensor]) -> Tensor:
    lengths = torch.IntTensor([len(feature) for feature in features])
    return expert.model(expert.projector(pad_sequence(features, batch_first=True)), lengths)[0]


def _write(expert: Any, name: str, filenames: list[str], results: list[str]) -> list[str]:
    lines = [f"{filename} {result}\n" for filename, result in zip(filenames, results)]
    write_whole(Path(expert.expdir) / name, "".join(lines))
    print("".join(lines), end="")
    return results
