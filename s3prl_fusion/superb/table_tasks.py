"""The tasks on a user's own corpus, one row a kind. A task is called by both: `asr@czech`.

What lies on disk tells by this name how it is read, once the table is out of sight.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..corpora.base import ROOT, Corpus
from ..corpora.kinds import asr, classify, pr, verify
from ..corpora.table import Table
from ..metrics import CER, MACRO_F1
from . import superb_tasks
from .task import ENDS_AS_A_RUN, Task

_UNKNOWN = Corpus("", "", "", {}, lambda source, products, folder: None, root="unknown")


def _like(like: str, **changes: Any) -> Task:
    """Return SUPERB's task with the same recipe, of which nothing is published on other speech."""
    row = next(task for task in superb_tasks.ROWS if task.name == like)
    return replace(row, corpus=_UNKNOWN, submitted="", official=None, options=(), demo_folds=(), **changes)


_ROWS = (
    _like(
        "asr",
        more=(CER,),
        paths={
            "downstream_expert.datarc.libri_root": ROOT,
            "downstream_expert.datarc.bucket_file": "buckets",
            "downstream_expert.datarc.dict_path": "dictionary",
        },
    ),
    _like(
        "pr",
        paths={
            "downstream_expert.corpus.path": ROOT,
            "downstream_expert.corpus.lexicon": "lexicons",
            "downstream_expert.text.vocab_file": "vocabulary",
        },
    ),
    _like(
        "er",
        name="classify",
        title="label",
        more=(MACRO_F1,),
        confusion=True,
        paths={"downstream_expert.datarc.root": ROOT, "downstream_expert.datarc.meta_data": "labels"},
        folds=(),
    ),
    _like(
        "sv",
        name="verify",
        paths={
            "downstream_expert.datarc.file_path": ROOT,
            "downstream_expert.datarc.train_meta_data": "speakers",
            "downstream_expert.datarc.dev_meta_data": "dev_trials",
            "downstream_expert.datarc.test_meta_data": "test_trials",
        },
    ),
)
KINDS: dict[str, Task] = {task.name: task for task in _ROWS}
_CORPORA: dict[str, Callable[[Table], tuple[Corpus, list[str]]]] = {
    kind.KIND: kind.corpus for kind in (asr, pr, classify, verify)
}
_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)


def make(kind: str, table: Table) -> Task:
    """Return the task of a kind on a table, whose rows are checked for it.

    Raises:
        UserError: the rows do not do; the message has their lines.
    """
    corpus, folds = _CORPORA[kind](table)
    return replace(_called(table.task(kind)), corpus=corpus, folds=folds or (None,))


def by_name(name: str) -> Task:
    """Return a task to read results of, see `is_name`; its table and folds are not known."""
    return replace(_called(name), corpus=replace(_UNKNOWN, name=name))


def _called(name: str) -> Task:
    kind, _, table = name.partition("@")
    row = KINDS[kind]
    return replace(row, name=name, title=f"{table} {row.title}", config=f"table/{kind}.yaml")


def is_name(name: str) -> bool:
    """Tell whether a name is one of these tasks'."""
    kind, _, table = name.partition("@")
    return kind in KINDS and is_table_name(table)


def is_table_name(name: str) -> bool:
    """Tell whether a corpus can be called so: it is a part of folders' names, which end in a rate and a seed."""
    return bool(_NAME.fullmatch(name)) and not ENDS_AS_A_RUN.search(name)


def table_name(path: Path) -> str:
    """Call a corpus as its file, or folder, is called."""
    return path.name if path.is_dir() else path.stem
