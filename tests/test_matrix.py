"""tools/matrix.py: its rows are what setup.py allows, and docs/versions.md keeps the rows that were not run."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def matrix():
    path = ROOT / "tools" / "matrix.py"
    if not path.is_file():
        pytest.skip("tools/ is in the checkout only")
    spec = importlib.util.spec_from_file_location("matrix", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


def bounds(package: str) -> tuple[str, ...]:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    return re.search(rf'"{package}>=([\d.]+),<([\d.]+)"', setup).groups()


def numbers(version: str) -> list[int]:
    return list(map(int, version.split(".")))


def test_torch_and_torchaudio_have_the_same_bounds_in_setup():
    """Else pip takes two that refuse each other."""
    assert bounds("torch") == bounds("torchaudio")


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_the_rows_reach_both_ends_of_what_setup_allows(matrix, package):
    low, high = map(numbers, bounds(package))
    pins = [re.fullmatch(rf"{package}[=>]=([\d.]+)", pin) for row in matrix.ROWS.values() for pin in row.pins]
    pinned = [numbers(pin.group(1)) for pin in pins if pin]
    assert min(pinned)[: len(low)] == low
    last = [high[0], high[1] - 1] if len(high) > 1 else [high[0] - 1]
    assert max(pinned)[: len(last)] == last


def test_a_row_that_was_run_replaces_its_own_and_no_other(matrix):
    empty = "# A\n<!-- matrix table: begin -->\n<!-- matrix table: end -->\nB\n"
    found = {"python": "3.11.7", "torch": "2.11.0", "s3prl": "0.4.18", "espnet-s3prl": "2026.5"}
    both = matrix.with_row(empty, matrix.table_row("newest", found, "10 passed"))
    both = matrix.with_row(both, matrix.table_row("oldest", found, "9 passed"))
    again = matrix.with_row(both, matrix.table_row("newest", found, "1 failed, 10 passed"))
    names = [line.split("|")[1].strip() for line in again.splitlines() if line.startswith("| ")]
    assert names == ["row", "---", "oldest", "newest"] and again.startswith("# A\n") and again.endswith("\nB\n")
    assert "| 9 passed |" in again and "| 1 failed, 10 passed |" in again and "| 10 passed |" not in again
    assert "| 3.11.7 | 2.11.0 | - | - | - | espnet-s3prl 2026.5 |" in again


def test_pytests_report_is_read(matrix, tmp_path):
    (tmp_path / "test_four.py").write_text(
        "import pytest\n"
        "def test_passes(): pass\n"
        "def test_passes_too(): pass\n"
        "def test_fails(): assert False\n"
        "@pytest.fixture\n"
        "def broken(): raise OSError\n"
        "def test_cannot_start(broken): pass\n"
        "def test_is_skipped(): pytest.skip('not here')\n"
    )
    report = tmp_path / "tests.xml"
    assert matrix.counts(report) == "did not run"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml", report, tmp_path]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert matrix.counts(report) == "2 failed, 2 passed, 1 skipped"


def test_the_scores_are_those_of_the_undisturbed_run(matrix, tmp_path):
    assert matrix.scores(tmp_path) == "-"
    table = [{task.column: 10.126 * place for place, task in enumerate(matrix.SCORED)}]
    (tmp_path / "whole0" / "exp").mkdir(parents=True)
    (tmp_path / "whole0" / "exp" / "results.json").write_text(json.dumps({"table": table}))
    assert matrix.scores(tmp_path) == "0.00 / 10.13 / 20.25 / 30.38 / 40.50"


def test_all_rows_of_the_page_have_the_same_scores(matrix):
    text = matrix.PAGE.read_text(encoding="utf-8")
    head, _, *rows = ([cell.strip() for cell in line.split("|")] for line in matrix.TABLE.search(text)[0].splitlines())
    scores = head.index(next(name for name in matrix.HEAD if " / " in name))
    assert {row[1] for row in rows} == set(matrix.ROWS)
    assert len({row[scores] for row in rows}) == 1
