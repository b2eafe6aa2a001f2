"""What can be done with a user's own corpus: a file each, that makes of a table what one of s3prl's recipes reads.

Each has ``corpus(table)``, which checks the rows, and opens no sound file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..base import Corpus, Source
from ..speech import SPEECH
from ..table import Table

Prepare = Callable[[Table, Source, Collection[str], Path], None]


def corpus_of(
    table: Table,
    kind: str,
    column: str,
    products: Mapping[str, str | Sequence[str]],
    prepare: Prepare,
    replaceable: Mapping[str, str] | None = None,
) -> Corpus:
    """Return what a kind makes of a table, all below a folder of its task's name; products' paths are within it."""
    name = table.task(kind)
    return Corpus(
        name=name,
        folder=f"table of path, split and {column}",
        help="see --table",
        products={
            product: f"{name}/{path}" if isinstance(path, str) else [f"{name}/{each}" for each in path]
            for product, path in products.items()
        },
        prepare=partial(prepare, table),
        root=f"{name}/{SPEECH}",
        given=table.path,
        words=table.words,
        replaceable=replaceable or {},
    )
