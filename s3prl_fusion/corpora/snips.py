"""Audio SNIPS: requests read by many synthetic voices, whose words are labelled with slots.

Read as SUPERB's preparation leaves it, or as its owners hand it out: audio_slu/audio_VOICE/snips/snips-SPLIT-N.mp3
and the annotations of github.com/aws-samples/aws-lex-noisy-spoken-language-understanding.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..assets import downstream_configs_dir
from ..audio import find_sounds
from ..errors import CorpusError, MissingFileError
from ..files import write_whole
from .base import Corpus, Source, warn_count
from .lines import check_names, read_lines, read_text
from .snips_texts import read_annotations
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
VOCABULARY = "character.txt"
ANNOTATIONS = "data/nlu_annotation"
MADE = "snips"  # below the folder of products: a corpus that had to be converted
HELP = (
    f"get Audio SNIPS (audio_slu_v3.zip) and its texts, as DIR/{{train,valid,test}}/VOICE-snips-SPLIT-N.mp3 or .wav, "
    f"DIR/{TEXTS} and, if there is one, DIR/{SLOTS}, and pass DIR with --snips; or unpack the zip as DIR/audio_slu, "
    "clone https://github.com/aws-samples/aws-lex-noisy-spoken-language-understanding beside it, and pass DIR"
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


def is_whole(root: Path) -> bool:
    """Whether recipes can read a folder as it is: its splits hold WAV alone, beside the texts."""
    clips = [find_sounds(root / split) for split in SPEAKERS]
    return (root / TEXTS).is_file() and all(each and {clip.suffix for clip in each} == {".wav"} for each in clips)


def find_clips(root: Path) -> dict[str, dict[str, Path]]:
    """Find the clips of SUPERB's voices, by split and name, in either layout.

    Raises:
        MissingFileError: a split has none.
        CorpusError: two have one name.
    """
    by_voice = [folder for depth in ("", "*/") for folder in sorted(root.glob(f"{depth}audio_*/snips"))]
    named = [
        (f"{folder.parent.name[len('audio_') :]}-{clip.stem}", clip)
        for folder in by_voice
        for clip in find_sounds(folder)
    ]
    if by_voice:
        found = {
            split: {name: clip for name, clip in named if _is_of(name, split, speakers)}
            for split, speakers in SPEAKERS.items()
        }
    else:
        named = [(clip.stem, clip) for split, speakers in SPEAKERS.items() for clip in clips_of(root, split, speakers)]
        found = {split: {clip.stem: clip for clip in clips_of(root, split, who)} for split, who in SPEAKERS.items()}
    check_names(named)
    for split, clips in found.items():
        if not clips:
            where = f"{root}/**/audio_VOICE/snips/snips-{split}-*" if by_voice else root / split
            raise MissingFileError(f"no clips of {', '.join(SPEAKERS[split])} in {where}; {HELP}")
    return found


def _is_of(name: str, split: str, speakers: Collection[str]) -> bool:
    voice, _, said = name.partition("-")
    return voice in speakers and said.startswith(f"snips-{split}-")


def find_texts(root: Path) -> dict[str, Line]:
    """Read the texts that SUPERB has prepared, where they are; else spell out those of the corpus's owners.

    Raises:
        MissingFileError: there are neither.
        CorpusError: see `read_texts` and `snips_texts.read_annotations`.
    """
    tables = [path for depth in ("", "*/") for path in sorted(root.glob(f"{depth}{ANNOTATIONS}/test"))]
    if (root / TEXTS).is_file() or not tables:
        return read_texts(root / TEXTS)
    print(
        f"warning: {tables[0].parent} is spelt out by this package's rules, which are not SUPERB's for numbers and "
        f"dates; scores compare with published ones where its {TEXTS} is in {root}",
        file=sys.stderr,
    )
    found: dict[str, Line] = {}
    for split, speakers in SPEAKERS.items():
        for name, (words, labels, intent, where) in read_annotations(tables[0].with_name(split)).items():
            text = f"BOS {' '.join(words)} EOS\t{OUTSIDE} {' '.join(labels)} {intent}"
            line = Line(text, tuple(words), tuple(labels), where)
            found.update({f"{speaker}-{name}": line for speaker in speakers})
    return found


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check texts, slots, letters and audio; what is no WAV is converted, in a layout of its own."""
    inside = source.root / "SNIPS"
    root = inside if (inside / TEXTS).is_file() and not (source.root / TEXTS).is_file() else source.root
    clips, known = find_clips(root), find_texts(root)
    for split, found in clips.items():
        unknown = [clip for name, clip in found.items() if name not in known]
        if unknown:
            raise CorpusError(f"{len(unknown)} clips have no text in {root / TEXTS}, first {unknown[0]}; {HELP}")
        warn_count(f"Audio SNIPS' {split}", len(found), UTTERANCES[split])
    lines = {split: {name: known[name] for name in found} for split, found in clips.items()}
    slots = _slots(root / SLOTS, known)
    letters = read_text(source.shipped.get(VOCABULARY, downstream_configs_dir() / VOCABULARY)).split("\n")
    for split, texts in lines.items():
        check_letters(texts, letters, split)
        if not slots_of(texts):
            raise CorpusError(f"no text of {split} has a slot, first {next(iter(texts.values())).where}; {HELP}")
    said = {name: line.text for texts in lines.values() for name, line in texts.items()}
    source.inventory.note("texts", said)
    if is_whole(source.root):
        source.count_samples([clip for found in clips.values() for clip in found.values()], "audio of Audio SNIPS")
    else:
        _convert(source, clips, lines)
    # Without a line's end: s3prl would take what is behind it for one more slot (s3prl/downstream/ctc/text.py:137).
    write_whole(folder / CORPUS.paths("slots")[0], "\n".join([OUTSIDE, *slots]))


