"""Fluent Speech Commands: clips of commands, and tables of what each asks for: an action, an object and a place."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

from ..errors import CorpusError, MissingFileError
from .base import Corpus, Source, warn_count
from .lines import check_names, read_text

SLOTS = ("action", "object", "location")
TABLES = {"train": "train_data.csv", "valid": "valid_data.csv", "test": "test_data.csv"}
UTTERANCES = {"train": 23132, "valid": 3118, "test": 3793}  # official counts
HELP = (
    "ask Fluent.ai for Fluent Speech Commands, unpack it as DIR/data/{train,valid,test}_data.csv and "
    "DIR/wavs/speakers/..., and pass DIR with --fluent-commands"
)
Row = dict[str, str]


def read_table(root: Path, split: str) -> list[Row]:
    """Read a split's rows: ``path``, below the root, and `SLOTS`.

    Raises:
        MissingFileError: the table is not there.
        CorpusError: it lacks a column, a row, or a value; or a value has a comma, which parts them in predictions.
    """
    path = root / "data" / TABLES[split]
    if not path.is_file():
        raise MissingFileError(f"no {path}; {HELP}")
    table = csv.DictReader(io.StringIO(read_text(path)))
    lacking = [column for column in ("path", *SLOTS) if column not in (table.fieldnames or ())]
    if lacking:
        raise CorpusError(f"{path} lacks the columns {', '.join(lacking)}; {HELP}")
    rows = []
    for row in table:
        where, values = f"{path}:{table.line_num}", [row[column] for column in ("path", *SLOTS)]
        if not all(values) or any("," in value or "\n" in value for value in values):
            raise CorpusError(f"{where}: path, action, object and location must be texts without commas; got {values}")
        rows.append({"path": row["path"], **{slot: row[slot] for slot in SLOTS}})
    if not rows:
        raise CorpusError(f"{path} has no rows; {HELP}")
    return rows


def intents(root: Path) -> dict[str, list[str]]:
    """List each slot's values, as they first come in the training table: so the head numbers them
    (s3prl/downstream/fluent_commands/expert.py:58)."""
    rows = read_table(root, "train")
    return {slot: list(dict.fromkeys(row[slot] for row in rows)) for slot in SLOTS}


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check tables and clips; nothing has to be made of them."""
    tables = {split: read_table(source.root, split) for split in TABLES}
    known = intents(source.root)
    for split, rows in tables.items():
        warn_count(f"Fluent Speech Commands' {split}", len(rows), UTTERANCES[split])
        where = source.root / "data" / TABLES[split]
        for row in rows:
            new = [f"{slot} {row[slot]!r}" for slot in SLOTS if row[slot] not in known[slot]]
            if new:
                raise CorpusError(f"{where}: {row['path']} has the {new[0]}, which no training row has; {HELP}")
        missing = [row["path"] for row in rows if not (source.root / row["path"]).is_file()]
        if missing:
            raise CorpusError(f"{where}: {len(missing)} clips do not exist, first {source.root / missing[0]}; {HELP}")
        check_names((Path(row["path"]).stem, f"{row['path']} of {where}") for row in rows)
    clips = list(dict.fromkeys(row["path"] for rows in tables.values() for row in rows))
    source.count_samples([source.root / clip for clip in clips], "audio of Fluent Speech Commands")
    source.inventory.note("intents", tables)


CORPUS = Corpus(
    name="fluent-commands",
    folder="folder with data/train_data.csv and wavs/",
    help=HELP,
    products={},
    prepare=prepare,
)
