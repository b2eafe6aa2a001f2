"""Checks a corpus, and writes the tables and lists that a SUPERB task needs beside it. The corpus is only read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "check a corpus and write what a task needs beside it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `s3prl-fusion prepare`."""
    from ..superb.tasks import TASKS

    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="LibriSpeech, VoxCeleb1 or IEMOCAP")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where to write; made if missing"
    )
    parser.add_argument("--lexicon", metavar="FILE[,FILE...]", help="pronunciations for pr (default: CMUdict)")
    parser.add_argument("--list", type=Path, metavar="FILE", help="iden_split.txt (sid), veri_test.txt (sv)")


def main(args: argparse.Namespace) -> int:
    """Prepares one task; returns 0, or 2 when the corpus cannot be used: then nothing has been written."""
    from ..superb import prepare
    from ..superb.tasks import TASKS

    task = TASKS[args.task]
    lists = {"sid": "voxceleb1_list", "sv": "voxceleb1_trials"}
    try:
        for option, value, users in (("--lexicon", args.lexicon, ("pr",)), ("--list", args.list, tuple(lists))):
            if value is not None and task.name not in users:
                raise ValueError(f"{option} is for {' and '.join(users)}; leave it out for {task.name}")
        given = {task.corpus: args.corpus, "lexicons": prepare.lexicon_files(args.lexicon)}
        if args.list:
            given[lists[task.name]] = args.list
        found = prepare.prepare([task], prepare.Sources(**given), args.output)
    except (ValueError, OSError) as error:
        print(f"s3prl-fusion prepare: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing has been written", file=sys.stderr)
        return 130
    print(f"{task.title} is prepared. {task.config} wants:")
    for key, field in task.paths.items():
        print(f"  {key}: {', '.join(map(str, found.files(field)))}")
    return 0
