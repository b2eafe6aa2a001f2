"""Audio SNIPS: requests read by many synthetic voices, whose words are labelled with slots."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..audio import find_sounds
from ..errors import CorpusError, MissingFileError
from ..files import write_whole
from .base import Corpus, Source, warn_count
from .lines import read_lines
from .speech import SPEECH, lay_out, place
from .table import Utterance

TEXTS, SLOTS = "all.iob.snips.txt", "slots.txt"
OUTSIDE = "O"  # the label of a word in no slot
SPEAKERS = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
UTTERANCES = {"train": 104672, "valid": 2800, "test": 2800}  # official counts
HELP = (
    f"get Audio SNIPS (audio_slu_v3.zip) and its texts, as DIR/{{train,valid,test}}/VOICE-snips-SPLIT-N.mp3 or .wav, "
    f"DIR/{TEXTS} and, if there is one, DIR/{SLOTS}, and pass DIR with --snips"
)


@dataclass(frozen=True)
class Line:
    """A request.

    Attributes:
        text: the line without the utterance's name: ``BOS WORD ... EOS<tab>O LABEL ... INTENT``.
        words: without BOS and EOS.
        labels: one a word, `OUTSIDE` or a slot.
        where: FILE:LINE.
    """

    text: str
    words: tuple[str, ...]
    labels: tuple[str, ...]
    where: str


def read_texts(path: Path) -> dict[str, Line]:
    """Read the requests by utterance.

    Raises:
        MissingFileError: there is no such file.
        CorpusError: a line has another form, is empty of words, or an utterance is there twice.
    """
    if not path.is_file():
        raise MissingFileError(f"no {path}; {HELP}")
    found: dict[str, Line] = {}
    for where, line in read_lines(path):
        name, _, text = line.partition(" ")
        sentence, _, marks = text.partition("\t")
        words, labels = sentence.split(" ")[1:-1], marks.split(" ")[1:-1]
        if not words or len(words) != len(labels) or not all(words) or not all(labels):
            raise CorpusError(
                f"{where}: got {line!r}, expected 'NAME BOS WORD ... EOS<tab>O LABEL ... INTENT', a label a word"
            )
        if name in found:
            raise CorpusError(f"{where}: {name} is there twice; {HELP}")
        found[name] = Line(text, tuple(words), tuple(labels), where)
    return found


def slots_of(lines: Mapping[str, Line]) -> list[str]:
    """List the slots, sorted."""
    return sorted({label for line in lines.values() for label in line.labels} - {OUTSIDE})


def read_slots(path: Path) -> list[str]:
    """Read the slots behind the first line, which is `OUTSIDE`, as s3prl does (s3prl/downstream/ctc/text.py:182)."""
    return path.read_text(encoding="utf-8").split("\n")[1:]


def clips_of(root: Path, split: str, speakers: Collection[str]) -> Iterator[Path]:
    """Yield the clips of some speakers, by name."""
    yield from (clip for clip in find_sounds(root / split) if clip.stem.partition("-")[0] in speakers)


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check texts, slots and letters; lay the clips out as WAV at 16 kHz, what is none converted."""
    root = next((path for path in (source.root, source.root / "SNIPS") if (path / TEXTS).is_file()), source.root)
    lines = read_texts(root / TEXTS)
    slots = slots_of(lines)
    given = root / SLOTS
    if given.is_file():
        lacking = [slot for slot in slots if slot not in read_slots(given)]
        if lacking:
            raise CorpusError(f"{given} lacks the slots {', '.join(lacking[:5])} of {root / TEXTS}; make it anew")
    clips = {split: list(clips_of(root, split, speakers)) for split, speakers in SPEAKERS.items()}
    for split, found in clips.items():
        if not found:
            raise MissingFileError(f"no clips of {', '.join(SPEAKERS[split])} in {root / split}; {HELP}")
        unknown = [clip for clip in found if clip.stem not in lines]
        if unknown:
            raise CorpusError(f"{len(unknown)} clips have no text in {root / TEXTS}, first {unknown[0]}; {HELP}")
        warn_count(f"Audio SNIPS' {split}", len(found), UTTERANCES[split])
    rows = {
        Utterance(clip.stem, clip, split, None, None, lines[clip.stem].text, "", lines[clip.stem].where): split
        for split, found in clips.items()
        for clip in found
    }
    _check_letters(rows, lines)
    wavs = place(list(rows), source.folder / SPEECH, convert=True)
    laid = {f"{rows[row]}/{row.name}.wav": wavs[row.name] for row in rows}
    given_as = [os.path.relpath(row.file, source.root) for row in rows]  # what is converted is told by what it was
    source.inventory.count_samples(list(laid.values()), "audio of Audio SNIPS", given_as)
    texts = "".join(f"{row.name} {row.value}\n" for row in rows)
    lay_out(source.folder / CORPUS.paths("clips")[0], laid, {TEXTS: texts})
    write_whole(
        folder / CORPUS.paths("slots")[0],
        given.read_text(encoding="utf-8") if given.is_file() else "\n".join([OUTSIDE, *slots]),
    )


def _check_letters(rows: Collection[Utterance], lines: Mapping[str, Line]) -> None:
    """Refuse texts that are not in capitals: the recipe's letters are."""
    small = [lines[row.name] for row in rows if any(word != word.upper() for word in lines[row.name].words)]
    if small:
        line = small[0]
        raise CorpusError(
            f"{line.where}: {' '.join(line.words)!r} has small letters, as {len(small)} lines have; write capitals"
        )


CORPUS = Corpus(
    name="snips",
    folder="folder with train, valid and test, and the texts",
    help=HELP,
    products={"clips": "snips", "slots": SLOTS},
    prepare=prepare,
)
