"""Tables as users have them, CSV, TSV or JSON lines, a Kaldi-style folder, or what `datasets` has saved: rows of texts,
each with its place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CorpusError, MissingFileError, unknown
from . import arrow, kaldi
from .lines import read_text

SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Record:
    """One row of a table.

    Attributes:
        where: FILE:LINE.
        cells: by the columns' names, without white space around them; a column that the row leaves empty is "".
    """

    where: str
    cells: Mapping[str, str]


def read_records(path: Path, columns: Mapping[str, str] | None = None) -> list[Record]:
    """Read a table.

    Args:
        path: a file, by its suffix one of `SUFFIXES`, a Kaldi-style folder, see `kaldi.read`, or what `arrow` reads.
        columns: by our names of columns, the table's; others are called there as here.

    Raises:
        MissingFileError: it is not there.
        CorpusError: it is of another kind, malformed, not UTF-8, has no rows, or lacks a column that ``columns`` names.
        UsageError: a package that reads it is not there.
    """
    if not path.exists():
        raise MissingFileError(f"--table: {path} does not exist")
    if arrow.is_dataset(path):
        rows = arrow.read(path)
    elif path.is_dir():
        rows = kaldi.read(path)
    elif path.suffix.lower() == ".jsonl":
        rows = _json_lines(path)
    elif path.suffix.lower() in SUFFIXES:
        rows = _separated(path, tabs=path.suffix.lower() == ".tsv")
    else:
        raise CorpusError(
            f"--table: {path} must be a {', '.join(SUFFIXES)} or .parquet file, a Kaldi-style folder, or one "
            "that Dataset.save_to_disk has made"
        )
    records = [
        Record(where, {name: _text(where, name, value) for name, value in cells.items()}) for where, cells in rows
    ]
    if not records:
        raise CorpusError(f"{path} has no rows")
    return [_renamed(record, columns) for record in records] if _check_renamed(path, records, columns) else records


def _check_renamed(path: Path, records: list[Record], columns: Mapping[str, str] | None) -> bool:
    """Refuse columns that are not there; tell whether there is anything to rename."""
    known = columns_of(records)
    for name in (columns or {}).values():
        if name not in known:
            raise CorpusError(f"--columns: {path}: {unknown('column', name, known)}")
    return bool(columns)


def _renamed(record: Record, columns: Mapping[str, str] | None) -> Record:
    cells = {name: record.cells.get(theirs, "") for name, theirs in (columns or {}).items()}
    return replace(record, cells={**record.cells, **cells})


def columns_of(records: list[Record]) -> list[str]:
    """List the columns that some rows have, in their order."""
    return list(dict.fromkeys(name for record in records for name in record.cells))


def _separated(path: Path, tabs: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a table whose first line has the columns' names: CSV, whose cells may be quoted, or TSV, without quotes."""
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    reader = csv.reader(io.StringIO(read_text(path), newline=""), **dialect)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_header(path, names, tabs)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}:{reader.line_num}"
            if len(cells) != len(names):
                raise CorpusError(
                    f"{where}: {len(cells)} cells, and the first line has {len(names)} columns; "
                    + ("a cell may have no tab in it" if tabs else 'put a cell with a comma in it in quotes: "a, b"')
                )
            yield where, dict(zip(names, cells))
    except csv.Error as error:
        raise CorpusError(f"{path}:{reader.line_num}: {error}; correct the quotes") from error


def _check_header(path: Path, names: list[str], tabs: bool) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise CorpusError(f"{path}:1: the column {twice[0]!r} is there twice; rename one")
    if len(names) == 1 and (other := next((mark for mark in ";\t," if mark in names[0]), None)):
        right = "a tab (or name the file .csv)" if tabs else "a comma (or, with tabs, name the file .tsv)"
        raise CorpusError(f"{path}:1: the columns are separated by {other!r}; separate them by {right}")


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read JSON objects, one a line."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{path}:{number}: not JSON ({error}); write one object a line") from error
        if not isinstance(cells, dict):
            raise CorpusError(f'{path}:{number}: got {line[:40]!r}, expected an object: {{"path": "a.wav", ...}}')
        yield f"{path}:{number}", cells


def _text(where: str, name: str, value: Any) -> str:
    """Read a cell; a list, as JSON may have it of phonemes, is a text with spaces."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    raise CorpusError(f"{where}: {name} must be a text or a number; got {json.dumps(value)[:60]}")
