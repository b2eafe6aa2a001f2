"""Scores recomputed from the files that a recipe's evaluation writes.

The functions take `{utterance: text}` mappings, as `read_texts` returns them, and give percent. A recipe prints its own
score too; `check_logged` holds both against each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

TOLERANCE = 0.01  # percent points; the recipes average in single precision


class ScoreError(RuntimeError):
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


def token_error_rate(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> float:
    """Edit distance over space-separated tokens, summed, per reference token, in percent (WER, PER)."""
    import editdistance

    check_same_utterances(hypotheses, references)
    errors = sum(editdistance.eval(hypotheses[key].split(), text.split()) for key, text in references.items())
    tokens = sum(len(text.split()) for text in references.values())
    if tokens == 0:
        raise ScoreError("the references hold no tokens")
    return 100.0 * errors / tokens


def accuracy(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> float:
    """Share of utterances whose label is right, in percent."""
    check_same_utterances(hypotheses, references)
    return 100.0 * sum(hypotheses[key] == label for key, label in references.items()) / len(references)


def equal_error_rate(hypotheses: Mapping[str, str], references: Mapping[str, str]) -> float:
    """Where as many impostors are let in as speakers are refused, in percent.

    Args:
        hypotheses: Each trial's score; higher is more alike.
        references: "1" for the same speaker, "0" for two.

    Raises:
        ScoreError: A score is no finite number, or the trials are all of one kind.
    """
    from s3prl.metric.common import compute_eer

    check_same_utterances(hypotheses, references)
    if set(references.values()) != {"0", "1"}:
        raise ScoreError("the equal error rate needs trials of both kinds, 0 and 1")
    try:
        scores = [float(hypotheses[trial]) for trial in references]
    except ValueError as error:
        raise ScoreError(f"a trial's score is no number: {error}") from error
    if not all(map(math.isfinite, scores)):
        raise ScoreError("a trial's score is not finite; train with a lower learning rate")
    return 100.0 * float(compute_eer([int(label) for label in references.values()], scores)[0])


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
