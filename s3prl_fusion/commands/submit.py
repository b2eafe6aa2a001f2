"""Pack an experiment's predictions for the SUPERB leaderboard, once they are known to be complete, and fill in the
form."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..disk import check_folder
from ..superb.tasks import add_own_tasks, load_named

load_own = load_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `s3prl-fusion submit`."""
    add = parser.add_argument
    add("exp", type=Path, metavar="EXP", help="experiment folder: the -o of `s3prl-fusion superb`")
    add("-u", "--upstream", metavar="NAME", help="which, when the folder has several")
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("predict.zip"),
        metavar="FILE",
        help="predict.zip; submission.md beside",
    )
    add("--seed", type=int, metavar="N", help="which, when a task was run with several (default: the lowest)")
    add("--no-macs", action="store_true", help="leave the MACs open: the upstream is not loaded and run")
    add("--device", default="cpu", help="where to run it (default: cpu)")
    add_own_tasks(parser)


def main(args: argparse.Namespace) -> int:
    """Check, count and pack; no file is written when something is missing."""
    from ..superb.submit import entry, form, submission

    check_folder("-o", args.output.parent)
    upstream = submission.find_upstream(args.exp, args.upstream)
    runs = submission.choose_runs(upstream, args.seed)
    files = submission.collect(runs)
    submitted = entry.read(upstream.name, runs)
    text = form.fill_in(submitted, None if args.no_macs else entry.measure(submitted, args.device))
    written = submission.write(files, text, args.output)
    print("\n".join([f"{args.output} has the predictions of {upstream.name}:", *(f"  {name}" for name in files)]))
    print(f"{written} has what the form asks for; left to fill in: {text.count(form.OPEN)}")
    return 0
