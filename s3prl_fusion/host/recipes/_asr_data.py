"""ASR's data set: batches of utterances of like length, all of them, in letters that the head knows.

s3prl's (s3prl/downstream/asr/dataset.py) adds letters that the dictionary lacks to it, for which the head has no place
(:70), cuts names at the first dot (:102), and leaves out in silence: a last batch of one utterance (:97), utterances
without a transcript (:63), tables that are not there (:53).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ...audio import load
from ...corpora.lines import read_text
from ...corpora.symbols import SPACE, check_letters
from ...corpora.transcripts import Transcript, match
from ...errors import CorpusError, MissingFileError, UsageError, unknown

LONG = 2000  # samples; a full batch whose longest clip has more is halved (s3prl/downstream/asr/dataset.py:25)


def read_split(datarc: dict[str, Any], split: str) -> dict[Path, tuple[float, Transcript]]:
    """Read the length in samples and the transcript of each sound file of a split, the longest first.

    Args:
        datarc: of the recipe's config.
        split: a key of it, such as ``dev-clean``, where the names of tables stand.

    Raises:
        UserError: there is no such split, or a table or a file of it is missing or malformed.
    """
    import pandas

    if not isinstance(datarc.get(split), list):
        known = [key for key, value in datarc.items() if isinstance(value, list)]
        raise UsageError(f"downstream_expert.datarc: {unknown('split', split, known)}")
    tables = [read_table(Path(datarc["bucket_file"]) / f"{name}.csv") for name in datarc[split]]
    table = pandas.concat(tables).sort_values(by=["length"], ascending=False)
    files = [Path(datarc["libri_root"]) / name for name in table["file_path"]]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise MissingFileError(
            f"{len(missing)} of {len(files)} files of {split} do not exist, first {missing[0]}; "
            "run `s3prl-fusion prepare asr` again"
        )
    lengths = dict(zip(files, table["length"].tolist()))
    return {file: (lengths[file], transcript) for file, transcript in match(lengths).items()}


def read_table(path: Path) -> Any:
    """Read a table of lengths, a pandas.DataFrame with file_path and length, in samples.

    Raises:
        MissingFileError, CorpusError: it is not there, or malformed.
    """
    import pandas

    if not path.is_file():
        raise MissingFileError(
            f"{path} does not exist, which lists a split's files; `s3prl-fusion prepare asr` makes it"
        )
    try:
        table = pandas.read_csv(io.StringIO(read_text(path)), dtype={"file_path": str, "length": float})
        if table[["file_path", "length"]].isna().to_numpy().any() or not len(table):
            raise ValueError("a row lacks one, or there is none")
        return table
    except (ValueError, KeyError) as error:
        raise CorpusError(
            f"{path} must have the columns file_path and length, in samples ({error}); run `s3prl-fusion prepare asr`"
        ) from error


def check_split(datarc: dict[str, Any], split: str, letters: set[str]) -> None:
    """Refuse what `LetterDataset` would."""
    check_letters((text for _, text in read_split(datarc, split).values()), letters, datarc["dict_path"])


class LetterDataset(Dataset):
    """Items are whole batches: (waveforms (T',), letter ids, names), a list each.

    Args:
        split: as for `read_split`.
        bucket_size: utterances a batch; s3prl halves full batches of two and more.
        dictionary: s3prl's, of letters.
        datarc: the recipe's.

    Raises:
        UserError: as `read_split`, or texts have letters that the dictionary lacks.
    """

    def __init__(self, split: str, bucket_size: int, dictionary: Any, **datarc: Any) -> None:
        found = read_split(datarc, split)
        letters = set(dictionary.symbols[dictionary.nspecial :])
        check_letters((text for _, text in found.values()), letters, datarc.get("dict_path", "the dictionary"))
        self.labels = {file: _encode(text.text, dictionary) for file, (_, text) in found.items()}
        files = list(found)
        self.batches: list[list[Path]] = []
        for start in range(0, len(files), bucket_size):
            batch, half = files[start : start + bucket_size], bucket_size // 2
            is_long = max(found[file][0] for file in batch) > LONG
            if len(batch) == bucket_size >= 2 and is_long:
                self.batches += [batch[:half], batch[half:]]
            else:
                self.batches.append(batch)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
        batch = self.batches[index]
        return (
            [load(file).numpy() for file in batch],
            [self.labels[file] for file in batch],
            [file.stem for file in batch],
        )

    def collate_fn(self, items: Sequence[tuple]) -> tuple:
        """Return the only item, which is a batch."""
        (batch,) = items
        return batch


def _encode(text: str, dictionary: Any) -> np.ndarray:
    symbols = " ".join(f"{text} ".replace(" ", SPACE))
    return dictionary.encode_line(symbols, line_tokenizer=str.split, add_if_not_exist=False).long().numpy()
