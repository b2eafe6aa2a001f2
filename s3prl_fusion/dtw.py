"""Spoken queries looked for in spoken documents by dynamic time warping: what SUPERB's QbE does, compiled.

The pattern is dtw-python's `asymmetric`, open at both ends (s3prl/downstream/quesst14_dtw/expert.py:99): each of a
query's frames takes the document's frame that the one before took, or goes on by one or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from .errors import UsageError

LEAST_FRAMES = 5  # of a query; shorter ones are not looked for (s3prl/downstream/quesst14_dtw/expert.py:113)
BLOCK = 2048  # frames of queries at a time: so wide is the matrix of distances to a document's frames
TINY = 1e-9  # the least range that a row of distances is divided by (expert.py:193)

# By the names of the recipe's config: from a matrix of cosine distances to local costs, in place.
DISTANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": lambda distance: distance,
    # Several times as fast as expm1.
    "cosine_exp": lambda distance: np.subtract(np.exp(distance, out=distance), 1.0, out=distance),
}


class Queries:
    """Queries that are looked for in one document after the other. Threads may share one.

    Args:
        features: of each query, (T_q, D).
        distance: one of `DISTANCES`.
        minmax: whether the distances of each of a query's frames are brought to 0 .. 1.
    """

    def __init__(self, features: Sequence[np.ndarray], distance: str = "cosine_exp", minmax: bool = True) -> None:
        self._cost, self._minmax = DISTANCES[distance], minmax
        self._count = len(features)
        self._blocks = list(_blocks(features))

    def scores(self, document: np.ndarray) -> np.ndarray:
        """Score each query: minus the cost of its cheapest path through a document, per frame of the query.

        Args:
            document: (T, D) features.

        Returns:
            (Q,); 0 for queries of fewer than `LEAST_FRAMES` frames.

        Raises:
            UsageError: the features are not finite.
        """
        search, found = _compiled(), np.zeros(self._count)
        columns = _unit(document).T
        for numbers, starts, rows in self._blocks:
            distance = rows @ columns
            np.clip(distance, -1.0, 1.0, out=distance)
            np.subtract(1.0, distance, out=distance)
            found[numbers] = -search(self._cost(distance), starts, self._minmax)
        if not np.isfinite(found).all():
            raise UsageError("features of a query or a document are not finite")
        return found


def _blocks(features: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield queries together, up to `BLOCK` frames: their numbers, where each one's rows start, and the rows."""
    left = [number for number, query in enumerate(features) if len(query) >= LEAST_FRAMES]
    while left:
        ends = np.cumsum([len(features[number]) for number in left])
        taken = max(1, int(np.searchsorted(ends, BLOCK, side="right")))
        numbers, left = left[:taken], left[taken:]
        rows = np.concatenate([_unit(features[number]) for number in numbers])
        yield np.array(numbers), np.concatenate([[0], ends[:taken]]), rows


def _unit(features: np.ndarray) -> np.ndarray:
    """Bring each frame, (T, D), to length 1; one of zeros stays."""
    exact = features.astype(np.float64)
    norm = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(norm > 0, norm, 1.0)


@cache
def _compiled() -> Callable[[np.ndarray, np.ndarray, bool], np.ndarray]:
    """Compile the search when it is first needed, which takes a second."""
    import numba

    compiled: Any = numba.njit(nogil=True)(_search)
    return compiled


def _search(cost: np.ndarray, starts: np.ndarray, minmax: bool) -> np.ndarray:
    """Find the cheapest path of each query, per frame of the query.

    Args:
        cost: (sum of T_q, T) local costs, the queries' rows one after the other.
        starts: (Q + 1,) where each one's begin, and the end.
        minmax: see `Queries`.

    Returns:
        (Q,).
    """
    frames = cost.shape[1]
    found = np.empty(len(starts) - 1)
    # Two more at the front, which no path comes from.
    before, now = np.full(frames + 2, np.inf), np.full(frames + 2, np.inf)
    for query in range(len(starts) - 1):
        before[2:] = 0.0  # a path may begin anywhere
        for row in range(starts[query], starts[query + 1]):
            low, scale = 0.0, 1.0
            if minmax:
                low = cost[row].min()
                scale = 1.0 / max(cost[row].max() - low, TINY)
            for frame in range(frames):
                came = min(before[frame + 2], min(before[frame + 1], before[frame]))
                now[frame + 2] = (cost[row, frame] - low) * scale + came
            before, now = now, before
        found[query] = before[2:].min() / (starts[query + 1] - starts[query])
    return found
