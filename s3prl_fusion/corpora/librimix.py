"""Libri2Mix for diarization: Kaldi folders of recordings in which two people talk, partly at once."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ..diarization import SAMPLE_RATE, Turn, write_turns
from ..errors import CorpusError, MissingFileError
from ..files import write_whole
from .base import Corpus, Source, warn_count
from .lines import check_names, read_lines

SPLITS = {"train": 13900, "dev": 3000, "test": 3000}  # official counts of recordings
TABLES = ("wav.scp", "segments", "utt2spk", "spk2utt", "reco2dur")  # what the recipe reads
RTTM = "rttm"  # of the test set: what is scored against
SPEAKERS = 2
HELP = (
    "make Libri2Mix (16 kHz, max, mix_both) and its Kaldi folders, as https://github.com/ftshijt/LibriMix does, as "
    f"DIR/train, DIR/dev and DIR/test, each with {', '.join(TABLES)} and {RTTM}, and pass DIR with --librimix-sd"
)
TOLERANCE = 0.1  # seconds by which a table's times may leave the sound: they may be rounded


def read_rows(path: Path, fields: int) -> Iterator[tuple[str, str, list[str]]]:
    """Read lines of a name and other fields: where each stands, the name and these.

    Raises:
        MissingFileError: there is no such file.
        CorpusError: a line has another number of fields.
    """
    if not path.is_file():
        raise MissingFileError(f"no {path}; {HELP}")
    for where, line in read_lines(path):
        name, *rest = line.split(maxsplit=fields)
        if len(rest) != fields:
            raise CorpusError(f"{where}: got {line!r}, expected a name and {fields} more fields; {HELP}")
        yield where, name, rest


def read_table(path: Path, fields: int) -> dict[str, tuple[str, list[str]]]:
    """Read lines of a name and other fields: where each stands, and these, by name.

    Raises:
        MissingFileError, CorpusError: as `read_rows`; or a name is there twice.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for where, name, rest in read_rows(path, fields):
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
        if fields[0] != "SPEAKER":  # the format has lines of other kinds, without times
            continue
        try:
            _, recording, _, start, length, _, _, speaker, *_ = fields
            begin, lasts = float(start), float(length)
        except ValueError:
            begin = lasts = math.nan
        if not (0 <= begin < math.inf and 0 <= lasts < math.inf):
            raise CorpusError(f"{where}: got {line!r}, expected 'SPEAKER RECORDING 1 START SECONDS <NA> <NA> WHO'")
        if lasts > 0:
            found.setdefault(recording, []).append(Turn(speaker, begin, begin + lasts))
    return found


def read_truth(folder: Path, recordings: Collection[str]) -> dict[str, list[Turn]]:
    """Read the turns of all recordings of a split.

    Raises:
        MissingFileError, CorpusError: as `read_rttm`; or a recording has none.
    """
    turns = read_rttm(folder / RTTM)
    silent = [name for name in recordings if name not in turns]
    if silent:
        raise CorpusError(f"{folder / RTTM} has no turn of {silent[0]}, as of {len(silent)}; {HELP}")
    return {name: turns[name] for name in recordings}


