"""What a task is scored by, one object each. Scores are in percent.

The functions take `{utterance: text}` mappings. A score has one definition: a metric's `resampled` gives a `Statistic`
of resamples of the utterances, and the score is that of the whole set.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from . import diarization
from .errors import UsageError
from .spelling import characters

if TYPE_CHECKING:
    import numpy

Texts = Mapping[str, str]
# (hypotheses, references) -> for each utterance, sorted, the counts whose sums' quotient is the score.
Counts = Callable[[Texts, Texts], "tuple[list[int], list[int]]"]
# What a false alarm of every other document costs, where missing all that have the query costs 1: cost of a false alarm
# over cost of a miss, 1 / 100, times the odds against a query, whose prior is 0.0008.
FALSE_ALARM = 1 / 100 * (1 / 0.0008 - 1)
# (R, n) how often each resample draws each utterance, utterances sorted -> (R,) percent; NaN where it is undefined.
Statistic = Callable[["numpy.ndarray"], "numpy.ndarray"]


_SLOT = re.compile(r"B-(\S+) (.+?) E-\1")
_OPENING, _CLOSING = re.compile(r"B-\S+ "), re.compile(r" E-\S+")  # of marks


class ScoreError(UsageError):
    """Files that a recipe's evaluation wrote and its log disagree, or one of them is unusable."""


@dataclass(frozen=True)
class Metric:
    """What a task is scored by.

    Attributes:
        name: in tables.
        higher_is_better: which way is better.
        resampled: (hypotheses, references) -> the score of resamples of the utterances.
        chance: references -> what needs no speech at all.
        scale: from what the recipe logs to percent.
        definition: a few words where several are in use.
        counts: what `resampled` divides, where the score is a quotient of sums over utterances.
    """

    name: str
    higher_is_better: bool
    resampled: Callable[[Texts, Texts], Statistic]
    chance: Callable[[Texts], float]
    scale: float = 100.0
    definition: str = ""
    counts: Counts | None = None

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def best(self) -> str:
        """The name of the function that picks the better of two."""
        return "max" if self.higher_is_better else "min"

    def score(self, hypotheses: Texts, references: Texts) -> float:
        """Score hypotheses.

        Raises:
            ScoreError: the two do not hold the same utterances, or one of them is unusable.
        """
        return _of_all(self.resampled(hypotheses, references), len(references))


def _of_all(statistic: Statistic, utterances: int) -> float:
    import numpy

    return float(statistic(numpy.ones((1, utterances)))[0])


def check_same_utterances(hypotheses: Texts, references: Texts) -> None:
    """Refuse mappings that do not hold the same utterances.

    Raises:
        ScoreError: says which.
    """
    missing = sorted(references.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - references.keys())
    if missing or extra:
        raise ScoreError(
            f"hypotheses and references differ: {len(missing)} missing {missing[:3]}, {len(extra)} extra {extra[:3]}"
        )


def edits(hypotheses: Texts, references: Texts) -> tuple[list[int], list[int]]:
    """Count edit distances over space-separated tokens, and the references' tokens.

    Raises:
        ScoreError: the utterances differ, or the references hold no tokens.
    """
    import editdistance

    check_same_utterances(hypotheses, references)
    pairs = [(hypotheses[key].split(), references[key].split()) for key in sorted(references)]
    tokens = [len(reference) for _, reference in pairs]
    if sum(tokens) == 0:
        raise ScoreError("the references hold no tokens")
    return [editdistance.eval(hypothesis, reference) for hypothesis, reference in pairs], tokens


def character_edits(hypotheses: Texts, references: Texts) -> tuple[list[int], list[int]]:
    """Count as `edits` does, over characters; a space between words is one, in scripts that have it."""
    return edits(_spelled(hypotheses), _spelled(references))


def _spelled(texts: Texts) -> dict[str, str]:
    return {key: " ".join(characters(text).replace(" ", "|")) for key, text in texts.items()}


def error_rate(hypotheses: Texts, references: Texts) -> Statistic:
    """Sum `edits` per reference token; NaN where no drawn reference has one."""
    return ratio(*edits(hypotheses, references))


