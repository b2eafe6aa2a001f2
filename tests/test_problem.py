"""s3prl.problem, which is what s3prl-main runs, on fused upstreams: a few real steps on the demo's speech."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pandas
import pytest
import torch

import s3prl_fusion
from s3prl_fusion.assets import demo_dir
from s3prl_fusion.host.problem import HEAR_ONLY

CSVS = {
    "SuperbASR": ("train-clean-100", "dev-clean", "test-clean"),
    "SuperbPR": ("train-clean-100", "dev-clean", "test-clean"),
    "SuperbER": ("train", "valid", "test"),
    "SuperbSID": ("train", "valid", "test"),
}
LABELS = {"SuperbASR": "transcription", "SuperbPR": "transcription", "SuperbER": "label", "SuperbSID": "label"}
CORPUS = {"SuperbASR": "dataset_root", "SuperbPR": "dataset_root", "SuperbER": "iemocap", "SuperbSID": "dataset_root"}


def write_csvs(problem: str, folder: Path) -> None:
    """What the problem's first stage would write: a table a split, of the demo's recordings."""
    table = pandas.read_csv(demo_dir() / "corpus" / "manifest.csv", keep_default_na=False)
    rows = table[table["split"] != ""].sort_values("seconds").iloc[40:46]
    texts = rows["transcript"].str.upper()
    values = {
        "SuperbASR": texts,
        "SuperbPR": [" ".join(text.replace(" ", "")) for text in texts],  # letters stand in for phonemes
        "SuperbER": ["neu", "hap", "neu", "hap", "ang", "sad"],
        "SuperbSID": [f"id1000{i % 3}" for i in range(6)],
    }[problem]
    paths = [str(demo_dir() / "corpus" / path) for path in rows["path"]]
    data = {"id": [Path(path).stem for path in paths], "wav_path": paths, LABELS[problem]: list(values)}
    for name in CSVS[problem]:
        pandas.DataFrame(data).to_csv(folder / f"{name}.csv", index=False)


def arguments(problem: str, folder: Path, steps: int) -> list[str]:
    """As given to s3prl-main, after the problem's name."""
    options = {
        "target_dir": folder,
        "cache_dir": folder / "cache",
        "start": 1,
        "device": "cpu",
        "num_workers": 0,
        f"prepare_data.{CORPUS[problem]}": folder,  # of stage 0, which is skipped
        "build_upstream.name": "fused__fbank__mfcc",
        "train.total_steps": steps,
        "train.log_step": 1,
        "train.eval_step": 2,
        "train.save_step": 2,
        "train.gradient_accumulate": 1,
    }
    if problem == "SuperbER":
        options["prepare_data.test_fold"] = 0
    if problem == "SuperbASR":
        options["build_downstream.model_conf.hidden_size"] = "[16,16]"
        options["build_downstream.model_conf.proj_size"] = 16
        options["build_batch_sampler.train.max_length"] = 100000
    if problem in ("SuperbASR", "SuperbPR"):
        options["build_batch_sampler.train.batch_size"] = 3
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


@pytest.mark.parametrize("problem", CSVS)
def test_superbs_problems_train_and_evaluate_on_fused_upstreams(problem, registered, tmp_path, monkeypatch):
    from s3prl import problem as problems
    from s3prl.problem import base

    first = {}
    build = base.Problem.build_model

    def build_model(self, *args, **kwargs):
        model = build(self, *args, **kwargs)
        first.setdefault("state", copy.deepcopy(model.state_dict()))
        return model

    monkeypatch.setattr(base.Problem, "build_model", build_model)
    write_csvs(problem, tmp_path)
    getattr(problems, problem)().main(arguments(problem, tmp_path, steps=4))
    model, _ = getattr(problems, problem)().load_model_and_task(tmp_path / "train" / "step_4")
    assert type(model.featurizer).__name__ == "FusionNNFeaturizer"
    changed = {
        name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, first["state"][name])
    }
    assert changed == {"featurizer", "downstream"}
    assert list(tmp_path.glob("evaluate/*/*/result.yaml"))


def test_hears_packages_can_be_imported_but_not_used(registered):
    import sed_eval

    if Path(getattr(sed_eval, "__file__", None) or "").is_file():
        pytest.skip("sed_eval is installed here")
    with pytest.raises(ImportError, match=r"sed_eval\.sound_event\.Metrics is not installed: pip install sed_eval"):
        sed_eval.sound_event.Metrics(1)
    s3prl_fusion.unregister()
    assert not any(name in sys.modules for name in HEAR_ONLY)
