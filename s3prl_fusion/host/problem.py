"""What s3prl.problem (s3prl-main) needs and `pip install s3prl` does not give."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import util
from types import ModuleType
from typing import Any, NoReturn

import torch

from ..errors import UsageError
from .patches import Patches

# Without these none of s3prl.problem can be imported, SUPERB's problems neither. s3prl does not declare the first two,
# which only HEAR's scores use (s3prl/task/_hear_score.py:9); Python 3.13 has no `chunk` any more, of which nothing is
# used (s3prl/dataio/dataset/diarization.py:11).
UNUSED = ("sed_eval", "dcase_util", "dcase_util.containers", "chunk")


class _NotInstalled(ModuleType):
    """Can be imported and looked into, but not called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _NotInstalled(f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ImportError(
            f"{self.__name__} is not installed; HEAR's problems need pip install sed_eval dcase_util 'setuptools<81'"
        )


def supply_unused(patches: Patches) -> None:
    """Stand in for packages that are not installed and that SUPERB's problems import without using them."""
    packages = {name.partition(".")[0] for name in UNUSED} - set(sys.modules)
    missing = {name for name in packages if util.find_spec(name) is None}
    for name in UNUSED:
        if name.partition(".")[0] in missing:
            patches.set_item(sys.modules, name, _NotInstalled(name))


def read_rows(module: ModuleType, patches: Patches) -> None:
    """Let tables be read with pandas 2 and later, whose rows have no iteritems (s3prl/dataio/corpus/base.py:31)."""

    def dataframe_to_datapoints(df: Any, unique_name_fn: Callable[[dict[str, Any]], str]) -> dict[str, dict[str, Any]]:
        rows = df.to_dict("records")
        found = {unique_name_fn(row): row for row in rows}
        if len(found) != len(rows):
            raise UsageError(f"{len(rows)} rows of a table have {len(found)} names; each needs one of its own")
        return found

    patches.set(module.Corpus, "dataframe_to_datapoints", staticmethod(dataframe_to_datapoints))


def default_to_cpu(module: ModuleType, patches: Patches) -> None:
    """Let a problem run where there is no GPU without being told so, as `s3prl-fusion run` does: stock takes cuda
    (s3prl/problem/common/run.py:35). What a YAML or the command line says counts all the same."""
    stock = module.Problem.main

    def main(self: Any, args: Sequence[str] | None = None) -> Any:
        if not torch.cuda.is_available():
            settings = self.default_config()
            self.default_config = lambda: {"device": "cpu", **settings}
        return stock(self, args)

    patches.set(module.Problem, "main", main)
