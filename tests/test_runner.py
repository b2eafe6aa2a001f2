"""Integration through s3prl's real runner: every recipe, every mode, next to a stock run."""

from __future__ import annotations

import argparse
import builtins
import json
import math
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

import s3prl_fusion
from s3prl_fusion.cli import main
from s3prl_fusion.host.recipes import _libriphone
from s3prl_fusion.interfaces import DEFAULT_INTERFACE

RECIPES = ("asr", "ctc", "voxceleb1", "emotion")
TEST_SPLIT = {"asr": "test-clean", "ctc": "test", "voxceleb1": "test", "emotion": "test"}
EVALUATION_FILES = {
    "asr": {"test-clean-noLM-hyp.ark", "test-clean-noLM-ref.ark"},
    "ctc": {"test-hyp.ark", "test-ref.ark"},
    "voxceleb1": {"log.log", "test_predict.txt", "test_truth.txt"},
    "emotion": {"log.log", "test_fold1_predict.txt", "test_fold1_truth.txt"},
}
LOSS = {
    "asr": "asr/train-loss",
    "ctc": "ctc-libriphone/train-loss",
    "voxceleb1": "voxceleb1/train-loss",
    "emotion": "emotion-fold1/train-loss",
}


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """A current directory without a ./downstream, a cache folder of our own, no worker processes; all undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        from s3prl.downstream.ctc import data

        # The recipe forgets num_workers after its first data loader (s3prl/downstream/ctc/data.py:76), and takes 12.
        patch.setattr(data, "DataLoader", lambda *args, **kwargs: DataLoader(*args, **{**kwargs, "num_workers": 0}))
        yield
    s3prl_fusion.unregister()


def ours(*argv: object) -> int:
    """The launcher, which then leaves s3prl as it was."""
    try:
        return main(["run", *map(str, argv)])
    finally:
        s3prl_fusion.unregister()


def stock(cache: Path, *argv: object) -> None:
    """s3prl.run_downstream as it is in a source checkout, which has the phoneme corpus, and on a torch before 2.6."""
    from s3prl import run_downstream
    from s3prl.downstream.voxceleb1 import dataset

    package = "s3prl.downstream.ctc.corpus"
    with pytest.MonkeyPatch.context() as patch, torch.serialization.safe_globals([argparse.Namespace]):
        patch.setattr(sys, "argv", ["run_downstream.py", *map(str, argv)])
        patch.setattr(builtins, "isinstance", isinstance)
        patch.setattr(dataset, "CACHE_PATH", str(cache))
        patch.setitem(sys.modules, package, ModuleType(package))
        patch.setitem(sys.modules, f"{package}.libriphone", _libriphone)
        run_downstream.main()


def train_args(recipe: str, config: Path, upstream: str, expdir: Path) -> list[object]:
    return ["-m", "train", "-u", upstream, "-d", recipe, "-c", config, "-p", expdir, "--device", "cpu"]


def evaluate_args(recipe: str, expdir: Path) -> list[object]:
    return ["-m", "evaluate", "-t", TEST_SPLIT[recipe], "-e", expdir, "--device", "cpu"]


def states(expdir: Path, step: int) -> dict:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(expdir / f"states-{step}.ckpt")


def files(expdir: Path) -> set[str]:
    """File names, without the times in them."""
    return {re.sub(r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d|\.tfevents\..*|\.\d{10}\..*", "", p.name) for p in expdir.iterdir()}


def assert_same_weights(one: dict, other: dict, atol: float = 0.0) -> None:
    for part in ("Featurizer", "Downstream"):
        assert one[part].keys() == other[part].keys()
        for key, value in one[part].items():
            name = f"{part}.{key}: "
            torch.testing.assert_close(value, other[part][key], rtol=0, atol=atol, msg=name.__add__)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recipe_configs):
    """The expdir of two steps of a recipe on ``fused__fbank__mfcc``, trained when first asked for."""
    expdirs: dict[str, Path] = {}

    def get(recipe: str) -> Path:
        if recipe not in expdirs:
            expdirs[recipe] = tmp_path_factory.mktemp("fused") / recipe
            assert ours(*train_args(recipe, recipe_configs[recipe], "fused__fbank__mfcc", expdirs[recipe])) == 0
        return expdirs[recipe]

    return get


@pytest.fixture(scope="module")
def emotion_ckpt(trained):
    return trained("emotion") / "states-2.ckpt"


@pytest.fixture(scope="module")
def stock_trained(tmp_path_factory, recipe_configs):
    """(expdir, cache) of two steps of a recipe by plain s3prl on ``fbank``."""
    runs: dict[str, tuple[Path, Path]] = {}

    def get(recipe: str) -> tuple[Path, Path]:
        if recipe not in runs:
            root = tmp_path_factory.mktemp("stock")
            runs[recipe] = root / recipe, root / "cache"
            stock(root / "cache", *train_args(recipe, recipe_configs[recipe], "fbank", root / recipe))
        return runs[recipe]

    return get


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_steps_train_with_finite_losses_and_leave_whole_checkpoints(recipe, trained):
    expdir = trained(recipe)
    log = EventAccumulator(str(expdir)).Reload()
    losses = [event.value for event in log.Scalars(LOSS[recipe])]
    assert len(losses) == 2 and all(math.isfinite(loss) for loss in losses)
    first, second = states(expdir, 1), states(expdir, 2)
    assert second["Step"] == 2 and second["Config"]["runner"]["total_steps"] == 2
    moved = [key for key, value in second["Featurizer"].items() if not torch.equal(value, first["Featurizer"][key])]
    assert moved and all(value.isfinite().all() for value in second["Featurizer"].values())
    assert not list(expdir.glob("*.tmp")) and not list(expdir.glob(".*"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_writes_what_a_stock_run_writes(recipe, trained, stock_trained):
    # Stock keeps one checkpoint (max_keep 1), the plugin one more; a best one depends on the scores.
    def kept(expdir):
        return {name for name in files(expdir) if not name.startswith("states-") and not name.endswith("-best.ckpt")}

    evaluation = EVALUATION_FILES[recipe] - {"log.log"}
    assert kept(trained(recipe)) - evaluation - {"run.json"} == kept(stock_trained(recipe)[0]) - evaluation


def test_a_training_says_what_it_was_made_of(trained):
    description = json.loads((trained("emotion") / "run.json").read_text())
    ckpt = states(trained("emotion"), 2)
    assert description["s3prl_fusion"] == s3prl_fusion.__version__ and description["torch"] == torch.__version__
    assert description["device"] == "cpu" and not description["upstream_trained"]
    for part in ("Featurizer", "Downstream"):
        numbers = sum(value.numel() for name, value in ckpt[part].items() if name != "best_score")
        assert description["parameters"][part.lower()] == numbers


@pytest.mark.parametrize("recipe", RECIPES)
def test_evaluate_writes_what_a_stock_run_writes(recipe, trained, stock_trained, tmp_path):
    expdir, (stock_expdir, cache) = trained(recipe), stock_trained(recipe)
    before = {}
    for folder in (expdir, stock_expdir):
        for name in EVALUATION_FILES[recipe]:
            (folder / name).unlink(missing_ok=True)
        before[folder] = files(folder)
    assert ours(*evaluate_args(recipe, expdir)) == 0
    stock(cache, *evaluate_args(recipe, stock_expdir))
    assert files(expdir) - before[expdir] == files(stock_expdir) - before[stock_expdir] == EVALUATION_FILES[recipe]
    for name in EVALUATION_FILES[recipe] - {"log.log"}:
        lines, stock_lines = ((folder / name).read_text().splitlines() for folder in (expdir, stock_expdir))
        assert [line.split()[0] for line in lines] == [line.split()[0] for line in stock_lines]
        if "ref" in name or "truth" in name:
            assert lines == stock_lines


# Everything that draws random numbers: order of the clips, crops, dropout, SpecAugment; two or more batches an epoch.
RANDOM = {
    "asr": (
        "config.downstream_expert.datarc.train_batch_size=2,,config.downstream_expert.modelrc.RNNs.dropout=[0.5],,"
        "config.specaug={'apply_time_warp': False, 'freq_mask_width_range': [0, 4], 'time_mask_width_range': [0, 9]}"
    ),
    "ctc": "config.downstream_expert.corpus.batch_size=2",
    "voxceleb1": (
        "config.downstream_expert.datarc.max_timestep=9000,,config.downstream_expert.datarc.train_batch_size=1"
    ),
    "emotion": "config.downstream_expert.datarc.train_batch_size=1",
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_training_gives_the_weights_of_uninterrupted_training(recipe, recipe_configs, tmp_path):
    def train(expdir: Path, steps: int, *more: str) -> None:
        override = f"config.runner.total_steps={steps},,config.runner.eval_step=2,,{RANDOM[recipe]}"
        args = train_args(recipe, recipe_configs[recipe], "fused__fbank__mfcc", expdir)
        assert ours(*args, "-o", override, *more) == 0

    train(tmp_path / "whole", 7)
    for steps in (1, 3, 4, 7):  # in the middle of an epoch, and at its end
        train(tmp_path / "resumed", steps, "-a")
    assert_same_weights(states(tmp_path / "resumed", 7), states(tmp_path / "whole", 7))


def test_gumbels_cooling_goes_on_when_training_is_resumed(recipe_configs, tmp_path):
    args = train_args("asr", recipe_configs["asr"], "fused__fbank__mfcc__gumbel", tmp_path / "exp")
    for step in (1, 2):
        assert ours(*args, "-a", "-o", f"config.runner.total_steps={step}") == 0
        # Evaluations in between do not count.
        assert states(tmp_path / "exp", step)["Featurizer"]["forwards"] == step


def test_a_users_own_interface_trains_and_evaluates(recipe_configs, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\nfrom s3prl_fusion import Interface\n\n\n"
        "class Own(Interface):\n"
        "    def __init__(self, layers, dims, output_dim=None):\n"
        "        super().__init__(layers, dims, output_dim)\n"
        "        self.map = nn.Linear(dims[0], 5)\n"
        "        self.output_dim = 5\n\n"
        "    def forward(self, members):\n"
        "        return self.map(members[0][-1])\n"
    )
    (tmp_path / "fusion.yaml").write_text("members: [fbank, mfcc]\ninterface: own:Own\n")
    args = train_args("asr", recipe_configs["asr"], "fused", tmp_path / "exp")
    assert ours(*args, "-g", tmp_path / "fusion.yaml") == 0
    assert set(states(tmp_path / "exp", 2)["Featurizer"]) == {"map.weight", "map.bias"}
    ckpt = tmp_path / "exp" / "states-2.ckpt"
    assert ours("-m", "evaluate", "-t", "test-clean", "-e", ckpt, "--device", "cpu") == 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stock_upstream_trains_to_the_weights_of_plain_s3prl(recipe, stock_trained, recipe_configs, tmp_path):
    assert ours(*train_args(recipe, recipe_configs[recipe], "fbank", tmp_path / "exp")) == 0
    assert_same_weights(states(tmp_path / "exp", 2), states(stock_trained(recipe)[0], 2))


def test_one_fused_member_under_weighted_sum_trains_to_the_weights_of_plain_s3prl(
    stock_trained, recipe_configs, tmp_path
):
    fusion = tmp_path / "fusion.yaml"
    fusion.write_text("members: [fbank]\ninterface: weighted_sum\nnormalize: false\n")
    assert ours(*train_args("asr", recipe_configs["asr"], str(fusion), tmp_path / "exp")) == 0
    fused, plain = states(tmp_path / "exp", 2), states(stock_trained("asr")[0], 2)
    # Stock has no weights where there is one hidden state: nothing is to be weighed.
    assert fused["Featurizer"].keys() == {"weights"} and not plain["Featurizer"]
    # The gradient's norm is summed over one tensor more: it may differ in the last bit.
    assert_same_weights({**fused, "Featurizer": {}}, {**plain, "Featurizer": {}}, atol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_inference_writes_one_line_for_a_wav(recipe, trained, libri, voxceleb):
    wav = voxceleb["root"] / "test" / "wav" / "id10001" / "video3" / "00001.wav"
    name = "inference.ark" if recipe in ("asr", "ctc") else "inference.txt"
    assert ours("-m", "inference", "-e", trained(recipe), "-t", wav, "--device", "cpu") == 0
    (line,) = (trained(recipe) / name).read_text().splitlines()
    label = line.partition(" ")[2]
    assert line.startswith("00001 ")
    if recipe == "voxceleb1":
        assert re.fullmatch(r"id1\d{4}", label)
    if recipe == "emotion":
        assert label in ("neu", "hap", "ang", "sad")


def test_a_fusion_yaml_over_local_checkpoints_trains_resumes_and_evaluates(
    recipe_configs, wavlm_ckpt, hubert_ckpt, tmp_path
):
    fusion = tmp_path / "fusion.yaml"
    members = [{"name": "wavlm_local", "ckpt": wavlm_ckpt}, {"name": "hubert_local", "ckpt": hubert_ckpt}]
    fusion.write_text(yaml.safe_dump({"members": members, "interface": {"name": "hconv", "output_dim": 16}}))
    expdir = tmp_path / "exp"
    args = [*train_args("emotion", recipe_configs["emotion"], "fused", expdir), "-g", fusion]
    assert ours(*args, "-o", "config.runner.total_steps=1") == 0
    fusion.rename(tmp_path / "moved.yaml")  # the expdir has a copy
    assert ours("-m", "train", "-e", expdir, "--device", "cpu", "-o", "config.runner.total_steps=2") == 0
    assert ours(*evaluate_args("emotion", expdir)) == 0
    featurizer = states(expdir, 2)["Featurizer"]
    assert featurizer["match.projections.1.weight"].shape == (32, 24)
    assert featurizer["convs.0.weight"].shape == (8, 32, 5)
    assert (expdir / "test_fold1_predict.txt").read_text().count("\n") == 4


def test_relative_paths_in_a_relative_fusion_yaml_hold_from_another_folder(
    recipe_configs, wavlm_ckpt, tmp_path, monkeypatch
):
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    shutil.copy(wavlm_ckpt, home / "models" / "wavlm.pt")
    (home / "fusion.yaml").write_text(
        "members: [{name: wavlm_local, ckpt: models/wavlm.pt}]\ninterface: weighted_sum\n"
    )
    monkeypatch.chdir(home)
    expdir = tmp_path / "exp"
    assert ours(*train_args("emotion", recipe_configs["emotion"], "fused", expdir), "-g", "fusion.yaml") == 0
    monkeypatch.chdir(tmp_path)
    assert ours(*evaluate_args("emotion", expdir)) == 0


def test_finetuning_trains_the_members_and_keeps_them(recipe_configs, hubert_ckpt, tmp_path):
    fusion = tmp_path / "fusion.yaml"
    fusion.write_text(yaml.safe_dump({"members": [{"name": "hubert_local", "ckpt": hubert_ckpt}, "fbank"]}))
    expdir = tmp_path / "exp"
    assert ours(*train_args("emotion", recipe_configs["emotion"], "fused", expdir), "-g", fusion, "-f") == 0
    first, second = (states(expdir, step)["Upstream"] for step in (1, 2))
    moved = {key.split(".")[3] for key, value in second.items() if not torch.equal(value, first[key])}
    assert "encoder" in moved and all(key.startswith("members.0.") for key in second)
    assert ours(*evaluate_args("emotion", expdir)) == 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_experiments_of_plain_s3prl_evaluate_to_the_same_files(recipe, stock_trained):
    expdir, cache = stock_trained(recipe)
    names = EVALUATION_FILES[recipe] - {"log.log"}
    stock(cache, *evaluate_args(recipe, expdir))
    expected = {name: (expdir / name).read_text() for name in names}
    for name in names:
        (expdir / name).unlink()
    assert ours(*evaluate_args(recipe, expdir)) == 0
    assert {name: (expdir / name).read_text() for name in names} == expected


def test_weights_given_with_i_are_the_ones_evaluated(trained, recipe_configs, tmp_path):
    assert ours(*evaluate_args("ctc", trained("ctc"))) == 0
    args = ["-u", "fused__fbank__mfcc", "-d", "ctc", "-c", recipe_configs["ctc"], "-p", tmp_path / "exp"]
    ckpt = trained("ctc") / "states-2.ckpt"
    assert ours("-m", "evaluate", "-t", "test", "-i", ckpt, *args, "--device", "cpu") == 0
    assert (tmp_path / "exp" / "test-hyp.ark").read_text() == (trained("ctc") / "test-hyp.ark").read_text()


def test_auto_resume_takes_upstream_recipe_and_config_from_the_checkpoint(recipe_configs, tmp_path):
    config = tmp_path / "config.yaml"
    shutil.copy(recipe_configs["emotion"], config)
    expdir = tmp_path / "exp"
    args = train_args("emotion", config, "fused__fbank__mfcc", expdir)
    assert ours(*args, "-o", "config.runner.total_steps=1") == 0
    config.unlink()
    assert ours("-m", "train", "-a", "-p", expdir, "--device", "cpu", "-o", "config.runner.total_steps=2") == 0
    assert states(expdir, 2)["Step"] == 2
    assert ours(*args, "-a", "-o", "config.runner.total_steps=3") == 0
    assert states(expdir, 3)["Step"] == 3


def test_a_checkpoint_itself_can_be_evaluated(trained):
    expdir = trained("voxceleb1")
    (expdir / "test_predict.txt").unlink(missing_ok=True)
    assert ours(*evaluate_args("voxceleb1", expdir / "states-1.ckpt")) == 0
    assert (expdir / "test_predict.txt").read_text().count("\n") == 2


def test_upstreams_of_the_huggingface_hub_are_left_to_the_runner(recipe_configs, tmp_path, monkeypatch):
    from s3prl import run_downstream
    from s3prl.downstream import runner

    class Reached(Exception):
        pass

    def reach(self):
        raise Reached

    monkeypatch.setattr(runner.Runner, "_get_upstream", reach)
    monkeypatch.setattr(run_downstream, "HfApi", lambda: SimpleNamespace(login=lambda **kwargs: "token"))
    monkeypatch.setattr(run_downstream, "HfFolder", SimpleNamespace(save_token=lambda token: None))
    args = train_args("asr", recipe_configs["asr"], "somebody/an-upstream", tmp_path / "exp")
    with pytest.raises(Reached):
        ours(*args, "--hub", "huggingface")


def test_prs_number_of_workers_holds_for_every_split_and_in_the_checkpoint(recipe_configs, tmp_path, monkeypatch):
    from s3prl.downstream.ctc import data

    asked = []

    def loader(*args, num_workers, **kwargs):
        asked.append(num_workers)
        return DataLoader(*args, **kwargs)

    monkeypatch.setattr(data, "DataLoader", loader)
    assert ours(*train_args("ctc", recipe_configs["ctc"], "fbank", tmp_path / "exp")) == 0
    assert len(asked) >= 2 and set(asked) == {0}
    assert states(tmp_path / "exp", 2)["Config"]["downstream_expert"]["corpus"]["num_workers"] == 0


def test_checkpoints_hold_the_featurizer_but_no_upstream(trained):
    assert "Upstream" not in states(trained("asr"), 2)


def test_the_process_is_left_as_found(trained, recipe_configs, tmp_path):
    before = sys.argv, builtins.isinstance
    assert ours(*train_args("emotion", recipe_configs["emotion"], "fbank", tmp_path / "exp")) == 0
    assert (sys.argv, builtins.isinstance) == before


class TestUserErrors:
    """Mistakes end with status 2 and a message, before any upstream loads."""

    @pytest.fixture(autouse=True)
    def nothing_loads(self, monkeypatch):
        from s3prl.downstream import runner

        def refuse(self):
            raise AssertionError("an upstream was loaded before the check")

        monkeypatch.setattr(runner.Runner, "_get_upstream", refuse)

    def error(self, capsys, *argv) -> str:
        assert ours(*argv) == 2
        stderr = capsys.readouterr().err
        assert "Traceback" not in stderr
        return stderr[stderr.index("error: ") :]

    @pytest.mark.parametrize(
        "upstream, message",
        [
            ("fused_wavlm_hubrt", r"unknown alias 'hubrt'.*did you mean 'hubert'"),
            ("fused__fbank__mfc", r"unknown upstream 'mfc'.*did you mean 'mfcc'"),
            ("fban", r"unknown upstream 'fban'.*did you mean 'fbank'"),
            ("fused", r"needs a fusion YAML"),
            ("fused__hubert_local__fbank", r"'hubert_local' has no checkpoint of its own"),
        ],
    )
    def test_upstreams(self, capsys, recipe_configs, tmp_path, upstream, message):
        args = train_args("asr", recipe_configs["asr"], upstream, tmp_path / "exp")
        assert re.search(message, self.error(capsys, *args))

    def test_a_fusion_yaml_with_an_unknown_key(self, capsys, recipe_configs, tmp_path):
        fusion = tmp_path / "fusion.yaml"
        fusion.write_text("members: [fbank]\ninterfaces: hconv\n")
        args = [*train_args("asr", recipe_configs["asr"], "fused", tmp_path / "exp"), "-g", fusion]
        assert re.search(r"fusion\.yaml.*unknown key 'interfaces'.*'interface'", self.error(capsys, *args))

    @pytest.mark.parametrize(
        "override, difference",
        [
            ("args.upstream=fused__mfcc__fbank", r"members\[0\]\.name was 'fbank', is 'mfcc'"),
            ("args.upstream=fused__fbank__mfcc__gumbel", rf"interface\.name was '{DEFAULT_INTERFACE}', is 'gumbel'"),
            ("args.upstream={raw}", r"normalize was True, is not given"),
        ],
    )
    def test_a_checkpoint_of_another_fusion(self, emotion_ckpt, capsys, tmp_path, override, difference):
        raw = tmp_path / "raw.yaml"
        raw.write_text("members: [fbank, mfcc]\nnormalize: false\n")
        override = override.format(raw=raw)
        error = self.error(capsys, "-m", "evaluate", "-t", "test", "-e", emotion_ckpt, "-o", override)
        assert re.search(f"states-2.ckpt: the checkpoint was trained with another fusion: .*{difference}", error)

    def test_a_fusion_yaml_that_is_not_there(self, capsys, recipe_configs, tmp_path):
        args = [*train_args("asr", recipe_configs["asr"], "fused", tmp_path / "exp"), "-g", tmp_path / "no.yaml"]
        assert re.search(r"no\.yaml does not exist", self.error(capsys, *args))

    @pytest.mark.parametrize("option", ["-s last_hidden_state", "-l 3"])
    def test_selections_that_a_fused_upstream_lacks(self, capsys, recipe_configs, tmp_path, option):
        args = [*train_args("asr", recipe_configs["asr"], "fused__fbank__mfcc", tmp_path / "exp"), *option.split()]
        assert "Leave -s out" in (text := self.error(capsys, *args)) or "leave -l out" in text

    @pytest.mark.parametrize("option, message", [("-k", "takes no checkpoint of its own"), ("-g", "takes no -g")])
    def test_files_that_a_fused_name_does_not_read(self, capsys, recipe_configs, tmp_path, option, message):
        args = train_args("asr", recipe_configs["asr"], "fused__fbank__mfcc", tmp_path / "exp")
        assert message in self.error(capsys, *args, option, recipe_configs["asr"])

    def test_inference_of_a_file_that_is_not_there(self, capsys, tmp_path):
        text = self.error(capsys, "-m", "inference", "-t", tmp_path / "no.wav", "-u", "fbank", "-d", "asr")
        assert "no.wav does not exist" in text
        assert "-t is missing; -m inference needs" in self.error(capsys, "-m", "inference", "-u", "fbank", "-d", "asr")

    def test_a_config_that_is_not_there(self, capsys, tmp_path):
        args = train_args("asr", tmp_path / "no.yaml", "fbank", tmp_path / "exp")
        assert re.search(r"-c .*no\.yaml does not exist", self.error(capsys, *args))

    @pytest.mark.parametrize(
        "recipe, key",
        [
            ("asr", "downstream_expert.datarc.libri_root"),
            ("asr", "downstream_expert.datarc.bucket_file"),
            ("ctc", "downstream_expert.corpus.path"),
            ("voxceleb1", "downstream_expert.datarc.meta_data"),
            ("emotion", "downstream_expert.datarc.root"),
        ],
    )
    def test_a_path_of_the_config_that_is_not_there(self, capsys, recipe_configs, tmp_path, recipe, key):
        args = train_args(recipe, recipe_configs[recipe], "fused__fbank__mfcc", tmp_path / "exp")
        text = self.error(capsys, *args, "-o", f"config.{key}=/no/such/place")
        assert f"{key} is '/no/such/place', which does not exist" in text

    def test_a_fold_that_is_not_there(self, capsys, recipe_configs, tmp_path):
        args = train_args("emotion", recipe_configs["emotion"], "fused__fbank__mfcc", tmp_path / "exp")
        text = self.error(capsys, *args, "-o", "config.downstream_expert.datarc.test_fold=fold9")
        assert "Session9/train_meta_data.json does not exist" in text.replace("\n", "")

    @pytest.mark.parametrize("mode", ["train", "evaluate"])
    def test_a_past_experiment_that_is_not_there(self, capsys, tmp_path, mode):
        text = self.error(capsys, "-m", mode, "-e", tmp_path / "no")
        assert re.search(r"-e .*no does not exist", text)

    @pytest.mark.fault(
        "run that goes on from a checkpoint (-a, -e) with another -u, -d or --seed, which s3prl ignores",
        "refused: what the checkpoint was trained with",
    )
    @pytest.mark.parametrize(
        "words, told", [("-u mfcc", "-u mfcc"), ("-d asr", "-d asr"), ("--seed 9", "--seed 9"), ("-u x.yaml", "-u x")]
    )
    def test_what_a_past_experiment_was_not_trained_with(
        self, capsys, emotion_ckpt, tmp_path, words, told, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        for start in (["-m", "evaluate", "-t", "test", "-e"], ["-m", "train", "-a", "-p"]):
            if words.endswith("yaml") and "-e" in start:
                continue  # it may have moved
            text = self.error(capsys, *start, emotion_ckpt.parent, "--device", "cpu", *words.split())
            assert f"{told}" in text and ("was trained with" in text or "x.yaml" in text)

    def test_a_past_experiment_without_checkpoints(self, capsys, tmp_path):
        assert "has no states-*.ckpt" in self.error(capsys, "-m", "evaluate", "-e", tmp_path)

    def test_a_recipe_without_a_default_config(self, capsys, tmp_path):
        text = self.error(capsys, "-m", "train", "-u", "fbank", "-d", "mosei", "-p", tmp_path / "exp")
        assert re.search(r"'mosei' has no default config; give one with -c", text)

    @pytest.mark.parametrize(
        "missing, argv",
        [
            ("-u UPSTREAM", "-m train -d asr -p exp"),
            ("-d DOWNSTREAM", "-m train -u fbank -p exp"),
            ("-p EXPDIR", "-m train -u fbank -d asr"),
        ],
    )
    def test_arguments_that_are_missing(self, capsys, missing, argv):
        assert f"{missing}" in self.error(capsys, *argv.split())


def test_the_default_configs_reach_the_recipe_and_name_the_corpus_that_is_missing(capsys, tmp_path):
    assert ours("-m", "train", "-u", "fused__fbank__mfcc", "-d", "asr", "-p", tmp_path / "exp") == 2
    assert "downstream_expert.datarc.libri_root is '/path/to/LibriSpeech'" in capsys.readouterr().err


def test_a_checkpoint_survives_a_save_that_fails(trained, recipe_configs, tmp_path, monkeypatch):
    expdir = tmp_path / "exp"
    shutil.copytree(trained("emotion"), expdir)
    kept = (expdir / "states-2.ckpt").read_bytes()
    real_save = torch.save

    def full_disk(value, path):
        real_save({"half": 1}, path)
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    args = [*train_args("emotion", recipe_configs["emotion"], "fused__fbank__mfcc", expdir)]
    (expdir / "states-1.ckpt").unlink()
    with pytest.raises(OSError, match="no space left"):
        ours(*args, "-o", "config.runner.save_step=2")
    assert (expdir / "states-2.ckpt").read_bytes() == kept
    assert not [path for path in expdir.iterdir() if path.name.endswith(".tmp")]
