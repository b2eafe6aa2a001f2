"""What a task is: a recipe of s3prl, a corpus, a metric, and the files that the recipe writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..corpora.base import Corpus
from ..metrics import Metric
from .scores.scoring import read_texts

ENDS_AS_A_RUN = re.compile(r"_(lr[^_]+|seed\d+)$")  # as `layout.variant` calls folders: no task can be called so


@dataclass(frozen=True)
class Task:
    """One task as s3prl's recipe runs it."""

    name: str  # on the command line and in the experiment folder
    title: str  # in tables
    downstream: str  # run_downstream's -d
    corpus: Corpus
    metric: Metric
    paths: Mapping[str, str]  # config key -> what replaces the config's placeholder, see corpora.base.Prepared.value
    # As most recipes have it: evaluate's -t, what is written on each new best dev score and by evaluate ({fold} is
    # filled in), and what evaluate prints as "<logged>: <value>".
    eval_split: str = "test"
    best_ckpt: str = "dev-best.ckpt"
    hypothesis: str = "test_predict.txt"
    reference: str = "test_truth.txt"
    separator: str = " "  # what stands behind an utterance's name in these files
    read: Callable[[Path], dict[str, str]] | None = None  # reads a hypothesis that is no such lines
    logged: str = "test acc"
    recipe_metric: Metric | None = None  # what it prints, and chooses the best checkpoint by, where it is another
    chosen_by: Metric | None = None  # what it chooses the best checkpoint by, where that is not what it prints
    more: Sequence[Metric] = ()  # what it is scored by beside these
    logged_more: Sequence[str] = ()  # what evaluate prints of them, in their order, where it does
    confusion: bool = False  # whether a picture is drawn of which labels are taken for which
    # The hypothesis' name in the leaderboard's predict.zip, a folder's where it is one; {fold} is filled in; none: not
    # on it. And the files that go with it: their names in the run's folder, and in the zip.
    submitted: str = ""
    with_it: Mapping[str, str] = field(default_factory=dict)
    official: Mapping[str | None, int] | None = None  # fold -> utterances of the test set that published scores are on
    options: Sequence[str] = ()  # those of the corpus that are for this task
    folds: Sequence[str | None] = (None,)  # the score is their mean; none where only what was run tells
    demo_folds: Sequence[str | None] = ()  # none: the demo has no corpus for the task
    fold_key: str = ""  # config key of the fold, for tasks that have several
    trains: bool = True  # False: there is but one run, whatever rates and seeds the others have
    config: str = ""  # YAML file; else <name>.yaml, in downstream_configs/ and downstream_configs/demo/
    source: str = ""  # what a user's own task was loaded from

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", self.config or f"{self.name}.yaml")

    @property
    def dev_metric(self) -> Metric:
        """What the recipe chooses its best checkpoint by."""
        return self.chosen_by or self.logged_metric

    @property
    def logged_metric(self) -> Metric:
        """What the recipe itself prints of the test set."""
        return self.recipe_metric or self.metric

    @property
    def products(self) -> list[str]:
        """What it needs of what is made beside its corpus."""
        return [name for name in self.paths.values() if name in self.corpus.products]

    @property
    def filled_in(self) -> list[str]:
        """Keys of the recipe's config that are ours to fill in: where the corpus is, and the fold."""
        return [*self.paths, *([self.fold_key] if self.fold_key else [])]

    @property
    def column(self) -> str:
        """Heading in tables, for example `ASR WER`."""
        return f"{self.title} {self.metric.name}"

    @property
    def columns(self) -> dict[str, Metric]:
        """Headings of all its metrics, `column` first."""
        return {f"{self.title} {metric.name}": metric for metric in (self.metric, *self.more)}

    def hypotheses(self, path: Path) -> dict[str, str]:
        """Read the `hypothesis` file.

        Raises:
            FileNotFoundError, ScoreError: as `scoring.read_texts`.
        """
        return self.read(path) if self.read else read_texts(path, self.separator)

    def references(self, path: Path) -> dict[str, str]:
        """Read the `reference` file; see `hypotheses`."""
        return read_texts(path, self.separator)

    def file(self, pattern: str, fold: str | None) -> str:
        """Name the `hypothesis`, `reference` or `submitted` file of one fold."""
        return pattern.format(fold=fold)
