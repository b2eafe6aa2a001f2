"""Scores: hand-computed cases, a brute-force edit distance, and s3prl's own metric."""

from __future__ import annotations

import itertools
import random

import pytest

from s3prl_fusion import metrics
from s3prl_fusion.superb.scores import scoring


def distance(hypothesis: list[str], reference: list[str]) -> int:
    """Levenshtein distance straight from its recursive definition."""
    if not hypothesis or not reference:
        return len(hypothesis) + len(reference)
    same = distance(hypothesis[1:], reference[1:]) + (hypothesis[0] != reference[0])
    return min(same, 1 + distance(hypothesis[1:], reference), 1 + distance(hypothesis, reference[1:]))


@pytest.mark.parametrize(
    ("hypothesis", "percent"),
    [("A B C D", 0.0), ("A B D", 25.0), ("A X C D", 25.0), ("A B C D E", 25.0), ("", 100.0), ("X Y Z W V", 125.0)],
)
def test_error_rate_by_hand(hypothesis, percent):
    assert metrics.WER.score({"u": hypothesis}, {"u": "A B C D"}) == pytest.approx(percent)


def test_error_rate_weighs_utterances_by_length():
    references = {"long": "A B C D E F G H I", "short": "A"}
    assert metrics.WER.score({"long": references["long"], "short": "B"}, references) == pytest.approx(10.0)


def test_error_rate_equals_brute_force_and_s3prl():
    from s3prl.downstream.ctc.metric import per

    rng = random.Random(1)
    texts = [[" ".join(rng.choices("ABC", k=rng.randint(1, 6))) for _ in range(30)] for _ in range(2)]
    hypotheses, references = (dict(zip(map(str, range(30)), side)) for side in texts)
    errors = sum(distance(hypotheses[key].split(), references[key].split()) for key in references)
    expected = 100.0 * errors / sum(len(text.split()) for text in references.values())
    assert metrics.WER.score(hypotheses, references) == pytest.approx(expected)
    assert 100.0 * per(hypothesis=texts[0], groundtruth=texts[1]) == pytest.approx(expected)


def test_accuracy_and_chance():
    references = {"a": "hap", "b": "sad", "c": "ang", "d": "neu"}
    assert metrics.ACCURACY.score({**references, "a": "sad"}, references) == pytest.approx(75.0)
    assert metrics.ACCURACY.chance(references) == pytest.approx(25.0)
    assert metrics.ACCURACY.chance({str(clip): f"id1000{clip % 5}" for clip in range(90)}) == pytest.approx(20.0)
    assert metrics.WER.chance({"a": "ONE TWO", "b": "THREE"}) == pytest.approx(100.0)


def hull_eer(labels: list[int], scores: list[float]) -> float:
    """Where the convex hull of the ROC curve has as many misses as false alarms, in percent."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores), reverse=True):
        accepted = [label for label, score in zip(labels, scores) if score >= threshold]
        points.append((accepted.count(0) / labels.count(0), accepted.count(1) / labels.count(1)))
    crossings = [
        x0 + (1 - x0 - y0) * (x1 - x0) / ((x1 - x0) + (y1 - y0))
        for (x0, y0), (x1, y1) in itertools.combinations(points, 2)
        if x0 + y0 < 1 <= x1 + y1
    ]
    return 100 * min(crossings)


@pytest.mark.fault(
    "an equal error rate, of which several definitions are in use", "tables, `--compare` and score.json say which"
)
def test_the_equal_error_rate_is_the_recipes_and_says_so():
    from s3prl.downstream.sv_voxceleb1.utils import EER

    labels = [0, 1, 1, 1, 0, 0, 0, 1, 0, 0]
    scores = [-1.16, 0.0, 2.3, 1.15, 0.85, -0.61, 1.38, 1.35, 0.48, 0.55]
    trials = [f"trial{i}" for i in range(10)]
    ours = metrics.EER.score(dict(zip(trials, map(str, scores))), dict(zip(trials, map(str, labels))))
    assert ours == 100 * EER(labels, scores)[0] == pytest.approx(25.0)
    assert hull_eer(labels, scores) == pytest.approx(22.22, abs=0.01)
    assert "ROC curve" in metrics.EER.definition and "s3prl's recipe" in metrics.EER.definition


def test_a_missing_or_extra_utterance_is_an_error():
    with pytest.raises(metrics.ScoreError, match=r"1 missing \['b'\], 1 extra \['c'\]"):
        metrics.ACCURACY.score({"a": "x", "c": "x"}, {"a": "x", "b": "x"})


def test_read_texts(tmp_path):
    path = tmp_path / "hyp.ark"
    path.write_text("u1 HELLO  WORLD\nu2 \nu3\n", encoding="utf-8")
    assert scoring.read_texts(path) == {"u1": "HELLO  WORLD", "u2": "", "u3": ""}
    path.write_text("u1 A\nu1 B\n", encoding="utf-8")
    with pytest.raises(metrics.ScoreError, match="'u1' is there twice"):
        scoring.read_texts(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(metrics.ScoreError, match="no lines"):
        scoring.read_texts(path)


def test_logged_score_is_the_last_one_of_its_split():
    log = "test-clean loss: 1.0\ntest-clean wer: 90.0\ndev-clean wer: 10.0\ntest-clean wer: 45.5\ntrain wer: 1.0\n"
    assert scoring.logged_score(log, "test-clean wer", 1.0) == 45.5
    assert scoring.logged_score("test acc: 0.25\n", "test acc", 100.0) == 25.0
    with pytest.raises(metrics.ScoreError, match="no line 'test per"):
        scoring.logged_score(log, "test per", 100.0)


def test_a_difference_from_the_log_is_an_error():
    scoring.check_logged(45.50001, 45.5)
    with pytest.raises(metrics.ScoreError, match=r"files give 45\.5200 %, but the recipe logged 45\.5000 %"):
        scoring.check_logged(45.52, 45.5)
    with pytest.raises(metrics.ScoreError):
        scoring.check_logged(45.5, float("nan"))
