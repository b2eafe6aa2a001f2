"""A score that was kept, read again: only where it still follows from the files beside it.

Whatever shows, compares or submits scores reads them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...files import read_json
from ...metrics import ScoreError
from ..layout import RunFolder
from ..records import SCORE
from ..tasks import Task, find
from .scoring import names_digest

_SAME = 1e-6  # percent points: what one computation may differ by, from one release of numpy to the next
_SCORE = "score the run again: `s3prl-fusion score`"
_AGAIN = "evaluate this run again: give the `superb` command again, or `run -m evaluate` and `score`"


def read(run: RunFolder) -> dict[str, Any]:
    """Read score.json, and make sure that it still follows from the files beside it.

    Raises:
        UsageError: it is damaged.
        ScoreError: it is not there; or a file is gone, lacks utterances or gives another score by now.
    """
    kept = read_json(run.result, SCORE, _SCORE)
    if not kept:
        raise ScoreError(f"{run.result} does not exist; {_SCORE}")
    check_follows(run, find(kept["task"], run.path), kept)
    return kept


def check_follows(run: RunFolder, task: Task, kept: Mapping[str, Any]) -> None:
    """Score the files anew, and hold the result against score.json's.

    Raises:
        ScoreError: names the file.
    """
    hypothesis, reference = run.hypothesis(task, kept["fold"]), run.reference(task, kept["fold"])
    try:
        hypotheses, references = task.hypotheses(hypothesis), task.references(reference)
        value = task.metric.score(hypotheses, references)
    except FileNotFoundError as error:
        raise ScoreError(f"{error.filename} is gone, from which {run.result} was made; {_AGAIN}") from error
    except ScoreError as error:
        raise ScoreError(f"{hypothesis}: {error}; {_AGAIN}") from error
    counted = kept.get("utterances", len(references))
    if counted != len(references) or kept.get("test_set") not in (None, names_digest(references)):
        raise ScoreError(
            f"{reference} has {len(references):,} utterances that are not the {counted:,} of {run.result}; {_AGAIN}"
        )
    if not abs(value - kept["score"]) <= _SAME:
        raise ScoreError(f"{hypothesis} gives {value:.4f} %, and {run.result} says {kept['score']:.4f} %; {_AGAIN}")
