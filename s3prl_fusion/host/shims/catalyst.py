"""catalyst's sampler for several processes, all that s3prl uses of that package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import DistributedSampler, Sampler

from ..patches import Patches
from .shim import Shim

MODULE = "catalyst.data.sampler"


class DistributedSamplerWrapper(DistributedSampler):
    """Deals what a random sampler draws out to the processes, each draw to one of them.

    Args:
        sampler: draws from its ``generator``, which is seeded by the epoch here: all processes see the same draws.
    """

    def __init__(self, sampler: Sampler, **options: Any) -> None:
        super().__init__(range(len(sampler)), shuffle=False, **options)  # type: ignore[arg-type]
        self.sampler = sampler

    def __iter__(self) -> Iterator[Any]:
        self.sampler.generator = torch.Generator().manual_seed(self.seed + self.epoch)  # type: ignore[attr-defined]
        drawn = list(self.sampler)
        return iter([drawn[index] for index in super().__iter__()])


def _is_missing() -> bool:
    return find_spec("catalyst") is None


def _supply(patches: Patches) -> None:
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
