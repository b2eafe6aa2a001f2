"""docs/reliability.md: its tables are what the tools make of the tests' marks and of what came out."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")


def between(name: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    return re.search(rf"<!-- {name} table: begin -->\n(.*)<!-- {name} table: end -->", text, flags=re.DOTALL).group(1)


def test_every_mark_is_a_row_and_every_row_a_mark(tools):
    import faults

    assert between("faults") == faults.table(), "the marks have changed: python tools/faults.py"


def test_marks_of_functions_and_of_parameters_are_found(tools):
    import faults

    code = """
@pytest.mark.fault("a | b", "one " "line")
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.fault("c", "d")), 2])
def test_it(x): ...
"""
    assert list(faults.marks(ast.parse(code))) == [("a | b", "one line"), ("c", "d")]


def test_the_table_of_random_inputs_adds_up(tools):
    import fuzz

    counts = Counter({("names", "right", ""): 5, ("names", "refused", "unknown"): 2, ("names", "refused", "empty"): 1})
    assert fuzz.table(counts, 2, 120.0).splitlines()[2:] == [
        "| names | 8 | 5 | 3 | 2 | 0 |",
        "",
        "2 rounds of other random inputs, 2 minutes on one core.",
    ]


def test_the_table_of_damages_has_a_row_a_kind(tools):
    import damages

    counts = {"killed": {"kills": 3, "ended": 2}, "score.json": {"noticed": 7, "harmless": 1}}
    said, _, _, _, _, row = damages.table(counts).splitlines()
    assert said.startswith("3 kills, and 2 times a run to the end")
    assert row == "| score.json | 8 | 7 | 0 | 1 | 0 |"
