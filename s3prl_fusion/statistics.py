"""Is it more than luck? The one definition of each interval, p-value, rank correlation and spread that is reported.

A difference of two experiments is bootstrapped in pairs: each resample draws utterances, the same ones for both, and on
request seeds, so that the interval tells how far the difference would move on other utterances of the same kind, and in
other trainings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy
import numpy.typing
from scipy.stats import rankdata, spearmanr
from tqdm import tqdm

from .errors import UsageError
from .metrics import Statistic, ratio

CHUNK = 2**21  # drawn utterances at a time: 16 MB as 64-bit numbers
SECONDS = 2.0  # before a progress bar shows
RESAMPLES = 1000
LEAST = 3  # pairs of a rank correlation


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval: from the 2.5th to the 97.5th percentile of the resampled values.

    Attributes:
        value: of what was measured.
        draws: (R,) of the resamples.
    """

    value: float
    draws: numpy.ndarray = field(repr=False, compare=False)

    @property
    def low(self) -> float:
        """Where the interval begins."""
        return float(numpy.percentile(self.draws, 2.5))

    @property
    def high(self) -> float:
        """Where the interval ends."""
        return float(numpy.percentile(self.draws, 97.5))

    @property
    def p(self) -> float:
        """Two-sided, for the value 0: twice the share of resamples on one side of 0, or on it, the smaller of the two.

        The measured value counts as one resample more on either side, so that R resamples never tell less than
        2 / (R + 1): for Holm's correction over m values to reach 0.05, R must be at least 40 m.
        """
        beyond = min((self.draws <= 0).sum(), (self.draws >= 0).sum())
        return min(1.0, 2.0 * (int(beyond) + 1) / (len(self.draws) + 1))

    @property
    def sign(self) -> int:
        """1 or -1 where the interval is on one side of 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def __neg__(self) -> Estimate:
        """Swap the sides, as for scores of which less is better."""
        return Estimate(-self.value, -self.draws)

    def text(self, decimals: int = 2) -> str:
        """Return `+2.10 [0.90, 3.30]`."""
        low, high = (f"{round(end, decimals) + 0.0:.{decimals}f}" for end in (self.low, self.high))  # no "-0.00"
        return f"{round(self.value, decimals) + 0.0:+.{decimals}f} [{low}, {high}]"


@dataclass(frozen=True)
class Fold:
    """One test set, and the runs of two experiments on it.

    Attributes:
        utterances: how many.
        statistics: of the first and of the second experiment; one a seed, in the same order in every fold.
    """

    utterances: int
    statistics: tuple[Sequence[Statistic], Sequence[Statistic]]

    @classmethod
    def of_counts(
        cls, first: numpy.typing.ArrayLike, second: numpy.typing.ArrayLike, lengths: numpy.typing.ArrayLike
    ) -> Fold:
        """Make one of counts, whose score is the sum of the counts over the sum of the lengths, in percent.

        Args:
            first, second: (S, U) errors a seed and utterance, for an error rate over the whole test set (WER, PER); or
                1 where the label is right, for an accuracy. S may be another for either.
            lengths: (U,) tokens of the references; 1 for accuracies.

        Raises:
            UsageError: they are not of one test set.
        """
        wholes = numpy.asarray(lengths, dtype=float)
        sides = [numpy.atleast_2d(numpy.asarray(counts, dtype=float)) for counts in (first, second)]
        shapes = [counts.shape for counts in sides]
        if wholes.ndim != 1 or any(len(shape) != 2 or 0 in shape or shape[1] != len(wholes) for shape in shapes):
            raise UsageError(f"counts must be (seeds, utterances) of {wholes.shape} lengths; got {shapes}")
        one, other = ([ratio(counts, wholes) for counts in side] for side in sides)
        return cls(len(wholes), (one, other))

    def means(self, weights: numpy.ndarray) -> numpy.ndarray:
        """Return the mean over the seeds for each experiment.

        Args:
            weights: (R, utterances), how often each utterance is drawn.

        Returns:
            (2, R) percent; NaN where the score is undefined.
        """
        return numpy.stack([numpy.mean([one(weights) for one in side], axis=0) for side in self.statistics])

    def of_seeds(self, side: int) -> numpy.ndarray:
        """Return the score of each seed of the first (0) or second (1) experiment, (S,) percent."""
        return numpy.concatenate([one(numpy.ones((1, self.utterances))) for one in self.statistics[side]])

    def resample(self, rng: numpy.random.Generator, resamples: int, bar: tqdm) -> numpy.ndarray:
        """`means` of resamples, (2, resamples). One in which the score is undefined is drawn again."""
        chunks, rows = [], max(1, CHUNK // self.utterances)
        for start in range(0, resamples, rows):
            chunk = numpy.full((2, min(rows, resamples - start)), numpy.nan)
            while (undefined := numpy.isnan(chunk).any(axis=0)).any():
                chunk[:, undefined] = self.means(draw(rng, int(undefined.sum()), self.utterances))
            chunks.append(chunk)
            bar.update(chunk.shape[1])
        return numpy.concatenate(chunks, axis=1)


def draw(rng: numpy.random.Generator, resamples: int, units: int, draws: int | None = None) -> numpy.ndarray:
    """How often each unit is drawn, (resamples, units); each row draws `draws`, or `units`, with replacement."""
    drawn = rng.integers(units, size=(resamples, draws or units))
    drawn += units * numpy.arange(resamples)[:, None]
    counts = numpy.bincount(drawn.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(float)


def scores(folds: Sequence[Fold]) -> tuple[float, float]:
    """Return the scores of two experiments, in percent: the mean over the folds of the mean over the seeds."""
    first, second = numpy.mean([fold.means(numpy.ones((1, fold.utterances)))[:, 0] for fold in folds], axis=0)
    return float(first), float(second)


def difference(
    folds: Sequence[Fold], resamples: int = RESAMPLES, seed: int = 1337, over_seeds: bool = False, name: str = ""
) -> Estimate:
    """Bootstrap the difference of two experiments, first - second, in percent points.

    Utterances are drawn within each fold, the same ones for both experiments and all seeds; experiments on the same
    test set get the same draws, so that a `mean` of their differences is paired too.

    What other seeds would change is added to that. They are drawn for each experiment apart, the same ones in all
    folds: S - 1 of S, which gives their mean its variance (S of S would give (S - 1) / S of it). A seed's score has in
    it some of what utterances are drawn for already, so that the interval is rather too wide than too narrow. A single
    seed has no spread to draw from.

    Args:
        folds: at least one; the score is their mean.
        resamples: how many.
        seed: of the draws.
        over_seeds: whether other seeds count.
        name: of the progress bar.

    Raises:
        UsageError: a number is too small.
    """
    check(resamples, seed)
    rng = numpy.random.default_rng(seed)
    with tqdm(total=resamples * len(folds), desc=name, delay=SECONDS, leave=False, disable=None) as bar:
        drawn = numpy.mean([fold.resample(rng, resamples, bar) for fold in folds], axis=0)
    if over_seeds:
        for side in range(2):
            of_seeds = numpy.mean([fold.of_seeds(side) for fold in folds], axis=0)
            drawn[side] += _other_seeds(of_seeds, numpy.random.default_rng([seed, side]), resamples)
    first, second = scores(folds)
    return Estimate(first - second, drawn[0] - drawn[1])


def check(resamples: int, seed: int) -> None:
    """Raise UsageError unless a bootstrap can be made of that."""
    if seed < 0:
        raise UsageError(f"seed: got {seed}; give a whole number from 0 on")
    if resamples < 1:
        raise UsageError(f"resamples: got {resamples}; at least 1 is needed, 1000 are usual")


def _other_seeds(of_seeds: numpy.ndarray, rng: numpy.random.Generator, resamples: int) -> numpy.ndarray:
    """Return what drawn seeds add to the mean over all, (resamples,)."""
    draws = max(1, len(of_seeds) - 1)
    return draw(rng, resamples, len(of_seeds), draws) @ of_seeds / draws - of_seeds.mean()


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of estimates of equally many resamples, for example of one difference on several tasks."""
    value = numpy.mean([estimate.value for estimate in estimates])
    return Estimate(float(value), numpy.mean([estimate.draws for estimate in estimates], axis=0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm, 1979).

    Returns:
        In the given order: with those of at most alpha taken for real, the chance that any of these is not is at most
        alpha, however the p-values depend on each other.
    """
    order = numpy.argsort(p_values, kind="stable")
    steps = numpy.sort(p_values) * numpy.arange(len(p_values), 0, -1)
    corrected = numpy.empty(len(p_values))
    corrected[order] = numpy.minimum(1.0, numpy.maximum.accumulate(steps)) if len(p_values) else []
    return corrected.tolist()


def spearman(one: Sequence[float], other: Sequence[float], resamples: int = RESAMPLES, seed: int = 1337) -> Estimate:
    """Correlate ranks (Spearman), with the interval of a bootstrap over the pairs.

    A resample in which one side has a single value is drawn again. With n below 10 the interval is a rough one.

    Args:
        one, other: (n,) each.
        resamples, seed: of the bootstrap.

    Raises:
        UsageError: there are fewer than 3 pairs, or one side has a single value.
    """
    check(resamples, seed)
    pairs = numpy.array([one, other], dtype=float)
    if pairs.shape[1] < LEAST or any(len(numpy.unique(side)) < 2 for side in pairs):
        raise UsageError(f"a rank correlation needs at least {LEAST} pairs, and two values on each side; got {pairs}")
    drawn = numpy.concatenate(list(_correlations(numpy.random.default_rng(seed), pairs, resamples)))
    return Estimate(float(spearmanr(*pairs)[0]), drawn[:resamples])


def _correlations(rng: numpy.random.Generator, pairs: numpy.ndarray, resamples: int) -> Iterator[numpy.ndarray]:
    """Yield rank correlations of resampled pairs, `resamples` or more in all, without undefined ones."""
    found = 0
    while found < resamples:
        drawn = pairs[:, rng.integers(pairs.shape[1], size=(resamples, pairs.shape[1]))]  # (2, R, n)
        ranks = rankdata(drawn, axis=-1)
        ranks -= ranks.mean(axis=-1, keepdims=True)
        product, squares = (ranks[0] * ranks[1]).sum(axis=-1), (ranks**2).sum(axis=-1).prod(axis=0)
        defined = squares > 0
        found += int(defined.sum())
        yield product[defined] / numpy.sqrt(squares[defined])


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds, and the standard deviation with n - 1; that of one value is NaN."""
    spread = numpy.std(values, ddof=1) if len(values) > 1 else numpy.nan
    return float(numpy.mean(values)), float(spread)
