"""Tests the package beside every set of versions that it supports: make matrix, or python tools/matrix.py NAME ...

One environment a row (5 to 6 GB, in a temporary folder, removed afterwards), made from setup.py and what the row pins.
There run the default tests, and the five recipes from corpora in official layouts to scores, killed and resumed on the
way (tests/test_superb_end_to_end.py). What was run replaces its row in the table of docs/versions.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from s3prl_fusion.superb.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "versions.md"
TABLE = re.compile(r"(?<=<!-- matrix table: begin -->\n).*(?=<!-- matrix table: end -->)", re.DOTALL)
SHOWN = ("torch", "torchaudio", "transformers", "huggingface_hub", "s3prl", "espnet-s3prl")
SCORED = [TASKS[name] for name in ("asr", "pr", "sid", "er", "sv")]
HEAD = [
    *("row", "Python", "torch", "torchaudio", "transformers", "huggingface_hub", "host", "default tests"),
    " / ".join(task.column.split()[0] for task in SCORED),
    "run on",
]


@dataclass(frozen=True)
class Row:
    """A set of versions.

    Attributes:
        pins: what pip is asked for beside the package itself.
        then: further pip commands, for what setup.py does not allow.
        python: the interpreter, to be found on PATH; by default the one that runs this.
    """

    pins: tuple[str, ...]
    then: tuple[str, ...] = ()
    python: str = sys.executable


OLD = ("transformers<5", "huggingface_hub<1")
NEW = ("transformers>=5", "huggingface_hub>=1")
ROWS = {
    "oldest": Row(("torch==2.5.1", "torchaudio==2.5.1", *OLD)),
    "default": Row(("torch==2.8.0", "torchaudio==2.8.0", *OLD)),
    "newest": Row(("torch==2.11.0", "torchaudio==2.11.0", *NEW)),
    # The newest torch that torchaudio 2.11 loads beside: both are built for CUDA 13.0.
    "ahead": Row(("torch==2.11.0", "torchaudio==2.11.0", *NEW), ("install torch==2.14.1",)),
    "espnet-s3prl": Row(
        ("torch==2.8.0", "torchaudio==2.8.0", *OLD),
        ("uninstall -y s3prl", "install --no-deps espnet-s3prl"),
    ),
    # The lowest of everything.
    "python3.9": Row(
        ("torch==2.5.1", "torchaudio==2.5.1", "transformers==4.40.0", "huggingface_hub<1"), python="python3.9"
    ),
    "python3.13": Row(("torch==2.11.0", "torchaudio==2.11.0", *NEW), python="python3.13"),
}


def run_row(name: str, folder: Path) -> tuple[str, bool]:
    """Builds a row's environment and runs the tests there.

    Returns:
        The row of the table, and whether all is well.
    """
    row, python = ROWS[name], folder / "bin" / "python"
    print(f"{name}: making the environment", flush=True)
    subprocess.run([row.python, "-m", "venv", folder], check=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *row.pins, f"{ROOT}[test]"], check=True)
    for command in row.then:
        subprocess.run([*pip, *command.split()], check=True)
    # The checkout's own files are tested, with the environment's packages.
    pytest, report, temporary = [python, "-m", "pytest"], folder / "tests.xml", folder / "superb"
    recipes = ["-m", "slow", "tests/test_superb_end_to_end.py", "--basetemp", temporary]
    calls = [[*pytest, "-n", "auto", "--maxprocesses", "8", "--junitxml", report], [*pytest, *recipes]]
    well = not any([subprocess.run(call, cwd=ROOT, check=False).returncode for call in calls])
    return table_row(name, versions(python), counts(report), scores(temporary)), well


def counts(report: Path) -> str:
    """What pytest's JUnit XML says: "10 passed, 1 skipped"."""
    if not report.is_file():
        return "did not run"
    suite = ElementTree.parse(report).getroot().find("testsuite")
    found = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    failed = found["failures"] + found["errors"]
    numbers = {"failed": failed, "passed": found["tests"] - failed - found["skipped"], "skipped": found["skipped"]}
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number)


def scores(temporary: Path) -> str:
    """The five scores of the end-to-end test's undisturbed run, from its temporary folder."""
    results = next(temporary.glob("whole*/exp/results.json"), None)
    if results is None:
        return "-"
    table = json.loads(results.read_text(encoding="utf-8"))["table"]
    return " / ".join(f"{table[0][task.column]:.2f}" for task in SCORED)


def versions(python: Path) -> dict[str, str]:
    """What is installed beside a Python, and its own version."""
    code = (
        "import sys, importlib.metadata as m; print('python', '.'.join(map(str, sys.version_info[:3])))\n"
        "for d in m.distributions(): print(d.metadata['Name'].replace('huggingface-hub', 'huggingface_hub'), d.version)"
    )
    listed = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in listed.splitlines())


def table_row(name: str, found: dict[str, str], *results: str) -> str:
    """One line of the page's table."""
    host = next(f"{host} {found[host]}" for host in ("espnet-s3prl", "s3prl") if host in found)
    packages = [found.get(package, "-") for package in SHOWN[:4]]
    return f"| {' | '.join([name, found['python'], *packages, host, *results, date.today().isoformat()])} |"


def with_row(page: str, row: str) -> str:
    """A page whose table has a row in the place of the one of the same name, in the order of `ROWS`."""
    name = row.split("|")[1].strip()
    lines = [line for line in TABLE.search(page).group(0).splitlines()[2:] if line.split("|")[1].strip() != name]
    lines = sorted([*lines, row], key=lambda line: list(ROWS).index(line.split("|")[1].strip()))
    table = "\n".join([f"| {' | '.join(HEAD)} |", "|" + " --- |" * len(HEAD), *lines, ""])
    return TABLE.sub(lambda _: table, page)


def main() -> int:
    """Runs the rows asked for; the exit status is 1 if tests of one fail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (default: all)")
    rows = parser.parse_args().rows or list(ROWS)
    for unknown in set(rows) - set(ROWS):
        parser.error(f"no row {unknown!r}; choose from {', '.join(ROWS)}")
    well = True
    for name in rows:
        with tempfile.TemporaryDirectory(prefix=f"matrix-{name}-") as folder:
            row, passed = run_row(name, Path(folder))
        print(row, flush=True)
        PAGE.write_text(with_row(PAGE.read_text(encoding="utf-8"), row), encoding="utf-8")
        well = well and passed
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
