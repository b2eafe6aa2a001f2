"""What a recipe's evaluation writes: files of hypotheses and references, and a log with its own score."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from ...metrics import ScoreError

TOLERANCE = 0.01  # percent points; the recipes average in single precision


def read_texts(path: Path, separator: str = " ") -> dict[str, str]:
    """Read lines of `utterance text...`, split at the first separator as the leaderboard does.

    Raises:
        FileNotFoundError: `path` does not exist.
        ScoreError: The file is empty or no text, or an utterance is there twice.
    """
    texts: dict[str, str] = {}
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScoreError(f"{path}: no text in UTF-8 ({error.reason}); run the evaluation again") from error
    for line in content.splitlines():
        utterance, _, text = line.partition(separator)
        if utterance in texts:
            raise ScoreError(f"{path}: utterance '{utterance}' is there twice")
        texts[utterance] = text.strip()
    if not texts:
        raise ScoreError(f"{path}: no lines; run the evaluation again")
    return texts


def names_digest(names: Iterable[str]) -> str:
    """Return 12 digits that tell one set of utterances from another."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]


def logged_score(log: str, key: str, scale: float) -> float:
    """Return the last `key: value` that the recipe printed, times `scale`.

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
