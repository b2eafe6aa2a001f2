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
        variadic: whether there are ``**kwargs``.
        reads: whether its code does anything with them.
    """

    names: tuple[str, ...] = ()
    defaults: Mapping[str, Any] | None = None
    forwards: bool = False
    is_class: bool = False
    variadic: bool = False
    reads: bool = False

    @property
    def needed(self) -> list[str]:
        """The names that may not be left out."""
        return [name for name in self.names if name not in (self.defaults or {})]


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
            inherited = Signature(forwards=True, is_class=True, variadic=True, reads=True)
            found[node.name] = _signature(inits[0], skip=1) if inits else inherited
    return found


@cache
def bound_names(file: Path) -> frozenset[str] | None:
    """Return every name that a file gives a meaning to, by a definition, an import or an assignment, also below an
    ``if`` or a ``try``; None where others may come to it: by ``import *``, or by ``__getattr__``."""
    found: set[str] = set()
    left: list[ast.AST] = [*ast.parse(file.read_bytes()).body]
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        left += ast.iter_child_nodes(node)
    return None if found & {"*", "__getattr__"} else frozenset(found)


@cache
def replaced(file: Path, name: str) -> frozenset[str]:
    """Return the options that a function of a file sets to its own in any case, or hands to another one that does,
    whatever it is given: ``kwargs["ckpt"] = ...``, as most entries of s3prl's hub."""
    functions = {node.name: node for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.FunctionDef)}
    found: set[str] = set()
    seen: set[str] = set()
    left = [name]
    while left:
        node = functions.get(left.pop())
        if node is None or node.name in seen or node.args.kwarg is None:
            continue
        seen.add(node.name)
        kwargs = node.args.kwarg.arg
        for part in node.body:  # not what is below an if
            for target in part.targets if isinstance(part, ast.Assign) else ():
                if isinstance(target, ast.Subscript) and _is_name(target.value, kwargs):
                    found.add(str(_literal(target.slice)))
            call = part.value if isinstance(part, ast.Return) else None
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and _passes(call, kwargs):
                left.append(call.func.id)
    return frozenset(found)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _signature(node: ast.FunctionDef, skip: int = 0) -> Signature:
    arguments = node.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    keywords = [argument.arg for argument in arguments.kwonlyargs]
    given = dict(zip(reversed(positional), map(_literal, reversed(arguments.defaults))))
    given.update({name: _literal(value) for name, value in zip(keywords, arguments.kw_defaults) if value is not None})
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    forwards = arguments.kwarg is not None and any(_passes(call, arguments.kwarg.arg) for call in calls)
    names = (*positional[skip:], *keywords)
    if arguments.kwarg is None:
        return Signature(names, given, is_class=skip > 0)
    reads = any(_is_name(part, arguments.kwarg.arg) for part in ast.walk(node) if isinstance(part, ast.expr))
    return Signature(names, given, forwards, skip > 0, variadic=True, reads=reads)


def _passes(call: ast.Call, kwargs: str) -> bool:
    return any(
        word.arg is None and isinstance(word.value, ast.Name) and word.value.id == kwargs for word in call.keywords
    )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN
