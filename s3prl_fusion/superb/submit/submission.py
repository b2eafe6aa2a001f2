"""What goes to the leaderboard: predict.zip, from the files that the evaluations wrote, and the form beside it.

The server scores the utterances that it finds and looks for no others: a file that was cut off scores well. So files
are held against their references first, and again in the zip.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from ...errors import UsageError
from ...files import whole_file
from ..layout import RunFolder, variant_folders
from ..scores.kept import read
from ..scores.results import chosen_rates
from ..tasks import TASKS, Task

FORM = "submission.md"
AGAIN = "give the `superb` command again"


class SubmissionError(UsageError):
    """There is nothing to submit, or not all of it. The message says what to do."""


class Predictions(NamedTuple):
    """A file for the zip, what it must hold the utterances of, if it is of several, and whose they are."""

    file: Path
    reference: Path | None
    task: Task


@dataclass(frozen=True)
class Run:
    """One task of one upstream, with one learning rate and seed: trained, evaluated and scored in all of its folds."""

    task: Task
    folder: Path  # EXP/<upstream>/<task>, or <task>_lr1e-3_seed2
    scores: Sequence[Mapping[str, Any]]  # the content of each fold's score.json

    @property
    def seed(self) -> int:
        """Its random seed."""
        return self.scores[0]["seed"]

    @property
    def lr(self) -> float | None:
        """Its learning rate; None where nothing is trained."""
        return self.scores[0]["lr"]

    @property
    def dev_score(self) -> float:
        """The folds' mean score on the dev set, in percent."""
        return fmean(score["dev_score"] for score in self.scores)

    def fold(self, fold: str | None) -> RunFolder:
        """Where the files of one fold are."""
        return RunFolder(self.folder / (fold or ""))


def find_upstream(exp: Path, upstream: str | None) -> Path:
    """Find the folder of one upstream in an experiment folder; `upstream` may be None when there is only one.

    Raises:
        SubmissionError: There is none, or several to choose from.
    """
    folders = sorted(exp.iterdir()) if exp.is_dir() else []
    found = [folder.name for folder in folders if any(variant_folders(folder, task) for task in TASKS.values())]
    if upstream is None and len(found) == 1:
        return exp / found[0]
    if upstream in found:
        return exp / upstream
    if not found:
        raise SubmissionError(f"{exp} has no EXP/<upstream>/<task> folders; give the -o of `s3prl-fusion superb`")
    raise SubmissionError(f"-u {upstream or 'is missing'}: {exp} has {', '.join(found)}; name one of them")


def choose_runs(upstream: Path, seed: int | None = None) -> list[Run]:
    """One run of every task that was run under an upstream: of the learning rate with the best mean dev score, and of
    the lowest seed.

    Args:
        upstream: EXP/<upstream>, as `s3prl-fusion superb` leaves it.
        seed: Another seed than the lowest.

    Raises:
        SubmissionError: No task was run; one was run, but never to the end in all of its folds; rates cannot be
            compared; or there is no such seed.
    """
    tasks = [task for task in TASKS.values() if task.submitted]
    folders = [(task, variant_folders(upstream, task)) for task in tasks]
    runs = [_choose(task, list(_whole_runs(task, found)), seed) for task, found in folders if found]
    if not runs:
        names = ", ".join(task.name for task in tasks)
        raise SubmissionError(f"{upstream} has none of the leaderboard's {names}; run `s3prl-fusion superb` first")
    return runs


def _whole_runs(task: Task, folders: Sequence[Path]) -> Iterator[Run]:
    problems = []
    for folder in folders:
        try:
            yield _read_run(task, folder)
        except SubmissionError as error:
            problems.append(error)
    if len(problems) == len(folders):
        raise problems[0]


def _read_run(task: Task, folder: Path) -> Run:
    scores: list[dict[str, Any]] = []
    for fold in task.folds:
        files = Run(task, folder, scores).fold(fold)
        for file in (
            files.result,
            files.hypothesis(task, fold),
            files.reference(task, fold),
            files.best_ckpt(task),
        ):
            if not file.exists():
                name = f"{task.name} {fold or ''}".strip()
                raise SubmissionError(f"{file} does not exist: {name} is not done; {AGAIN}")
        scores.append(read(files))
    if len({(score["seed"], score["lr"]) for score in scores}) > 1:
        raise SubmissionError(f"{folder}: its folds are of different seeds or rates: {task.name} is not done; {AGAIN}")
    return Run(task, folder, scores)


