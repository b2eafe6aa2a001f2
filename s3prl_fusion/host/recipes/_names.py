"""Names in a recipe's config, looked at before any model loads: of classes and functions, which s3prl evaluates, and of
splits, of which it makes files' names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module, util
from types import ModuleType
from typing import Any

from torch import nn

from ...errors import UsageError, unknown, within
from ..hub import check_downstream
from ._settings import makers

# What recipes call the keys whose values they evaluate. A key that is missing here is caught later: see `confined`.
_KEYS = ("select", "pooling", "model_type", "module", "agg_module", "utter_module", "ObjectiveLoss", "metric")
_PARTS = ("expert", "model", "metric")


def check_names(downstream: str, config: Mapping[str, Any]) -> None:
    """Refuse what is no name that s3prl, or the recipe, knows.

    Args:
        downstream: the recipe's name.
        config: the run's.

    Raises:
        UsageError: says the key, what stands there and what may.
    """
    check_downstream(downstream)
    for section in ("optimizer", "scheduler"):
        _check_maker(section, config.get(section))
    _check_plain(config)
    named = list(_named(config.get("downstream_expert"), "downstream_expert"))
    known = _known(downstream) if named else set()
    for key, name in named:
        if name not in known and not (key.endswith(".module") and hasattr(nn, name.upper())):
            raise within(f"config.{key}: ", UsageError(unknown("name", name, known)))


def _check_maker(section: str, settings: Any) -> None:
    """Look up the function that s3prl calls for an optimizer or a scheduler."""
    name = settings.get("name") if isinstance(settings, Mapping) else None
    if name is None:
        return
    if name not in makers(section):
        raise within(f"config.{section}.", UsageError(f"name: {unknown(section, name, makers(section))}"))


def _check_plain(config: Mapping[str, Any]) -> None:
    """Refuse splits and folds, which begin files' names in the expdir, that would lead out of it."""
    for key in ("runner.eval_dataloaders", "runner.train_dataloader", "downstream_expert.datarc.test_fold"):
        found: Any = config
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        for name in found if isinstance(found, list) else [found]:
            if isinstance(name, str) and not re.fullmatch(r"\w[\w.-]*", name):
                raise UsageError(f"config.{key}: {name!r} must be of letters, digits, '.', '_' and '-'")


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
    known: set[str] = set()
    for name in names:
        try:
            known.update(_defined(import_module(name)))
        except ImportError:  # the model.py of fluent_commands names classes that are gone; nothing imports it
            if name.endswith(".expert"):
                raise
    return known


def _defined(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        is_ours = str(getattr(value, "__module__", "")).startswith("s3prl.downstream.")
        is_model = inspect.isclass(value) and issubclass(value, nn.Module) and name != "DownstreamExpert"
        if is_ours and (is_model or (inspect.isfunction(value) and module.__name__.endswith(".metric"))):
            yield name
