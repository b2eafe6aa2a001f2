"""The tasks on a user's own corpus, one row a kind. A task is called by both: `asr@czech`.

What lies on disk tells by this name how it is read, once the table is out of sight.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..corpora.base import ROOT, Corpus
from ..corpora.kinds import asr, classify, pr, verify
from ..corpora.table import Table
from ..metrics import ACCURACY, CER, EER, MACRO_F1, PER, WER
from .task import Task

_UNKNOWN = Corpus("", "", "", {}, lambda source, products, folder: None, root="unknown")
_ROWS = (
    Task(
        name="asr",
        title="ASR",
        downstream="asr",
        corpus=_UNKNOWN,
        metric=WER,
        more=(CER,),
        paths={
            "downstream_expert.datarc.libri_root": ROOT,
            "downstream_expert.datarc.bucket_file": "buckets",
            "downstream_expert.datarc.dict_path": "dictionary",
        },
        eval_split="test-clean",
        best_ckpt="dev-clean-best.ckpt",
        hypothesis="test-clean-noLM-hyp.ark",
        reference="test-clean-noLM-ref.ark",
        logged="test-clean wer",
    ),
    Task(
        name="pr",
        title="PR",
        downstream="ctc",
        corpus=_UNKNOWN,
        metric=PER,
        paths={
            "downstream_expert.corpus.path": ROOT,
            "downstream_expert.corpus.lexicon": "lexicons",
            "downstream_expert.text.vocab_file": "vocabulary",
        },
        hypothesis="test-hyp.ark",
        reference="test-ref.ark",
        logged="test per",
    ),
    Task(
        name="classify",
        title="label",
        downstream="emotion",
        corpus=_UNKNOWN,
        metric=ACCURACY,
        more=(MACRO_F1,),
        confusion=True,
        paths={"downstream_expert.datarc.root": ROOT, "downstream_expert.datarc.meta_data": "labels"},
        hypothesis="test_{fold}_predict.txt",
        reference="test_{fold}_truth.txt",
        folds=(),
        fold_key="downstream_expert.datarc.test_fold",
    ),
    Task(
        name="verify",
        title="SV",
        downstream="sv_voxceleb1",
        corpus=_UNKNOWN,
        metric=EER,
        paths={
            "downstream_expert.datarc.file_path": ROOT,
            "downstream_expert.datarc.train_meta_data": "speakers",
            "downstream_expert.datarc.dev_meta_data": "dev_trials",
            "downstream_expert.datarc.test_meta_data": "test_trials",
        },
        logged="sv-voxceleb1/test-EER",
    ),
)
KINDS: dict[str, Task] = {task.name: task for task in _ROWS}
_CORPORA: dict[str, Callable[[Table], tuple[Corpus, list[str]]]] = {
    "asr": asr.corpus,
    "pr": pr.corpus,
    "classify": classify.corpus,
    "verify": verify.corpus,
}
_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)


def make(kind: str, table: Table) -> Task:
    """Return the task of a kind on a table, whose rows are checked for it.

    Raises:
        UserError: the rows do not do; the message has their lines.
    """
    corpus, folds = _CORPORA[kind](table)
    return replace(_called(kind, table.name), corpus=corpus, folds=folds or (None,))


def by_name(name: str) -> Task:
    """Return a task to read results of, see `is_name`; its table and folds are not known."""
    kind, _, table = name.partition("@")
    return replace(_called(kind, table), corpus=replace(_UNKNOWN, name=name))


def _called(kind: str, table: str) -> Task:
    row = KINDS[kind]
    return replace(row, name=f"{kind}@{table}", title=f"{table} {row.title}", config=f"table/{kind}.yaml")


def is_name(name: str) -> bool:
    """Tell whether a name is one of these tasks'."""
    kind, _, table = name.partition("@")
    return kind in KINDS and is_table_name(table)


def is_table_name(name: str) -> bool:
    """Tell whether a corpus can be called so: it is a part of folders' names, which end in a rate and a seed."""
    return bool(_NAME.fullmatch(name)) and not re.search(r"_(lr[^_]+|seed\d+)$", name)


def table_name(path: Path) -> str:
    """Call a corpus as its file, or folder, is called."""
    return path.name if path.is_dir() else path.stem
