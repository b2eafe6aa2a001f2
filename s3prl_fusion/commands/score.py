"""The score of one expdir after its evaluation: recomputed from the written files and held against the recipe's own."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("expdir", type=Path, metavar="EXPDIR", help="has the evaluation's output in evaluate.log")


def main(args: argparse.Namespace) -> int:
    """Write score.json and print the score."""
    from ..superb.layout import RunFolder
    from ..superb.scores.score import score
    from ..superb.tasks import TASKS

    result = score(RunFolder(args.expdir))
    task = TASKS[result["task"]]
    print(f"{task.column} {result['score']:.2f} % of {result['utterances']:,}; dev {result['dev_score']:.2f} %")
    return 0
