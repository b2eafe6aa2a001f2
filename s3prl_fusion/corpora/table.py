"""A corpus of the user's own, told by a table: a row an utterance. What is wrong with a row is told by its line."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CorpusError, unknown
from ..files import reading_threads
from . import arrow
from .kaldi import SPLITS as SPLITS
from .lines import check_names
from .records import Record, columns_of, read_records

_SAME = {"validation": "dev", "valid": "dev", "val": "dev"}  # as other collections have it


@dataclass(frozen=True)
class Table:
    """What the user says of a corpus.

    Attributes:
        path: the table, absolute.
        name: of the corpus: of its tasks, and in tables of scores.
        convert: whether sound files that are not mono at 16 kHz are made so.
        lexicons: pronunciations, absolute paths.
        trials: of speakers, an absolute path.
        columns: pairs of our name of a column and the table's.
    """

    path: Path
    name: str
    convert: bool = False
    lexicons: tuple[Path, ...] = ()
    trials: Path | None = None
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> list[str]:
        """What the command line says of it."""
        words = ["--table", str(self.path), "--table-name", self.name, *(["--convert"] if self.convert else [])]
        words += ["--lexicon", ",".join(map(str, self.lexicons))] if self.lexicons else []
        words += ["--columns", ",".join(map("=".join, self.columns))] if self.columns else []
        return [*words, *(["--trials", str(self.trials)] if self.trials else [])]

    def task(self, kind: str) -> str:
        """Name the task of a kind on it, which is also its folder of products."""
        return f"{kind}@{self.name}"


@dataclass(frozen=True)
class Utterance:
    """One row.

    Attributes:
        name: of the utterance, as recipes write it.
        file: the sound file, absolute.
        split: one of `SPLITS`; "" where folds tell it.
        start, end: seconds within the file; None for its beginning, and its end.
        value: what is to be recognized: what stands in the task's column.
        fold: what stands in the column of that name.
        where: FILE:LINE of the table.
    """

    name: str
    file: Path
    split: str
    start: float | None
    end: float | None
    value: str
    fold: str
    where: str


def read(table: Table, column: str, needed: Collection[str] = SPLITS) -> list[Utterance]:
    """Read and check a table; no sound file is opened.

    Args:
        table: which.
        column: the task's: text, phonemes, label or speaker.
        needed: the splits without which it cannot be trained and scored; none where a column of folds does instead.

    Raises:
        CorpusError, MissingFileError: a column, a cell, a split or a file is missing; a split, a time or a name cannot
            be used; an utterance is there twice. The message has the lines.
    """
    records = read_records(table.path, dict(table.columns))
    by_folds = not needed
    _check_columns(table.path, columns_of(records), ["path", column, *(["fold"] if by_folds else ["split"])])
    _refuse("has no", column, [record for record in records if not record.cells.get(column)])
    _refuse("has no", "path", [record for record in records if not record.cells.get("path")])
    names = _names(records)
    utterances = [_utterance(table.path, record, name, column, by_folds) for record, name in zip(records, names)]
    _check_twice(utterances)
    check_names((utterance.name, utterance.where) for utterance in utterances)
    for split in SPLITS:
        if split in needed and not any(utterance.split == split for utterance in utterances):
            raise CorpusError(f"{table.path}: no row has the split {split!r}; name the rows that are for {split}")
    _check_files(utterances)
    return utterances


def has_column(table: Table, column: str) -> bool:
    """Tell whether a table has a column."""
    return column in columns_of(read_records(table.path, dict(table.columns)))


def report_new(what: str, found: dict[str, dict[str, list[str]]]) -> list[str]:
    """Say which values only dev and test have: nothing that is trained ever says them.

    Args:
        what: the values' kind, for example ``"letters"``.
        found: {split: {value: lines where it stands}}; one with no split is of train.

    Returns:
        A line each split, none where there is nothing to say.
    """
    lines = []
    for split in ("dev", "test"):
        new = {value: places for value, places in found.get(split, {}).items() if value not in found.get("train", {})}
        if new:
            shown = ", ".join(f"{value!r} ({places[0]})" for value, places in list(new.items())[:10])
            count = len({place for places in new.values() for place in places})
            lines.append(
                f"{len(new)} {what} of {split} are not in train, and will never be said: {shown}"
                f"{' ...' if len(new) > 10 else ''}; they count as mistakes in {count} utterances"
            )
    return lines


def places_by_split(
    utterances: Iterable[Utterance], values: Iterable[Iterable[str]]
) -> dict[str, dict[str, list[str]]]:
    """Collect where each of some values of each utterance stands, see `report_new`."""
    found: dict[str, dict[str, list[str]]] = {}
    for utterance, given in zip(utterances, values):
        places = found.setdefault(utterance.split, {})
        for value in dict.fromkeys(given):
            places.setdefault(value, []).append(utterance.where)
    return found


def _check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        told = unknown("column", missing[0], columns)
        raise CorpusError(
            f"{path} has no column {missing[0]!r}; rename the one that is meant, or say --columns {missing[0]}=NAME: "
            f"{told}"
        )


def _refuse(what: str, column: str, records: Sequence[Record]) -> None:
    if records:
        places = ", ".join(record.where for record in records[:3])
        raise CorpusError(
            f"{len(records)} rows: {what} {column}: {places}{' ...' if len(records) > 3 else ''}; fill it in, or "
            "remove the rows"
        )


def _names(records: Sequence[Record]) -> list[str]:
    """Name utterances: by their id, else by the file, with as much of its path as tells them apart, and the times."""
    paths = [record.cells["path"] for record in records]
    by_stem = len({_plain(Path(path).stem) for path in paths}) == len(set(paths))
    names = []
    for record, path in zip(records, paths):
        name = _plain(Path(path).stem if by_stem else os.path.splitext(path)[0])
        times = "".join(f"-{record.cells[key]}" for key in ("start", "end") if record.cells.get(key))
        names.append(record.cells.get("id") or name + times)
    return names


def _plain(text: str) -> str:
    """Put what a file's name, or a line, is separated by out of the way."""
    return re.sub(r"[\s/\\]+", "_", unicodedata.normalize("NFC", text)).lstrip("._-") or "utterance"


