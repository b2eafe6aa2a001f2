"""Packs the predictions of an experiment for the SUPERB leaderboard, once they are known to be complete."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "pack predict.zip for the SUPERB leaderboard"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `s3prl-fusion submit`."""
    parser.add_argument("exp", type=Path, metavar="EXP", help="experiment folder: the -o of `s3prl-fusion superb`")
    parser.add_argument("-u", "--upstream", metavar="NAME", help="which, when the folder has several")
    parser.add_argument("-o", "--output", type=Path, default=Path("predict.zip"), metavar="FILE", help="predict.zip")


def main(args: argparse.Namespace) -> int:
    """Checks and packs; returns 0, or 2 when something is missing: then no file has been written."""
    from ..superb import submission

    try:
        upstream = submission.find_upstream(args.exp, args.upstream)
        names = submission.pack(submission.collect(upstream), args.output)
    except (ValueError, OSError) as error:
        print(f"s3prl-fusion submit: error: {error}", file=sys.stderr)
        return 2
    print("\n".join([f"{args.output} has the predictions of {upstream.name}:", *(f"  {name}" for name in names)]))
    return 0
