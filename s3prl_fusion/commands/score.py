"""Scores one expdir after its evaluation: recomputed from the written files, and held against the recipe's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "recompute the score of one expdir from its files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `s3prl-fusion score`."""
    parser.add_argument("expdir", type=Path, metavar="EXPDIR", help="has the evaluation's output in evaluate.log")


def main(args: argparse.Namespace) -> int:
    """Writes score.json and prints the score; returns 0, or 2 when there is none, or the recipe logged another."""
    from ..superb.scores.score import score
    from ..superb.tasks import TASKS

    try:
        result = score(args.expdir)
    except (ValueError, OSError) as error:
        print(f"s3prl-fusion score: error: {error}", file=sys.stderr)
        return 2
    task = TASKS[result["task"]]
    print(f"{task.column} {result['score']:.2f} % of {result['utterances']:,}; dev {result['dev_score']:.2f} %")
    return 0
