"""SUPERB's tasks, a row each. What differs between tasks is a field here: no other module asks which it has."""

from __future__ import annotations

from ..corpora import iemocap, librispeech, voxceleb1
from ..metrics import ACCURACY, EER, PER, WER
from .task import Task

ROWS = (
    Task(
        name="asr",
        title="ASR",
        downstream="asr",
        corpus=librispeech.CORPUS,
        metric=WER,
        paths={
            "downstream_expert.datarc.libri_root": "root",
            "downstream_expert.datarc.bucket_file": "buckets",
            "downstream_expert.datarc.dict_path": "char.dict",
        },
        eval_split="test-clean",
        best_ckpt="dev-clean-best.ckpt",
        hypothesis="test-clean-noLM-hyp.ark",
        reference="test-clean-noLM-ref.ark",
        logged="test-clean wer",
        submitted="asr_public/predict.ark",
        official={None: 2620},
        demo_folds=(None,),
    ),
    Task(
        name="pr",
        title="PR",
        downstream="ctc",
        corpus=librispeech.CORPUS,
        metric=PER,
        paths={
            "downstream_expert.corpus.path": "root",
            "downstream_expert.corpus.lexicon": "lexicons",
            "downstream_expert.text.vocab_file": "phoneme.txt",
        },
        hypothesis="test-hyp.ark",
        reference="test-ref.ark",
        logged="test per",
        submitted="pr_public/predict.ark",
        official={None: 2620},
        options=("lexicon",),
        demo_folds=(None,),
    ),
    Task(
        name="sid",
        title="SID",
        downstream="voxceleb1",
        corpus=voxceleb1.CORPUS,
        metric=ACCURACY,
        paths={
            "downstream_expert.datarc.file_path": "root",
            "downstream_expert.datarc.meta_data": "speaker_list",
        },
        submitted="sid_public/predict.txt",
        official={None: 8251},
        options=("voxceleb1-list",),
        demo_folds=(None,),
    ),
    Task(
        name="er",
        title="ER",
        downstream="emotion",
        corpus=iemocap.CORPUS,
        metric=ACCURACY,
        paths={
            "downstream_expert.datarc.root": "root",
            "downstream_expert.datarc.meta_data": "emotions",
        },
        hypothesis="test_{fold}_predict.txt",
        reference="test_{fold}_truth.txt",
        submitted="er_{fold}_public/predict.txt",
        official={"fold1": 1085, "fold2": 1023, "fold3": 1151, "fold4": 1031, "fold5": 1241},
        folds=("fold1", "fold2", "fold3", "fold4", "fold5"),
        demo_folds=("fold1",),
        fold_key="downstream_expert.datarc.test_fold",
    ),
    Task(
        name="sv",
        title="SV",
        downstream="sv_voxceleb1",
        corpus=voxceleb1.CORPUS,
        metric=EER,
        paths={
            "downstream_expert.datarc.file_path": "root",
            "downstream_expert.datarc.train_meta_data": "sv_speakers",
            "downstream_expert.datarc.dev_meta_data": "sv_dev_trials",
            "downstream_expert.datarc.test_meta_data": "sv_test_trials",
        },
        logged="sv-voxceleb1/test-EER",
        submitted="sv_public/predict.txt",
        official={None: 37720},
        options=("voxceleb1-trials",),
    ),
)
