"""What Python files define, read from their text: s3prl's names, without the seconds that its import takes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

UNKNOWN = object()  # a default that is no literal


@dataclass(frozen=True)
class Signature:
    """The parameters of a function, or of a class's constructor, without ``self``.

    Attributes:
        names: in order, without ``*args`` and ``**kwargs``.
        defaults: of those that may be left out; `UNKNOWN` where it is no literal.
        forwards: whether what is given beside them goes on to something else; else ``**kwargs`` swallow it.
        is_class: whether it is a constructor's.
    """

    names: tuple[str, ...] = ()
    defaults: Mapping[str, Any] | None = None
    forwards: bool = False
    is_class: bool = False


@cache
def definitions(file: Path) -> dict[str, Signature]:
    """Return the functions and classes of a file, in order, by name; none where there is no such file."""
    if not file.is_file():
        return {}
    found = {}
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = _signature(node)
        elif isinstance(node, ast.ClassDef):
            inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            found[node.name] = _signature(inits[0], skip=1) if inits else Signature(forwards=True, is_class=True)
    return found


def _signature(node: ast.FunctionDef, skip: int = 0) -> Signature:
    arguments = node.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    keywords = [argument.arg for argument in arguments.kwonlyargs]
    given = dict(zip(reversed(positional), map(_literal, reversed(arguments.defaults))))
    given.update({name: _literal(value) for name, value in zip(keywords, arguments.kw_defaults) if value is not None})
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    forwards = arguments.kwarg is not None and any(_passes(call, arguments.kwarg.arg) for call in calls)
    return Signature((*positional[skip:], *keywords), given, forwards, is_class=skip > 0)


def _passes(call: ast.Call, kwargs: str) -> bool:
    return any(
        word.arg is None and isinstance(word.value, ast.Name) and word.value.id == kwargs for word in call.keywords
    )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN
