"""Speaker verification: the layout, the list of speakers and the trials of s3prl's recipe for VoxCeleb1."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ...errors import CorpusError
from ...files import write_whole
from ..base import Corpus, Source
from ..lines import read_lines
from ..speech import SPEECH, lay_out, place
from ..table import SPLITS, Table, Utterance, read
from ..voxceleb1 import DEV_TRIALS, draw_trials
from . import corpus_of

KIND = "verify"
COLUMN = "speaker"
LISTS = {"speakers": "train_speakers.txt", "dev_trials": "dev_trials.txt", "test_trials": "test_trials.txt"}
TRIALS = "lines of '1 ID ID' for the same speaker, and '0 ID ID' for two"


def corpus(table: Table) -> tuple[Corpus, list[str]]:
    """Return the corpus; there are no folds.

    Raises:
        CorpusError, MissingFileError: the rows cannot be used, see `table.read`; a split has too few speakers; or the
            trials are not of the test rows.
    """
    _trials(table, _read(table))
    return corpus_of(table, KIND, COLUMN, LISTS, prepare), []


def _read(table: Table) -> list[Utterance]:
    """Read the rows; each split has speakers of whom something can be told."""
    utterances = read(table, COLUMN)
    for split in SPLITS:
        by_speaker = _by_speaker(utterances, split)
        if len(by_speaker) < 2:
            raise CorpusError(f"{table.path}: {split} has a single speaker, {next(iter(by_speaker))!r}; two are needed")
        if split != "train" and max(map(len, by_speaker.values())) < 2:
            raise CorpusError(f"{table.path}: nobody has two rows of {split}; a trial of one speaker needs two")
    return utterances


def _by_speaker(utterances: Sequence[Utterance], split: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in utterances:
        if row.split == split:
            found.setdefault(row.value, []).append(row.name)
    return found


def _trials(table: Table, utterances: Sequence[Utterance]) -> dict[str, list[tuple[str, str, str]]]:
    """Return the trials, (0 or 1, name, name), of dev and test: drawn with a fixed seed, or those that are given.

    Raises:
        CorpusError: a line of the given ones has another form, is of no test row, or contradicts the speakers.
    """
    draw = random.Random(1337)
    found = {}
    for split in ("dev", "test"):
        by_speaker = _by_speaker(utterances, split)
        rows = sum(map(len, by_speaker.values()))
        lines = draw_trials(by_speaker, min(DEV_TRIALS, 5 * rows * rows), draw)
        found[split] = [(label, first, second) for label, first, second in map(str.split, lines)]
    if table.trials:
        found["test"] = _read_trials(table.trials, {row.name: row.value for row in utterances if row.split == "test"})
    return found


def _read_trials(path: Path, speakers: Mapping[str, str]) -> list[tuple[str, str, str]]:
    trials: dict[tuple[str, str, str], str] = {}
    for where, line in read_lines(path):
        match = re.fullmatch(r"([01])\s+(\S+)\s+(\S+)", line)
        if not match:
            raise CorpusError(f"{where}: got {line!r}, expected {TRIALS}")
        label, first, second = match.groups()
        strange = [name for name in (first, second) if name not in speakers]
        if strange:
            raise CorpusError(f"{where}: {strange[0]!r} is the id of no test row of the table")
        if (speakers[first] == speakers[second]) != (label == "1"):
            told = f"{first} is {speakers[first]} in the table, and {second} is {speakers[second]}"
            raise CorpusError(f"{where}: {told}")
        trials.setdefault((label, first, second), where)
    if {label for label, _, _ in trials} != {"0", "1"}:
        raise CorpusError(f"{path}: an equal error rate needs trials of both labels, 0 and 1; write {TRIALS}")
    return list(trials)


def prepare(table: Table, source: Source, products: Collection[str], folder: Path) -> None:
    """Check the audio, and write the training speakers and the trials. Who is in several splits is told."""
    utterances, name = _read(table), table.task(KIND)
    for line in _tell_shared(utterances):
        print(f"{table.path}: {line}", file=sys.stderr)
    clips = _clips(utterances)
    lists = {"speakers": sorted({clips[row.name].split("/")[0] for row in utterances if row.split == "train"})}
    for split, trials in _trials(table, utterances).items():
        lists[f"{split}_trials"] = [f"{label} {clips[first]} {clips[second]}" for label, first, second in trials]
    for product, lines in lists.items():
        write_whole(folder / name / LISTS[product], "".join(f"{line}\n" for line in lines))
    files = place(utterances, source.folder / SPEECH, table.convert)
    links = {f"{'test' if row.split == 'test' else 'dev'}/wav/{clips[row.name]}": files[row.name] for row in utterances}
    source.inventory.count_samples(list(links.values()), f"audio of {table.name}", list(links))
    lay_out(source.folder / name / SPEECH, links)


def _clips(utterances: Sequence[Utterance]) -> dict[str, str]:
    """Name each utterance's file in the layout of VoxCeleb1, SPEAKER/VIDEO/CLIP.wav. A speaker is one of a split, so
    that nobody's dev rows are trained on."""
    speakers = sorted({(row.split, row.value) for row in utterances})
    numbers = {speaker: number for number, speaker in enumerate(speakers, start=1)}
    return {row.name: f"s{numbers[row.split, row.value]:05d}/{row.split}/{row.name}.wav" for row in utterances}


def _tell_shared(utterances: Sequence[Utterance]) -> list[str]:
    """Say who is in train and in what is tested, which makes the scores better than for strangers."""
    by_split = {split: set(_by_speaker(utterances, split)) for split in SPLITS}
    lines = []
    for split in ("dev", "test"):
        shared = sorted(by_split["train"] & by_split[split])
        if shared:
            shown = ", ".join(shared[:5]) + (" ..." if len(shared) > 5 else "")
            lines.append(f"{len(shared)} speakers are in train and in {split}: {shown}; strangers would be told worse")
    return lines
