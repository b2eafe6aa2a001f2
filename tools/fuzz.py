"""make fuzz: tries the properties of tests/fuzz with new random inputs until the time is up, and tells what came out.

    FUZZ_MINUTES=60 make fuzz

Each round has a seed, which is printed and gives the same inputs again: --seed N --rounds 1.
Where no fault came out, the counts go into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from put_table import put

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
RIGHT, REFUSED, FAULT = "right", "refused", "fault"
Counts = Counter[tuple[str, str, str]]  # (property, outcome, kind of message)


def round_of(seed: int, tests: list[str], factor: float) -> tuple[Counts, dict[str, str]]:
    """Tries every property once more; returns counts, and the shortest example of each fault."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        environment = {"HYPOTHESIS_PROFILE": "long", "FUZZ_COUNTS": str(counts), "FUZZ_FACTOR": str(factor)}
        words = ["-m", "pytest", *(tests or ["tests/fuzz"]), "--hypothesis-seed", str(seed), "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
        )
        if done.returncode or not counts.is_file():
            sys.exit(f"seed {seed}: the properties themselves failed\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
        found = json.loads(counts.read_text(encoding="utf-8"))
    return Counter({(what, outcome, kind): n for what, outcome, kind, n in found["counts"]}), found["examples"]


def table(counts: Mapping[tuple[str, str, str], int], rounds: int, seconds: float) -> str:
    """The counts in Markdown, a row a property, and below it for how long it was tried."""
    rows = ["| what was tried | inputs | right | refused in a line | for so many reasons | faults |"]
    rows.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for what in dict.fromkeys(what for what, _, _ in sorted(counts)):
        of = {
            o: {kind: n for (w, out, kind), n in counts.items() if (w, out) == (what, o)}
            for o in (RIGHT, REFUSED, FAULT)
        }
        right, refused, faults = (sum(of[outcome].values()) for outcome in (RIGHT, REFUSED, FAULT))
        cells = (right + refused + faults, right, refused, len(of[REFUSED]), faults)
        rows.append(f"| {what} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    return "\n".join(
        [*rows, "", f"{rounds} rounds of other random inputs, {seconds / 60:.0f} minutes on one core.", ""]
    )


def main() -> int:
    """Tries until the time is up; exit status 1 where there are faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("FUZZ_MINUTES", 60)))
    parser.add_argument("--rounds", type=int, help="at most so many")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of the first round")
    parser.add_argument("--factor", type=float, default=4, help="inputs of a round, as a multiple of CI's (default: 4)")
    parser.add_argument("tests", nargs="*", help="default: tests/fuzz")
    args = parser.parse_args()
    total, examples, rounds, started = Counts(), {}, 0, time.monotonic()
    while not rounds or (time.monotonic() - started < 60 * args.minutes and rounds != args.rounds):
        seed = args.seed + rounds
        counts, found = round_of(seed, args.tests, args.factor)
        total.update(counts)
        rounds += 1
        tried, faults = (sum(n for key, n in counts.items() if outcome in (None, key[1])) for outcome in (None, FAULT))
        print(f"[{time.monotonic() - started:5.0f} s] seed {seed}: {tried:,} inputs, {faults} faults", flush=True)
        for kind in found.keys() - examples.keys():
            print(f"\n{kind}\n{found[kind][:3000]}\n", flush=True)
        examples.update(found)
    text = table(total, rounds, time.monotonic() - started)
    print(f"\n{text}")
    if not args.tests and not examples:
        put("fuzz", text, PAGE)
    return 1 if examples else 0


if __name__ == "__main__":
    sys.exit(main())
