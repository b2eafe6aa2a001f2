"""Checks a corpus, and writes the tables and lists that a SUPERB task needs beside it. The corpus is only read."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError

DEMO = "demo"  # in place of a task: the recordings that ship with the package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `s3prl-fusion prepare`."""
    from ..superb.tasks import TASKS

    parser.add_argument("task", choices=[*TASKS, DEMO])
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="LibriSpeech (.flac or .wav), VoxCeleb1 or IEMOCAP")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where to write; made if missing"
    )
    parser.add_argument("--lexicon", metavar="FILE[,FILE...]", help="pronunciations for pr (default: CMUdict)")
    parser.add_argument("--list", type=Path, metavar="FILE", help="iden_split.txt (sid), veri_test.txt (sv)")


def main(args: argparse.Namespace) -> int:
    """Prepare one task; nothing is written when the corpus cannot be used."""
    print(prepare_demo(args) if args.task == DEMO else prepare_task(args))
    return 0


def prepare_task(args: argparse.Namespace) -> str:
    """Prepares one task from the user's corpus; returns what to tell the user."""
    from ..superb.data import prepare
    from ..superb.tasks import TASKS

    task = TASKS[args.task]
    if args.corpus is None:
        raise UsageError(f"--corpus is missing: {prepare.HELP[task.corpus]}")
    given = {task.corpus: args.corpus}
    for option, value in (("--lexicon", prepare.lexicon_files(args.lexicon)), ("--list", args.list)):
        if value:
            users = [name for name, user in TASKS.items() if option in user.prepare_options]
            if task.name not in users:
                raise UsageError(f"{option} is for {' and '.join(users)}; leave it out for {task.name}")
            given[task.prepare_options[option]] = value
    found = prepare.prepare([task], prepare.Sources(**given), args.output)
    lines = [f"{task.title} is prepared. {task.config} wants:"]
    return "\n".join([*lines, *(f"  {key}: {', '.join(map(str, found.files(f)))}" for key, f in task.paths.items())])


def prepare_demo(args: argparse.Namespace) -> str:
    """Lays the demo's corpora out; returns what to tell the user."""
    from ..assets import demo_dir
    from ..superb.data import demo

    found = demo.prepare(demo_dir() / "corpus", args.output)
    return f"The demo's corpora are in {found.librispeech.parent}."
