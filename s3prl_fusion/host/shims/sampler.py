"""What stands in for catalyst's DistributedSamplerWrapper; a file of its own, because it needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DistributedSampler, Sampler


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
