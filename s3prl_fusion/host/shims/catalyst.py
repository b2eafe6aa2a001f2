"""catalyst's sampler for several processes, all that s3prl uses of that package."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

from ..patches import Patches
from .shim import Shim

MODULE = "catalyst.data.sampler"


def _is_missing() -> bool:
    return find_spec("catalyst") is None


def _supply(patches: Patches) -> None:
    from .sampler import DistributedSamplerWrapper

    package, data, sampler = (ModuleType(name) for name in ("catalyst", "catalyst.data", MODULE))
    sampler.DistributedSamplerWrapper = DistributedSamplerWrapper  # type: ignore[attr-defined]
    package.data, data.sampler = data, sampler  # type: ignore[attr-defined]
    for module in (package, data, sampler):
        patches.set_item(sys.modules, module.__name__, module)


SHIMS = (
    Shim(
        MODULE,
        "s3prl's KS recipe imports it, and s3prl does not ask for it",
        "https://github.com/s3prl/s3prl/blob/main/requirements/all.txt",
        "from catalyst.data.sampler import DistributedSamplerWrapper",
        _is_missing,
        _supply,
    ),
)
