"""predict.zip and its form: the leaderboard's layout, nothing incomplete, and what the checkpoints say."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.superb.scores.leaderboard import PUBLISHED_COSTS
from s3prl_fusion.superb.submit import submission
from s3prl_fusion.superb.tasks import TASKS

# The layout as the leaderboard has it: its name -> the recipe's file below EXP/<upstream>.
LAYOUT = {
    "predict/pr_public/predict.ark": "pr/test-hyp.ark",
    "predict/asr_public/predict.ark": "asr/test-clean-noLM-hyp.ark",
    "predict/sid_public/predict.txt": "sid/test_predict.txt",
    "predict/sv_public/predict.txt": "sv/test_predict.txt",
    "predict/ks_public/predict.txt": "ks/test_predict.txt",
    "predict/ic_public/predict.csv": "ic/test_predict.csv",
    "predict/sf_public/predict.ark": "sf/test-hyp.ark",
    **{f"predict/er_fold{k}_public/predict.txt": f"er/fold{k}/test_fold{k}_predict.txt" for k in range(1, 6)},
}
STOCK = {
    "upstream_ckpt": None,
    "upstream_model_config": None,
    "upstream_trainable": False,
    "upstream_feature_selection": "hidden_states",
    "upstream_layer_selection": None,
    "upstream_feature_normalize": False,
}
UPSTREAM_PARAMETERS = 1_234
HEAD = {"model.weight": torch.zeros(4, 3), "best_score": torch.ones(1)}


def states_of(name: str, fusion: dict | None = None, **args) -> dict:
    """What s3prl's runner saves, without a config: a stock upstream's, or a fused one's that is built here."""
    featurizer = {"weights": torch.zeros(13)}
    if name.startswith("fused"):
        config = FusionConfig.from_dict(fusion) if fusion else FusionConfig.from_name(name)
        featurizer = FusionFeaturizer(FusedUpstream(config)).state_dict()
    return {"Args": Namespace(upstream=name, **{**STOCK, **args}), "Featurizer": featurizer, "Downstream": HEAD}


def score_of(states: dict) -> dict:
    """What the score stage keeps of a run."""
    tensors = states["Featurizer"].values()
    tuned = states["Args"].upstream_trainable
    return {
        "upstream": states["Args"].upstream,
        "interface": "weighted_sum",
        "seed": 1337,
        "lr": 1e-4,
        "dev_score": 50.0,
        "featurizer_parameters": sum(tensor.numel() for tensor in tensors),
        "downstream_parameters": HEAD["model.weight"].numel(),
        "frozen_parameters": 0 if tuned else UPSTREAM_PARAMETERS,
        "finetuned_parameters": UPSTREAM_PARAMETERS if tuned else 0,
    }


def lay_out(root: Path, states: dict, task: str, folder: str = "", text: str = "x", **score) -> None:
    """A task's run that is done, as far as submitting goes."""
    row = TASKS[task]
    config = yaml.safe_load((downstream_configs_dir() / row.config).read_text())
    for fold in row.folds:
        run = root / (folder or task) / (fold or "")
        run.mkdir(parents=True)
        hypotheses, references = {"a": f"{task} {text}", "b": "", "c": "z"}, {"a": f"{task} y", "b": "", "c": "z"}
        if task == "sf":
            hypotheses, references = ({"a": "B-x A E-x", "b": "B", "c": f"B-y {text} E-y"} for text in ("AB", "A"))
        if task == "sv":
            hypotheses, references = {"a": "0.75", "b": "0.25", "c": "0.5"}, {"a": "1", "b": "0", "c": "1"}
        for kind, texts in ((row.hypothesis, hypotheses), (row.reference, references)):
            (run / row.file(kind, fold)).write_text(
                "".join(f"{key}{row.separator}{words}\n" for key, words in texts.items())
            )
        kept = {"task": task, "fold": fold, "score": row.metric.score(hypotheses, references), **score}
        (run / "score.json").write_text(json.dumps({**score_of(states), **kept}))
        torch.save({**states, "Config": config}, run / row.best_ckpt)


