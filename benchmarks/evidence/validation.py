"""Does `select` rank sets as full training does? The table of docs/select.md: `make validation`.

For each task `select` tries every set of the demo's members on a part of dev, by short trainings. Its scores go into
docs/evidence/select.csv, and are held against those of runs.csv.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import put

from s3prl_fusion.files import write_with
from s3prl_fusion.statistics import spearman
from s3prl_fusion.superb.layout import data_folder
from s3prl_fusion.superb.runs.experiment import PROGRAM
from s3prl_fusion.superb.tasks import TASKS
from s3prl_fusion.text import markdown

from . import rows
from .cells import Cell, Evidence
from .runs import MEMBERS, SEEDS

if TYPE_CHECKING:
    import pandas

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Steps of each: a tenth of the updates of full training with five seeds, and as many as `select` takes by default.
RUNS = (("pr", 53), ("sid", 40), ("sid", 100), ("pr", 100), ("er", 20))
FOLDS = {"er": 4}  # that `select` trains on in turn
INTERFACES = ("hconv",)
TIMED = ("demo_hubert", "demo_whisper,demo_xvector")  # what full training costs is measured with a single and a pair
COLUMNS = ["task", "steps", "members", "interface", "score", "seeds", "select_cpu_seconds", "full_run_cpu_seconds"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `select` for each task that the CSV lacks, and make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--exp", type=Path, default=Path("exp/validation"), metavar="DIR")
    parser.add_argument("--table", action="store_true", help="make the table from the CSVs as they are")
    args = parser.parse_args(argv)
    path = DOCS / "evidence" / "select.csv"
    for task, steps in RUNS if not args.table else ():
        table = read(path)
        if (task, steps) not in set(zip(table["task"], table["steps"])):
            write([*table.to_dict("records"), *run(task, steps, args.exp.resolve())], path)
    put("validation", validation(read(path), Evidence(rows.read(DOCS / "evidence" / "runs.csv"))), DOCS / "select.md")
    return 0


def read(path: Path) -> pandas.DataFrame:
    """Read what `select` said; no rows where there is no file."""
    import pandas

    return pandas.read_csv(path)[COLUMNS] if path.is_file() else pandas.DataFrame(columns=COLUMNS)


def write(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Write it, whole or not at all."""
    import pandas

    table = pandas.DataFrame(found, columns=COLUMNS).sort_values(COLUMNS[:4])
    write_with(path, lambda temporary: table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n"))


def run(task: str, steps: int, exp: Path) -> list[dict[str, Any]]:
    """Let `select` try every set on one task, and train two sets in full to know what that costs."""
    import pandas

    folder, full = (exp / f"{what}_{task}_{steps}" for what in ("select", "full"))
    cache = ["--cache", str(exp / "cache")]
    words = ["--demo", "-t", task, "-u", ",".join(MEMBERS), "--interfaces", ",".join(INTERFACES), "--exhaustive"]
    for exp_folder in (folder, full):  # which is no cost of either
        cpu_seconds(["prepare", "demo", "-o", str(data_folder(exp_folder))])
    spent = cpu_seconds(["select", *words, "--steps", str(steps), "-o", str(folder), *cache])
    names = [f"fused__{'__'.join(members.split(','))}__hconv" for members in TIMED]
    one_seed = ["--seeds", "1337", "-u", ",".join(names), "-o", str(full)]
    whole = cpu_seconds(["superb", "--demo", "-t", task, *one_seed])
    tried = pandas.read_csv(folder / "select.csv")
    tried = tried[tried["score"].notna() & tried["control_of"].isna()]
    return [
        {
            "task": task,
            "members": row.members.replace(" + ", "+"),
            "interface": row.interface,
            "score": row.score,
            "seeds": row.seeds,
            "steps": steps,
            "select_cpu_seconds": spent,
            "full_run_cpu_seconds": whole / len(names),
        }
        for row in tried.itertuples()
    ]


def cpu_seconds(words: Sequence[str]) -> float:
    """Run a command of the program, and return what it and its children have taken of the CPU.

    Raises:
        CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*PROGRAM, *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def validation(tried: pandas.DataFrame, evidence: Evidence) -> str:
    """Correlate the ranks, a row a task."""
    table = []
    for (task, steps), of_task in tried.groupby(["task", "steps"]):
        pairs = [(row, evidence.get(str(task), row.members.split("+"), row.interface)) for row in of_task.itertuples()]
        known = [(row, cell) for row, cell in pairs if cell is not None]
        if len(known) >= 3:
            table.append([TASKS[str(task)].column, str(steps), str(len(known)), *correlations(known), *shares(known)])
    columns = [
        "score",
        "steps",
        "sets",
        "Spearman with full training: test",
        "dev",
        "full training: dev with test",
    ]
    return markdown([*columns, "updates", "CPU seconds"], table)


def correlations(known: Sequence[tuple[Any, Cell]]) -> list[str]:
    """Correlate short with full training, and full training with itself: dev with test, above which nothing can be."""
    short = [row.score for row, _ in known]
    dev, test = [float(cell.runs["dev_score"].mean()) for _, cell in known], [cell.score[0] for _, cell in known]
    return [spearman(*pair).text() for pair in ((short, test), (short, dev), (dev, test))]


def shares(known: Sequence[tuple[Any, Cell]]) -> list[str]:
    """Say what `select` cost, as a share of full training with all of `SEEDS`."""
    first, runs = known[0][0], len(known) * len(SEEDS)
    short = FOLDS.get(first.task, 1) * sum(row.seeds * row.steps for row, _ in known)
    whole = len(SEEDS) * sum(int(cell.runs["train_steps"].iloc[0]) for _, cell in known)
    spent, full = first.select_cpu_seconds, runs * first.full_run_cpu_seconds
    return [f"{short:,} of {whole:,} ({short / whole:.0%})", f"{spent:,.0f} of {full:,.0f} ({spent / full:.0%})"]


if __name__ == "__main__":
    sys.exit(main())
