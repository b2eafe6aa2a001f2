"""Libri2Mix for diarization: Kaldi folders of recordings in which two people talk, partly at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ..diarization import Turn, write_turns
from ..errors import CorpusError, MissingFileError
from ..files import write_whole
from .base import Corpus, Source, warn_count
from .lines import check_names, read_lines

SPLITS = {"train": 13900, "dev": 3000, "test": 3000}  # official counts of recordings
TABLES = ("wav.scp", "segments", "utt2spk", "spk2utt", "reco2dur")  # what the recipe reads
RTTM = "rttm"  # of the test set: what is scored against
SPEAKERS = 2
HELP = (
    "make Libri2Mix (16 kHz, max) and its Kaldi folders as DIR/train, DIR/dev and DIR/test, each "
    f"with {', '.join(TABLES)} and {RTTM}, and pass DIR with --librimix-sd"
)


def read_table(path: Path, fields: int) -> dict[str, tuple[str, list[str]]]:
    """Read lines of a name and other fields: where each stands, and these, by name.

    Raises:
        MissingFileError: there is no such file.
        CorpusError: a line has another number of fields, or a name is there twice.
    """
    if not path.is_file():
        raise MissingFileError(f"no {path}; {HELP}")
    found: dict[str, tuple[str, list[str]]] = {}
    for where, line in read_lines(path):
        name, *rest = line.split(maxsplit=fields)
        if len(rest) != fields:
            raise CorpusError(f"{where}: got {line!r}, expected a name and {fields} more fields; {HELP}")
        if name in found:
            raise CorpusError(f"{where}: {name} is there twice, the first at {found[name][0]}; remove one")
        found[name] = (where, rest)
    return found


def read_recordings(folder: Path, root: Path | None = None) -> dict[str, Path]:
    """Read the sound files by recording; their paths are from a root, by default the folder above, or from here.

    Raises:
        MissingFileError, CorpusError: as `read_table`; or a line has a command, which s3prl would run.
    """
    found = {}
    for name, (where, (file,)) in read_table(folder / "wav.scp", 1).items():
        if file.endswith("|") or file == "-":
            raise CorpusError(f"{where}: a command is not run here; make sound files, and name them")
        places = [(root or folder.parent) / file, Path(file)]
        found[name] = next((place.absolute() for place in places if place.is_file()), places[0].absolute())
    return found


def read_rttm(path: Path) -> dict[str, list[Turn]]:
    """Read the turns of each recording.

    Raises:
        MissingFileError, CorpusError: there is no such file, or a line is none of the format's.
    """
    if not path.is_file():
        raise MissingFileError(f"no {path}; {HELP}")
    found: dict[str, list[Turn]] = {}
    for where, line in read_lines(path):
        fields = line.split()
        try:
            kind, recording, _, start, length, _, _, speaker, *_ = fields
            begin, lasts = float(start), float(length)
        except ValueError as error:
            raise CorpusError(f"{where}: got {line!r}, expected 'SPEAKER RECORDING 1 START SECONDS ...'") from error
        if kind == "SPEAKER" and lasts > 0:
            found.setdefault(recording, []).append(Turn(speaker, begin, begin + lasts))
    return found


def _check_split(folder: Path, split: str) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Hold a split's tables against each other; return its recordings, and its tables' lines, whose paths are from the
    folder above the splits."""
    recordings = read_recordings(folder)
    durations, segments = read_table(folder / "reco2dur", 1), read_table(folder / "segments", 3)
    speakers = read_table(folder / "utt2spk", 1)
    check_names((name, f"{name} of {folder / 'wav.scp'}") for name in recordings)
    for name, file in recordings.items():
        if not file.is_file():
            raise CorpusError(f"{folder / 'wav.scp'}: {name} is {file}, which does not exist; correct the path")
        if name not in durations:
            raise CorpusError(f"{folder / 'reco2dur'} lacks {name}; {HELP}")
    talking: dict[str, set[str]] = {}
    for utterance, (where, (recording, start, end)) in segments.items():
        if recording not in recordings or utterance not in speakers:
            lacking = "wav.scp" if recording not in recordings else "utt2spk"
            raise CorpusError(f"{where}: {utterance} of {recording} is not in {folder / lacking}; {HELP}")
        try:
            is_span = 0 <= float(start) < float(end)
        except ValueError:
            is_span = False
        if not is_span:
            raise CorpusError(f"{where}: got {start} to {end}, expected seconds, the first before the second")
        talking.setdefault(recording, set()).add(speakers[utterance][1][0])
    crowded = [name for name in recordings if not 0 < len(talking.get(name, ())) <= SPEAKERS]
    if crowded:
        count = len(talking.get(crowded[0], ()))
        raise CorpusError(
            f"{folder / 'segments'}: {crowded[0]} has {count} speakers; the recipe tells {SPEAKERS} apart"
        )
    lines = {table: [line for _, line in read_lines(folder / table)] for table in TABLES[1:]}
    return recordings, {"wav.scp": _from(folder.parent, recordings), **lines}


def _from(root: Path, recordings: Mapping[str, Path]) -> list[str]:
    return [f"{name} {os.path.relpath(file, root)}" for name, file in recordings.items()]


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check tables and audio, and write the tables anew, and the test set's turns."""
    checked = {split: _check_split(source.root / split, split) for split in SPLITS}
    turns = read_rttm(source.root / "test" / RTTM)
    silent = [name for name in checked["test"][0] if name not in turns]
    if silent:
        raise CorpusError(f"{source.root / 'test' / RTTM} has no turn of {silent[0]}, as of {len(silent)}; {HELP}")
    for split, (recordings, tables) in checked.items():
        warn_count(f"Libri2Mix's {split}", len(recordings), SPLITS[split], "recordings")
        source.count_samples(list(recordings.values()), f"audio of Libri2Mix's {split}")
        source.inventory.note(split, {table: lines for table, lines in tables.items() if table != "wav.scp"})
    for split, (_, tables) in checked.items():
        for table, lines in tables.items():
            write_whole(folder / CORPUS.paths(split)[0] / table, "".join(f"{line}\n" for line in lines))
    write_turns(folder / CORPUS.paths("test")[0] / TURNS, {name: turns[name] for name in checked["test"][0]})


TURNS = "turns.txt"  # beside the test set's tables
CORPUS = Corpus(
    name="librimix-sd",
    folder="folder with Kaldi's train, dev and test",
    help=HELP,
    products={split: f"librimix_sd/{split}" for split in SPLITS},
    prepare=prepare,
)


def recordings_of(folder: Path) -> Iterator[str]:
    """Yield the recordings of a split's tables.

    Raises:
        FileNotFoundError: there are none.
    """
    for _, line in read_lines(folder / "wav.scp"):
        yield line.split(maxsplit=1)[0]
