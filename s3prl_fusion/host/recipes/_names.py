"""Names of classes and functions in a recipe's config, which s3prl evaluates: looked up before any model loads."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module, util
from types import ModuleType
from typing import Any

from torch import nn

from ...errors import UsageError, unknown, within
from ..hub import check_downstream

# What recipes call the keys whose values they evaluate. A key that is missing here is caught later: see `confined`.
_KEYS = ("select", "pooling", "model_type", "module", "agg_module", "utter_module", "ObjectiveLoss", "metric")
_PARTS = ("expert", "model", "metric")


def check_names(downstream: str, config: Mapping[str, Any]) -> None:
    """Refuse what is no name that a recipe knows.

    Args:
        downstream: the recipe's name.
        config: the run's; ``downstream_expert`` is looked at.

    Raises:
        UsageError: says the key, what stands there and what may.
    """
    check_downstream(downstream)
    named = list(_named(config.get("downstream_expert"), "downstream_expert"))
    known = _known(downstream) if named else set()
    for key, name in named:
        if name not in known and not (key.endswith(".module") and hasattr(nn, name.upper())):
            raise within(f"config.{key}: ", UsageError(unknown("name", name, known)))


def _named(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every key, dotted, whose value is the name of something, and the name."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if key in _KEYS:
            texts = inner if isinstance(inner, list) else [inner]
            yield from ((f"{where}.{key}", text) for text in texts if isinstance(text, str))
        yield from _named(inner, f"{where}.{key}")


def _known(downstream: str) -> set[str]:
    package = f"s3prl.downstream.{downstream}"
    names = [f"{package}.{part}" for part in _PARTS if part == "expert" or util.find_spec(f"{package}.{part}")]
    return {name for module in map(import_module, names) for name in _defined(module)}


def _defined(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        is_ours = str(getattr(value, "__module__", "")).startswith("s3prl.downstream.")
        is_model = inspect.isclass(value) and issubclass(value, nn.Module) and name != "DownstreamExpert"
        if is_ours and (is_model or (inspect.isfunction(value) and module.__name__.endswith(".metric"))):
            yield name
