"""Writes the table of inputs that once went wrong into docs/reliability.md: python tools/faults.py

Tests say it: `@pytest.mark.fault("what was given", "what comes out now")`, or a mark of one of their parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from put_table import put

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"


def marks(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every `pytest.mark.fault(what, outcome)`, in the file's order."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_mark(node.func)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        what, outcome = (ast.literal_eval(argument) for argument in call.args)
        yield what, outcome


def _is_mark(function: ast.AST) -> bool:
    of = getattr(function, "value", None)
    return isinstance(function, ast.Attribute) and function.attr == "fault" and getattr(of, "attr", None) == "mark"


def table() -> str:
    """All marks in Markdown, a row each, by test file."""
    rows = ["| what was given | what comes out | test |", "| --- | --- | --- |"]
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        found = dict.fromkeys(marks(ast.parse(path.read_text(encoding="utf-8"))))
        rows += [f"| {_cell(what)} | {_cell(outcome)} | `{path.stem}` |" for what, outcome in found]
    return "\n".join([*rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    put("faults", table(), PAGE)
