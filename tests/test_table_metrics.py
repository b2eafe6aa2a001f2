"""What tables of one's own are scored by beside the recipe's metric, against independent references."""

from __future__ import annotations

import editdistance
import numpy as np
import pytest
from sklearn.metrics import f1_score

from s3prl_fusion.metrics import CER, MACRO_F1, ScoreError
from s3prl_fusion.superb.scores.confusion import counts


def labels(seed: int, count: int = 60) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    return {f"u{i}": "abc"[n] for i, n in enumerate(rng.choice(3, size=count, p=(0.6, 0.3, 0.1)))}


def test_macro_f1_is_sklearns():
    truth, said = labels(0), {**labels(1), "u0": "never"}
    expected = f1_score(list(truth.values()), list(said.values()), average="macro", labels=list("abc"))
    assert MACRO_F1.score(said, truth) == pytest.approx(100 * expected)
    assert MACRO_F1.score(truth, truth) == 100.0
    with pytest.raises(ScoreError, match="1 missing"):
        MACRO_F1.score({"u1": "a"}, {"u1": "a", "u2": "a"})


def test_a_resample_counts_an_utterance_as_often_as_it_is_drawn():
    truth, said = labels(0, 12), labels(1, 12)
    weights = np.random.default_rng(2).multinomial(12, [1 / 12] * 12, size=20)
    keys = sorted(truth)
    for row, value in zip(weights, MACRO_F1.resampled(said, truth)(weights)):
        drawn = [key for key, times in zip(keys, row) for _ in range(times)]
        present = sorted({truth[key] for key in drawn} | {said[key] for key in drawn} & set(truth.values()))
        expected = f1_score([truth[k] for k in drawn], [said[k] for k in drawn], average="macro", labels=present)
        assert value == pytest.approx(100 * expected)


def test_blind_guesses_f1_is_that_of_many_guesses():
    truth = labels(0, 20_000)
    rng = np.random.default_rng(3)
    guessed = dict(zip(truth, rng.choice(list("abc"), size=len(truth))))
    assert MACRO_F1.chance(truth) == pytest.approx(MACRO_F1.score(guessed, truth), abs=1.0)


@pytest.mark.parametrize(
    "said, truth, characters",
    [
        ({"a": "AHOJ SVETE"}, {"a": "AHOJ SVĚTE"}, [("AHOJ SVETE", "AHOJ SVĚTE")]),
        ({"a": "AB", "b": ""}, {"a": "A B", "b": "ŘÍ"}, [("AB", "A B"), ("", "ŘÍ")]),
        ({"a": "你 号 世 界"}, {"a": "你 好 世 界"}, [("你号世界", "你好世界")]),
        ({"a": "مرحبا"}, {"a": "مرحبا بك"}, [("مرحبا", "مرحبا بك")]),
    ],
)
def test_cer_counts_characters_with_the_spaces_that_a_script_has(said, truth, characters):
    wrong = sum(editdistance.eval(hypothesis, reference) for hypothesis, reference in characters)
    assert CER.score(said, truth) == pytest.approx(100 * wrong / sum(len(reference) for _, reference in characters))
    assert CER.chance(truth) == 100.0


def test_the_confusion_picture_counts_each_utterance_once():
    truth, said = labels(0), labels(1)
    names, table = counts(said, truth)
    assert names == ["a", "b", "c"] and sum(map(sum, table)) == len(truth)
    assert table[0][2] == sum(truth[key] == "a" and said[key] == "c" for key in truth)
