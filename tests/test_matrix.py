"""tools/matrix.py: its rows are what setup.py allows, and the README's table keeps the rows that were not run."""

from __future__ import annotations

import importlib.util
import re
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


def test_the_rows_reach_both_ends_of_what_setup_allows(matrix):
    low, high = map(numbers, bounds("torch"))
    pinned = [numbers(pin.partition("==")[2]) for row in matrix.ROWS.values() for pin in row.pins if "torch==" in pin]
    assert min(pinned)[:2] == low and max(pinned)[:2] == [high[0], high[1] - 1]


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


@pytest.mark.parametrize(
    "output, said",
    [
        (".....\n2 failed, 1453 passed, 9 skipped, 199 deselected, 2 warnings in 574.00s (0:09:33)\n", None),
        ("1509 passed, 199 deselected in 60.0s\n", "1509 passed"),
        ("ImportError: no pytest\n", "did not run"),
        ("", "did not run"),
    ],
)
def test_pytests_last_line_is_read(matrix, output, said):
    assert matrix.counts(output) == (said or "2 failed, 1453 passed, 9 skipped")
