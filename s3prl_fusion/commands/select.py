"""Tell which upstreams to fuse for a task, by short trainings on a sample of train and dev; the test sets stay shut."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..superb.runs.options import add_corpora
from ..superb.runs.table_options import add_table
from ..superb.tasks import TASKS, load_named
from .superb import add_ways_to_run, terminate_as_interrupt

if TYPE_CHECKING:
    from ..superb.runs.experiment import Experiment
    from ..superb.runs.stages import StageError

load_own = load_named
DEMO_EXP = Path("exp") / "select-demo"
DEMO_MEMBERS = "demo_hubert,demo_whisper,demo_xvector"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `s3prl-fusion select`; arguments after `--` land in `args.run_args`."""
    parser.epilog = "Arguments after -- go to every training run of s3prl's run_downstream."
    add = parser.add_argument
    add("--demo", action="store_true", help="on the recordings and models that ship with the package")
    known = "wavlm, an entry of s3prl's hub, or a YAML with one member"
    add("-u", "--upstreams", metavar="NAME[,NAME...]", help=f"members: {known} (with --demo: {DEMO_MEMBERS})")
    add("-t", "--tasks", metavar="TASK[,TASK...]", help=f"{', '.join(TASKS)} (default: asr,pr,sid,er); see --table")
    add("-o", "--exp", type=Path, metavar="DIR", help=f"where everything goes (with --demo: {DEMO_EXP})")
    add("--interfaces", metavar="NAME[,NAME...]", help="interfaces to try (default: that of short names)")
    add("--max-members", type=int, default=3, metavar="N", help="of a set (default: 3)")
    add("--budget-macs", type=float, metavar="X", help="multiply-accumulates that a set may cost a second of speech")
    add("--hours", type=float, default=1.0, metavar="H", help="of speech at most, for each task (default: 1)")
    add("--seeds", default="1337,1,2", metavar="N,N,N[,N...]", help="trainings of each set (default: 1337,1,2)")
    add("--steps", type=int, metavar="N", help="of each training (default: 1 %% of the recipe's, at least 100)")
    add("--lr", metavar="RATE", help="learning rate (default: the recipe's, within 1e-3 and 2e-3)")
    add("--exhaustive", action="store_true", help="try every set, also those that cannot win")
    add("--cache", type=Path, metavar="DIR", help="of hidden states (default: $S3PRL_FUSION_CACHE, or below -o)")
    add_ways_to_run(parser)
    add("--dry-run", action="store_true", help="print the first commands and do nothing")
    add_corpora(parser)
    add_table(parser)
    add("run_args", nargs="*", metavar="-- run args", help="more arguments for every training run")


def main(args: argparse.Namespace) -> int:
    """Search; the exit status is 0 when every run has a score, 1 when a run failed."""
    with terminate_as_interrupt():
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Check, sample, search, report. Raises UserError for what the user can mend."""
    from ..select import known, options, recipes, sample, search, sets
    from ..select.costs import check_budget
    from ..select.plan import lines
    from ..select.report import not_trained, report
    from ..superb.runs import launch
    from ..superb.runs.forks import ForkServer
    from ..superb.runs.options import prepare_corpora, sources_of
    from ..superb.runs.pipeline import summary

    if args.demo:
        args.upstreams, args.exp = args.upstreams or DEMO_MEMBERS, args.exp or DEMO_EXP
    plan = options.make_plan(args)
    if args.dry_run:
        print("\n".join(lines(plan, sources_of(args), args.demo)))
        return 0
    exp = plan.settings.exp
    with ForkServer() as server, launch.only_one(exp) as lock:
        singles = [sets.upstream_of(single, exp, plan.cache, plan.given) for single in plan.singles()]
        launch.check_own(args, singles, plan.settings, 1, server, lock)
        prepared = prepare_corpora(args, plan.tasks, exp, write=True)
        sample.make(prepared, plan.tasks, exp, plan.wanted)
        recipes.write(plan.tasks, plan.configs, exp, plan.steps, plan.rate)

        def start(experiments: Sequence[Experiment], stages: Sequence[str]) -> dict[str, StageError]:
            return launch.make_start(args, len(experiments), server)(experiments, stages, keep_open=lock)

        measured = known.measure(plan)
        check_budget(measured.costs, plan.budget)
        outcome = search.search(plan, start, measured)
        search.control(plan, start, measured, outcome)
        told = (measured.costs, measured.redundancies, exp, options.corpora_words(args), plan.budget)
        print(report(outcome.trials(), not_trained(outcome.tried), *told))
    if outcome.failures:
        print(summary(outcome.failures, outcome.runs), file=sys.stderr)
    return 1 if outcome.failures else 0
