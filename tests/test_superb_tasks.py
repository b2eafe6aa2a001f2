"""The configs: SUPERB's values, and every key that the pipeline replaces."""

from __future__ import annotations

from functools import reduce

import pytest
import yaml

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.corpora.demo import SCHEME
from s3prl_fusion.host.recipes import find
from s3prl_fusion.superb.tasks import TASKS, parse_tasks

# SUPERB's settings: optimizer's learning rate, steps, clips a batch, accumulated batches.
SETTINGS = {
    "asr": (1.0e-4, 200_000, 32, 1),
    "pr": (1.0e-2, 100_000, 16, 2),
    "sid": (1.0e-4, 200_000, 8, 4),
    "er": (1.0e-4, 30_000, 4, 8),
    "sv": (1.0e-4, 200_000, 10, 5),
    "ks": (1.0e-4, 200_000, 32, 1),
    "ic": (1.0e-4, 200_000, 32, 1),
    "sf": (1.0e-4, 200_000, 32, 1),
    "sd": (1.0e-4, 30_000, 8, 4),
}
BATCH_KEYS = {
    "asr": "downstream_expert.datarc.batch_size",
    "pr": "downstream_expert.corpus.batch_size",
    "sid": "downstream_expert.datarc.train_batch_size",
    "er": "downstream_expert.datarc.train_batch_size",
    "sv": "downstream_expert.datarc.train_batch_size",
    "ks": "downstream_expert.datarc.batch_size",
    "ic": "downstream_expert.datarc.train_batch_size",
    "sf": "downstream_expert.corpus.batch_size",
    "sd": "downstream_expert.loaderrc.train_batchsize",
}


def load(name: str, folder: str = "") -> dict:
    return yaml.safe_load((downstream_configs_dir() / folder / f"{name}.yaml").read_text(encoding="utf-8"))


def get(config: dict, key: str):
    return reduce(lambda value, part: value[part], key.split("."), config)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.trains])
def test_superb_settings(name):
    config = load(name)
    optimizer, runner = config["optimizer"], config["runner"]
    assert (optimizer["name"], optimizer["torch_optim_name"]) == ("TorchOptim", "AdamW" if name == "sv" else "Adam")
    got = (optimizer["lr"], runner["total_steps"], get(config, BATCH_KEYS[name]), runner["gradient_accumulate_steps"])
    assert got == SETTINGS[name]
    assert runner["gradient_clipping"] == (1000 if name == "sv" else 1)


def test_superb_heads():
    rnns = load("asr")["downstream_expert"]["modelrc"]["RNNs"]
    assert (rnns["module"], rnns["bidirection"], rnns["dim"]) == ("LSTM", True, [1024, 1024])
    for folder in ("", "demo"):
        assert get(load("pr", folder), "downstream_expert.model.select") == "FrameLevel"
        for name in ("sid", "er"):
            assert get(load(name, folder), "downstream_expert.modelrc.UtteranceLevel.pooling") == "MeanPooling"
            assert get(load(name, folder), "downstream_expert.modelrc.projector_dim") == 256
    assert load("sid")["downstream_expert"]["datarc"]["max_timestep"] == 8 * 16000
    assert load("asr")["downstream_expert"]["datarc"]["decoder_args"]["decoder_type"] == "None"


def test_the_x_vector():
    modelrc = load("sv")["downstream_expert"]["modelrc"]
    assert (modelrc["module"], modelrc["ObjectiveLoss"]) == ("XVector", "AMSoftmaxLoss")
    assert modelrc["LossConfig"]["AMSoftmaxLoss"] == {"s": 30.0, "m": 0.4}


def test_the_search_for_queries():
    expert = load("qbe")["downstream_expert"]
    dtw = {"dist_method": "cosine_exp", "minmax_norm": True, "step_pattern": "asymmetric", "subsequence": True}
    assert (expert["dtwrc"], expert["feature_normalization"], expert["datarc"]["batch_size"]) == (dtw, True, 1)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_what_trains_nothing_has_a_recipe_that_chooses(task):
    recipe = find(task.downstream, load(task.name))
    assert (recipe is not None and recipe.choose is not None) == (not task.trains)


IN_DEMO = [("demo", name) for name, task in TASKS.items() if task.demo_folds]


@pytest.mark.parametrize(("folder", "name"), [*(("", name) for name in TASKS), *IN_DEMO])
def test_replaced_keys_are_placeholders(name, folder):
    task, config = TASKS[name], load(name, folder)
    for key in task.paths:
        value = get(config, key)
        value = value[0] if isinstance(value, list) else value
        shipped = (downstream_configs_dir() / value).is_file()
        assert shipped or value.startswith(SCHEME if folder == "demo" else "/path/to/")
    if task.fold_key:
        assert get(config, task.fold_key) in task.demo_folds
    dev = task.best_ckpt[: -len("-best.ckpt")]
    assert dev in config["runner"]["eval_dataloaders"]
    if not task.trains:
        return
    # An evaluation without a checkpoint in the same step would be lost by an interruption.
    assert config["runner"]["total_steps"] % config["runner"]["eval_step"] == 0
    assert config["runner"]["eval_step"] % config["runner"]["save_step"] == 0


def test_symbol_files():
    from s3prl.downstream.asr.dictionary import Dictionary
    from s3prl.downstream.ctc.text import load_text_encoder

    letters = Dictionary.load(str(downstream_configs_dir() / "char.dict")).symbols[4:]
    assert letters[0] == "|"
    assert set(letters) == set("|'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert len(letters) == 28
    phonemes = (downstream_configs_dir() / "phoneme.txt").read_text(encoding="utf-8").split()
    vowels = {phoneme[:-1] for phoneme in phonemes if phoneme[-1].isdigit()}
    assert {phoneme for phoneme in phonemes if phoneme[-1].isdigit()} == {f"{v}{s}" for v in vowels for s in "012"}
    assert len(phonemes) == len(set(phonemes)) == 3 * 15 + 24 + 2  # vowels with stress, consonants, SIL and SPN
    encoder = load_text_encoder("word", str(downstream_configs_dir() / "phoneme.txt"))
    assert encoder.decode(encoder.encode("HH AH0 L OW1")) == "HH AH0 L OW1"


def test_cmudict_uses_known_symbols():
    from s3prl_fusion.corpora.librispeech import cmu_lexicon

    phonemes = set((downstream_configs_dir() / "phoneme.txt").read_text(encoding="utf-8").split())
    assert {phoneme for pronunciation in cmu_lexicon().values() for phoneme in pronunciation} <= phonemes


def test_parse_tasks():
    assert [task.name for task in parse_tasks("er, asr,er")] == ["er", "asr"]
    assert [task.name for task in parse_tasks("er,all")] == ["er", *(name for name in TASKS if name != "er")]
    with pytest.raises(ValueError, match="got 'asx'; choose from asr, pr, sid, er"):
        parse_tasks("asr,asx")
    with pytest.raises(ValueError, match="got nothing"):
        parse_tasks(",")