def _slots(given: Path, lines: Mapping[str, Line]) -> list[str]:
    """Return the slots in the order of SUPERB's file, where there is one."""
    slots = slots_of(lines)
    if not given.is_file():
        return slots
    ordered = [slot for slot in read_slots(given) if slot]
    lacking = [slot for slot in slots if slot not in ordered]
    if lacking:
        raise CorpusError(f"{given} lacks the slots {', '.join(lacking[:5])} of {given.with_name(TEXTS)}; make it anew")
    return ordered


def _convert(source: Source, clips: Mapping[str, Mapping[str, Path]], lines: Mapping[str, Mapping[str, Line]]) -> None:
    """Lay clips out for recipes: linked to where they are as these need them, else written so once."""
    rows = [
        Utterance(name, clip, split, None, None, lines[split][name].text, "", lines[split][name].where)
        for split, found in clips.items()
        for name, clip in found.items()
    ]
    placed = place(rows, source.folder / SPEECH, convert=True)
    links = {f"{row.split}/{row.name}.wav": placed[row.name] for row in rows}
    source.inventory.count_samples(list(links.values()), "audio of Audio SNIPS", list(links))
    lay_out(source.folder / MADE, links, {TEXTS: "".join(f"{row.name} {row.value}\n" for row in rows)})


def check_letters(lines: Mapping[str, Line], letters: Collection[str], split: str) -> None:
    """Refuse texts that are not in capitals, as the recipe's letters are, or of which most have letters beside these;
    tell of few.

    Raises:
        CorpusError: says where.
    """
    small = [line for line in lines.values() if any(word != word.upper() for word in line.words)]
    if small:
        line = small[0]
        raise CorpusError(
            f"{line.where}: {' '.join(line.words)!r} has small letters, as {len(small)} lines have; write capitals"
        )
    strange = {line.where: set("".join(line.words)) - set(letters) for line in lines.values()}
    places = [where for where, found in strange.items() if found]
    if places:
        shown = " ".join(sorted(set().union(*strange.values()))[:20])
        told = f"{len(places)} of {len(lines)} lines of {split} have what is no letter of the recipe's: {shown}"
        if 2 * len(places) > len(strange):
            raise CorpusError(f"{places[0]}: {told}; write numbers out, and leave signs out")
        print(f"{told}; it counts as <unk>, as in s3prl", file=sys.stderr)


CORPUS = Corpus(
    name="snips",
    folder="folder with train, valid and test, and the texts",
    help=HELP,
    products={"slots": SLOTS},
    prepare=prepare,
    converted=lambda given: "" if is_whole(given) else MADE,
)
