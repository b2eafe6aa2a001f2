"""s3prl.problem, which is what s3prl-main runs, on fused upstreams: a few real steps on speech."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import official_layouts
import pandas
import pytest
import tiny_corpora
import torch
import yaml
from test_hook import Environment

import s3prl_fusion
from s3prl_fusion.assets import demo_dir
from s3prl_fusion.host import hook, register
from s3prl_fusion.host.problem import UNUSED

CSVS = {
    "SuperbASR": ("train-clean-100", "dev-clean", "test-clean"),
    "SuperbPR": ("train-clean-100", "dev-clean", "test-clean"),
    "SuperbER": ("train", "valid", "test"),
    "SuperbSID": ("train", "valid", "test"),
}
LABELS = {"SuperbASR": "transcription", "SuperbPR": "transcription", "SuperbER": "label", "SuperbSID": "label"}
CORPUS = {"SuperbASR": "dataset_root", "SuperbPR": "dataset_root", "SuperbER": "iemocap", "SuperbSID": "dataset_root"}
LEARNING_RATE = 1e-3


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


def arguments(problem: str, folder: Path, corpus: Path, steps: int, **more: object) -> list[str]:
    """As given to s3prl-main, after the problem's name; ``__`` in the name of an option stands for a dot."""
    options = {
        "target_dir": folder,
        "cache_dir": folder / "cache",
        "device": "cpu",
        "num_workers": 0,
        f"prepare_data.{CORPUS[problem]}": corpus,
        "build_optimizer.conf.lr": LEARNING_RATE,
        "train.total_steps": steps,
        "train.log_step": 1,
        "train.eval_step": 2,
        "train.save_step": 2,
        "train.gradient_accumulate": 1,
        **{key.replace("__", "."): value for key, value in more.items()},
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
def test_superbs_problems_train_resume_and_evaluate_on_fused_upstreams(problem, registered, tiny_hubert, tmp_path):
    from s3prl import hub
    from s3prl import problem as problems

    # A member with parameters, so that the upstream could have changed.
    fusion = {"members": [{"name": "hf_hubert_custom", "ckpt": tiny_hubert}, "fbank"]}
    (tmp_path / "fusion.yaml").write_text(yaml.safe_dump(fusion))
    upstream = {"build_upstream__name": "fused", "build_upstream__extra_conf__model_config": tmp_path / "fusion.yaml"}
    write_csvs(problem, tmp_path)
    for steps in (2, 4):  # the second time, s3prl resumes
        getattr(problems, problem)().main(arguments(problem, tmp_path, tmp_path, steps, start=1, **upstream))

    def saved(step: int, name: str) -> dict:
        return torch.load(tmp_path / "train" / f"step_{step}" / name, weights_only=True)

    before, after = saved(2, "model/state_dict.pt"), saved(4, "model/state_dict.pt")
    learnt = {name for name in after if name.startswith("featurizer.")}
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert learnt and {name for name in changed if name.startswith("featurizer.")} == learnt
    assert any(name.startswith("downstream.") for name in changed)
    # Adam's first steps are about as long as the learning rate: weights drawn anew would be further away.
    assert all((after[name] - before[name]).abs().max() < 5 * LEARNING_RATE for name in learnt)
    assert {int(state["step"]) for state in saved(4, "optimizer.pt")["state"].values()} == {4}

    frozen = hub.fused(model_config=str(tmp_path / "fusion.yaml")).state_dict()
    assert frozen and all(torch.equal(after[f"upstream.upstream.{name}"], value) for name, value in frozen.items())
    model, _ = getattr(problems, problem)().load_model_and_task(tmp_path / "train" / "step_4")
    assert type(model.featurizer).__name__ == "FusionNNFeaturizer"
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())
    assert list(tmp_path.glob("evaluate/*/*/result.yaml"))


