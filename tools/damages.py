"""Kills pipelines and flips bits (tests/test_killed.py), and writes into docs/reliability.md what came out."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from put_table import put

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
COLUMNS = ("noticed", "done again", "harmless", "another result")


def table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """What came out, in Markdown."""
    kills, flips = counts["killed"], {kind: found for kind, found in counts.items() if kind != "killed"}
    rows = [f"| a bit in | flips | {' | '.join(COLUMNS)} |", f"| --- | {' | '.join(['---:'] * (1 + len(COLUMNS)))} |"]
    for kind, found in flips.items():
        cells = (sum(found.values()), *(found.get(column, 0) for column in COLUMNS))
        rows.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    said = (
        f"{kills['kills']} kills, and {kills['ended']} times a run to the end after some of them: equal scores, "
        "hypotheses, weights and\ncached states each time, and no temporary file left."
    )
    return "\n".join([said, "", *rows, ""])


def main() -> int:
    """Runs the tests; the page is written where they pass."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        words = [sys.executable, "-m", "pytest", "-m", "slow", "tests/test_killed.py", "-p", "no:xdist"]
        done = subprocess.run(words, cwd=ROOT, env={**os.environ, "DAMAGE_COUNTS": str(counts)})
        if done.returncode == 0:
            put("kills", table(json.loads(counts.read_text(encoding="utf-8"))), PAGE)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
