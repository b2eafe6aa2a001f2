"""Scores recomputed from the files that a recipe's evaluation writes.

The functions take `{utterance: text}` mappings, as `read_texts` returns them, and give percent. A recipe prints its own
score too; `check_logged` holds both against each other.

A score has one definition: the `resampled_*` functions give a `Statistic`, and the score is that of the whole set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError

if TYPE_CHECKING:
    import numpy

TOLERANCE = 0.01  # percent points; the recipes average in single precision

# (R, n) how often each resample draws each utterance, utterances sorted -> (R,) percent; NaN where it is undefined.
Statistic = Callable[["numpy.ndarray"], "numpy.ndarray"]


class ScoreError(UsageError):
    """The written files and the logged score disagree, or one of them is unusable."""


def read_texts(path: Path) -> dict[str, str]:
    """Read lines of `utterance text...`, split at the first space as the leaderboard does.

    Raises:
        FileNotFoundError: `path` does not exist.
        ScoreError: The file is empty, or an utterance is there twice.
    """
    texts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        utterance, _, text = line.partition(" ")
        if utterance in texts:
            raise ScoreError(f"{path}: utterance '{utterance}' is there twice")
        texts[utterance] = text.strip()
    if not texts:
        raise ScoreError(f"{path}: no lines; run the evaluation again")
    return texts


def check_same_utterances(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> None:
    """Raise ScoreError unless both mappings hold the same utterances."""
    missing = sorted(references.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - references.keys())
    if missing or extra:
        raise ScoreError(
            f"hypotheses and references differ: {len(missing)} missing {missing[:3]}, {len(extra)} extra {extra[:3]}"
        )


def token_counts(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> tuple[list[int], list[int]]:
    """Edit distance over space-separated tokens, and reference tokens, of each utterance in sorted order.

    Raises:
        ScoreError: The utterances differ, or the references hold no tokens.
    """
    import editdistance

    check_same_utterances(hypotheses, references)
    pairs = [(hypotheses[key].split(), references[key].split()) for key in sorted(references)]
    tokens = [len(reference) for _, reference in pairs]
    if sum(tokens) == 0:
        raise ScoreError("the references hold no tokens")
    return [editdistance.eval(hypothesis, reference) for hypothesis, reference in pairs], tokens


def label_counts(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> tuple[list[int], list[int]]:
    """1 where the label is right, else 0, and 1 label, of each utterance in sorted order."""
    check_same_utterances(hypotheses, references)
    return [int(hypotheses[key] == references[key]) for key in sorted(references)], [1] * len(references)


def _ratio(counts: tuple[list[int], list[int]]) -> Statistic:
    import numpy

    numbers = numpy.array(counts, dtype=float).T  # whole numbers, so that sums are exact

    def statistic(weights: numpy.ndarray) -> numpy.ndarray:
        part, whole = (weights @ numbers).T
        return numpy.divide(100.0 * part, whole, out=numpy.full(len(whole), math.nan), where=whole > 0)

    return statistic


def resampled_token_error_rate(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> Statistic:
    """`token_error_rate` of resamples; NaN where none of the drawn references has a token."""
    return _ratio(token_counts(hypotheses, references))


def resampled_accuracy(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> Statistic:
    """`accuracy` of resamples."""
    return _ratio(label_counts(hypotheses, references))


def resampled_equal_error_rate(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> Statistic:
    """`equal_error_rate` of resamples; NaN where all drawn trials are of one kind.

    A trial counts as often as it is drawn; the curve is interpolated as s3prl.metric.common.compute_eer does it.

    Raises:
        ScoreError: A score is no finite number, or the trials are all of one kind.
    """
    import numpy
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    check_same_utterances(hypotheses, references)
    if set(references.values()) != {"0", "1"}:
        raise ScoreError("the equal error rate needs trials of both kinds, 0 and 1")
    try:
        scores = numpy.array([float(hypotheses[trial]) for trial in sorted(references)])
    except ValueError as error:
        raise ScoreError(f"a trial's score is no number: {error}") from error
    if not numpy.isfinite(scores).all():
        raise ScoreError("a trial's score is not finite; train with a lower learning rate")
    labels = numpy.array([int(references[trial]) for trial in sorted(references)])
    order = numpy.argsort(-scores)  # once, because roc_curve sorts faster what is sorted
    labels, scores = labels[order], scores[order]

    def one(weights: numpy.ndarray) -> float:
        if not 0 < weights @ labels < weights.sum():
            return math.nan
        accepted = interp1d(*roc_curve(labels, scores, pos_label=1, sample_weight=weights)[:2])
        return 100.0 * float(brentq(lambda rate: 1.0 - rate - accepted(rate), 0.0, 1.0))

    return lambda weights: numpy.array([one(row) for row in weights[:, order]])


def _plain(statistic: Statistic, utterances: int) -> float:
    import numpy

    return float(statistic(numpy.ones((1, utterances)))[0])


def token_error_rate(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> float:
    """Edit distance over space-separated tokens, summed, per reference token, in percent (WER, PER)."""
    return _plain(resampled_token_error_rate(hypotheses, references), len(references))


def accuracy(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> float:
    """Share of utterances whose label is right, in percent."""
    return _plain(resampled_accuracy(hypotheses, references), len(references))


def equal_error_rate(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> float:
    """Where as many impostors are let in as speakers are refused, in percent.

    Args:
        hypotheses: Each trial's score; higher is more alike.
        references: "1" for the same speaker, "0" for two.

    Raises:
        ScoreError: A score is no finite number, or the trials are all of one kind.
    """
    return _plain(resampled_equal_error_rate(hypotheses, references), len(references))


def chance_eer(references: Mapping[str, str]) -> float:
    """The equal error rate of a coin, in percent."""
    return 50.0


def empty_error_rate(references: Mapping[str, str]) -> float:
    """The error rate of an empty output in percent: every token is deleted."""
    return token_error_rate(dict.fromkeys(references, ""), references)


def chance_accuracy(references: Mapping[str, str]) -> float:
    """Accuracy of a blind guess among the labels that occur, in percent."""
    return 100.0 / len(set(references.values()))


def logged_score(log: str, key: str, scale: float) -> float:
    """The last `key: value` that the recipe printed, times `scale`.

    Raises:
        ScoreError: The log has no such line.
    """
    values = re.findall(rf"^{re.escape(key)}: (\S+)\s*$", log, flags=re.MULTILINE)
    if not values:
        raise ScoreError(f"the log has no line '{key}: <number>'")
    return float(values[-1]) * scale


def check_logged(score: float, logged: float) -> None:
    """Raise ScoreError when a recomputed score differs from what the recipe logged (both in percent)."""
    if not abs(score - logged) <= TOLERANCE:
        raise ScoreError(f"the files give {score:.4f} %, but the recipe logged {logged:.4f} %")