def _utterance(path: Path, record: Record, name: str, column: str, by_folds: bool) -> Utterance:
    cells, where = record.cells, record.where
    split = "" if by_folds else _SAME.get(cells["split"], cells["split"])
    if not by_folds and split not in SPLITS:
        raise CorpusError(f"{where}: {unknown('split', cells['split'], SPLITS)}")
    if not re.fullmatch(r"[^\s/\\.-][^\s/\\]*", name):
        raise CorpusError(f"{where}: the id {name!r} must have no white space and no slash, and not begin with . or -")
    if by_folds and not cells.get("fold"):
        raise CorpusError(f"{where}: has no fold; fill it in, or remove the row")
    file = Path(cells["path"])
    beside = Path(os.path.abspath(path.parent / file))
    file = beside if beside.exists() or not file.exists() else Path(os.path.abspath(file))
    start, end = _seconds(where, "start", cells), _seconds(where, "end", cells)
    if end is not None and end <= (start or 0.0):
        raise CorpusError(f"{where}: end must be after start, in seconds; got {cells.get('start') or 0} and {end}")
    value = " ".join(unicodedata.normalize("NFC", cells[column]).split())
    return Utterance(name, file, split, start, end, value, cells.get("fold", ""), where)


def _seconds(where: str, key: str, cells: Mapping[str, str]) -> float | None:
    text = cells.get(key)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise CorpusError(f"{where}: {key} must be seconds within the file, 0 or more; got {text!r}")
    return seconds


def _check_twice(utterances: Sequence[Utterance]) -> None:
    """Refuse one piece of sound in two rows: where they are of two splits, what is tested was trained on."""
    first: dict[tuple[Path, float | None, float | None], Utterance] = {}
    for utterance in utterances:
        known = first.setdefault((utterance.file, utterance.start, utterance.end), utterance)
        if known is not utterance:
            raise CorpusError(f"{known.where} and {utterance.where} are the same sound, {utterance.file}; remove one")


def _check_files(utterances: Sequence[Utterance]) -> None:
    files = list(dict.fromkeys(utterance.file for utterance in utterances))
    with reading_threads() as pool:
        missing = {file for file, is_there in zip(files, pool.map(_is_there, files)) if not is_there}
    if missing:
        lines = [f"{utterance.where}: {utterance.file}" for utterance in utterances if utterance.file in missing]
        raise CorpusError(
            "\n".join([f"{len(missing)} of {len(files)} sound files do not exist:", *lines[:3]])
            + "\npaths count from the table's folder, or from the current one"
        )


def _is_there(file: Path) -> bool:
    return os.path.isfile(file) or arrow.is_within(file)
