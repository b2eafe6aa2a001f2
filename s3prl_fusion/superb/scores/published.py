"""Published scores of an upstream: the paper's (arXiv 2511.08389, Tables I and II), from
downstream_configs/fusion/paper.csv, and the SUPERB leaderboard's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...assets import downstream_configs_dir
from ...grammar import parse
from ...interfaces import interface_options, list_interfaces
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


def paper_score(fusion: Mapping[str, Any], task: str) -> float | None:
    """Look up the paper's score for the same members, in any order, the same interface and the same task, in percent.

    Args:
        fusion: as in score.json; one with a checkpoint, layers or options of its own, or normalized, has no score.
        task: as in `s3prl_fusion.superb.tasks`.
    """
    if task not in COLUMNS:
        return None
    score, measured_on = COLUMNS[task]
    for _, row in paper().iterrows():
        if (frozenset(parse(row[measured_on])[0]), row["interface"]) == _plain(fusion):
            return float(row[score])
    return None


def leaderboard_score(fusion: Mapping[str, Any], metric: str) -> float | None:
    """Look up the leaderboard's score of the same upstream, alone under a weighted sum, in percent.

    Args:
        fusion: as for `paper_score`.
        metric: as in `s3prl_fusion.superb.scores.leaderboard`, for example ``"ASR WER"``.
    """
    members, interface = _plain(fusion)
    if len(members) != 1 or interface != "weighted_sum":
        return None
    (member,) = members
    return PUBLISHED.get(SAME_UPSTREAM.get(member, member), {}).get(metric)


def _plain(fusion: Mapping[str, Any]) -> tuple[frozenset[str], str]:
    """Members and interface of a fusion that has nothing of its own; else none."""
    interface = fusion["interface"]
    options = {key: value for key, value in interface.items() if key != "name"}
    defaults = interface_options(interface["name"]) if interface["name"] in list_interfaces() else {}
    if (
        fusion.get("normalize")
        or any(len(member) > 1 for member in fusion["members"])
        or {**defaults, **options} != defaults
    ):
        return frozenset(), ""
    return frozenset(member["name"] for member in fusion["members"]), interface["name"]
