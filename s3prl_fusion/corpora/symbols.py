"""What the heads of ASR and PR can say: the letters of a dictionary, the phonemes of a vocabulary.

A recipe's own classes read these files too; here they are looked at first, and held against what is said in a corpus.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from ..errors import CorpusError
from .lines import read_text
from .transcripts import Transcript

SPACE = "|"  # what stands between words
ADVICE = "Correct the texts, or name a dictionary of your own in the recipe's YAML (downstream_expert.datarc.dict_path)"
SPECIAL = {"<s>", "<pad>", "</s>", "<unk>"}  # every dictionary of s3prl's has them


def read_letters(path: Path) -> set[str]:
    """Read ASR's dictionary: a letter and its count a line, `|` for the space between words.

    Raises:
        CorpusError: s3prl could not read it (s3prl/downstream/asr/fairseq_dictionary.py:246), or it has no `|`.
    """
    letters = set(SPECIAL)
    for number, line in enumerate(_own_lines(path), start=1):
        letter, _, count = line.rstrip().removesuffix(" #fairseq:overwrite").rpartition(" ")
        if not letter or not count.isdecimal():
            raise CorpusError(f"{path}:{number}: got {line!r}, expected 'LETTER COUNT'")
        if letter in letters and "#fairseq:overwrite" not in line:
            raise CorpusError(f"{path}:{number}: {letter!r} is there twice; remove one")
        letters.add(letter)
    letters -= SPECIAL
    if SPACE not in letters:
        raise CorpusError(f"{path} lacks {SPACE!r}, which stands for the space between words; add it: '{SPACE} 1'")
    return letters


def read_phonemes(path: Path) -> set[str]:
    """Read PR's vocabulary: a phoneme a line.

    Raises:
        CorpusError: a line has white space in it, which separates phonemes.
    """
    phonemes = set()
    for number, line in enumerate(_own_lines(path), start=1):
        if line.split() not in ([], [line]):
            raise CorpusError(f"{path}:{number}: got {line!r}, expected one phoneme without white space")
        phonemes.update(line.split())
    if not phonemes:
        raise CorpusError(f"{path} has no phonemes; give one a line")
    return phonemes


def _own_lines(path: Path) -> list[str]:
    return read_text(path, bom=False).removesuffix("\n").split("\n")


def check_letters(transcripts: Iterable[Transcript], letters: Collection[str], dictionary: object) -> None:
    """Refuse texts with letters that a head cannot say.

    Args:
        transcripts: texts, and where each stands.
        letters: the head's.
        dictionary: where these are from, for the message.

    Raises:
        CorpusError: counts the texts, says where the first three stand, and lists all such letters.
    """
    strange = {transcript.where: _strange(transcript.text, letters) for transcript in transcripts}
    places = [f"{where}: {_shown(found)}" for where, found in strange.items() if found]
    if places:
        every = dict.fromkeys(letter for found in strange.values() for letter in found)
        is_small = any(letter.lower() in letters for letter in every if letter.lower() != letter)
        raise CorpusError(
            f"{len(places)} transcripts have letters that {dictionary} lacks: {'; '.join(places[:3])}"
            f"{f'; in all {_shown(every)}' if len(places) > 3 else ''}. "
            + ("Texts are put in capital letters: put those of the dictionary so too" if is_small else ADVICE)
        )


def _strange(text: str, letters: Collection[str]) -> list[str]:
    return [letter for letter in dict.fromkeys(text.replace(" ", "")) if letter not in letters or letter == SPACE]


def _shown(letters: Iterable[str], limit: int = 20) -> str:
    """Write letters so that those that look alike, or like nothing, are told apart."""
    shown = [f"{letter!r} (U+{ord(letter):04X})" for letter in letters]
    return ", ".join(shown[:limit]) + (f", and {len(shown) - limit} more" if len(shown) > limit else "")
