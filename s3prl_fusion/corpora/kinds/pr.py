"""PR in any phonemes: of a column, or of the words of a text and a lexicon, for s3prl's recipe for LibriSpeech.

That recipe looks words up in a lexicon, in capital letters. Here each phoneme is a word of its own, by a number, so
that symbols that differ in this alone stay apart, as SAMPA's s and S.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ...errors import CorpusError
from ...files import write_whole
from ...spelling import in_capitals
from .. import transcripts
from ..base import Corpus, Source
from ..speech import SPEECH, lay_out, place
from ..symbols import read_phonemes
from ..table import Table, Utterance, has_column, places_by_split, read, report_new
from . import corpus_of
from .asr import COLUMN as TEXT
from .asr import in_layout, transcripts_of

KIND = "pr"
COLUMN = "phonemes"
VOCABULARY = "phoneme.txt"


def corpus(table: Table) -> tuple[Corpus, list[str]]:
    """Return the corpus; there are no folds.

    Raises:
        CorpusError, MissingFileError: the rows cannot be used, see `table.read`; or words are in no lexicon.
    """
    _read(table)
    products = {"lexicons": ["lexicon.txt"], "vocabulary": VOCABULARY}
    return corpus_of(table, KIND, COLUMN, products, prepare, replaceable={"vocabulary": VOCABULARY}), []


def _read(table: Table) -> dict[Utterance, list[str]]:
    """Read each utterance's phonemes: those of its row, or where a lexicon is given, of the words of its text."""
    if not table.lexicons:
        if not has_column(table, COLUMN) and has_column(table, TEXT):
            raise CorpusError(f"{table.path} has no column {COLUMN!r}; add it, or give its words' with --lexicon FILE")
        said = {row: row.value.split() for row in read(table, COLUMN)}
        for row in (row for row, phonemes in said.items() if any(phoneme[0] == "#" for phoneme in phonemes)):
            raise CorpusError(f"{row.where}: a phoneme may not begin with '#', as comments do in lexicons; rename it")
        return said
    lexicon = transcripts.read_lexicon(table.lexicons)
    words = {row: in_capitals(row.value).split() for row in read(table, TEXT)}
    unknown: dict[str, str] = {}
    for row, spoken in words.items():
        unknown.update({word: row.where for word in spoken if word not in lexicon and word not in unknown})
    if unknown:
        shown = ", ".join(list(unknown)[:20]) + (" ..." if len(unknown) > 20 else "")
        first, where = next(iter(unknown.items()))
        raise CorpusError(
            f"{len(unknown)} words have no pronunciation in {', '.join(map(str, table.lexicons))}: {shown}; {first} is "
            f"said in {where}; add lines 'WORD PHONEME PHONEME ...'"
        )
    return {row: [phoneme for word in spoken for phoneme in lexicon[word]] for row, spoken in words.items()}


def prepare(table: Table, source: Source, products: Collection[str], folder: Path) -> None:
    """Check phonemes and audio, and write the vocabulary, or the user's own one, and the lexicon of numbers."""
    said, name = _read(table), table.task(KIND)
    vocabulary = _vocabulary(table, said, source.shipped.get("vocabulary"))
    numbers = {phoneme: f"P{number}" for number, phoneme in enumerate(vocabulary, start=1)}
    write_whole(folder / name / VOCABULARY, "".join(f"{phoneme}\n" for phoneme in vocabulary))
    write_whole(folder / name / "lexicon.txt", "".join(f"{word} {phoneme}\n" for phoneme, word in numbers.items()))
    files = place(list(said), source.folder / SPEECH, table.convert)
    links = {in_layout(row): files[row.name] for row in said}
    source.inventory.count_samples(list(links.values()), f"audio of {table.name}", list(links))
    source.inventory.note("phonemes", {in_layout(row): phonemes for row, phonemes in said.items()})
    texts = {row: " ".join(numbers[phoneme] for phoneme in phonemes) for row, phonemes in said.items()}
    lay_out(source.folder / name / SPEECH, links, transcripts_of(texts))


def _vocabulary(table: Table, said: Mapping[Utterance, Sequence[str]], own: Path | None) -> list[str]:
    """Return the phonemes, and say on the screen which there are, and which are not in train."""
    counts = Counter(phoneme for phonemes in said.values() for phoneme in phonemes)
    if own:
        known = read_phonemes(own)
        for row, phoneme in ((row, phoneme) for row, phonemes in said.items() for phoneme in phonemes):
            if phoneme not in known:
                raise CorpusError(f"{row.where}: {phoneme!r} is none of {own}; correct one of them")
        return own.read_text(encoding="utf-8").split()
    print(f"{table.path}: {len(counts)} phonemes: {' '.join(sorted(counts))}", file=sys.stderr)
    for line in report_new("phonemes", places_by_split(said, said.values())):
        print(f"{table.path}: {line}", file=sys.stderr)
    return sorted(counts)