def character_error_rate(hypotheses: Texts, references: Texts) -> Statistic:
    """Sum `character_edits` per reference character; NaN where no drawn reference has one."""
    return ratio(*character_edits(hypotheses, references))


def hits(hypotheses: Texts, references: Texts) -> tuple[list[int], list[int]]:
    """Count the labels that are right, and the labels: one an utterance.

    Raises:
        ScoreError: the utterances differ.
    """
    check_same_utterances(hypotheses, references)
    return [int(hypotheses[key] == references[key]) for key in sorted(references)], [1] * len(references)


def accuracy(hypotheses: Texts, references: Texts) -> Statistic:
    """Count the utterances whose label is right."""
    return ratio(*hits(hypotheses, references))


def macro_f1(hypotheses: Texts, references: Texts) -> Statistic:
    """Average F1 over the labels that the references have, rare and frequent ones alike; in a resample, over those that
    are drawn or said there.

    Raises:
        ScoreError: the utterances differ.
    """
    import numpy

    check_same_utterances(hypotheses, references)
    keys, labels = sorted(references), sorted(set(references.values()))
    said, true = (
        numpy.array([[texts[key] == label for label in labels] for key in keys], dtype=float)
        for texts in (hypotheses, references)
    )

    def statistic(weights: numpy.ndarray) -> numpy.ndarray:
        both, either = weights @ (said * true), weights @ (said + true)
        f1 = numpy.divide(2.0 * both, either, out=numpy.full(both.shape, math.nan), where=either > 0)
        return 100.0 * numpy.nanmean(f1, axis=1)

    return statistic


def slots_in(text: str) -> dict[str, list[str]]:
    """Find the slots of a text, ``PLAY B-artist ABBA E-artist``: their values by their types.

    A value ends with the first mark of its own type; other marks in it are left out, opening ones first: between two
    words that both kinds stand at, it is one space that they share (s3prl/downstream/ctc/metric.py:29).
    """
    found: dict[str, list[str]] = {}
    for kind, value in _SLOT.findall(re.sub(" +", " ", text)):
        found.setdefault(kind, []).append(_CLOSING.sub("", _OPENING.sub("", value)))
    return found


def slot_type_f1(hypotheses: Texts, references: Texts) -> Statistic:
    """Average the utterances' F1 of the set of slots' types: 1 where there are none on either side.

    Raises:
        ScoreError: the utterances differ.
    """
    check_same_utterances(hypotheses, references)
    pairs = [(slots_in(hypotheses[key]).keys(), slots_in(references[key]).keys()) for key in sorted(references)]
    scores = [Fraction(2 * len(a & b), len(a) + len(b)) if a or b else Fraction(1) for a, b in pairs]
    parts = math.lcm(*(score.denominator for score in scores))  # of 1: sums of whole numbers are exact
    return ratio([int(score * parts) for score in scores], [parts] * len(scores))


def slot_edits(hypotheses: Texts, references: Texts) -> tuple[list[int], list[int]]:
    """Count edit distances of the slots' values, over characters, and the references' characters: each value against
    the likest of its type in the same utterance, or against nothing.

    Raises:
        ScoreError: the utterances differ, or the references hold no slot.
    """
    import editdistance

    check_same_utterances(hypotheses, references)
    errors, lengths = [], []
    for key in sorted(references):
        said, true = slots_in(hypotheses[key]), slots_in(references[key])
        values = [(value, said.get(kind, [""])) for kind, of_kind in true.items() for value in of_kind]
        errors.append(sum(min(editdistance.eval(each, value) for each in candidates) for value, candidates in values))
        lengths.append(sum(len(value) for value, _ in values))
    if sum(lengths) == 0:
        raise ScoreError("the references hold no slots")
    return errors, lengths


def slot_value_cer(hypotheses: Texts, references: Texts) -> Statistic:
    """Sum `slot_edits` per reference character; NaN where no drawn reference has a slot."""
    return ratio(*slot_edits(hypotheses, references))


