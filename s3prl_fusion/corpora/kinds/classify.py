"""Any label of an utterance, in the emotion recipe's tables of paths and labels: language, emotion, intent, accent."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import CorpusError
from ...files import write_json
from ..base import Corpus, Source
from ..speech import SPEECH, lay_out, place
from ..table import Table, Utterance, has_column, places_by_split, read, report_new
from . import corpus_of

KIND = "classify"
COLUMN = "label"
DEV = "dev"  # in a table of training rows: how many of them, the last ones, are for dev


def corpus(table: Table) -> tuple[Corpus, list[str]]:
    """Return the corpus, and its folds.

    Raises:
        CorpusError, MissingFileError: the rows cannot be used, see `table.read`, or have a single label.
    """
    folds = _folds(_read(table))
    return corpus_of(table, KIND, COLUMN, {"labels": "meta_data"}, prepare), list(folds)


def _read(table: Table) -> list[Utterance]:
    """Read the rows; a column of folds decides in the place of splits."""
    by_folds = has_column(table, "fold")
    utterances = read(table, COLUMN, () if by_folds else ("train", "test"))
    if len({utterance.value for utterance in utterances}) < 2:
        raise CorpusError(f"{table.path}: every row has the label {utterances[0].value!r}; two or more are needed")
    return utterances


def _folds(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Give every row its split in each fold; the recipe's names for folds are fold1, fold2 ..."""
    values = sorted({utterance.fold for utterance in utterances} if not utterances[0].split else ())
    if len(values) == 1:
        raise CorpusError(f"{utterances[0].where}: every row is of the fold {values[0]!r}; there must be two or more")
    if not values:
        return {"fold1": list(utterances)}
    return {
        f"fold{number}": [replace(u, split="test" if u.fold == value else "train") for u in utterances]
        for number, value in enumerate(values, start=1)
    }


def prepare(table: Table, source: Source, products: Collection[str], folder: Path) -> None:
    """Check the audio, and write the folds' tables."""
    utterances = _read(table)
    files = place(utterances, source.folder / SPEECH, table.convert)
    names = {utterance.name: f"{utterance.name}.wav" for utterance in utterances}
    source.inventory.count_samples(list(files.values()), f"audio of {table.name}", list(names.values()))
    for fold, rows in _folds(utterances).items():
        for line in report_new("labels", places_by_split(rows, [[row.value] for row in rows])):
            print(f"{table.path}, {fold}: {line}", file=sys.stderr)
        for part, content in _tables(rows):
            write_json(folder / table.task(KIND) / "meta_data" / fold.replace("fold", "Session") / part, content)
    lay_out(source.folder / table.task(KIND) / SPEECH, {names[name]: file for name, file in files.items()})


def _tables(rows: Sequence[Utterance]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make the tables of one fold, as the recipe calls them. The dev rows are the last ones of the training table;
    where there are none, the recipe draws some."""
    labels = {label: number for number, label in enumerate(sorted({row.value for row in rows}))}
    dev = [row for row in rows if row.split == "dev"]
    for part, of in (("train", [*(row for row in rows if row.split == "train"), *dev]), ("test", rows)):
        listed = [{"path": f"{r.name}.wav", "label": r.value} for r in of if part == "train" or r.split == "test"]
        content: dict[str, Any] = {"labels": labels, "meta_data": listed}
        yield f"{part}_meta_data.json", {**content, DEV: len(dev)} if part == "train" and dev else content
