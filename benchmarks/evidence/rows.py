"""A run as a row of runs.csv. Everything that docs/evidence.md says follows from that file alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_fusion.files import write_with
from s3prl_fusion.superb.runs.experiment import Experiment
from s3prl_fusion.superb.scores import kept
from s3prl_fusion.superb.scores.scoring import read_texts

from .runs import Wanted

if TYPE_CHECKING:
    import pandas

CELL = ["task", "members", "interface", "options", "normalize"]
KEY = [*CELL, "seed", "fold"]
# identity: `Experiment.key`, what the run is made of; test_set: a digest of the utterances' names; errors and lengths:
# an integer an utterance, in the order of the sorted names. Where accuracy is the score, an error is a wrong label, and
# each length is 1.
COLUMNS = [
    *KEY,
    *("identity", "dev_score", "test_score", "featurizer_params", "head_params", "frozen_params"),
    *("train_steps", "train_seconds", "test_set", "errors", "lengths"),
]


def key_of(experiment: Experiment, wanted: Wanted) -> dict[str, Any]:
    """Say which row a run's is, by KEY."""
    fold = experiment.fold or ""
    return {"task": experiment.task.name, **wanted.words, "seed": experiment.seed, "fold": fold}


def row_of(experiment: Experiment, wanted: Wanted) -> dict[str, Any]:
    """Read a scored run.

    Raises:
        UsageError: its score does not follow from its files.
    """
    folder, task = experiment.folder, experiment.task
    score = kept.read(folder)
    files = (folder.hypothesis(task, experiment.fold), folder.reference(task, experiment.fold))
    right_or_wrong, lengths = task.metric.counts(*map(read_texts, files))
    higher = task.metric.higher_is_better
    errors = [length - part if higher else part for part, length in zip(right_or_wrong, lengths)]
    return {
        **key_of(experiment, wanted),
        "identity": experiment.key("train"),
        "dev_score": round(score["dev_score"], 6),
        "test_score": round(score["score"], 6),
        "featurizer_params": score["featurizer_parameters"],
        "head_params": score["downstream_parameters"],
        "frozen_params": score["frozen_parameters"],
        "train_steps": experiment.recipe()["runner"]["total_steps"],
        "train_seconds": score["train_seconds"],
        "test_set": score["test_set"],
        "errors": " ".join(map(str, errors)),
        "lengths": " ".join(map(str, lengths)),
    }


def read(path: Path) -> pandas.DataFrame:
    """Read the rows of a CSV; none where there is no file."""
    import pandas

    if not path.is_file():
        return pandas.DataFrame(columns=COLUMNS)
    return pandas.read_csv(path, keep_default_na=False)[COLUMNS]


def write(frame: pandas.DataFrame, path: Path) -> None:
    """Write the rows in one order, whole or not at all."""
    ordered = frame.sort_values(KEY)[COLUMNS]
    write_with(path, lambda temporary: ordered.to_csv(temporary, index=False, lineterminator="\n"))


def without(frame: pandas.DataFrame, keys: Sequence[dict[str, Any]]) -> pandas.DataFrame:
    """Drop the rows of these keys."""
    gone = {tuple(str(key[name]) for name in KEY) for key in keys}
    stays = [tuple(map(str, row)) not in gone for row in frame[KEY].itertuples(index=False)]
    return frame.loc[stays]


def put(frame: pandas.DataFrame, rows: Sequence[dict[str, Any]]) -> pandas.DataFrame:
    """Add rows, each in the place of one of the same cell, seed and fold."""
    import pandas

    both = pandas.concat([frame, pandas.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
    return both.drop_duplicates(KEY, keep="last")
