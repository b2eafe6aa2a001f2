"""Intervals, p-values and correlations against scipy's, worked cases and simulated experiments."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from s3prl_fusion import metrics, statistics
from s3prl_fusion.errors import UsageError
from s3prl_fusion.statistics import Estimate, Fold, difference, holm, mean, mean_and_spread, spearman


def counts(rng: np.random.Generator, rate: float, seeds: int = 3, utterances: int = 40) -> np.ndarray:
    return rng.binomial(8, rate, size=(seeds, utterances))


def test_counts_give_the_metrics_score():
    references = {"a": "A B C", "b": "A", "c": "B B"}
    hypotheses = [{"a": "A B", "b": "A", "c": "B C"}, {"a": "", "b": "B", "c": "B B B"}]
    fold = Fold.of_counts([[1, 0, 1]], [[3, 1, 1]], [3, 1, 2])
    expected = tuple(metrics.PER.score(hypothesis, references) for hypothesis in hypotheses)
    assert statistics.scores([fold]) == pytest.approx(expected)
    right = Fold.of_counts([1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1])  # one seed
    assert statistics.scores([right]) == (75.0, 50.0)


def test_scipys_interval_for_a_ratio_of_sums():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, size=200)
    first, second = (rng.binomial(lengths, rate) for rate in (0.2, 0.25))
    theirs = stats.bootstrap(
        (first, second, lengths),
        lambda x, y, n, axis: 100.0 * (x - y).sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
        random_state=np.random.default_rng(1),
    )
    ours = difference([Fold.of_counts(first, second, lengths)], resamples=4000)
    tolerance = 4 * 0.045 * np.sqrt(2) * theirs.standard_error  # as in test_superb_compare
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval), abs=tolerance)
    assert ours.value == pytest.approx(100.0 * (first - second).sum() / lengths.sum())


def test_seeds_spread_as_their_mean_does():
    """With one utterance nothing but seeds is drawn: the variance is s^2 / S for either side, s^2 with S - 1."""
    first, second = [[10], [20], [60]], [[5], [6], [9], [30], [40]]
    fold = Fold.of_counts(first, second, [100])
    drawn = difference([fold], resamples=20_000, over_seeds=True).draws
    expected = np.var(first, ddof=1) / 3 + np.var(second, ddof=1) / 5
    assert drawn.var() == pytest.approx(expected, rel=0.05)
    assert drawn.mean() == pytest.approx(30.0 - 18.0, abs=0.6)
    assert np.ptp(difference([fold]).draws) == 0.0


def test_seeds_are_drawn_alike_in_all_folds():
    """Seeds that win on one fold what they lose on the other do not differ."""
    one, other = ([[10], [20], [60]], [[60], [50], [10]])
    folds = [Fold.of_counts(counts, [[35]], [100]) for counts in (one, other)]
    assert np.ptp(difference(folds, over_seeds=True).draws) == 0.0
    assert np.ptp(difference(folds[:1], over_seeds=True).draws) > 0.0


def test_one_seed_is_not_drawn():
    rng = np.random.default_rng(2)
    fold = Fold.of_counts(counts(rng, 0.3, 1), counts(rng, 0.4, 1), [8] * 40)
    plain, drawn = (difference([fold], over_seeds=over_seeds) for over_seeds in (False, True))
    assert (plain.draws == drawn.draws).all()


def simulated(rng: np.random.Generator, seed_spread: float) -> Fold:
    """Two experiments that are as good as each other: each seed's and each utterance's rate departs from 0.3."""
    easy = rng.normal(0, 0.08, size=60)
    sides = [
        rng.binomial(8, np.clip(0.3 + easy + rng.normal(0, seed_spread, size=(5, 1)), 0.01, 0.99)) for _ in range(2)
    ]
    return Fold.of_counts(*sides, [8] * 60)


@pytest.mark.parametrize(("seed_spread", "without"), [(0.05, (0.0, 0.65)), (0.0, (0.87, 1.0))])
def test_the_interval_covers_what_it_says(seed_spread, without):
    """Where seeds differ, an interval that leaves them out is far too narrow."""
    rng, covered = np.random.default_rng(3), {False: [], True: []}
    for _ in range(150):
        fold = simulated(rng, seed_spread)
        for over_seeds, hits in covered.items():
            hits.append(difference([fold], resamples=200, over_seeds=over_seeds).sign == 0)
    assert 0.88 <= np.mean(covered[True]) <= 1.0
    assert without[0] <= np.mean(covered[False]) <= without[1]


def test_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(10)
    found = [difference([simulated(rng, 0.0)], resamples=200).p for _ in range(300)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_p_counts_the_measured_value():
    assert Estimate(1.0, np.ones(999)).p == 0.002
    assert Estimate(0.0, np.zeros(9)).p == 1.0
    assert Estimate(1.0, np.array([-1.0] + [2.0] * 18)).p == pytest.approx(0.2)


def test_an_estimate_turned_round_and_told():
    estimate = Estimate(2.0, np.arange(0.0, 4.001, 0.01))
    other = -estimate
    assert (other.value, other.low, other.high) == pytest.approx((-2.0, -estimate.high, -estimate.low))
    assert (other.p, other.sign, estimate.sign) == (estimate.p, -1, 1)
    assert estimate.text(1) == "+2.0 [0.1, 3.9]"
    assert Estimate(-0.001, np.array([-0.001])).text() == "+0.00 [0.00, 0.00]"


def test_a_mean_over_tasks_is_paired_where_the_test_set_is_the_same():
    """What one wins on an utterance, the other loses: the mean is known exactly."""
    first, second = counts(np.random.default_rng(5), 0.3), np.zeros((3, 40))
    folds = [Fold.of_counts(first, second, [8] * 40), Fold.of_counts(second, first, [8] * 40)]
    found = mean([difference([fold], over_seeds=False) for fold in folds])
    assert (found.value, found.low, found.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def closed_test(p_values: list[float]) -> list[float]:
    """Holm's corrected p-values as the closed test with Bonferroni's: the worst of all families that have the value."""
    families = [family for size in range(1, len(p_values) + 1) for family in combinations(range(len(p_values)), size)]
    worst = {family: min(1.0, len(family) * min(p_values[i] for i in family)) for family in families}
    return [max(worst[family] for family in families if i in family) for i in range(len(p_values))]


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closed_test(seed):
    found = np.random.default_rng(seed).beta(0.3, 1, size=6).round(3).tolist()
    assert holm(found) == pytest.approx(closed_test(found))


def test_holm_worked():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (holm([0.2]), holm([]), holm([0.9, 0.8])) == ([0.2], [], [1.0, 1.0])


def test_spearman_is_scipys_and_so_is_each_resample():
    rng = np.random.default_rng(6)
    one = rng.normal(size=12)
    other = (one + rng.normal(size=12)).round(0)  # with ties
    found = spearman(one, other, resamples=60, seed=7)
    assert found.value == pytest.approx(stats.spearmanr(one, other)[0])
    drawn = np.random.default_rng(7).integers(12, size=(60, 12))
    assert found.draws == pytest.approx([stats.spearmanr(one[rows], other[rows])[0] for rows in drawn])


def test_spearman_of_few_pairs_has_no_undefined_resamples():
    found = spearman([1, 2, 3], [1, 2, 4], resamples=500)
    assert found.value == pytest.approx(1.0)
    assert (len(found.draws), found.low, found.high) == (500, pytest.approx(1.0), pytest.approx(1.0))
    assert spearman([1, 2, 3], [3, 2, 1]).value == pytest.approx(-1.0)


def test_mean_and_spread():
    assert mean_and_spread([1.0, 2.0, 6.0]) == pytest.approx((3.0, math.sqrt(7.0)))
    assert mean_and_spread([4.0]) == pytest.approx((4.0, math.nan), nan_ok=True)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda fold: difference([fold], resamples=0), "resamples: got 0; at least 1"),
        (lambda fold: difference([fold], seed=-1), "seed: got -1"),
        (lambda fold: Fold.of_counts([[1, 0]], [[1, 0, 0]], [1, 1]), r"of \(2,\) lengths; got \[\(1, 2\), \(1, 3\)\]"),
        (lambda fold: Fold.of_counts([], [[1]], [1]), "counts must be"),
        (lambda fold: spearman([1, 2], [1, 2]), "at least 3 pairs"),
        (lambda fold: spearman([1, 2, 3], [1, 1, 1]), "two values on each side"),
    ],
)
def test_mistakes(call, match):
    with pytest.raises(UsageError, match=match):
        call(Fold.of_counts([[1, 0]], [[0, 0]], [1, 1]))
