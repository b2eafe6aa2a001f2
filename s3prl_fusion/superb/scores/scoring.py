"""What a recipe's evaluation writes: files of hypotheses and references, and a log with its own score."""

from __future__ import annotations

import re
from pathlib import Path

from ...metrics import ScoreError

TOLERANCE = 0.01  # percent points; the recipes average in single precision


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
