"""The tasks that are known by name: SUPERB's, those on tables, and a user's own, which are loaded here."""

from __future__ import annotations

import argparse
import copyreg
import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..assets import downstream_configs_dir
from ..corpora.base import ROOT
from ..corpora.table import Table
from ..errors import KindError, UsageError, unknown
from ..imports import is_own, load_object
from . import superb_tasks, table_tasks
from .task import ENDS_AS_A_RUN
from .task import Task as Task

TASKS: dict[str, Task] = {task.name: task for task in superb_tasks.ROWS}  # a user's own are added when they are named
_ALL = tuple(task.name for task in superb_tasks.ROWS if task.submitted)


def parse_tasks(names: str, tables: Sequence[Table] = ()) -> list[Task]:
    """Look up the tasks of a comma-separated list, in the order given, each once; a user's own, ``file.py:NAME``, are
    loaded, and ``all`` are those of the leaderboard.

    Args:
        names: the list.
        tables: a user's own corpora, which asr, pr, classify and verify are of, where there are any.

    Raises:
        UserError: the list is empty, a name is unknown, one's own task cannot be loaded, or a table does not do.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    wanted = list(dict.fromkeys(each for name in given for each in (_ALL if name == "all" else (name,))))
    kinds = list(table_tasks.KINDS)
    of_table = [name for name in wanted if name in kinds and name not in TASKS]
    if of_table and not tables:
        raise UsageError(f"-t {','.join(of_table)}: of which speech? Name your own with --table FILE")
    known = [*TASKS, *(kinds if tables else ())]
    strange = [name for name in wanted if not is_own(name) and name not in known]
    if strange or not wanted:
        got = ", ".join(repr(name) for name in strange) or "nothing"
        raise UsageError(
            f"-t/--tasks: got {got}; choose from {', '.join(dict.fromkeys(known))}, all, or name one of your "
            "own (my_task.py:NAME)"
        )
    if tables and not set(wanted) & set(kinds):
        raise UsageError(f"--table is for {', '.join(kinds)}; got -t {names}")
    found = [task for name in wanted for task in _look_up(name, tables)]
    return list({task.name: task for task in found}.values())


def _look_up(name: str, tables: Sequence[Table]) -> list[Task]:
    """Return the tasks of one name, several where there are several tables."""
    if tables and name in table_tasks.KINDS:
        made = {task.name: task for task in (table_tasks.make(name, table) for table in tables)}
        TASKS.update(made)
        return list(made.values())
    return [load(name) if is_own(name) else TASKS[name]]


def load(name: str) -> Task:
    """Load a user's own task and add it to `TASKS` for this process; its YAML is looked for beside its file.

    Args:
        name: ``path/to/file.py:NAME`` or ``module:NAME``.

    Raises:
        UserError: it cannot be imported, is no `Task`, or something of it is called as another's is.
    """
    task, module = load_object("task", name, Task)
    if not isinstance(task, Task):
        raise KindError(f"task {name!r} must be a s3prl_fusion.superb.tasks.Task; got {task!r}")
    beside = [Path(module.__file__ or "").resolve().parent / file for file in (f"{task.name}.yaml", task.config)]
    where, _, attribute = name.rpartition(":")
    source = f"{Path(where).resolve()}:{attribute}" if where.endswith(".py") else name
    config = next((str(file) for file in beside if file.is_file()), task.config)
    # The leaderboard, and what is published, are of SUPERB's tasks, also where a row is a copy of one of these.
    task = replace(task, source=source, config=config, submitted="", official=None)
    if not re.fullmatch(r"[A-Za-z]\w*", task.name) or ENDS_AS_A_RUN.search(task.name):
        raise UsageError(
            f"task {name!r} is called {task.name!r}; a name is of letters, digits and underscores, and does not "
            "end as a run's folder does (_lr1, _seed2)"
        )
    _check_names(name, task)
    for other in TASKS.values():
        if other.source != source:
            _check_apart(name, task, other)
    return TASKS.setdefault(task.name, task)


def _reduce(task: Task) -> str | tuple[Any, ...]:
    """Say how a task is pickled: a Slurm job cannot import a user's file, and has to know its task too."""
    return (load, (task.source,)) if task.source else task.__reduce_ex__(pickle.DEFAULT_PROTOCOL)


copyreg.pickle(Task, _reduce)


def _check_names(source: str, task: Task) -> None:
    """Refuse what a task asks of its corpus and the corpus does not have.

    Raises:
        UsageError: says what it has.
    """
    corpus = task.corpus
    shipped = [path.name for path in downstream_configs_dir().iterdir() if path.suffix in (".dict", ".txt")]
    for field, names, known in (
        ("path", task.paths.values(), [ROOT, *corpus.products, *shipped]),
        ("option", task.options, list(corpus.options)),
    ):
        for name in names:
            if name not in known:
                raise UsageError(f"task {source!r}, corpus {corpus.name!r}: {unknown(field, name, known)}")


def _check_apart(source: str, task: Task, other: Task) -> None:
    """Refuse a user's task where it, or its corpus, would be taken for another one.

    Raises:
        UsageError: says what they share.
    """
    for what, mine, others in (("called", task.name, other.name), ("entitled", task.title, other.title)):
        if mine == others:
            raise UsageError(f"task {source!r} is {what} {mine!r}, as another is; give it a name of its own")
    corpus, known = task.corpus, other.corpus
    if corpus == known:
        return
    if corpus.name == known.name:
        raise UsageError(f"the corpus of task {source!r} is called {corpus.name!r}, as another is; rename it")
    shared = sorted(corpus.folders & known.folders)
    if shared:
        raise UsageError(
            f"the corpus of task {source!r} makes {shared[0]!r}, as {known.name!r} does; give its products another path"
        )


def find(name: str, where: Path | str) -> Task:
    """Look up the task of a run.

    Args:
        name: of the task.
        where: the run's folder, for the message.

    Raises:
        UsageError: it is none that is known here.
    """
    if not is_known(name):
        raise UsageError(
            f"{where} is of the task {name!r}, which is none of {', '.join(TASKS)}; name the file of your own: "
            "-t my_task.py:NAME"
        )
    if name not in TASKS:
        TASKS[name] = table_tasks.by_name(name)
    return TASKS[name]


def is_known(name: str) -> bool:
    """Tell whether a name is a task's; those on tables tell by their names what they are."""
    return name in TASKS or table_tasks.is_name(name)


def add_own_tasks(parser: argparse.ArgumentParser) -> None:
    """Declare -t for commands that have to know tasks; `load_named` has loaded them by then."""
    parser.add_argument("-t", "--tasks", metavar="FILE.py:NAME[,...]", help="your own tasks, as `superb` was told them")


def load_named(words: Sequence[str]) -> None:
    """Load the user's own tasks that a command line names, whose corpora bring options of their own."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-t", "--tasks", action="append", nargs="?", default=[])
    found, _ = parser.parse_known_args(list(words))
    for name in [name.strip() for names in found.tasks for name in (names or "").split(",")]:
        if is_own(name):
            load(name)
