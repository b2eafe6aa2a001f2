"""Tables and a chart of scored experiments, or a comparison of two; made from their files alone, never edited."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..disk import check_folder
from ..errors import UsageError
from ..files import write_whole
from ..superb.tasks import add_own_tasks, load_named

load_own = load_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `s3prl-fusion results`."""
    parser.add_argument("exps", nargs="*", type=Path, metavar="EXP", help="experiment folders, or folders in them")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="also write them there, with a chart, and as .csv and .json"
    )
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"), help="paired bootstrap between two EXP/<upstream>"
    )
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    parser.add_argument("--seed", type=int, default=1337, metavar="N", help="of the bootstrap (default: 1337)")
    add_own_tasks(parser)


def main(args: argparse.Namespace) -> int:
    """Print the table."""
    if args.output:
        check_folder("-o", args.output)
    print(comparison(args) if args.compare else tables(args))
    return 0


def tables(args: argparse.Namespace) -> str:
    """Tabulate what is in the folders, and write it where -o says; return what to tell the user."""
    from ..superb.layout import find_scored
    from ..superb.scores.report import report

    if not args.exps:
        raise UsageError("EXP is missing: give the -o of `s3prl-fusion superb`, or two experiments with --compare")
    found = {exp: find_scored(exp) for exp in args.exps}
    for exp, folders in found.items():
        if not folders:
            raise UsageError(f"{exp} has no score.json in it or below; run `s3prl-fusion superb`, or `score`, first")
    return report([folder for folders in found.values() for folder in folders], "Scores", args.output)


def comparison(args: argparse.Namespace) -> str:
    """Compare two experiments, in Markdown, and write that where -o says; return it."""
    from ..superb.scores.compare import compare, compare_table

    if args.exps:
        raise UsageError(f"--compare takes two experiments and no others; got {args.exps[0]} beside them")
    first, second = args.compare
    table = compare_table(compare(first, second, args.resamples, args.seed))
    if args.output:
        write_whole(args.output / "comparison.md", table)
    return table
