"""QbE's search for queries in documents whose features are there (s3prl/downstream/quesst14_dtw/expert.py:76)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...dtw import Queries
from ...stdlist import as_text


@dataclass
class Moments:
    """Mean and deviation of each feature, over frames that come one utterance after the other."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))  # of what differs from the mean

    def add(self, frames: Tensor) -> None:
        """Take (T, D) frames in."""
        frames = frames.double()
        mean, number = frames.mean(dim=0), len(frames)
        total, away = self.count + number, mean - self.mean.to(mean)
        squares = (frames - mean).square().sum(dim=0) + away.square() * (self.count * number / total)
        self.mean = self.mean.to(mean) + away * (number / total)
        self.squares, self.count = self.squares.to(squares) + squares, total

    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what is subtracted and what is divided by, each (D,)."""
        deviation = (self.squares / max(1, self.count - 1)).sqrt().clamp(min=1e-9)
        return self.mean.cpu().numpy(), deviation.cpu().numpy()


@dataclass(frozen=True)
class Settings:
    """How queries are looked for: a part of the recipe's config, see `quesst14_dtw.SETTINGS`."""

    distance: str
    minmax: bool
    normalize: bool
    threads: int

    @classmethod
    def of(cls, expert: Mapping[str, Any]) -> Settings:
        """Read them."""
        dtw = expert["dtwrc"]
        return cls(dtw["dist_method"], dtw["minmax_norm"], expert["feature_normalization"], expert["max_workers"])


def search(
    queries: Sequence[np.ndarray],
    documents: Sequence[np.ndarray],
    settings: Settings,
    each: Callable[[int], None] = lambda number: None,
) -> np.ndarray:
    """Look for queries in documents, all of which are there.

    Args:
        queries, documents: features, (T, D) each.
        settings: how.
        each: told the number of every document that is done.

    Returns:
        (Q, documents) scores, those of a query with mean 0 and deviation 1.
    """
    moments = Moments()
    for frames in (*queries, *documents) if settings.normalize else ():
        moments.add(torch.from_numpy(frames))
    scale = moments.scale() if settings.normalize else (np.zeros(1), np.ones(1))

    def scaled(frames: np.ndarray) -> np.ndarray:
        return (frames - scale[0]) / scale[1]

    wanted = Queries([scaled(frames) for frames in queries], settings.distance, settings.minmax)
    columns = []
    with threads(settings) as pool:
        for number, column in enumerate(pool.map(lambda frames: wanted.scores(scaled(frames)), documents)):
            columns.append(column)
            each(number)
    return standardised(np.stack(columns, axis=1))


def standardised(scores: np.ndarray) -> np.ndarray:
    """Bring each query's scores to mean 0 and deviation 1 (s3prl/downstream/quesst14_dtw/expert.py:138)."""
    return (scores - scores.mean(axis=-1, keepdims=True)) / scores.std(axis=-1, keepdims=True).clip(1e-9)


@contextmanager
def threads(settings: Settings) -> Iterator[ThreadPoolExecutor]:
    """Give threads for a search, each of which does its own matrix products."""
    from threadpoolctl import threadpool_limits

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(min(settings.threads, cores))
    with threadpool_limits(1, "blas"):
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def texts(scores: np.ndarray, queries: Sequence[str], documents: Sequence[str]) -> dict[str, str]:
    """Write scores, (Q, documents), as metrics read them, rounded as the list of detected terms has them."""
    return {
        query: as_text([(document, f"{score:.4f}") for document, score in zip(documents, row)])
        for query, row in zip(queries, scores)
    }
