"""Several processes: real ones on the CPU, started by torchrun once for all tests here, and what is refused."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import yaml
from torch.utils.data import DataLoader, DistributedSampler

import s3prl_fusion
from s3prl_fusion.cli import main
from s3prl_fusion.errors import UsageError
from s3prl_fusion.host import distributed
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.resume import follow
from s3prl_fusion.host.runner import complete_arguments

CHILD = Path(__file__).with_name("distributed_child.py")
RECIPES = ("asr", "ctc", "voxceleb1", "emotion")
EXACT = ("hconv", "chconv", "weighted_sum")
# Everything that draws random numbers, and several batches an epoch.
RANDOM = (
    "config.downstream_expert.datarc.train_batch_size=1,,config.downstream_expert.modelrc.RNNs.dropout=[0.5],,"
    "config.specaug={'apply_time_warp': False, 'freq_mask_width_range': [0, 4], 'time_mask_width_range': [0, 9]}"
)


def argv(recipe: str, config: Path, upstream: str, expdir: Path, override: str = "") -> list[str]:
    args = ["-m", "train", "-u", upstream, "-d", recipe, "-c", str(config), "-p", str(expdir), "--device", "cpu", "-a"]
    return [*args, *(["-o", override] if override else [])]


def batch(size: int) -> str:
    """By SGD: Adam makes steps of one size of gradients that are nothing but rounding."""
    optimizer = "config.optimizer.torch_optim_name=SGD,,config.optimizer.lr=0.5"
    return f"config.downstream_expert.datarc.train_batch_size={size},,{optimizer}"


def states(expdir: Path, step: int = 2) -> dict:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(expdir / f"states-{step}.ckpt")


def assert_same_weights(one: dict, other: dict, atol: float = 0.0) -> None:
    for part in ("Featurizer", "Downstream"):
        assert one[part].keys() == other[part].keys()
        for key, value in one[part].items():
            if key != "best_score":
                torch.testing.assert_close(value, other[part][key], rtol=0, atol=atol, msg=f"{part}.{key}: ".__add__)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, hubert_ckpt):
    """A fusion YAML whose first member can be fine-tuned."""
    path = tmp_path_factory.mktemp("fusion") / "fusion.yaml"
    path.write_text(yaml.safe_dump({"members": [{"name": "hubert_local", "ckpt": hubert_ckpt}, "fbank"]}))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recipe_configs, tuned):
    """A folder of expdirs, each trained by two processes, and rank0.json and rank1.json."""
    root = tmp_path_factory.mktemp("two")
    fused, er = "fused__fbank__mfcc", recipe_configs["emotion"]
    runs = {recipe: argv(recipe, recipe_configs[recipe], fused, root / recipe) for recipe in ("asr", "ctc")}
    runs["voxceleb1"] = argv("voxceleb1", recipe_configs["voxceleb1"], fused, root / "voxceleb1", batch(1))
    runs["gumbel"] = argv("emotion", er, f"{fused}__gumbel", root / "gumbel", batch(2))
    runs["tuned"] = [*argv("emotion", er, "fused", root / "tuned", batch(2)), "-g", str(tuned), "-f"]
    for name in EXACT:
        runs[name] = argv("emotion", er, f"{fused}__{name}", root / name, batch(2))
    for name, steps in {"whole": [5], "resumed": [1, 2, 3, 5]}.items():
        for step in steps:
            override = f"config.runner.total_steps={step},,{RANDOM}"
            runs[f"{name} {step}"] = argv("asr", recipe_configs["asr"], fused, root / name, override)
    (root / "trainings.json").write_text(json.dumps(list(runs.items())))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(root / "cache")}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", CHILD, root]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return root


def in_one_process(monkeypatch, args: list[str]) -> None:
    """The launcher without torchrun, on the batches that the processes see together."""
    from s3prl.downstream.emotion import expert

    monkeypatch.setattr(expert, "is_initialized", lambda: True)
    monkeypatch.setattr(expert, "DistributedSampler", partial(DistributedSampler, num_replicas=1, rank=0))
    try:
        assert main(["run", *args]) == 0
    finally:
        s3prl_fusion.unregister()


@pytest.mark.parametrize("interface", EXACT)
def test_two_processes_train_as_one_does_with_the_doubled_batch(
    interface, trained, recipe_configs, tmp_path, monkeypatch
):
    args = argv("emotion", recipe_configs["emotion"], f"fused__fbank__mfcc__{interface}", tmp_path / "exp", batch(4))
    in_one_process(monkeypatch, args)
    for step in (1, 2):
        assert_same_weights(states(trained / interface, step), states(tmp_path / "exp", step), atol=1e-5)


def test_members_are_fine_tuned(trained):
    first, second = states(trained / "tuned", 1)["Upstream"], states(trained / "tuned")["Upstream"]
    assert any(not torch.equal(value, first[key]) for key, value in second.items())
    assert all(value.isfinite().all() for value in second.values())


def test_gumbels_forwards_are_counted_once_a_step(trained):
    assert states(trained / "gumbel")["Featurizer"]["forwards"] == 2


@pytest.mark.parametrize("recipe", ["asr", "ctc", "voxceleb1"])
def test_the_other_recipes_train(recipe, trained):
    first, second = states(trained / recipe, 1), states(trained / recipe, 2)
    assert second["WorldSize"] == 2 and second["Args"].local_rank == 0
    assert any(not torch.equal(value, first["Featurizer"][key]) for key, value in second["Featurizer"].items())


def test_resumed_training_gives_the_weights_of_uninterrupted_training(trained):
    assert_same_weights(states(trained / "resumed", 5), states(trained / "whole", 5))


def test_rank_0_alone_writes(trained):
    ranks = [json.loads((trained / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert all(set(rank["statuses"].values()) == {0} for rank in ranks)
    # transformers 4.40 notes its cache's version, in the process that comes first.
    written = [name for name in ranks[1]["written"] if not name.endswith("huggingface/hub/version.txt")]
    assert written == [] and any("states-2.ckpt" in name for name in ranks[0]["written"])
    assert json.loads((trained / "asr" / "run.json").read_text())["processes"] == 2


def under_torchrun(monkeypatch, processes: int) -> None:
    for name, value in {"LOCAL_RANK": 0, "RANK": 0, "WORLD_SIZE": processes}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("processes", [None, 1, 3])
def test_another_number_of_processes_is_refused(processes, trained, monkeypatch, capsys):
    if processes:
        under_torchrun(monkeypatch, processes)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: pytest.fail("a group was joined"))
    assert main(["run", "-m", "train", "-e", str(trained / "asr"), "--device", "cpu"]) == 2
    s3prl_fusion.unregister()
    now = {None: "one process without torchrun", 1: "1 process under torchrun", 3: "3 processes under torchrun"}
    error = capsys.readouterr().err
    assert f"states-2.ckpt was trained by 2 processes under torchrun, and this is {now[processes]}" in error
    assert "torchrun --nproc_per_node=2" in error and "begin a new experiment" in error


def test_an_experiment_of_one_process_is_not_gone_on_with_by_several(recipe_configs, tmp_path, monkeypatch, capsys):
    args = argv("emotion", recipe_configs["emotion"], "fbank", tmp_path / "exp")
    assert main(["run", *args]) == 0
    under_torchrun(monkeypatch, 2)
    assert main(["run", *args]) == 2
    s3prl_fusion.unregister()
    assert "trained by one process without torchrun, and this is 2 processes" in capsys.readouterr().err


def test_one_process_evaluates_what_several_trained(trained):
    assert main(["run", "-m", "evaluate", "-t", "test", "-e", str(trained / "hconv"), "--device", "cpu"]) == 0
    s3prl_fusion.unregister()


class TestArguments:
    NEW = ["-m", "train", "-u", "fbank", "-d", "asr", "-p", "exp"]

    def completed(self, *more: str) -> dict:
        added = complete_arguments([*self.NEW, *more])[len(self.NEW) + len(more) :]
        return dict(zip(added[::2], added[1::2]))

    def test_the_local_rank_is_torchruns_and_the_backend_the_devices(self, monkeypatch):
        assert not {"--local_rank", "--backend"} & self.completed("--device", "cpu").keys()
        monkeypatch.setenv("LOCAL_RANK", "3")
        added = self.completed("--device", "cpu")
        assert (added["--local_rank"], added["--backend"]) == ("3", "gloo")
        assert "--backend" not in self.completed("--device", "cuda")
        assert "--local_rank" not in self.completed("--device", "cpu", "--local_rank", "1")

    @pytest.mark.parametrize(
        "more, match",
        [
            (["--device", "cuda:1"], "--device cuda:1: under torchrun each process takes the GPU of its own number"),
            (["--device", "cpu", "--backend", "nccl"], "--backend nccl needs GPUs; leave it out, for gloo"),
            (["--device", "cpu", "-m", "evaluate"], "-m evaluate is done by one process: start it without torchrun"),
        ],
    )
    def test_what_several_processes_cannot_do(self, more, match, monkeypatch):
        under_torchrun(monkeypatch, 2)
        with pytest.raises(UsageError, match=match):
            self.completed(*more)


class TestMain:
    @pytest.fixture
    def seen(self, monkeypatch):
        """torch as run_downstream sees it on GPUs, and the calls that reach the real one, which has two of them."""
        calls, module = [], ModuleType("run_downstream")
        module.torch = torch
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "set_device", lambda rank: calls.append(rank))
        monkeypatch.setattr(torch.distributed, "init_process_group", lambda *args, **more: calls.append((args, more)))

        def get(on_gpu: bool):
            distributed.mend_main(module, on_gpu, Patches())
            return module.torch, calls

        return get

    def test_a_process_takes_the_gpu_of_its_number_and_waits_for_long_evaluations(self, seen):
        module, calls = seen(on_gpu=True)
        module.cuda.set_device(1)
        module.distributed.init_process_group("nccl")
        assert calls == [1, (("nccl",), {"timeout": distributed.TIMEOUT})]
        assert module.cuda.is_available is torch.cuda.is_available and module.load is torch.load

    def test_more_processes_than_gpus_are_refused(self, seen):
        with pytest.raises(UsageError, match=r"process 2 of this machine .* there are 2; .*--nproc_per_node=2"):
            seen(on_gpu=True)[0].cuda.set_device(2)

    def test_no_gpu_is_asked_for_on_a_cpu(self, seen):
        module, calls = seen(on_gpu=False)
        module.cuda.set_device(5)
        assert not calls


def test_a_recipe_that_does_not_share_its_data_out_is_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    expert = SimpleNamespace(get_dataloader=lambda split: DataLoader([1, 2]))
    runner = SimpleNamespace(
        init_ckpt={},
        args=SimpleNamespace(seed=1, downstream="sid_lxt"),
        config={"runner": {"total_steps": 1}},
        downstream=SimpleNamespace(model=expert),
        train=None,
    )
    follow(runner)
    assert isinstance(expert.get_dataloader("dev"), DataLoader)
    with pytest.raises(UsageError, match="the recipe 'sid_lxt' would give every process the same data"):
        expert.get_dataloader("train")
