"""s3prl's two doors to code of others: it evaluates texts of configs and checkpoints, and unpickles checkpoints.

In every module of s3prl `eval` and `torch.load` are other ones, which name and read, and run nothing.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from ..errors import UsageError
from .patches import Patches
from .proxy import Proxy

HOST = "s3prl"
_EVALUATES = re.compile(rb"(?<![.\w])eval\(")
_LOADS = re.compile(rb"\btorch\.load\(")
# Where what a text may name and s3prl then calls is defined.
_CALLED = (f"{HOST}.", f"{HOST}_fusion.", "torch.nn.", "torchaudio.compliance.")
_OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_MOST = 10_000  # entries of a list that a text may write by repeating
_trusted = False


@contextmanager
def trusting(trusted: bool) -> Iterator[None]:
    """Let s3prl read what it fetches from an address of its own the way it says itself, until the block ends."""
    global _trusted
    before, _trusted = _trusted, trusted
    try:
        yield
    finally:
        _trusted = before


def confine(patches: Patches) -> None:
    """Change every module of s3prl, those that are imported later too."""
    finder = _Finder()
    place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(place, finder)
    for module in _modules():
        _change(module)
    patches.add(_release)
    patches.add(lambda: sys.meta_path.remove(finder))


def _modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith(f"{HOST}.")]


class _Finder:
    """Has a word with the loaders of s3prl's modules; whatever else is others' affair."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name.startswith(f"{HOST}.") else None
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            stock = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                stock(module)
                _change(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _change(module: ModuleType) -> None:
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or Path(sys.modules[HOST].__path__[0]) not in Path(file).parents:
        return  # a user's own upstream has a name there, and is no part of it
    source = Path(file).read_bytes()
    if _EVALUATES.search(source):
        vars(module)["eval"] = _Eval()
    if _LOADS.search(source) and hasattr(module, "torch"):
        vars(module)["torch"] = Proxy(module.torch, load=load)


def _release() -> None:
    import torch

    for names in map(vars, _modules()):  # also those that have it by `from .model import *`
        if isinstance(names.get("eval"), _Eval):
            del names["eval"]
        if isinstance(names.get("torch"), Proxy):
            names["torch"] = torch


def load(path: Any, map_location: Any = None, weights_only: bool | None = None, **options: Any) -> Any:
    """Take the place of torch.load; see `weights.read_weights`."""
    import torch

    from .weights import read_weights

    if not isinstance(path, (str, Path)):  # an open file, which is not named by anything in a config
        return torch.load(path, map_location=map_location, **{**options, "weights_only": True})
    # Stock reads what was saved on a GPU to a GPU, or fails; s3prl moves the model itself.
    return read_weights(path, map_location=map_location or "cpu", trusted=_trusted and weights_only is False)


class _Eval:
    """`eval` for s3prl: it reads literals, and names what s3prl's own modules define. It calls nothing.

    An object and no function: s3prl's hub, and we, list functions.
    """

    def __call__(self, text: str) -> Any:
        frame = sys._getframe(1)
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (AttributeError, SyntaxError, ValueError) as error:
            raise _refusal(text) from error
        value = _Reader(text, {**frame.f_globals, **frame.f_locals}).read(tree)
        if any(isinstance(node, ast.Name) for node in ast.walk(tree)) and not _is_harmless(value):
            raise _refusal(text)
        return value


class _Reader:
    def __init__(self, text: str, names: Mapping[str, Any]) -> None:
        self._text, self._names = text, names

    def read(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple)):
            return (list if isinstance(node, ast.List) else tuple)(map(self.read, node.elts))
        if isinstance(node, ast.Dict) and None not in node.keys:
            return dict(zip(map(self.read, filter(None, node.keys)), map(self.read, node.values)))
        if isinstance(node, (ast.BinOp, ast.UnaryOp)) and type(node.op) in _OPERATORS:
            return self._compute(node)
        if isinstance(node, ast.Name):
            if node.id in self._names:
                return self._names[node.id]
            raise UsageError(f"s3prl knows no {node.id!r}, which a config or a checkpoint names")
        if isinstance(node, ast.Attribute) and not node.attr.startswith("_"):
            return getattr(self.read(node.value), node.attr)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self.read(node.value)[node.slice.value]
        raise _refusal(self._text)

    def _compute(self, node: ast.BinOp | ast.UnaryOp) -> Any:
        operands = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
        values = [self.read(operand) for operand in operands]
        if not all(isinstance(value, (int, float, list, tuple)) for value in values):
            raise _refusal(self._text)
        sizes = [len(value) if isinstance(value, (list, tuple)) else abs(value) for value in values]
        if any(isinstance(value, (list, tuple)) for value in values) and max(sizes) * min(sizes) > _MOST:
            raise _refusal(self._text)
        return _OPERATORS[type(node.op)](*values)


def _is_harmless(value: Any) -> bool:
    """Tell whether s3prl may have, and call, what a text names."""
    from torch import nn

    if isinstance(value, (list, tuple)):
        return all(map(_is_harmless, value))
    if isinstance(value, (int, float, nn.Module)):
        return True
    kinds = isinstance(value, (FunctionType, MethodType)) or (isinstance(value, type) and issubclass(value, nn.Module))
    return kinds and str(value.__module__).startswith(_CALLED)


def _refusal(text: object) -> UsageError:
    return UsageError(
        f"s3prl would run {text!r} as Python, which a config or a checkpoint says; only values, and names of s3prl's "
        "own classes and functions, are read. Correct it there"
    )