def ratio(parts: Sequence[float] | numpy.ndarray, wholes: Sequence[float] | numpy.ndarray) -> Statistic:
    """Sum parts over the sum of wholes, in percent, each (n,); NaN where the wholes that are drawn sum to 0."""
    import numpy

    numbers = numpy.array((parts, wholes), dtype=float).T  # whole numbers, so that sums are exact

    def statistic(weights: numpy.ndarray) -> numpy.ndarray:
        part, whole = (weights @ numbers).T
        return numpy.divide(100.0 * part, whole, out=numpy.full(len(whole), math.nan), where=whole > 0)

    return statistic


def equal_error_rate(hypotheses: Texts, references: Texts) -> Statistic:
    """Find where as many impostors are let in as speakers are refused; NaN where all drawn trials are of one kind.

    A trial counts as often as it is drawn. The definition is that of s3prl's recipe and s3prl.metric.common: the curve
    itself, straight between its points. Its convex hull is another one: it may give 22.22 % where this gives 25.00 %.

    Args:
        hypotheses: each trial's score; higher is more alike.
        references: "1" for the same speaker, "0" for two.

    Raises:
        ScoreError: a score is no finite number, or the trials are all of one kind.
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


def maximum_term_weighted_value(hypotheses: Texts, references: Texts) -> Statistic:
    """Find the threshold with the best term-weighted value: 1 less the queries' mean of misses (a share of the
    documents that have the query) and of `FALSE_ALARM` times false alarms (a share of those that have it not). NaN
    where no drawn query is in any document.

    As in QUESST 2014's ``score-TWV-Cnxe.sh DIR GROUND_TRUTH -10``: one threshold for all queries; those that no
    document has do not count; of queries and documents without scores nothing is ever found.

    Args:
        hypotheses: of each query, ``DOCUMENT SCORE DOCUMENT SCORE ...``; higher is more alike.
        references: of each query three numbers, the same for all, and the documents that have it: how many queries
            count, how many documents there are, in how many of these the queries are looked for.

    Raises:
        ScoreError: the queries differ, a score is no finite number or lacks, or a number does.
    """
    import numpy

    check_same_utterances(hypotheses, references)
    names = sorted(references)
    numbers: list[list[str]] = [references[name].split() for name in names]
    if len({tuple(each[:3]) for each in numbers}) != 1 or not all(each.isdigit() for each in numbers[0][:3]):
        raise ScoreError("the references must begin with the same three numbers: queries, documents, those searched")
    queries, documents, searched = map(int, numbers[0][:3])
    gains, scores, owners = [], [], []
    counted = numpy.array([len(each) > 3 for each in numbers])
    for number in numpy.flatnonzero(counted):
        fields, targets = hypotheses[names[number]].split(), set(numbers[number][3:])
        found = set(fields[::2])
        if len(fields) != 2 * searched or len(found) != searched:
            raise ScoreError(f"query '{names[number]}' has scores of {len(found)} documents; {searched} were searched")
        try:
            scores.append(numpy.array(fields[1::2], dtype=float))
        except ValueError as error:
            raise ScoreError(f"query '{names[number]}': a score is no number: {error}") from error
        hit, false_alarm = 1 / len(targets), -FALSE_ALARM / (documents - len(targets))
        gains.append(numpy.array([hit if document in targets else false_alarm for document in fields[::2]]))
        owners.append(numpy.full(searched, number))
    if not gains:
        raise ScoreError("none of the queries is in any document")
    score, gain, owner = map(numpy.concatenate, (scores, gains, owners))
    if not numpy.isfinite(score).all():
        raise ScoreError("a score is not finite")
    order = numpy.argsort(-score, kind="stable")
    score, gain, owner = score[order], gain[order], owner[order]
    ends = numpy.append(score[1:] != score[:-1], True)  # equal scores are on one side of any threshold
    share = queries / counted.sum()

    def one(weights: numpy.ndarray) -> float:
        drawn = float(weights @ counted)
        best = max(0.0, float(numpy.cumsum(gain * weights[owner])[ends].max()))
        return 100.0 * best / (drawn * share) if drawn else math.nan

    return lambda weights: numpy.array([one(row) for row in weights])


def empty_error_rate(references: Texts) -> float:
    """Score an empty output: every token is deleted."""
    return _of_all(error_rate(dict.fromkeys(references, ""), references), len(references))


def empty_character_error_rate(references: Texts) -> float:
    """Score an empty output: every character is deleted."""
    return _of_all(character_error_rate(dict.fromkeys(references, ""), references), len(references))


def blind_f1(references: Texts) -> float:
    """Score a blind guess: of a label that has a share p of the utterances and is said in 1 / n of them, F1 is
    2 (p / n) / (p + 1 / n)."""
    counts, labels = Counter(references.values()), len(set(references.values()))
    shares = [count / len(references) for count in counts.values()]
    return 100.0 * sum(2 * share / (share * labels + 1) for share in shares) / labels


def no_slots_f1(references: Texts) -> float:
    """Score texts without a slot: right where there is none."""
    return _of_all(slot_type_f1(dict.fromkeys(references, ""), references), len(references))


def diarization_errors(hypotheses: Texts, references: Texts) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Count seconds that are told wrongly, (n, settings), see `diarization.errors`, and those of speech, (n,).

    Args:
        hypotheses: by recording, the file of its probabilities, in EXPDIR/scoring/predictions.
        references: by recording, its turns, see `diarization.write_turns`.

    Raises:
        ScoreError: the recordings differ, or a file cannot be read.
    """
    import numpy

    check_same_utterances(hypotheses, references)
    wrong, speech = [], []
    for name in sorted(references):
        path = Path(hypotheses[name])
        try:
            shift = int((path.parents[2] / diarization.FRAME_SHIFT).read_text())
            told, true = diarization.read_probabilities(path), diarization.read_turns(references[name])
        except (OSError, KeyError, ValueError) as error:
            raise ScoreError(f"{path}: {error}; evaluate again") from error
        found = [
            diarization.errors(diarization.turns_of(told, shift, threshold, median), true)
            for median in diarization.MEDIANS
            for threshold in diarization.THRESHOLDS
        ]
        wrong.append([seconds for seconds, _ in found])
        speech.append(found[0][1])
    return numpy.array(wrong), numpy.array(speech)


