"""IEMOCAP: the labelled utterances of its sessions, and the folds of the emotion recipe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CorpusError
from ..files import write_json
from .base import Corpus, Source, warn_count
from .lines import BOM, CONVERT, check_names

UTTERANCES = 5531  # official count of the four classes
EMOTIONS = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}  # class indices of s3prl's own meta data
MERGED = {"exc": "hap"}  # SUPERB counts excited as happy
OTHER_LABELS = {"fru", "sur", "fea", "dis", "oth", "xxx"}  # IEMOCAP's own; SUPERB leaves these utterances out
SESSIONS = tuple(f"Session{k}" for k in range(1, 6))
HELP = (
    "ask for IEMOCAP at https://sail.usc.edu/iemocap/, unpack it as DIR/Session1 ... DIR/Session5 (each with "
    "dialog/EmoEvaluation and sentences/wav), and pass DIR with --iemocap"
)


def read_labels(path: Path) -> dict[str, str]:
    """`{utterance: label}` of a dialog, labels among EMOTIONS only: utterances of other labels are left out.

    Of a file in EmoEvaluation, only the lines that begin with a time count; the others are single annotators', and may
    be in any encoding.

    Raises:
        CorpusError: A line has another form, an utterance is there twice, or its label is none of IEMOCAP's; or there
            is no such line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").split("\n"), start=1):
        line = line.strip(BOM).lstrip(" ")
        if not line.startswith("["):
            continue
        if "\N{REPLACEMENT CHARACTER}" in line:
            raise CorpusError(f"{path}:{number}: not UTF-8; {CONVERT}")
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 3:
            raise CorpusError(f"{path}:{number}: got {line!r}, expected '[TIME - TIME]\\tUTTERANCE\\tLABEL\\t...'")
        utterance, label = fields[1], MERGED.get(fields[2], fields[2])
        if label not in EMOTIONS and label not in OTHER_LABELS:
            raise CorpusError(f"{path}:{number}: {utterance} has the label {label!r}, which IEMOCAP does not use")
        if utterance in found:
            raise CorpusError(f"{path}:{number}: {utterance} has a label twice; unpack it again")
        found[utterance] = label
    if not found:
        raise CorpusError(
            f"{path} has no line '[TIME - TIME]\\tUTTERANCE\\tLABEL\\t...'; unpack it again, or move it away"
        )
    return {utterance: label for utterance, label in found.items() if label in EMOTIONS}


def read_session(iemocap: Path, session: str) -> list[dict[str, str]]:
    """Return the labelled utterances of one session: path below `iemocap`, label (one of EMOTIONS), speaker.

    Raises:
        CorpusError: A folder is missing, a labelled utterance has no audio, an utterance has two labels or a name that
            cannot be used (see `check_names`), or as `read_labels`.
    """
    labels = iemocap / session / "dialog" / "EmoEvaluation"
    audio = iemocap / session / "sentences" / "wav"
    for folder in (labels, audio):
        if not folder.is_dir():
            raise CorpusError(f"no folder {folder}; {HELP}")
    rows, named = [], []
    for path in sorted(labels.glob("[!.]*.txt")):  # archives made on a Mac bring ._*.txt along
        for utterance, label in read_labels(path).items():
            clip = audio / utterance.rpartition("_")[0] / f"{utterance}.wav"
            if not clip.is_file():
                raise CorpusError(f"{path} labels {utterance}, but {clip} does not exist; unpack {session} again")
            named.append((utterance, f"{utterance} of {path}"))
            speaker = utterance.split("_")[0]
            rows.append({"path": clip.relative_to(iemocap).as_posix(), "label": label, "speaker": speaker})
    if not rows:
        raise CorpusError(f"no utterance of {', '.join(EMOTIONS)} in {labels}; {HELP}")
    check_names(named)
    return rows


def fold_tables(sessions: Mapping[str, Sequence[Mapping[str, str]]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Make the tables that the emotion recipe reads, by their paths ``Session<k>/{train,test}_meta_data.json``: one
    session held out in each fold."""
    for held_out, test in sessions.items():
        train = [row for session, rows in sessions.items() if session != held_out for row in rows]
        for name, rows in (("train", train), ("test", test)):
            yield Path(held_out, f"{name}_meta_data.json"), {"labels": EMOTIONS, "meta_data": list(rows)}


def write_folds(sessions: Mapping[str, Sequence[Mapping[str, str]]], folder: Path) -> None:
    """Write `fold_tables` into a folder."""
    for path, table in fold_tables(sessions):
        write_json(folder / path, table)


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check labels and audio, and write the five folds."""
    sessions = {session: read_session(source.root, session) for session in SESSIONS}
    clips = [source.root / row["path"] for rows in sessions.values() for row in rows]
    warn_count("IEMOCAP", len(clips), UTTERANCES)
    source.count_samples(clips, "audio of IEMOCAP")
    write_folds(sessions, folder / CORPUS.paths("emotions")[0])


CORPUS = Corpus(
    name="iemocap",
    folder="folder with Session1 ... Session5",
    help=HELP,
    products={"emotions": "meta_data"},
    prepare=prepare,
)
