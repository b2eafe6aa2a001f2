"""What s3prl.problem (s3prl-main) needs and `pip install s3prl` does not give."""

from __future__ import annotations

import sys
from importlib import util
from types import ModuleType
from typing import Any, NoReturn

from .patches import Patches

# Imported for HEAR's scores alone (s3prl/task/_hear_score.py:9), and not declared: without them none of s3prl.problem
# can be imported, SUPERB's problems neither.
HEAR_ONLY = ("sed_eval", "dcase_util", "dcase_util.containers")


class _NotInstalled(ModuleType):
    """Can be imported and looked into, but not called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _NotInstalled(f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ImportError(f"{self.__name__} is not installed: pip install sed_eval dcase_util 'setuptools<81'")


def supply_hear_only(patches: Patches) -> None:
    """Stands in for packages that only HEAR's problems use, where they are not installed."""
    if util.find_spec("sed_eval") is None:
        for name in HEAR_ONLY:
            patches.set_item(sys.modules, name, _NotInstalled(name))
