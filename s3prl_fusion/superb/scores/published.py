"""Published scores of an upstream: the paper's (arXiv 2511.08389, Tables I and II), from
downstream_configs/fusion/paper.csv, and the SUPERB leaderboard's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ...assets import downstream_configs_dir
from ...config import FusionConfig
from ...names import fusion_of, parse
from .leaderboard import PUBLISHED

if TYPE_CHECKING:
    import pandas

# Task -> its columns: the score, and the upstreams it was measured on. The paper's other tasks are not SUPERB's: its
# Mono-1h and Multi-1h are of ML-SUPERB, and its SV recipe differs (HuBERT has 3.93 there and 5.11 on the leaderboard).
COLUMNS = {"asr": ("asr_wer", "librispeech_upstream"), "er": ("er_acc", "upstream")}

# Entries of s3prl's hub that are another one by a longer name (s3prl/upstream/hubert/hubconf.py).
SAME_UPSTREAM = {"hubert_base": "hubert", "wav2vec2_base_960": "wav2vec2"}


@functools.cache
def paper() -> pandas.DataFrame:
    """Both tables, one row for each cell of models and interface; scores in percent, NaN where the paper has none."""
    import pandas

    return pandas.read_csv(downstream_configs_dir() / "fusion" / "paper.csv")


def paper_score(upstream: str, task: str) -> float | None:
    """The paper's score for the same members, in any order, the same interface and the same task, in percent.

    Args:
        upstream: a name; a stock upstream is itself under a weighted sum. ``fused`` has no score, as its YAML may
            differ from the paper's settings.
        task: as in `s3prl_fusion.superb.tasks`.
    """
    if task not in COLUMNS or upstream == "fused":
        return None
    score, measured_on = COLUMNS[task]
    for _, row in paper().iterrows():
        if (_members(parse(row[measured_on])), row["interface"]) == _fusion(upstream):
            return float(row[score])
    return None


def leaderboard_score(upstream: str, metric: str) -> float | None:
    """The leaderboard's score of the same upstream, alone under a weighted sum, in percent.

    Args:
        upstream: a name, as for `paper_score`.
        metric: as in `s3prl_fusion.superb.scores.leaderboard`, for example ``"ASR WER"``.
    """
    if upstream == "fused":
        return None
    members, interface = _fusion(upstream)
    if len(members) > 1 or interface != "weighted_sum":
        return None
    (member,) = members
    return PUBLISHED.get(SAME_UPSTREAM.get(member, member), {}).get(metric)


def _fusion(upstream: str) -> tuple[frozenset[str], str]:
    fusion = fusion_of(upstream)
    return (frozenset([upstream]), "weighted_sum") if fusion is None else (_members(fusion), fusion.interface.name)


def _members(fusion: FusionConfig) -> frozenset[str]:
    return frozenset(member.name for member in fusion.members)
