"""LibriSpeech on disk: the sound files of a split, their transcripts, and the pronunciations of words.

PR's data set (host/recipes/_libriphone.py) and `s3prl-fusion prepare` (librispeech.py) both read it here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import CorpusError

SUFFIXES = (".flac", ".wav")


def find_audio(split: Path) -> dict[Path, Path]:
    """Find `{utterance: file}` below a split's folder, sorted. An utterance is its file's path without the suffix.

    Raises:
        CorpusError: an utterance is there as both .flac and .wav.
    """
    files: dict[Path, Path] = {}
    for file in sorted(split.rglob("[!.]*")):  # archives made on a Mac bring ._*.flac along
        if file.suffix.lower() in SUFFIXES:
            utterance = file.with_suffix("")
            if utterance in files:
                raise CorpusError(f"{files[utterance]} and {file} are the same utterance; remove one of them")
            files[utterance] = file
    return files


def read_transcripts(split: Path) -> dict[Path, str]:
    """Read `{utterance: TEXT}` from the `*.trans.txt` below the folder of a split, utterances as in `find_audio`.

    Raises:
        CorpusError: an utterance has two transcripts.
    """
    texts: dict[Path, str] = {}
    for table in sorted(split.rglob("[!.]*.trans.txt")):
        for line in table.read_text(encoding="utf-8").splitlines():
            name, _, text = line.strip().partition(" ")
            if not name:
                continue
            if table.parent / name in texts:
                raise CorpusError(f"{table}: {name} has a transcript twice; unpack {split} again")
            texts[table.parent / name] = text.upper()
    return texts


def read_lexicon(paths: Sequence[str | Path], symbols: Collection[str] | None = None) -> dict[str, list[str]]:
    """Read `{WORD: phonemes}` from lines of `WORD PHONEME PHONEME ...`; the first pronunciation of a word counts.

    Args:
        paths: lexicon files.
        symbols: the phonemes allowed; any, if left out.

    Raises:
        CorpusError: a line has a phoneme that is not in `symbols`.
    """
    lexicon: dict[str, list[str]] = {}
    for path in paths:
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
            word, *phonemes = line.split() or [""]
            unknown = [phoneme for phoneme in phonemes if symbols is not None and phoneme not in symbols]
            if unknown:
                raise CorpusError(f"{path}:{number}: {word} uses {unknown[0]!r}, which phoneme.txt does not list")
            if phonemes:
                lexicon.setdefault(word.upper(), phonemes)
    return lexicon
