"""The LibriPhone corpus: LibriSpeech with phonemes for words. PR needs it, and s3prl's wheel leaves it out.

s3prl/downstream/ctc/data.py:55 imports ``LibriPhoneDataset`` from ``s3prl.downstream.ctc.corpus.libriphone``; where
that module is missing, this one stands in for it (see ctc.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from torch.utils.data import Dataset

from ...corpora.transcripts import find_audio, read_lexicon, read_transcripts
from ...errors import MissingFileError, UsageError


def _check_phonemes(pronunciations: dict[str, list[str]], tokenizer: Any, lexicon: Sequence[str | Path]) -> None:
    """Refuse phonemes that the tokenizer would turn into <unk>."""
    phonemes = sorted({phoneme for sequence in pronunciations.values() for phoneme in sequence})
    strange = [phoneme for phoneme in phonemes if tokenizer.unk_idx in tokenizer.encode(phoneme)]
    if strange:
        raise UsageError(
            f"{', '.join(map(str, lexicon))} has phonemes that the vocabulary lacks: {' '.join(strange[:20])}; "
            "the recipe knows ARPAbet, vowels with stress (AH0)"
        )


class LibriPhoneDataset(Dataset):
    """What s3prl's source checkout has under this name: (file, phoneme ids) items, longest label first.

    Args:
        split: folders below ``path``, e.g. ``["train-clean-100"]``.
        tokenizer: s3prl's text encoder; ``encode`` maps space-separated phonemes to ids.
        bucket_size: above 1, an item is a list of that many neighbours, so that a batch has labels of like length.
        path: root of LibriSpeech.
        lexicon: lexicon files.
        ascending: shortest label first.

    Raises:
        MissingFileError: a split has no .flac or .wav file with a transcript.
        UsageError: an utterance is there twice, words have no pronunciation, or phonemes are not in the vocabulary;
            the message lists them.
    """

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Any,
        bucket_size: int,
        path: str,
        lexicon: Sequence[str],
        ascending: bool = False,
        **kwargs: Any,
    ) -> None:
        self.bucket_size = bucket_size
        pronunciations = read_lexicon(lexicon)
        transcripts: dict[Path, str] = {}
        for name in split:
            folder = Path(path) / name
            audio = find_audio(folder)
            found = {audio[key]: text for key, text in read_transcripts(folder).items() if key in audio}
            if not found:
                raise MissingFileError(f"no .flac or .wav file with a transcript below {folder}; check the corpus")
            transcripts.update(found)
        unknown = sorted({word for text in transcripts.values() for word in text.split()} - pronunciations.keys())
        if unknown:
            raise UsageError(
                f"{len(unknown)} words of {', '.join(split)} have no pronunciation in {', '.join(map(str, lexicon))}: "
                f"{' '.join(unknown[:20])}{' ...' if len(unknown) > 20 else ''}; add them to a lexicon file"
            )
        _check_phonemes(pronunciations, tokenizer, lexicon)
        items = [
            (file, tokenizer.encode(" ".join(phoneme for word in text.split() for phoneme in pronunciations[word])))
            for file, text in transcripts.items()
        ]
        self.items = sorted(items, key=lambda item: len(item[1]), reverse=not ascending)

    def __getitem__(self, index: int) -> Any:
        if self.bucket_size == 1:
            return self.items[index]
        start = max(0, min(len(self.items) - self.bucket_size, index))
        return self.items[start : start + self.bucket_size]

    def __len__(self) -> int:
        return len(self.items)