def _choose(task: Task, runs: Sequence[Run], seed: int | None) -> Run:
    import pandas

    name = runs[0].folder.parent.name
    rows = [
        {"identity": name, "upstream": name, "task": task.name, "lr": run.lr, "dev_score": run.dev_score}
        for run in runs
    ]
    runs = [runs[index] for index in chosen_rates(pandas.DataFrame(rows)).index]
    seeds = {run.seed: run for run in sorted(runs, key=lambda run: run.folder.name, reverse=True)}
    if seed is None or not task.trains:
        return seeds[min(seeds)]
    if seed not in seeds:
        known = ", ".join(map(str, sorted(seeds)))
        raise SubmissionError(
            f"--seed {seed}: {task.name} has whole runs of seed {known} with the learning rate {runs[0].lr:g}; "
            "name one of these"
        )
    return seeds[seed]


def collect(runs: Sequence[Run]) -> dict[str, Predictions]:
    """`{path in the zip: predictions}` of the runs in all folds, which are complete: their scores say so."""
    files = {}
    for run in runs:
        for fold in run.task.folds:
            hypothesis, reference = run.fold(fold).hypothesis(run.task, fold), run.fold(fold).reference(run.task, fold)
            name = f"predict/{run.task.file(run.task.submitted, fold)}"
            if hypothesis.is_dir():  # a file an utterance, which the score has counted
                each = [Path(file) for file in run.task.hypotheses(hypothesis).values()]
                files.update({f"{name}/{file.name}": Predictions(file, None, run.task) for file in each})
            else:
                files[name] = Predictions(hypothesis, reference, run.task)
            beside = {f"predict/{to}": run.fold(fold).path / of for of, to in run.task.with_it.items()}
            files.update({to: Predictions(file, None, run.task) for to, file in beside.items()})
    return dict(sorted(files.items()))


def write(files: Mapping[str, Predictions], form: str, output: Path) -> Path:
    """Write predict.zip, the same bytes for the same files, and the form beside it: both or neither.

    Returns:
        The form's path.

    Raises:
        SubmissionError: What is in the zip is not what the references ask for.
    """
    path = output.with_name(FORM)
    if path == output or path.is_dir() or output.is_dir():
        raise SubmissionError(f"-o {output}: it and {path} beside it must be two files; give the zip another name")
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft, whole_file(output) as package:
        draft.write_text(form, encoding="utf-8")
        _pack(files, package)
        _check_package(files, package)
    return path


def _pack(files: Mapping[str, Predictions], package: Path) -> None:
    with zipfile.ZipFile(package, "w") as archive:
        for name, (file, _, _) in files.items():
            entry = zipfile.ZipInfo(name)  # its date is fixed
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def _check_package(files: Mapping[str, Predictions], package: Path) -> None:
    """Read the zip as the server does: most files as lines, split at the first separator."""
    with zipfile.ZipFile(package) as archive, tempfile.TemporaryDirectory() as folder:
        if archive.namelist() != list(files):
            raise SubmissionError(f"the zip came out with {archive.namelist()} in place of {list(files)}; try again")
        for name, (file, reference, task) in files.items():
            copy = Path(archive.extract(name, folder))
            if reference is None:
                if copy.read_bytes() != file.read_bytes():
                    raise SubmissionError(f"{name} came out of the zip with other contents than {file}; try again")
                continue
            if task.read:
                keys = list(task.read(copy))
            else:
                with copy.open(encoding="utf-8") as lines:
                    keys = [line.rstrip("\n").split(task.separator, 1)[0] for line in lines]
            if sorted(keys) != sorted(task.references(reference)):
                raise SubmissionError(
                    f"{name}: the server would read {len(keys)} utterances that are not those of {reference}; look for "
                    f"odd characters in {file}"
                )
