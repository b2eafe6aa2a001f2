"""Tables and a chart of scored experiments, or a comparison of two; made from their files alone, never edited."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `s3prl-fusion results`."""
    parser.add_argument("exps", nargs="*", type=Path, metavar="EXP", help="experiment folders, or folders in them")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to write (default: the first EXP)")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"), help="paired bootstrap between two EXP/<upstream>"
    )
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    parser.add_argument("--seed", type=int, default=1337, metavar="N", help="of the bootstrap (default: 1337)")


def main(args: argparse.Namespace) -> int:
    """Print the table."""
    print(comparison(args) if args.compare else tables(args))
    return 0


def tables(args: argparse.Namespace) -> str:
    """Writes the report; returns what to tell the user."""
    from ..superb.scores.report import report
    from ..superb.scores.results import find_results

    if not args.exps:
        raise UsageError("EXP is missing: give the -o of `s3prl-fusion superb`, or two experiments with --compare")
    found = {exp: find_results(exp) for exp in args.exps}
    for exp, results in found.items():
        if not results:
            raise UsageError(f"{exp} has no score.json in it or below; run `s3prl-fusion superb`, or `score`, first")
    return report([path for results in found.values() for path in results], args.output or args.exps[0], "Scores")


def comparison(args: argparse.Namespace) -> str:
    """The comparison of two experiments, in Markdown; also written where -o says."""
    from ..files import write_whole
    from ..superb.scores.compare import compare, compare_table

    if args.exps:
        raise UsageError(f"--compare takes two experiments and no others; got {args.exps[0]} beside them")
    table = compare_table(compare(*args.compare, resamples=args.resamples, seed=args.seed))
    if args.output:
        write_whole(args.output / "comparison.md", table)
    return table