def diarization_error_rate(hypotheses: Texts, references: Texts) -> Statistic:
    """Sum the seconds told wrongly per second of speech, by the threshold and smoothing that are best over all drawn
    recordings, as s3prl's recipe scores (s3prl/downstream/diarization/score.sh)."""
    wrong, speech = diarization_errors(hypotheses, references)
    return lambda weights: 100.0 * (weights @ wrong).min(axis=1) / (weights @ speech)


def blind_accuracy(references: Texts) -> float:
    """Score a blind guess among the labels that occur."""
    return 100.0 / len(set(references.values()))


WER = Metric("WER", False, error_rate, empty_error_rate, scale=1.0, counts=edits)
CER = Metric("CER", False, character_error_rate, empty_character_error_rate, counts=character_edits)
PER = Metric("PER", False, error_rate, empty_error_rate, counts=edits)
ACCURACY = Metric("acc", True, accuracy, blind_accuracy, counts=hits)
MACRO_F1 = Metric("macro F1", True, macro_f1, blind_f1)
SLOT_F1 = Metric(
    "F1", True, slot_type_f1, no_slots_f1, definition="of the sets of slots' types, a mean over utterances"
)
SLOT_CER = Metric(
    "CER", False, slot_value_cer, lambda references: 100.0, definition="of slots' values", counts=slot_edits
)
DER = Metric(
    "DER",
    False,
    diarization_error_rate,
    lambda references: 100.0,  # nobody ever speaks
    definition="NIST's, no collar, overlaps count, of the best of five thresholds and two smoothings on the test set "
    "itself, as in s3prl's recipe",
)
FRAME_ACCURACY = Metric("frame acc", True, accuracy, blind_accuracy)  # that the SD recipe chooses its checkpoint by
EER = Metric(
    "EER",
    False,
    equal_error_rate,
    lambda references: 50.0,  # a coin
    definition="where the ROC curve, straight between its points, has as many misses as false alarms, as in s3prl's "
    "recipe; on the curve's convex hull it is lower, the more so the fewer the trials",
)
MTWV = Metric(
    "MTWV",
    True,
    maximum_term_weighted_value,
    lambda references: 0.0,  # nothing is found
    definition="the term-weighted value of QUESST 2014's scoring at its best threshold, over the queries of all "
    "languages, of which the English ones alone are looked for",
)
