"""ASR in any script: the layout, tables of lengths and dictionary of s3prl's recipe for LibriSpeech."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from ...errors import CorpusError
from ...files import write_whole
from ...spelling import in_capitals
from ..base import Corpus, Source
from ..librispeech import write_lengths
from ..speech import SPEECH, lay_out, place
from ..symbols import SPACE, check_letters, read_letters
from ..table import SPLITS, Table, Utterance, places_by_split, read, report_new
from ..transcripts import Transcript
from . import corpus_of

KIND = "asr"
COLUMN = "text"
DICTIONARY = "char.dict"
LONG = 30  # letters a word on average: there must be spaces missing


def corpus(table: Table) -> tuple[Corpus, list[str]]:
    """Return the corpus; there are no folds.

    Raises:
        CorpusError, MissingFileError: the rows cannot be used, see `table.read`; or a text has a `|`, which stands for
            the space between words, or texts have no spaces.
    """
    _read(table)
    products = {"buckets": "len_for_bucket", "dictionary": DICTIONARY}
    return corpus_of(table, KIND, COLUMN, products, prepare, replaceable={"dictionary": DICTIONARY}), []


def _read(table: Table) -> dict[Utterance, Transcript]:
    """Read what is said in each utterance, in capital letters, as the recipe has it."""
    texts = {row: Transcript(in_capitals(row.value), row.where) for row in read(table, COLUMN)}
    bars = [text for text in texts.values() if SPACE in text.text]
    if bars:
        raise CorpusError(f"{bars[0].where}: {bars[0].text!r} has a {SPACE!r}, which is not a letter here; remove it")
    words = [word for text in texts.values() for word in text.text.split()]
    if sum(map(len, words)) > LONG * len(words):
        raise CorpusError(
            f"{table.path}: words have more than {LONG} letters on average; put spaces between them, or between "
            "characters: the recipe chooses its best checkpoint by the errors in words"
        )
    return texts


def prepare(table: Table, source: Source, products: Collection[str], folder: Path) -> None:
    """Check texts and audio, and write the dictionary, or the user's own one, and the tables of lengths."""
    texts, name = _read(table), table.task(KIND)
    write_whole(folder / name / DICTIONARY, _dictionary(table, texts, source.shipped.get("dictionary")))
    files = place(list(texts), source.folder / SPEECH, table.convert)
    links = {in_layout(row): files[row.name] for row in texts}
    counts = source.inventory.count_samples(list(links.values()), f"audio of {table.name}", list(links))
    source.inventory.note("transcripts", {in_layout(row): text.text for row, text in texts.items()})
    for split in SPLITS:
        lengths = {link: length for link, length in zip(links, counts) if link.startswith(f"{split}/")}
        write_lengths(lengths, folder / name / "len_for_bucket" / f"{split}.csv")
    lay_out(source.folder / name / SPEECH, links, transcripts_of({row: text.text for row, text in texts.items()}))


def _dictionary(table: Table, texts: Mapping[Utterance, Transcript], own: Path | None) -> str:
    """Return the dictionary's lines, and say on the screen which letters there are, and which are not in train."""
    if own:
        check_letters(texts.values(), read_letters(own), own)
        return own.read_text(encoding="utf-8")
    letters = [text.text.replace(" ", "") for text in texts.values()]
    counts = Counter(letter for text in letters for letter in text)
    print(f"{table.path}: {len(counts)} letters: {' '.join(sorted(counts))}", file=sys.stderr)
    for line in report_new("letters", places_by_split(texts, letters)):
        print(f"{table.path}: {line}", file=sys.stderr)
    spaces = sum(text.text.count(" ") for text in texts.values())
    return "".join(f"{letter} {count}\n" for letter, count in [(SPACE, spaces), *counts.most_common()])


def in_layout(row: Utterance) -> str:
    """Name an utterance's file in the layout of LibriSpeech."""
    return f"{row.split}/{row.name}.wav"


def transcripts_of(texts: Mapping[Utterance, str]) -> dict[str, str]:
    """Write the transcripts of each split, by the tables' paths in the layout of LibriSpeech."""
    return {f"{split}/{split}.trans.txt": "".join(_lines(texts, split)) for split in SPLITS}


def _lines(texts: Mapping[Utterance, str], split: str) -> Iterable[str]:
    return (f"{row.name} {text}\n" for row, text in texts.items() if row.split == split)