def _check_split(folder: Path) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Hold a split's tables against each other; return its recordings, and its tables' lines, whose paths are from the
    folder above the splits."""
    recordings, durations = read_recordings(folder), read_table(folder / "reco2dur", 1)
    check_names((name, f"{name} of {folder / 'wav.scp'}") for name in recordings)
    for name, file in recordings.items():
        if not file.is_file():
            raise CorpusError(f"{folder / 'wav.scp'}: {name} is {file}, which does not exist; correct the path")
        if name not in durations:
            raise CorpusError(f"{folder / 'reco2dur'} lacks {name}; {HELP}")
    speakers = _read_speakers(folder)
    talking: dict[str, set[str]] = {}
    for where, utterance, (recording, start, end) in read_rows(folder / "segments", 3):
        if recording not in recordings or utterance not in speakers:
            lacking = "wav.scp" if recording not in recordings else "utt2spk"
            raise CorpusError(f"{where}: {utterance} of {recording} is not in {folder / lacking}; {HELP}")
        try:
            is_span = 0 <= float(start) < float(end)
        except ValueError:
            is_span = False
        if not is_span:
            raise CorpusError(f"{where}: got {start} to {end}, expected seconds, the first before the second")
        talking.setdefault(recording, set()).add(speakers[utterance])
    crowded = [name for name in recordings if not 0 < len(talking.get(name, ())) <= SPEAKERS]
    if crowded:
        count = len(talking.get(crowded[0], ()))
        raise CorpusError(
            f"{folder / 'segments'}: {crowded[0]} has {count} speakers; the recipe tells {SPEAKERS} apart"
        )
    if not (folder / "spk2utt").is_file():
        raise MissingFileError(f"no {folder / 'spk2utt'}; {HELP}")
    lines = {table: [line for _, line in read_lines(folder / table)] for table in TABLES[1:]}
    return recordings, {"wav.scp": _from(folder.parent, recordings), **lines}


def _read_speakers(folder: Path) -> dict[str, str]:
    """Read who speaks each utterance.

    Libri2Mix calls utterances by their recording and times, and so two people's of one span alike (once, in train):
    s3prl takes both for those of the last one named, and so must labels that are to be like the published ones.

    Raises:
        CorpusError: a name is there several times, and not as often in one table as in the other.
    """
    said = list(read_rows(folder / "utt2spk", 1))
    told = Counter(name for _, name, _ in said)
    spans = Counter(name for _, name, _ in read_rows(folder / "segments", 3))
    speakers = {name: speaker for _, name, (speaker,) in said}
    for name in [name for name, count in (told | spans).items() if count > 1]:
        if told[name] != spans[name]:
            raise CorpusError(
                f"{folder}: {name} is in utt2spk {told[name]} times and in segments {spans[name]} times; "
                "give each utterance a name of its own"
            )
        print(
            f"warning: {folder / 'segments'}: {name} is there {spans[name]} times; "
            f"s3prl takes all for {speakers[name]}'s",
            file=sys.stderr,
        )
    return speakers


def _check_times(folder: Path, seconds: Mapping[str, float]) -> None:
    """Hold a split's times against how long its recordings are."""
    for name, (where, (told,)) in read_table(folder / "reco2dur", 1).items():
        if name in seconds and not _is_near(told, seconds[name]):
            raise CorpusError(
                f"{where}: got {told}, but the sound of {name} lasts {seconds[name]:.2f} s; is one of 'min'? {HELP}"
            )
    for where, _, (recording, _, end) in read_rows(folder / "segments", 3):
        if float(end) > seconds[recording] + TOLERANCE:
            raise CorpusError(
                f"{where}: ends at {end}, but the sound of {recording} lasts {seconds[recording]:.2f} s; {HELP}"
            )


def _is_near(told: str, seconds: float) -> bool:
    try:
        return abs(float(told) - seconds) <= TOLERANCE
    except ValueError:
        return False


def _check_truth(path: Path, truth: Mapping[str, Sequence[Turn]], seconds: Mapping[str, float]) -> None:
    for name, turns in truth.items():
        last = max(turn.end for turn in turns)
        if last > seconds[name] + TOLERANCE:
            raise CorpusError(
                f"{path}: {name} has speech until {last:.2f} s, but its sound lasts {seconds[name]:.2f} s; {HELP}"
            )


def _from(root: Path, recordings: Mapping[str, Path]) -> list[str]:
    return [f"{name} {os.path.relpath(file, root)}" for name, file in recordings.items()]


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check tables and audio, and write the tables anew, and the test set's turns."""
    checked = {split: _check_split(source.root / split) for split in SPLITS}
    truth = read_truth(source.root / "test", checked["test"][0])
    for split, (recordings, tables) in checked.items():
        warn_count(f"Libri2Mix's {split}", len(recordings), SPLITS[split], "recordings")
        samples = source.count_samples(list(recordings.values()), f"audio of Libri2Mix's {split}")
        seconds = {name: count / SAMPLE_RATE for name, count in zip(recordings, samples)}
        _check_times(source.root / split, seconds)
        if split == "test":
            _check_truth(source.root / "test" / RTTM, truth, seconds)
        source.inventory.note(split, {table: lines for table, lines in tables.items() if table != "wav.scp"})
    for split, (_, tables) in checked.items():
        for table, lines in tables.items():
            write_whole(folder / CORPUS.paths(split)[0] / table, "".join(f"{line}\n" for line in lines))
    write_turns(folder / CORPUS.paths("test")[0] / TURNS, truth)


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
