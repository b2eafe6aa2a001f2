"""How the package hangs together: dependencies point one way, and no two modules need each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import s3prl_fusion

PACKAGE = Path(s3prl_fusion.__file__).parent
# Whatever stands in no folder of these is the core. Everything may import what is to its right.
LAYERS = ("cli", "commands", "select", "superb", "host", "corpora")


def modules() -> dict[str, Path]:
    files = (path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return {".".join(path.parts).removesuffix(".__init__"): PACKAGE.parent / path.with_suffix(".py") for path in files}


MODULES = modules()


def imported(name: str) -> set[str]:
    """What a module of ours imports of ours, in functions too; for type checkers alone is left out."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if node.level:
            where = ".".join(
                [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [node.module])]
            )
            found |= {f"{where}.{alias.name}" if f"{where}.{alias.name}" in MODULES else where for alias in node.names}
    return (found & set(MODULES)) - {name}


def statements(tree: ast.AST) -> Iterator[ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            yield from statements(node)


def layer(name: str) -> int:
    part = name.split(".")[1] if "." in name else ""
    return LAYERS.index(part) if part in LAYERS else len(LAYERS)


def test_no_two_modules_need_each_other():
    graph = {name: imported(name) for name in MODULES}
    assert sum(map(len, graph.values())) > 200
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"s3prl_fusion.__main__", "s3prl_fusion.run_downstream"}))
def test_dependencies_point_one_way(name):
    assert [other for other in imported(name) if layer(other) < layer(name)] == []


@pytest.mark.parametrize("name", sorted(name for name in MODULES if layer(name) >= LAYERS.index("corpora")))
def test_the_core_and_the_corpora_do_not_know_s3prl(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    names = [
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0)
        for alias in node.names
    ]
    assert not [found for found in names if found.split(".")[0] == "s3prl"]
