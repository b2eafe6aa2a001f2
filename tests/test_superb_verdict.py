"""Fused rows against the best of their members alone: which one that is, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_superb_compare import guesses, labels, write_run

from s3prl_fusion.checkpoint import in_full
from s3prl_fusion.names import resolve
from s3prl_fusion.superb.layout import find_scored
from s3prl_fusion.superb.scores import tables
from s3prl_fusion.superb.scores.compare import compare
from s3prl_fusion.superb.scores.report import report
from s3prl_fusion.superb.scores.verdict import verdicts

REFERENCES = labels(np.random.default_rng(0), 200)
COSTS = {"chance": 25.0, "utterances": 200, "train_seconds": 1.0, "evaluate_seconds": 1.0, "config_hash": "0"}
COSTS.update({f"{part}_parameters": 1 for part in ("featurizer", "downstream", "frozen")})
COSTS.update(dict.fromkeys(("s3prl_fusion", "host", "torch", "device"), ""))


def row(exp: Path, upstream: str, dev: float, right: float, names=None, **more) -> Path:
    """Runs of ER under one upstream that are right with a probability."""
    fusion, references = in_full(resolve(upstream)), {name: REFERENCES[name] for name in names or REFERENCES}
    for seed in (1, 2, 3):
        found = guesses(np.random.default_rng([seed, *upstream.encode()]), references, right)
        content = {"upstream": upstream, "fusion": fusion, "made_of": fusion, "interface": fusion["interface"]["name"]}
        content.update(COSTS, seed=seed, fold="fold1", dev_score=dev, **more)
        write_run(exp / upstream / f"er_seed{seed}" / "fold1", "er", found, references, **content)
    return exp / upstream


@pytest.mark.parametrize(
    "right, sign, words", [(0.9, 1, "better than"), (0.5, 0, "not told apart from"), (0.2, -1, "worse than")]
)
def test_the_best_single_on_dev_is_what_counts(tmp_path, right, sign, words):
    """On test, another one is better by far; and the one of no member is no single of it."""
    fused = row(tmp_path, "fused__fbank__mfcc", 50.0, right)
    single = row(tmp_path, "fused__mfcc__weighted_sum", 45.0, 0.5)
    row(tmp_path, "fused__fbank", 40.0, 0.99)
    row(tmp_path, "fused__mel", 90.0, 0.99)
    (found,) = verdicts(tables.read_runs(find_scored(tmp_path)))
    assert (found.upstream, found.single, found.gain.sign) == ("fused__fbank__mfcc", "fused__mfcc__weighted_sum", sign)
    compared = compare(fused, single).iloc[0]
    assert [found.gain.value, found.gain.low, found.gain.high] == list(compared[["difference", "low", "high"]])
    assert found.line.startswith(
        f"- fused__fbank__mfcc, ER acc: {words} fused__mfcc__weighted_sum ({right - 0.5:+.0f}"[:-3]
    )


def test_an_error_rate_gains_where_it_falls(tmp_path):
    texts = {key: "A B C" for key in REFERENCES}
    for name, words in (("fused__fbank__mfcc", "A B C"), ("fused__fbank", "A B")):
        fusion = in_full(resolve(name))
        content = {"upstream": name, "fusion": fusion, "made_of": fusion, **COSTS}
        write_run(tmp_path / name / "pr", "pr", dict.fromkeys(texts, words), texts, **content)
    (found,) = verdicts(tables.read_runs(find_scored(tmp_path)))
    assert (found.gain.sign, found.gain.value) == (1, pytest.approx(100 / 3))


def test_it_stands_under_the_table_in_the_page_and_in_json(tmp_path):
    row(tmp_path / "exp", "fused__fbank__mfcc", 50.0, 0.9)
    row(tmp_path / "exp", "fused__fbank", 40.0, 0.5)
    told = report(find_scored(tmp_path / "exp"), "Scores", tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    (line,) = (line for line in told.splitlines() if line.startswith("- "))
    assert "better than fused__fbank" in line and line in text and "Better, worse: than the best" in text
    (kept,) = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["fused_against_single"]
    assert kept["single"] == "fused__fbank" and 0 < kept["low"] < kept["gain"] < kept["high"]


def test_without_singles_or_without_pairs_there_is_none(tmp_path):
    row(tmp_path, "fused__fbank__mfcc", 50.0, 0.9)
    assert verdicts(tables.read_runs(find_scored(tmp_path))) == []
    row(tmp_path, "fused__fbank", 40.0, 0.5, sorted(REFERENCES)[:100], utterances=100)
    (found,) = verdicts(tables.read_runs(find_scored(tmp_path)))
    assert found.gain is None and "differ in 100 utterances" in found.line
