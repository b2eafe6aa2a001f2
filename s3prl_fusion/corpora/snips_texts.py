"""The annotations of Audio SNIPS' owners, spelt out in the letters that SUPERB's head has."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from ..errors import CorpusError, HostError, MissingFileError
from .lines import read_lines

HEAD = "u_id\tutterance\tslot-labels\tintent"
YEARS = range(1100, 2100)  # four digits that are said in two halves
_PIECES = re.compile(r"\d+(?:st|nd|rd|th)\b|\d+|[A-Z']+", re.IGNORECASE)

Row = tuple[list[str], list[str], str, str]  # words, the slot of each, the intent, FILE:LINE


def read_annotations(path: Path) -> dict[str, Row]:
    r"""Read lines of ``NAME\tWORDS\tSLOTS\tINTENT`` below a line of headings; a slot is ``INTENT/SLOT``.

    Raises:
        MissingFileError: the file is not there.
        HostError: a number has to be spelt out, and the package for that is missing.
        CorpusError: a line has another form, or a name is there twice.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; clone the annotations again")
    rows: dict[str, Row] = {}
    for where, line in read_lines(path):
        if line == HEAD:
            continue
        name, text, tags, intent = (*line.split("\t"), "", "", "", "")[:4]
        # A word may be empty, and has a slot even so.
        pairs = list(zip(text.split(" "), tags.split(" ")))
        if line.count("\t") != 3 or len(text.split(" ")) != len(tags.split(" ")) or not all(tags.split(" ")):
            raise CorpusError(f"{where}: got {line!r}, expected 'NAME<tab>WORDS<tab>SLOTS<tab>INTENT', a slot a word")
        if name in rows:
            raise CorpusError(f"{where}: {name} is there twice; clone the annotations again")
        spelt = [(word, slot.rpartition("/")[2]) for said, slot in pairs for word in spell(said)]
        if not spelt:
            raise CorpusError(f"{where}: {text!r} has no word in Latin letters")
        rows[name] = [word for word, _ in spelt], [slot for _, slot in spelt], intent, where
    return rows


def spell(word: str) -> list[str]:
    """Spell a word out: ``Café`` as CAFE, ``&`` as AND, ``2nd`` as SECOND, ``7pm`` as SEVEN PM, ``2037`` as TWENTY
    THIRTY SEVEN, ``0930``, and what is longer than a year, digit by digit. What is left of punctuation is no word."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    plain = plain.replace("’", "'").replace("&", " and ")
    spelt = [_number(piece) if piece[0].isdigit() else piece for piece in _PIECES.findall(plain)]
    return [part for text in spelt for part in re.split(r"[ ,-]+", text.upper()) if part.strip("'")]


def _number(piece: str) -> str:
    try:
        from num2words import num2words
    except ImportError as error:
        raise HostError(
            f"numbers such as {piece} are spelt out by a package that is missing: pip install num2words; or put "
            "SUPERB's all.iob.snips.txt into the folder, where that is done"
        ) from error

    digits = piece.rstrip("stndrhSTNDRH")
    if digits != piece:
        return num2words(int(digits), to="ordinal")
    if len(digits) > 4 or (digits[0] == "0" and len(digits) > 1):
        return " ".join(num2words(int(digit)) for digit in digits)
    return num2words(int(digits), to="year" if int(digits) in YEARS else "cardinal")
