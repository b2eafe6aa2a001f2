"""The tasks, one row each. What differs between tasks is a field here, so that no other module asks which it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..errors import UsageError
from .scores import scoring

Texts = Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """One SUPERB task as s3prl's recipe runs it."""

    name: str  # on the command line and in the experiment folder
    title: str  # in tables
    downstream: str  # run_downstream's -d
    corpus: str  # field of corpora.Corpora that holds the user's folder
    paths: Mapping[str, str]  # config key -> field of corpora.Corpora that replaces the config's placeholder
    eval_split: str  # evaluate's -t
    best_ckpt: str  # written by the recipe on each new best dev score
    metric: str
    higher_is_better: bool
    hypothesis: str  # file that evaluate writes into expdir; {fold} is filled in
    reference: str
    submitted: str  # the hypothesis' name in the leaderboard's predict.zip; {fold} is filled in
    logged: str  # evaluate prints "<logged>: <value>"
    logged_scale: float  # to percent
    score: Callable[[Texts, Texts], float]  # (hypotheses, references) -> percent
    resampled: Callable[[Texts, Texts], scoring.Statistic]  # `score` of resamples of the utterances
    chance: Callable[[Texts], float]  # references -> percent that needs no speech at all
    official: Mapping[str | None, int]  # fold -> utterances (SV: trials) of the test set that published scores are on
    folds: tuple[str | None, ...] = (None,)  # the score is their mean
    demo_folds: tuple[str | None, ...] = (None,)  # none: the demo has no corpus for the task
    fold_key: str = ""  # config key of the fold, for tasks that have several
    prepare_options: Mapping[str, str] = field(default_factory=dict)  # of `prepare` -> field of prepare.Sources

    @property
    def config(self) -> str:
        """File name in downstream_configs/ and downstream_configs/demo/."""
        return f"{self.name}.yaml"

    @property
    def column(self) -> str:
        """Heading in tables, for example `ASR WER`."""
        return f"{self.title} {self.metric}"

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↑" if self.higher_is_better else "↓"

    def file(self, pattern: str, fold: str | None) -> str:
        """`hypothesis`, `reference` or `submitted` for one fold."""
        return pattern.format(fold=fold)


ASR = Task(
    name="asr",
    title="ASR",
    downstream="asr",
    corpus="librispeech",
    paths={
        "downstream_expert.datarc.libri_root": "librispeech",
        "downstream_expert.datarc.bucket_file": "buckets",
        "downstream_expert.datarc.dict_path": "char_dict",
    },
    eval_split="test-clean",
    best_ckpt="dev-clean-best.ckpt",
    metric="WER",
    higher_is_better=False,
    hypothesis="test-clean-noLM-hyp.ark",
    reference="test-clean-noLM-ref.ark",
    submitted="asr_public/predict.ark",
    logged="test-clean wer",
    logged_scale=1.0,
    score=scoring.token_error_rate,
    resampled=scoring.resampled_token_error_rate,
    chance=scoring.empty_error_rate,
    official={None: 2620},
)

PR = Task(
    name="pr",
    title="PR",
    downstream="ctc",
    corpus="librispeech",
    paths={
        "downstream_expert.corpus.path": "librispeech",
        "downstream_expert.corpus.lexicon": "lexicons",
        "downstream_expert.text.vocab_file": "phonemes",
    },
    eval_split="test",
    best_ckpt="dev-best.ckpt",
    metric="PER",
    higher_is_better=False,
    hypothesis="test-hyp.ark",
    reference="test-ref.ark",
    submitted="pr_public/predict.ark",
    logged="test per",
    logged_scale=100.0,
    score=scoring.token_error_rate,
    resampled=scoring.resampled_token_error_rate,
    chance=scoring.empty_error_rate,
    official={None: 2620},
    prepare_options={"--lexicon": "lexicons"},
)

SID = Task(
    name="sid",
    title="SID",
    downstream="voxceleb1",
    corpus="voxceleb1",
    paths={
        "downstream_expert.datarc.file_path": "voxceleb1",
        "downstream_expert.datarc.meta_data": "speaker_list",
    },
    eval_split="test",
    best_ckpt="dev-best.ckpt",
    metric="acc",
    higher_is_better=True,
    hypothesis="test_predict.txt",
    reference="test_truth.txt",
    submitted="sid_public/predict.txt",
    logged="test acc",
    logged_scale=100.0,
    score=scoring.accuracy,
    resampled=scoring.resampled_accuracy,
    chance=scoring.chance_accuracy,
    official={None: 8251},
    prepare_options={"--list": "voxceleb1_list"},
)

ER = Task(
    name="er",
    title="ER",
    downstream="emotion",
    corpus="iemocap",
    paths={
        "downstream_expert.datarc.root": "iemocap",
        "downstream_expert.datarc.meta_data": "emotions",
    },
    eval_split="test",
    best_ckpt="dev-best.ckpt",
    metric="acc",
    higher_is_better=True,
    hypothesis="test_{fold}_predict.txt",
    reference="test_{fold}_truth.txt",
    submitted="er_{fold}_public/predict.txt",
    logged="test acc",
    logged_scale=100.0,
    score=scoring.accuracy,
    resampled=scoring.resampled_accuracy,
    chance=scoring.chance_accuracy,
    official={"fold1": 1085, "fold2": 1023, "fold3": 1151, "fold4": 1031, "fold5": 1241},
    folds=("fold1", "fold2", "fold3", "fold4", "fold5"),
    demo_folds=("fold1",),
    fold_key="downstream_expert.datarc.test_fold",
)

SV = Task(
    name="sv",
    title="SV",
    downstream="sv_voxceleb1",
    corpus="voxceleb1",
    paths={
        "downstream_expert.datarc.file_path": "voxceleb1",
        "downstream_expert.datarc.train_meta_data": "sv_speakers",
        "downstream_expert.datarc.dev_meta_data": "sv_dev_trials",
        "downstream_expert.datarc.test_meta_data": "sv_test_trials",
    },
    eval_split="test",
    best_ckpt="dev-best.ckpt",
    metric="EER",
    higher_is_better=False,
    hypothesis="test_predict.txt",
    reference="test_truth.txt",
    submitted="sv_public/predict.txt",
    logged="sv-voxceleb1/test-EER",
    logged_scale=100.0,
    score=scoring.equal_error_rate,
    resampled=scoring.resampled_equal_error_rate,
    chance=scoring.chance_eer,
    official={None: 37720},
    demo_folds=(),
    prepare_options={"--list": "voxceleb1_trials"},
)

TASKS: Mapping[str, Task] = {task.name: task for task in (ASR, PR, SID, ER, SV)}


def parse_tasks(names: str) -> list[Task]:
    """Tasks of a comma-separated list, in the order given, each once.

    Raises:
        ValueError: The list is empty or has an unknown name.
    """
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in TASKS]
    if unknown or not wanted:
        got = ", ".join(repr(name) for name in unknown) or "nothing"
        raise UsageError(f"-t/--tasks: got {got}; choose from {', '.join(TASKS)}")
    return [TASKS[name] for name in wanted]
