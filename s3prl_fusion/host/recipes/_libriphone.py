"""The LibriPhone corpus: LibriSpeech with phonemes for words. PR needs it, and s3prl's wheel leaves it out.

s3prl/downstream/ctc/data.py:55 imports ``LibriPhoneDataset`` from ``s3prl.downstream.ctc.corpus.libriphone``; where
that module is missing, this one stands in for it (see ctc.py).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Sequence

from ...corpora.lines import check_names
from ...corpora.transcripts import Transcript, read_lexicon, read_utterances
from ...errors import MissingFileError, UsageError
from ._ctc_data import Labelled


class LibriPhoneDataset(Labelled):
    """What s3prl's source checkout has under this name: (file, phoneme ids) items, longest label first.

    Args:
        split: folders below ``path``, e.g. ``["train-clean-100"]``.
        tokenizer: s3prl's text encoder; ``encode`` maps space-separated phonemes to ids.
        bucket_size: above 1, an item is a list of that many neighbours, so that a batch has labels of like length.
        path: root of LibriSpeech.
        lexicon: lexicon files.
        ascending: shortest label first.

    Raises:
        MissingFileError: a split has no .flac or .wav file.
        UsageError: a sound file has no transcript, an utterance is there twice, words have no pronunciation, or
            phonemes are not in the vocabulary; the message lists them.
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
        is_known = cache(lambda phoneme: tokenizer.unk_idx not in tokenizer.encode(phoneme))
        pronunciations = read_lexicon(lexicon, is_known, "the recipe's vocabulary")
        transcripts: dict[Path, Transcript] = {}
        for name in split:
            found = read_utterances(Path(path) / name)
            if not found:
                raise MissingFileError(f"no .flac or .wav file below {Path(path) / name}; check the corpus")
            transcripts.update(found)
        check_names((file.stem, file) for file in transcripts)
        said = {word: text.where for text in transcripts.values() for word in text.text.split()}
        unknown = sorted(said.keys() - pronunciations.keys())
        if unknown:
            raise UsageError(
                f"{len(unknown)} words of {', '.join(split)} have no pronunciation in {', '.join(map(str, lexicon))}: "
                f"{' '.join(unknown[:20])}{' ...' if len(unknown) > 20 else ''}; {unknown[0]} is said in "
                f"{said[unknown[0]]}; add them to a lexicon file"
            )
        items = [
            (file, tokenizer.encode(" ".join(" ".join(pronunciations[word]) for word in text.text.split())))
            for file, text in transcripts.items()
        ]
        super().__init__(items, bucket_size, ascending)
