"""QbE's search against dtw-python, through which s3prl's recipe goes: the paths alone, and with the distances.

Needs dtw-python (``pip install dtw-python``); a smoke test does without. Both sides have one thread. What the recipe of
s3prl spends on sending each pair of features to a process is not counted here.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
from common import Row, interleaved, main, speed_up
from scipy.spatial import distance
from threadpoolctl import threadpool_limits

from s3prl_fusion import dtw

QUERIES, FRAMES, WIDTH = (25, 50, 75, 100), 330, 768  # 0.5 to 2 s, and 6.6 s, of HuBERT Base


def rows(quick: bool = False) -> list[Row]:
    if find_spec("dtw") is None:
        if not quick:
            sys.exit("the peer is missing: pip install dtw-python")
        return []
    import dtw as peer

    def path(cost: np.ndarray) -> float:
        """As s3prl/downstream/quesst14_dtw/expert.py:190 has it."""
        low, high = cost.min(1, keepdims=True), cost.max(1, keepdims=True)
        scaled = (cost - low) / np.clip(high - low, 1e-9, np.inf)
        found = peer.dtw(x=scaled, step_pattern="asymmetric", distance_only=False, open_begin=True, open_end=True)
        return -found.normalizedDistance

    rng = np.random.default_rng(0)
    queries = [rng.standard_normal((frames, WIDTH), dtype=np.float32) for frames in QUERIES]
    document = rng.standard_normal((FRAMES, WIDTH), dtype=np.float32)
    costs = [np.exp(distance.cdist(query, document, "cosine")) - 1 for query in queries]
    together, starts = np.concatenate(costs), np.cumsum([0, *QUERIES])
    wanted, search = dtw.Queries(queries), dtw._compiled()
    calls = {
        "paths": lambda: search(together, starts, True),
        "paths of the peer": lambda: [path(cost) for cost in costs],
        "all": lambda: wanted.scores(document),
        "all of the peer": lambda: [path(np.exp(distance.cdist(query, document, "cosine")) - 1) for query in queries],
    }
    assert np.allclose(calls["all"](), calls["all of the peer"](), rtol=0, atol=1e-6)
    with threadpool_limits(1, "blas"):
        seconds = interleaved(calls, repeats=3 if quick else 21)
    what = f"{len(QUERIES)} queries of {QUERIES[0]} to {QUERIES[-1]} frames in a document of {FRAMES}"
    return [
        speed_up(
            f"QbE, {what}, paths alone, against dtw-python", seconds["paths"], seconds["paths of the peer"], at_least=10
        ),
        speed_up(
            f"the same with the distances of {WIDTH} features, against s3prl's match",
            seconds["all"],
            seconds["all of the peer"],
        ),
    ]


if __name__ == "__main__":
    main(__file__, rows)
