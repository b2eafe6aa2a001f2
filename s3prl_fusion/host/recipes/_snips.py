"""The SNIPS corpus of ``-d ctc``, which SF needs, and s3prl's wheel leaves out.

s3prl/downstream/ctc/data.py:53 imports ``SnipsDataset`` from ``s3prl.downstream.ctc.corpus.snips``; where that module
is missing, this one stands in for it (see ctc.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...corpora.snips import TEXTS, clips_of, read_texts
from ...errors import MissingFileError, UsageError
from ...schema import Problem
from ._ctc_data import Labelled

MARKS = "slots"  # of a recipe's config, and so of its checkpoints: the slots' marks, as the head numbers them
SPEAKERS = "_speakers"  # behind a split's first folder: the config's key for whose clips are taken


def speakers_of(corpus: dict[str, Any], folders: Sequence[str]) -> list[str]:
    """Return the speakers of a split, which the config lists by its first folder."""
    return corpus[f"{folders[0]}{SPEAKERS}"]


def find_missing_speakers(key: str, corpus: dict[str, Any], splits: Sequence[str]) -> list[Problem]:
    """Return a mistake for each split whose speakers the config does not list."""
    names = dict.fromkeys(f"{corpus[split][0]}{SPEAKERS}" for split in splits)
    return [
        Problem(f"{key}.{name}", f"{key} has no {name}, which must be a list of the voices whose clips are read")
        for name in names
        if not corpus.get(name)
    ]


class SnipsDataset(Labelled):
    """What s3prl's source checkout has under this name: (file, ids of letters and slots' marks), longest label first.

    Args:
        split: folders below ``path``.
        tokenizer: s3prl's text encoder of slots.
        bucket_size: as for `Labelled`.
        path: root of the corpus.
        ascending: shortest label first.
        corpus: among other settings, whose clips each split has.

    Raises:
        MissingFileError: a split has no clip of its speakers.
        UsageError: a clip has no text.
    """

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Any,
        bucket_size: int,
        path: str,
        ascending: bool = False,
        **corpus: Any,
    ) -> None:
        lines, speakers = read_texts(Path(path) / TEXTS), speakers_of(corpus, split)
        clips = [clip for folder in split for clip in clips_of(Path(path), folder, speakers)]
        if not clips:
            raise MissingFileError(f"no clip of {', '.join(speakers)} below {path}, {', '.join(split)}")
        unknown = [clip for clip in clips if clip.stem not in lines]
        if unknown:
            raise UsageError(f"{len(unknown)} clips have no text in {Path(path) / TEXTS}, first {unknown[0]}")
        super().__init__([(clip, tokenizer.encode(lines[clip.stem].text)) for clip in clips], bucket_size, ascending)
