"""Recipes' configs: what s3prl reads of them is checked by key, all mistakes at once, before anything else happens."""

from __future__ import annotations

import copy
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.errors import UsageError
from s3prl_fusion.host.recipes import check, check_split
from s3prl_fusion.superb.runs.experiment import read_recipe
from s3prl_fusion.superb.tasks import TASKS

SHIPPED = sorted(downstream_configs_dir().glob("*.yaml")) + sorted(downstream_configs_dir().glob("demo/*.yaml"))
DEEP = {
    "model_type": "CNNSelfAttention",
    "hidden_dim": 80,
    "kernel_size": 5,
    "padding": 2,
    "pooling": 5,
    "dropout": 0.4,
}
ABSENT = object()


def shipped(task: str) -> dict[str, Any]:
    return yaml.safe_load((downstream_configs_dir() / f"{task}.yaml").read_text(encoding="utf-8"))


def changed(task: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The shipped config with other values; ABSENT takes a key out."""
    config = shipped(task)
    for key, value in changes.items():
        *sections, last = key.split("/")
        section = reduce(lambda node, name: node[name], sections, config)
        section.pop(last) if value is ABSENT else section.update({last: value})
    return config


def lines(task: str, config: Any, **more: Any) -> list[str]:
    try:
        check(TASKS[task].downstream, config, **more)
    except UsageError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_configs_that_ship_are_right_and_stay_as_they_are(path: Path):
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    before = copy.deepcopy(config)
    check(TASKS[path.stem].downstream, config)
    assert config == before


@pytest.mark.parametrize(
    "task, changes",
    [
        # What s3prl's own configs have.
        ("asr", {"downstream_expert/modelrc/Wav2Letter": {"total_rate": 320}}),
        ("asr", {"downstream_expert/modelrc/Wav2Letter": {}, "downstream_expert/modelrc/select": "Wav2Letter"}),
        ("asr", {"scheduler": {"name": "linear_schedule_with_warmup", "num_warmup_steps": 1400}}),
        ("asr", {"scheduler": None, "specaug": None}),
        ("asr", {"downstream_expert/datarc/mine": ["test-other"], "runner/eval_dataloaders": ["mine"]}),
        ("asr", {"downstream_expert/datarc/decoder_args/decoder_type": "kenlm"}),
        ("pr", {"downstream_expert/model/FrameLevel": {"hiddens": [256, 128], "activation": "GELU"}}),
        ("er", {"downstream_expert/modelrc/DeepModel": {**DEEP, "input_dim": 256}}),  # not selected, so not read
        ("er", {"downstream_expert/modelrc/select": "DeepModel", "downstream_expert/modelrc/DeepModel": DEEP}),
        ("er", {"downstream_expert/datarc/test_fold": None}),
        ("sid", {"downstream_expert/datarc/max_timestep": None}),
        ("sv", {"downstream_expert/modelrc/LossConfig/SoftmaxLoss": {"no_args": True}, "runner/eval_dataloaders": []}),
        (
            "sv",
            {"downstream_expert/modelrc/module": "Identity", "downstream_expert/modelrc/module_config/Identity": {}},
        ),
        ("sid", {"optimizer": {"name": "Adam", "lr": 1e-4}}),
        ("sid", {"optimizer": {"name": "AdamW_with_schedule", "lr": 1e-4, "weight_decay": 0.1}}),
        ("sid", {"optimizer": {"name": "TorchOptim", "torch_optim_name": "SGD", "lr": 0.1, "momentum": 0.9}}),
    ],
)
def test_whatever_s3prl_takes_is_taken(task, changes):
    assert lines(task, changed(task, changes)) == []


@pytest.mark.fault("a number in a YAML that YAML reads as a text (lr: 1e-3)", "read as the number that it means")
def test_texts_of_numbers_are_numbers():
    config = changed("sid", {"optimizer/lr": "1e-3", "runner/total_steps": "2e5", "runner/eval_step": 5.0e3})
    assert lines("sid", config) == []
    assert (config["optimizer"]["lr"], config["runner"]["total_steps"]) == (1e-3, 200000)
    assert config["runner"]["eval_step"] == 5000 and isinstance(config["runner"]["eval_step"], int)


@pytest.mark.fault("an -o value of true, false or null, which s3prl takes for texts", "read as what it means")
def test_switches_of_overrides_are_switches():
    config = changed("er", {"downstream_expert/datarc/pre_load": "false", "downstream_expert/datarc/test_fold": "null"})
    assert lines("er", config) == [] and config["downstream_expert"]["datarc"]["pre_load"] is False
    assert config["downstream_expert"]["datarc"]["test_fold"] is None


@pytest.mark.fault(
    "a recipe's YAML with a wrong value, a missing or a misspelt key",
    "refused before anything is prepared: file, key, what is allowed, the near name",
)
@pytest.mark.parametrize(
    "task, changes, told",
    [
        ("asr", {"optimizer": ABSENT}, "it has no optimizer"),
        ("asr", {"runner": [1]}, "runner must be a mapping of keys to values; got [1]"),
        ("asr", {"downstream_expert": None}, "downstream_expert must be a mapping of keys to values; got None"),
        ("asr", {"optimiser": {}}, "it: unknown key 'optimiser'; choose from downstream_expert, optimizer"),
        ("asr", {"runner/total_steps": "ten"}, "runner.total_steps must be a whole number of at least 1; got 'ten'"),
        ("asr", {"runner/total_steps": 0}, "runner.total_steps must be a whole number of at least 1; got 0"),
        ("asr", {"runner/total_steps": True}, "runner.total_steps must be a whole number of at least 1; got True"),
        (
            "asr",
            {"runner/total_steps": float("inf")},
            "runner.total_steps must be a whole number of at least 1; got inf",
        ),
        ("asr", {"runner/eval_step": 0}, "runner.eval_step must be a whole number of at least 1; got 0"),
        ("asr", {"runner/save_step": -1}, "runner.save_step must be"),
        ("asr", {"runner/log_step": 1.5}, "runner.log_step must be"),
        ("asr", {"runner/gradient_accumulate_steps": ABSENT}, "runner has no gradient_accumulate_steps, which must be"),
        ("asr", {"runner/gradient_clipping": 0}, "runner.gradient_clipping must be a number above 0; got 0"),
        ("asr", {"runner/eval_steps": 3}, "runner: unknown key 'eval_steps'"),
        ("asr", {"runner/eval_dataloaders": "dev-clean"}, "runner.eval_dataloaders must be a list, each a text"),
        ("asr", {"runner/eval_dataloaders": ["dev-claen"]}, "unknown split 'dev-claen'; choose from dev-clean"),
        ("sid", {"runner/eval_dataloaders": ["valid"]}, "unknown split 'valid'; choose from dev, test"),
        ("asr", {"optimizer/lr": float("nan")}, "optimizer.lr must be a number above 0; got nan"),
        ("asr", {"optimizer/lr": "fast"}, "optimizer.lr must be a number above 0; got 'fast'"),
        ("asr", {"optimizer/lr": -1e-3}, "optimizer.lr must be a number above 0; got -0.001"),
        ("asr", {"optimizer/lr": ABSENT}, "optimizer has no lr, which must be a number above 0"),
        ("asr", {"optimizer/name": "TorchOptm"}, "unknown optimizer 'TorchOptm'"),
        ("asr", {"optimizer/torch_optim_name": "Adan"}, "unknown optimizer of torch.optim 'Adan' (did you mean '"),
        ("asr", {"optimizer/torch_optim_name": "LBFGS"}, "unknown optimizer of torch.optim 'LBFGS'"),
        ("asr", {"optimizer/momentum": 0.9}, "optimizer: unknown key 'momentum'"),
        ("asr", {"optimizer/betas": [0.9, 1.5]}, "torch.optim.Adam refuses it: Invalid beta"),
        ("asr", {"scheduler": {"name": "linear", "num_warmup_steps": 1}}, "unknown scheduler 'linear'"),
        ("asr", {"scheduler": {"name": "linear_schedule_with_warmup"}}, "scheduler has no num_warmup_steps"),
        ("asr", {"specaug/num_freq_mask": "x"}, "specaug.num_freq_mask must be a whole number of at least 0; got 'x'"),
        ("asr", {"specaug/freq_mask_width_range": [1]}, "specaug.freq_mask_width_range must be a list of 2"),
        ("asr", {"downstream_expert/datarc/batch_size": 0}, "datarc.batch_size must be a whole number of at least 1"),
        (
            "asr",
            {"downstream_expert/datarc/num_workers": -1},
            "num_workers must be a whole number from 0 to 1024; got -1",
        ),
        ("asr", {"downstream_expert/datarc/num_worker": 1}, "unknown key 'num_worker'"),
        ("asr", {"downstream_expert/datarc/decoder_args": ABSENT}, "datarc has no decoder_args"),
        ("asr", {"downstream_expert/modelrc/RNNs/dim": [8]}, "the lists must have one item a layer; dim has 1"),
        ("asr", {"downstream_expert/modelrc/RNNs/module": "LSTN"}, "RNNs.module must be LSTM, GRU or RNN; got 'LSTN'"),
        ("asr", {"downstream_expert/modelrc/RNNs/module": True}, "RNNs.module must be LSTM, GRU or RNN; got True"),
        (
            "asr",
            {"downstream_expert/datarc/train": []},
            "datarc.train must be a list of 1 or more, each a text; got []",
        ),
        ("asr", {"downstream_expert/datarc/dev-clean": []}, "unknown split 'dev-clean'; choose from"),
        ("asr", {"downstream_expert/modelrc/select": "RNN"}, "unknown model 'RNN'; choose from RNNs, Wav2Letter"),
        (
            "asr",
            {"downstream_expert/modelrc/project_dim": 10**11},
            "project_dim must be a whole number from 1 to 65536",
        ),
        ("pr", {"downstream_expert/corpus/name": "libriphon"}, "unknown corpus 'libriphon'"),
        ("pr", {"downstream_expert/corpus": "libriphone"}, "downstream_expert.corpus must be a mapping"),
        ("pr", {"downstream_expert/metric": "per"}, "downstream_expert.metric must be a list"),
        ("pr", {"downstream_expert/metric": ["per", "__import__('os')"]}, "downstream_expert.metric must be"),
        ("pr", {"downstream_expert/model/FrameLevel": {"hidden": [8]}}, "unknown key 'hidden'"),
        ("pr", {"downstream_expert/model/FrameLevel": {"activation": "ReLu"}}, "unknown activation of torch.nn 'ReLu'"),
        ("sid", {"downstream_expert/datarc/max_timestep": ABSENT}, "datarc has no max_timestep, which must be"),
        ("sid", {"downstream_expert/datarc/max_timestep": 0}, "max_timestep must be null or a whole number"),
        ("sid", {"downstream_expert/modelrc/UtteranceLevel/pooling": "Mean"}, "unknown pooling 'Mean'"),
        ("sid", {"downstream_expert/modelrc/select": "FrameLevel"}, "unknown model 'FrameLevel'"),
        ("er", {"downstream_expert/datarc/test_fold": 1}, "test_fold must be null or fold1, fold2 ...; got 1"),
        (
            "er",
            {"downstream_expert/datarc/test_fold": "../x"},
            "test_fold must be null or fold1, fold2 ...; got '../x'",
        ),
        ("er", {"downstream_expert/datarc/valid_ratio": 1}, "valid_ratio must be a number above 0 and below 1; got 1"),
        ("er", {"downstream_expert/datarc/root": 3}, "datarc.root must be null or a path; got 3"),
        (
            "er",
            {
                "downstream_expert/modelrc/select": "DeepModel",
                "downstream_expert/modelrc/DeepModel": {**DEEP, "drop": 1},
            },
            "DeepModel: unknown key 'drop'",
        ),
        ("sv", {"downstream_expert/modelrc/ObjectiveLoss": "SoftmaxLos"}, "unknown loss 'SoftmaxLos'"),
        ("sv", {"downstream_expert/modelrc/module_config": {}}, "module_config has no XVector"),
        ("sv", {"downstream_expert/datarc/vad_config": {}}, "vad_config has no min_sec, which must be"),
    ],
)
def test_mistakes_are_told_by_key(task, changes, told):
    (line,) = lines(task, changed(task, changes), where="my.yaml")
    assert line.startswith("my.yaml: ") and told in line


@pytest.mark.fault(
    "a recipe of PR whose best checkpoint would be the worst, or that of another split or metric", "refused"
)
@pytest.mark.parametrize(
    "changes, told",
    [
        ({"metric_higher_better": True}, "metric_higher_better must be false for per; got True"),
        ({"metric": ["slot_type_f1"]}, "metric_higher_better must be true for slot_type_f1; got False"),
        ({"metric": ["wer", "per"]}, r"metric must begin with per, by which dev-best.ckpt is chosen; got \['wer'"),
        ({"save_best_on": ["test"]}, r"save_best_on must have dev, on which dev-best.ckpt is chosen; got \['test'\]"),
        ({"text/mode": "character"}, "text.mode must be word for libriphone"),
    ],
)
def test_how_pr_chooses_its_checkpoint(changes, told, tmp_path):
    (tmp_path / "pr.yaml").write_text(
        yaml.safe_dump(changed("pr", {f"downstream_expert/{key}": value for key, value in changes.items()}))
    )
    with pytest.raises(UsageError, match=told):
        read_recipe(TASKS["pr"], tmp_path / "pr.yaml", {}, [])


@pytest.mark.fault("a recipe's YAML whose test set is another split", "refused: the task's test set is named")
@pytest.mark.parametrize("task, section, split", [("asr", "datarc", "test-clean"), ("pr", "corpus", "test")])
def test_another_test_set(task, section, split, tmp_path):
    path = tmp_path / f"{task}.yaml"
    path.write_text(yaml.safe_dump(changed(task, {f"downstream_expert/{section}/{split}": ["dev-clean"]})))
    with pytest.raises(UsageError, match=rf"{section}\.{split} must be \['test-clean'\], the task's test set; got"):
        read_recipe(TASKS[task], path, {}, [])


@pytest.mark.fault("run -m evaluate with a split that the recipe does not have", "refused: which it has")
def test_a_split_to_evaluate_that_there_is_not():
    for task, config in (("voxceleb1", "sid"), ("emotion", "er"), ("sv_voxceleb1", "sv")):
        check_split(task, shipped(config), "test")
        with pytest.raises(UsageError, match="-t tset: unknown split 'tset'.*did you mean 'test'"):
            check_split(task, shipped(config), "tset")


@pytest.mark.fault("a recipe's YAML that is no mapping", "refused: the file, and what it holds")
@pytest.mark.parametrize("config", [None, [], [1], "text", 3])
def test_what_is_no_mapping(config):
    assert lines("asr", config) == [f"it must be a mapping of keys to values; got {config!r}"]


@pytest.mark.fault("a recipe's YAML with several mistakes", "told all at once, one line each")
def test_all_mistakes_are_told_at_once():
    found = lines("sid", changed("sid", {"runner/eval_step": 0, "optimizer/lr": None, "runner/log_step": ABSENT}))
    assert [line.split()[0] for line in found] == ["runner", "runner.eval_step", "optimizer.lr"]


def test_of_a_checkpoints_config_only_what_is_given_anew_counts():
    config = changed("sid", {"runner/eval_step": 0, "optimizer/lr": "x", "mine": 1})
    assert lines("sid", config, given=[]) == []
    assert lines("sid", config, given=["optimizer.lr"]) == ["optimizer.lr must be a number above 0; got 'x'"]
    assert len(lines("sid", config, given=["runner", "mine"])) == 2


def test_a_run_that_does_not_train_needs_no_optimizer():
    assert (
        lines("sid", {"runner": {}, **{"downstream_expert": shipped("sid")["downstream_expert"]}}, training=False) == []
    )


def test_of_a_recipe_that_nobody_knows_only_the_runners_part_is_checked():
    config = {**shipped("sid"), "downstream_expert": {"anything": 1}, "distortion": {}}
    check("mosei", config)
    config["runner"]["eval_step"] = 0
    with pytest.raises(UsageError, match=r"runner\.eval_step must be"):
        check("mosei", config)


def test_a_recipe_of_somebody_else_says_what_its_config_may_hold(tmp_path, monkeypatch):
    from s3prl_fusion.host import recipes

    (tmp_path / "somebody_elses.py").write_text(
        "from s3prl_fusion.host.recipes import Recipe\n"
        "from s3prl_fusion.schema import Section, whole\n"
        "RECIPE = Recipe('mosei', 'mosei.yaml', print, print, settings=Section({'batch_size': whole(1)}))\n"
    )
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(tmp_path)])
    with pytest.raises(UsageError, match=r"downstream_expert\.batch_size must be a whole number of at least 1; got 0"):
        check("mosei", {**shipped("sid"), "downstream_expert": {"batch_size": 0}})