@pytest.fixture(scope="session")
def all_tasks(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("submit") / "exp" / "fused__fbank__mfcc"
    states = states_of("fused__fbank__mfcc")
    for task in [name for name, task in TASKS.items() if task.read is None]:
        lay_out(root, states, task)
    return root


@pytest.fixture
def upstream(all_tasks, tmp_path) -> Path:
    """An experiment folder with all tasks done."""
    shutil.copytree(all_tasks.parent, tmp_path / "exp")
    return tmp_path / "exp" / all_tasks.name


def submit(exp: Path, *more: object) -> int:
    return main(["submit", str(exp), "-o", str(exp.parent / "predict.zip"), "--no-macs", *map(str, more)])


def packed(exp: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(exp.parent / "predict.zip") as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def form(exp: Path) -> dict[str, str]:
    """The form's answers by what it asks for, and the track's line under "track"."""
    text = (exp.parent / "submission.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", text, flags=re.MULTILINE)
    return {**dict(rows), "track": re.search(r"^Track: (.*)$", text, flags=re.MULTILINE)[1], "text": text}


def test_the_layout(upstream, capsys):
    assert submit(upstream.parent) == 0
    assert packed(upstream.parent) == {name: (upstream / path).read_bytes() for name, path in LAYOUT.items()}
    printed = capsys.readouterr().out
    assert all(name in printed for name in LAYOUT)
    assert "submission.md has what the form asks for; left to fill in: 6" in printed


def test_the_same_files_give_the_same_bytes(upstream):
    package = upstream.parents[1] / "predict.zip"
    both = [(submit(upstream.parent), package.read_bytes()) for _ in range(2)]
    assert both[0] == both[1]


def test_some_of_the_tasks_are_enough(upstream):
    for name in [folder.name for folder in upstream.iterdir() if folder.name != "sid"]:
        (upstream / name).rename(upstream / f"{name}.old1")
    assert submit(upstream.parent) == 0
    assert list(packed(upstream.parent)) == ["predict/sid_public/predict.txt"]


@pytest.mark.parametrize(
    ("path", "content", "match"),
    [
        ("sid/test_predict.txt", "a x\nb x\n", "sid/test_predict.txt: .* 1 missing .'c'., 0 extra"),
        ("sid/test_predict.txt", "a x\nb x\nc x\nd x\n", "0 missing .., 1 extra .'d'."),
        ("sid/test_predict.txt", "a X\nb X\nc X\n", "sid/test_predict.txt gives 0.0000 %, .*.json says 66.6667 %"),
        ("sv/test_predict.txt", "a 0\nb 1\nc 0\n", "sv/test_predict.txt gives 100.0000 %, .*.json says 0.0000 %"),
        ("sv/test_truth.txt", None, "test_truth.txt does not exist: sv is not done"),
        ("asr/test-clean-noLM-hyp.ark", "a x\nb x\nc x\na x\n", "utterance 'a' is there twice"),
        ("pr/test-hyp.ark", "", "no lines"),
        # What Python takes for the end of a line and the server does not.
        (
            "pr/test-hyp.ark",
            "a pr x\x1cb \nc z\n",
            "the server would read 2 utterances that are not those of .*/pr/test",
        ),
        ("er/fold4/test_fold4_predict.txt", None, "test_fold4_predict.txt does not exist: er fold4 is not done"),
        ("sv/score.json", None, "score.json does not exist: sv is not done"),
        ("sv/dev-best.ckpt", None, "dev-best.ckpt does not exist: sv is not done"),
        (
            "er/fold2/score.json",
            '{"task": "er", "fold": "fold2", "seed": 1, "lr": 0.1, "score": 66.66666666666667, "upstream": "a", '
            '"interface": "b"}',
            "er: its folds are of different seeds or rates",
        ),
        ("sv/dev-best.ckpt", "no checkpoint", "dev-best.ckpt cannot be read as a checkpoint"),
    ],
)
def test_what_is_incomplete_is_refused(upstream, path, content, match, capsys):
    (upstream / path).unlink()
    if content is not None:
        (upstream / path).write_text(content)
    assert submit(upstream.parent) == 2
    assert re.search(match, capsys.readouterr().err)
    assert [file.name for file in upstream.parents[1].iterdir()] == ["exp"]


def test_both_files_or_neither(upstream, capsys):
    (upstream.parents[1] / "submission.md").mkdir()
    assert submit(upstream.parent) == 2
    assert "must be two files" in capsys.readouterr().err
    assert submit(upstream.parent, "-o", upstream.parents[1] / "submission.md") == 2
    assert {file.name for file in upstream.parents[1].iterdir()} == {"exp", "submission.md"}


def test_several_upstreams_need_a_name(upstream, capsys):
    other = upstream.with_name("hubert")
    (other / "sid_lr1e-3").mkdir(parents=True)
    assert submit(upstream.parent) == 2
    assert "-u is missing: " in (error := capsys.readouterr().err)
    assert "has fused__fbank__mfcc, hubert; name one" in error
    assert submit(upstream.parent, "-u", upstream.name) == 0
    assert submit(upstream.parent, "-u", "wavlm") == 2
    assert "-u wavlm: " in capsys.readouterr().err


def test_a_folder_without_experiments(tmp_path, capsys):
    assert submit(tmp_path / "nothing") == 2
    assert "has no EXP/<upstream>/<task> folders" in capsys.readouterr().err


def test_the_best_rate_on_dev_then_the_lowest_seed(tmp_path, capsys):
    root, states = tmp_path / "exp" / "hubert", states_of("hubert")
    for folder, seed, rate, dev in (
        ("sid", 5, 1e-4, 70.0),
        ("sid_lr1e-3", 5, 1e-3, 80.0),
        ("sid_lr1e-3_seed2", 2, 1e-3, 78.0),
        ("sid_lr1e-2_seed1", 1, 1e-2, 75.0),
        ("sid.old1", 1, 1e-3, 99.0),
    ):
        lay_out(root, states, "sid", folder, text=folder, seed=seed, lr=rate, dev_score=dev)
    lay_out(root, states, "pr", "pr_lr1e-3", text="pr_lr1e-3", seed=2, lr=1e-3, dev_score=5.0)
    lay_out(root, states, "pr", "pr", text="pr", seed=2, lr=1e-2, dev_score=9.0)
    (root / "sid_lr1e-1").mkdir()  # not done

    def chosen(*more: object) -> set[str]:
        assert submit(root.parent, *more) == 0
        return {content.decode().split()[2] for content in packed(root.parent).values()}

    assert chosen() == chosen("--seed", 2) == {"sid_lr1e-3_seed2", "pr_lr1e-3"}
    shutil.rmtree(root / "pr")
    shutil.rmtree(root / "pr_lr1e-3")
    assert chosen("--seed", 5) == {"sid_lr1e-3"}
    assert submit(root.parent, "--seed", 1) == 2
    error = "--seed 1: sid has whole runs of seed 2, 5 with the learning rate 0.001; name one of these"
    assert error in capsys.readouterr().err


def test_the_forms_counts_are_the_checkpoints(upstream):
    assert submit(upstream.parent) == 0
    answers = form(upstream.parent)
    states = torch.load(upstream / "asr" / "dev-clean-best.ckpt", weights_only=False)
    interface = sum(tensor.numel() for tensor in states["Featurizer"].values())
    assert interface > 0
    for task in [task for task in TASKS.values() if task.read is None]:
        assert answers[f"task-specific parameters, {task.title}"] == str(interface + 12)
    assert (answers["shared parameters"], answers["fine-tuned parameters"]) == (str(UPSTREAM_PARAMETERS), "0")
    assert answers["stride (ms)"] == "10"
    members = "fbank, 1 x 240 + mfcc, 1 x 39 (hidden states x width), each normalized over its features,"
    assert answers["description"].startswith(f"frozen {members} under the interface {DEFAULT_INTERFACE}")
    assert answers["corpus"].count("none (signal processing)") == 2
    assert (
        answers["track"]
        == f"*less constrained* (the interface {DEFAULT_INTERFACE} is trained in place of the weighted sum)."
    )
    assert {answers[f"MACs, {group}"] for group in ("total", "short", "longer")} == {"**to fill in**"}


def test_the_macs_are_measured(upstream, capsys):
    exp = upstream.parent
    for name in ("asr", "pr", "sv", "er"):
        shutil.rmtree(upstream / name)
    assert main(["submit", str(exp), "-o", str(exp.parent / "predict.zip")]) == 0
    answers = form(exp)
    groups = [int(answers[f"MACs, {group}"]) for group in ("short", "medium", "long", "longer")]
    assert int(answers["MACs, total"]) == sum(groups)
    # MFCC's, beside FBANK's, from mel bands to cepstra.
    assert PUBLISHED_COSTS["fbank"][0] < sum(groups) < 2 * PUBLISHED_COSTS["fbank"][0]
    assert "The interface's, beside them: short" in answers["text"]
    assert "left to fill in: 1" in capsys.readouterr().out


def test_an_upstream_that_cannot_be_loaded(tmp_path, capsys):
    exp, args = tmp_path / "exp", {"upstream_ckpt": str(tmp_path / "gone.pt")}
    lay_out(exp / "hubert_local", states_of("hubert_local", **args), "sid")
    assert main(["submit", str(exp), "-o", str(tmp_path / "predict.zip")]) == 2
    assert re.search("hubert_local cannot be loaded here .*gone.pt.* say --no-macs", capsys.readouterr().err)
    assert [file.name for file in tmp_path.iterdir()] == ["exp"]
    assert submit(exp) == 0
    answers = form(exp)
    assert answers["stride (ms)"] == "**to fill in**"
    assert answers["shared parameters"] == str(UPSTREAM_PARAMETERS)
    assert answers["corpus"] == "hubert_local: **to fill in**, what it was pretrained on"
    assert str(tmp_path) not in answers["text"]


WEIGHTED = {"name": "weighted_sum", "match_dim": "interpolate"}


@pytest.mark.parametrize(
    ("name", "fusion", "args", "track"),
    [
        ("hubert", None, {}, r"\*constrained\* \(frozen upstream, weighted sum, stock downstream\)"),
        ("hubert", None, {"upstream_trainable": True}, r"\*public / unconstrained\* .*fine-tuned"),
        ("hubert", None, {"upstream_layer_selection": 0}, r"\*less constrained\* \(SID: states are picked"),
        ("fused", {"members": ["fbank", "mfcc"], "interface": WEIGHTED}, {}, r"\*constrained\*"),
        ("fused__fbank__mfcc__weighted_sum", None, {}, r"\*less constrained\* .* learns a projection"),
        ("fused__fbank__mfcc__gumbel", None, {}, r"\*less constrained\* \(the interface gumbel is trained"),
        ("fused_demo_whisper_chconv", None, {}, r"\*less constrained\* \(the interface chconv is trained"),
    ],
)
def test_the_track(tmp_path, name, fusion, args, track):
    lay_out(tmp_path / "exp" / name, states_of(name, fusion, **args), "sid")
    assert submit(tmp_path / "exp") == 0
    answers = form(tmp_path / "exp")
    assert re.match(track, answers["track"])
    assert ("pretrained with labels" in answers["text"]) == ("whisper" in name)
    assert ("s3prl's weighted sum" in answers["description"]) == (name == "hubert")


def test_known_sizes_stand_in_for_the_upstream(tmp_path):
    exp = tmp_path / "exp"
    lay_out(exp / "hubert_base", states_of("hubert_base"), "sid")
    assert submit(exp) == 0
    answers = form(exp)
    assert (answers["shared parameters"], answers["stride (ms)"]) == (str(UPSTREAM_PARAMETERS), "20")
    assert answers["task-specific parameters, SID"] == str(13 + 12)
    lay_out(exp / "fine", states_of("hubert_base", upstream_trainable=True), "sid")
    assert submit(exp, "-u", "fine") == 0
    answers = form(exp)
    assert (answers["shared parameters"], answers["fine-tuned parameters"]) == ("0", str(UPSTREAM_PARAMETERS))


def test_another_head_is_not_the_stock_downstream(tmp_path):
    exp = tmp_path / "exp"
    lay_out(exp / "hubert", states_of("hubert"), "sid")
    path = exp / "hubert" / "sid" / "dev-best.ckpt"
    states = torch.load(path, weights_only=False)
    states["Config"]["downstream_expert"]["modelrc"]["projector_dim"] = 512
    torch.save(states, path)
    assert submit(exp) == 0
    assert "the downstream model of SID is not configured as SUPERB's" in form(exp)["track"]


@pytest.mark.parametrize(
    "key, other", [("upstream", {"members": ["fbank", "linear"]}), ("normalize", {"normalize": False})]
)
def test_tasks_of_two_fusions_are_no_submission(tmp_path, capsys, key, other):
    root, fusion = tmp_path / "exp" / "fused", {"members": ["fbank", "mfcc"], "interface": WEIGHTED}
    for task, changes in (("sid", {}), ("pr", other)):
        lay_out(root, states_of("fused", {**fusion, **changes}), task)
    assert submit(root.parent) == 2
    assert f"sid has another {key} than" in capsys.readouterr().err


def test_the_zip_is_read_again(upstream, monkeypatch, capsys):
    def cut(files, package):
        with zipfile.ZipFile(package, "w") as archive:
            for name, (file, *_) in files.items():
                archive.writestr(name, "".join(file.read_text().splitlines(keepends=True)[:2]))

    monkeypatch.setattr(submission, "_pack", cut)
    assert submit(upstream.parent) == 2
    assert "the server would read 2 utterances" in capsys.readouterr().err
    assert [file.name for file in upstream.parents[1].iterdir()] == ["exp"]