MORE = {
    "SuperbKS": ({"gsc1": "speech-commands", "gsc1_test": "speech-commands-test"}, {}),
    "SuperbIC": ({"dataset_root": "fluent-commands"}, {}),
    "SuperbSF": (
        {"dataset_root": "snips"},
        {
            **{f"prepare_data__{split}_speakers": list(voices) for split, voices in official_layouts.VOICES.items()},
            "build_batch_sampler__train__max_length": 100000,
        },
    ),
    "SuperbSD": ({"data_dir": "librimix-sd"}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("problem", MORE)
def test_the_problems_of_the_other_tasks_run_from_their_corpora(problem, registered, tmp_path):
    from s3prl import problem as problems

    roots, (corpora, more) = official_layouts.official(tmp_path / "corpora"), MORE[problem]
    for table in roots["librimix-sd"].glob("*/wav.scp"):  # which s3prl reads from wherever one is
        table.write_text(table.read_text().replace(" wav/", f" {roots['librimix-sd']}/wav/"))
    options = {
        "target_dir": tmp_path / "exp",
        "cache_dir": tmp_path / "cache",
        "device": "cpu",
        "num_workers": 0,
        "stop": 2 if problem == "SuperbSD" else "None",  # whose scorer is fetched from the network
        "build_upstream__name": "fused__fbank__mfcc",
        "build_batch_sampler__train__batch_size": 2,
        "train__total_steps": 2,
        "train__log_step": 1,
        "train__eval_step": 2,
        "train__save_step": 2,
        **{f"prepare_data__{option}": roots[name] for option, name in corpora.items()},
        **more,
    }
    words = [word for key, value in options.items() for word in (f"--{key.replace('__', '.')}", str(value))]
    with contextlib.suppress(SystemExit):  # what it stops by
        getattr(problems, problem)().main(words)
    state = torch.load(tmp_path / "exp" / "train" / "step_2" / "model" / "state_dict.pt", weights_only=True)
    assert any(name.startswith("featurizer.") for name in state)
    assert list(
        tmp_path.glob("exp/evaluate/*/*/prediction" if problem == "SuperbSD" else "exp/evaluate/*/*/result.yaml")
    )


def test_s3prl_main_runs_all_stages_with_the_hook(tmp_path):
    environment = Environment(tmp_path / "venv")
    hook.install(environment.site)
    corpus = tiny_corpora.librispeech(tmp_path / "libri")["root"]
    speakers = "".join(f"{i} | F | {split} | 1.0 | Name\n" for i, split in enumerate(tiny_corpora.TRANSCRIPTS, start=1))
    (corpus / "SPEAKERS.TXT").write_text(f";ID |SEX| SUBSET |MINUTES| NAME\n{speakers}")
    options = {"prepare_data__n_jobs": 1, "build_upstream__name": "fused__fbank__mfcc__gumbel"}
    argv = arguments("SuperbASR", tmp_path / "exp", corpus, 2, **options)
    place = argv.index("--device")
    del argv[place : place + 2]  # the default is one that is there
    done = environment.run("-m", "s3prl.main", "SuperbASR", *argv)
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "exp").glob("evaluate/*/test-clean/result.yaml")
    assert {"cer", "wer"} <= set(yaml.safe_load(result.read_text()))
    state = torch.load(tmp_path / "exp" / "train" / "step_2" / "model" / "state_dict.pt", weights_only=True)
    assert {"featurizer.logits.0", "featurizer.logits.1"} <= set(state)


def test_packages_that_nobody_uses_can_be_imported_but_not_called(registered):
    import sed_eval

    stood_in = [name for name in UNUSED if getattr(sys.modules.get(name), "__file__", None) is None]
    if "sed_eval" not in stood_in:
        pytest.skip("sed_eval is installed here")
    with pytest.raises(ImportError, match=r"sed_eval\.sound_event\.Metrics is not installed; .*pip install sed_eval"):
        sed_eval.sound_event.Metrics(1)
    s3prl_fusion.unregister()
    assert not any(name in sys.modules for name in UNUSED if name in stood_in)


@pytest.mark.parametrize(
    ("gpu", "words", "device"), [(False, [], "cpu"), (False, ["--device", "cuda:1"], "cuda:1"), (True, [], None)]
)
def test_the_default_device_is_one_that_is_there(gpu, words, device, registered, monkeypatch):
    from s3prl.problem import base

    register.attach(base)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    class Recording(base.Problem):
        def default_config(self) -> dict:
            return {"start": 0}

        def run(self, **config) -> None:
            self.config = config

    problem = Recording()
    problem.main(words)
    assert problem.config == {"start": 0, **({"device": device} if device else {})}
