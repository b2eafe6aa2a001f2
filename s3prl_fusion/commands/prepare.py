"""Check a corpus, and write the tables and lists that a SUPERB task needs beside it. The corpus is only read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..assets import demo_dir, downstream_configs_dir
from ..errors import CorpusError, UsageError
from ..superb.own_files import recipe_files
from ..superb.prepare import prepare, used_by
from ..superb.runs.options import add_options, choose_configs, read_source, with_options
from ..superb.runs.table_options import add_table, tables_of
from ..superb.table_tasks import KINDS
from ..superb.tasks import TASKS, Task, load_named, parse_tasks

DEMO = "demo"  # in place of a task: the recordings that ship with the package


def load_own(words: Sequence[str]) -> None:
    """Load a user's own task, whose corpus brings options of its own: the word that is neither option nor value."""
    pairs = zip(words, words[1:])
    free = [word for before, word in pairs if word[:1] != "-" and (before[:1] != "-" or "=" in before)]
    load_named(["-t", *free[:1]])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `s3prl-fusion prepare`."""
    known = f"{', '.join([*TASKS, DEMO])}, or one of your own: my_task.py:NAME"
    parser.add_argument("task", help=f"{known}; with --table: {', '.join(KINDS)}")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="the task's corpus")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where to write; made if missing"
    )
    parser.add_argument(
        "--configs", type=Path, metavar="DIR", help="your own recipe settings, which may name a dictionary of your own"
    )
    parser.add_argument("--list", metavar="FILE", help="--voxceleb1-list (sid) or --voxceleb1-trials (sv)")
    add_table(parser)
    for corpus in with_options():
        add_options(parser, corpus)


def main(args: argparse.Namespace) -> int:
    """Prepare one task; nothing is written when the corpus cannot be used."""
    print(prepare_demo(args) if args.task == DEMO else prepare_task(args))
    return 0


def prepare_task(args: argparse.Namespace) -> str:
    """Prepare one task from the user's corpus, and return what to tell the user."""
    task, *others = parse_tasks(args.task, tables_of(args))
    if others:
        raise UsageError(f"prepare takes one task at a time; got {args.task!r}")
    corpus = task.corpus
    if args.corpus is None and not corpus.given:
        raise UsageError(f"--corpus is missing: {_as_here(corpus.help, corpus.name)}")
    if args.list:
        _say_in_full(args, task)
    for other in () if corpus.given else with_options():
        for name in other.options:
            if getattr(args, name.replace("-", "_")) and (other.name != corpus.name or name not in task.options):
                raise UsageError(f"--{name} is for {used_by(other, name)}; leave it out for {task.name}")
    configs = choose_configs(args.configs, [task]) if args.configs else downstream_configs_dir()
    sources = {corpus.name: read_source(args, corpus, corpus.given or args.corpus)}
    try:
        found = prepare([task], sources, args.output, configs=configs)
    except CorpusError as error:  # which names the option of `superb`
        raise CorpusError(_as_here(str(error), corpus.name)) from error
    values = {key: found.value(corpus, name) for key, name in task.paths.items()}
    values.update({key: str(path) for key, path in recipe_files(task, configs / task.config).items()})
    lines = [f"  {key}: {value if isinstance(value, str) else ', '.join(value)}" for key, value in values.items()]
    return "\n".join([f"{task.title} is prepared. {task.config} wants:", *lines])


def _as_here(text: str, name: str) -> str:
    """Name the corpus's option as it is called here."""
    return re.sub(rf"--{re.escape(name)}(?![-\w])", "--corpus", text)


def _say_in_full(args: argparse.Namespace, task: Task) -> None:
    """Put the file of --list into the option of the task that it stands for."""
    short = {other.name: name for other in TASKS.values() for name in other.options if other.corpus.options[name].short}
    if task.name not in short:
        raise UsageError(f"--list is for {' and '.join(short)}; leave it out for {task.name}")
    setattr(args, short[task.name].replace("-", "_"), args.list)


def prepare_demo(args: argparse.Namespace) -> str:
    """Lay the demo's corpora out, and return what to tell the user."""
    from ..corpora import demo

    return f"The demo's corpora are in {demo.prepare(demo_dir() / 'corpus', args.output).folder}."
