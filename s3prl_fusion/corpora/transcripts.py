"""LibriSpeech on disk: the sound files of a split, their transcripts, and the pronunciations of words.

The data sets of ASR and PR (host/recipes/) and `s3prl-fusion prepare` (librispeech.py) all read it here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..audio import find_sounds
from ..decoding import CONVERT
from ..errors import CorpusError
from .lines import check_names, read_lines

SUFFIXES = (".flac", ".wav")


class Transcript(NamedTuple):
    """What is said in an utterance, in capital letters and with single spaces, and the line where that stands."""

    text: str
    where: str  # FILE:LINE


def find_audio(split: Path) -> dict[Path, Path]:
    """Find `{utterance: file}` below a split's folder, sorted. An utterance is its file's path without the suffix.

    Raises:
        CorpusError: an utterance is there as both .flac and .wav, or as something else alone.
    """
    files: dict[Path, Path] = {}
    sounds = find_sounds(split)
    for file in sounds:
        if file.suffix.lower() in SUFFIXES:
            utterance = file.with_suffix("")
            if utterance in files:
                raise CorpusError(f"{files[utterance]} and {file} are the same utterance; remove one of them")
            files[utterance] = file
    others = [file for file in sounds if file.with_suffix("") not in files]
    if others:
        raise CorpusError(
            f"{len(others)} sound files below {split} are neither .flac nor .wav, first {others[0]}; make them so: "
            f"{CONVERT}"
        )
    return files


def read_transcripts(folders: Iterable[Path]) -> dict[Path, Transcript]:
    """Read the `*.trans.txt` in some folders: lines of `NAME TEXT`, whatever the tables are called.

    Returns:
        By utterance, as in `find_audio`: a name is that of a file in the table's own folder.

    Raises:
        CorpusError: a line has no text, an utterance has two transcripts, or a table is not UTF-8.
    """
    found: dict[Path, Transcript] = {}
    for table in (table for folder in sorted(set(folders)) for table in sorted(folder.glob("[!.]*.trans.txt"))):
        for where, line in read_lines(table):
            name, *words = line.split()
            utterance = table.parent / name
            if not words:
                raise CorpusError(f"{where}: {name} has no text; add it, or remove the line and its sound file")
            if utterance in found:
                raise CorpusError(
                    f"{where}: {name} has a transcript twice, the first at {found[utterance].where}; remove one"
                )
            found[utterance] = Transcript(" ".join(words).upper(), where)
    return found


def read_utterances(split: Path) -> dict[Path, Transcript]:
    """Read `{sound file: transcript}` below a split's folder, sorted by path; none where there is no sound file.

    Raises:
        CorpusError: as `find_audio`, `read_transcripts` and `match`.
    """
    return match(find_audio(split).values())


def match(files: Iterable[Path]) -> dict[Path, Transcript]:
    """Give each of some sound files its transcript, which stands in a table beside it.

    Raises:
        CorpusError: files have no transcript, or names that are unusable (see `check_names`).
    """
    files = list(files)
    check_names((file.stem, file) for file in files)
    texts = read_transcripts(file.parent for file in files)
    missing = [file for file in files if file.with_suffix("") not in texts]
    if missing:
        raise CorpusError(
            f"{len(missing)} audio files have no transcript, first {missing[0]}: it needs a line "
            f"'{missing[0].stem} TEXT' in a *.trans.txt beside it; unpack the split again"
        )
    return {file: texts[file.with_suffix("")] for file in files}


def read_lexicon(
    paths: Sequence[str | Path], is_known: Callable[[str], bool] | None = None, vocabulary: object = "phoneme.txt"
) -> dict[str, list[str]]:
    """Read `{WORD: phonemes}` from lines of `WORD PHONEME PHONEME ...`; the first pronunciation of a word counts.

    Comments, as CMUdict has them, are left out: lines that begin with `;;;`, and what follows a ` #`.

    Args:
        paths: lexicon files.
        is_known: tells which phonemes are allowed; any, if left out.
        vocabulary: what lists these, for the message.

    Raises:
        CorpusError: a line has a phoneme that is not allowed, or a file is not UTF-8.
    """
    lexicon: dict[str, list[str]] = {}
    for path in map(Path, paths):
        for where, line in read_lines(path):
            if line.startswith(";;;"):
                continue
            word, *phonemes = re.sub(r"(?<=\S)\s+#.*", "", line).split()
            unknown = [phoneme for phoneme in phonemes if is_known is not None and not is_known(phoneme)]
            if unknown:
                raise CorpusError(f"{where}: {word} uses {unknown[0]!r}, which {vocabulary} does not list")
            if phonemes:
                lexicon.setdefault(word.upper(), phonemes)
    return lexicon
