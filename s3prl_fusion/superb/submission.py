"""The leaderboard's predict.zip, from the files that the evaluations wrote.

The server scores the utterances that it finds and looks for no others: a file that was cut off scores well. So files
are held against their references first.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..files import write_with
from .scoring import ScoreError, check_same_utterances, read_texts
from .tasks import TASKS, Task


class SubmissionError(ValueError):
    """There is nothing to submit, or not all of it. The message says what to do."""


def find_upstream(exp: Path, upstream: str | None) -> Path:
    """The folder of one upstream in an experiment folder; `upstream` may be None when there is only one.

    Raises:
        SubmissionError: There is none, or several to choose from.
    """
    found = sorted({folder.parent.name for task in TASKS for folder in exp.glob(f"*/{task}") if folder.is_dir()})
    if upstream is None and len(found) == 1:
        return exp / found[0]
    if upstream in found:
        return exp / upstream
    if not found:
        raise SubmissionError(f"{exp} has no EXP/<upstream>/<task> folders; give the -o of `s3prl-fusion superb`")
    raise SubmissionError(f"-u {upstream or 'is missing'}: {exp} has {', '.join(found)}; name one of them")


def collect(upstream: Path) -> dict[str, Path]:
    """`{path in the zip: file}` of every task that was run under an upstream, all of them checked.

    Args:
        upstream: EXP/<upstream>, as `s3prl-fusion superb` leaves it.

    Raises:
        SubmissionError: No task was run; one was run but not scored, or not in all of its folds; or a file lacks
            utterances of its reference, has others, or has one twice.
    """
    files: dict[str, Path] = {}
    for task in TASKS.values():
        if (upstream / task.name).is_dir():
            files.update({task.file(task.submitted, fold): _checked(upstream, task, fold) for fold in task.folds})
    if not files:
        raise SubmissionError(f"{upstream} has none of the tasks {', '.join(TASKS)}; run `s3prl-fusion superb` first")
    return files


def _checked(upstream: Path, task: Task, fold: str | None) -> Path:
    folder = upstream / task.name / (fold or "")
    hypothesis, reference = (folder / task.file(name, fold) for name in (task.hypothesis, task.reference))
    for path in (folder / "score.json", hypothesis, reference):
        if not path.is_file():
            name = f"{task.name} {fold or ''}".strip()
            raise SubmissionError(f"{path} does not exist: {name} is not done; give the `superb` command again")
    try:
        check_same_utterances(read_texts(hypothesis), read_texts(reference))
    except ScoreError as error:
        raise SubmissionError(f"{hypothesis}: {error}; evaluate again, without changing the files") from error
    return hypothesis


def pack(files: dict[str, Path], output: Path) -> list[str]:
    """Write predict.zip, whole or not at all, and the same bytes for the same files. Returns the names in it."""
    entries = {f"predict/{name}": file for name, file in sorted(files.items())}

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, file in entries.items():
                entry = zipfile.ZipInfo(name)  # its date is fixed
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, file.read_bytes())

    write_with(output, write)
    return list(entries)
