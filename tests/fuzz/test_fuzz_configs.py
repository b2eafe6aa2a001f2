"""Fusion YAMLs and recipes' YAMLs that are almost right: what they say is done, or a line says what is wrong."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import mutations
import pytest
import tiny_corpora
import yaml
from experts import start
from hypothesis import strategies as st
from laws import command, contents, folder, property_of, refusals

from s3prl_fusion import FusionConfig
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.files import read_mapping
from s3prl_fusion.identity import describe, digest
from s3prl_fusion.names import resolve
from s3prl_fusion.superb.tasks import TASKS

SHIPPED = sorted(downstream_configs_dir().glob("fusion/*.yaml"))
FULL = {
    "members": [
        "mfcc",
        {"name": "fbank", "layers": [0], "precision": "bf16"},
        {"name": "hf_hubert_custom", "ckpt": "folder", "layers": [0, 2, -1], "device": "cpu"},
        {"name": "fbank", "model_config": {"feature": {"num_mel_bins": 40}}},
    ],
    "interface": {"name": "hconv", "output_dim": 16},
    "normalize": True,
    "cache": {"dir": "states", "dtype": "int8", "max_gb": 1.5},
}
TREES = [FULL, *(yaml.safe_load(path.read_text(encoding="utf-8")) for path in SHIPPED)]


def says_what_it_is(fusion: FusionConfig) -> None:
    """The laws of every FusionConfig: it can be written, read again, described and hashed."""
    assert FusionConfig.from_dict(fusion.to_dict()) == fusion
    assert FusionConfig.from_dict(yaml.safe_load(fusion.to_yaml())) == fusion
    described = describe(fusion)
    assert json.loads(json.dumps(described)) and digest(described) == digest(describe(fusion))
    assert all(isinstance(name, str) for name in fusion.member_names)


@property_of(
    "fusion YAMLs with values, keys or characters changed",
    300,
    text=st.sampled_from(TREES).flatmap(mutations.changed).flatmap(mutations.written),
)
def test_a_fusion_yaml_is_read_or_refused(text):
    with folder() as here, refusals() as said:
        (here / "fusion.yaml").write_bytes(text)
        fusion = FusionConfig.from_yaml(here / "fusion.yaml")
        says_what_it_is(fusion)
        assert resolve(str(here / "fusion.yaml")).members == fusion.members
        assert len(fusion.members) == len(yaml.safe_load(text)["members"])
    if said:
        assert "fusion.yaml" in said[0], f"the file is not named: {said[0]}"
    return said[0] if said else None


@property_of("fusion YAMLs of the package and of the pages, written anew", 60, tree=st.sampled_from(TREES))
def test_valid_ones_are_read(tree):
    says_what_it_is(FusionConfig.from_dict(tree))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Where the corpora are said to be; a dry run does not look into them."""
    root = tmp_path_factory.mktemp("corpora")
    names = sorted({task.corpus.name for task in TASKS.values()})
    for name in names:
        (root / name).mkdir()
    return [word for name in names for word in (f"--{name}", root / name)]


def put(config: Any, values: dict[str, Any]) -> None:
    """Put values back where they are in a config."""
    for key, value in values.items():
        *sections, last = key.split(".")
        reduce(dict.__getitem__, sections, config)[last] = value


RECIPES = {"asr": "asr", "pr": "ctc", "sid": "voxceleb1", "er": "emotion"}  # by the task's name


def tiny_recipes() -> dict[str, dict]:
    """The tiny configs of tests/, without their paths."""
    nowhere = dict.fromkeys(("root", "buckets", "lexicon", "list", "meta"), "nowhere")
    with folder() as here:
        files = tiny_corpora.write_configs(here / "tiny", downstream_configs_dir(), nowhere, nowhere, nowhere)
        return {task: yaml.safe_load(files[name].read_text(encoding="utf-8")) for task, name in RECIPES.items()}


TINY = tiny_recipes()
CHANGED = st.sampled_from(sorted(TINY)).flatmap(
    lambda name: st.tuples(st.just(name), mutations.changed(TINY[name], least=0, most=2).flatmap(mutations.written))
)


@property_of(
    "recipes' YAMLs with values, keys or characters changed, under `superb --dry-run`",
    80,
    recipe=CHANGED,
)
def test_a_recipe_yaml_starts_or_is_refused(corpora, recipe_configs, recipe):
    name, text = recipe
    task, given = TASKS[name], yaml.safe_load(recipe_configs[RECIPES[name]].read_text(encoding="utf-8"))
    with folder() as here:
        (here / "configs").mkdir()
        (here / "configs" / task.config).write_bytes(text)
        before = contents(here)
        words = ["-u", "fused__fbank__mfcc", "-t", name, "--configs", here / "configs", "-o", here / "exp"]
        done = command("superb", *words, *corpora, "--dry-run")
        assert contents(here) == before, "a dry run wrote something"
        if done.refusal:
            assert task.config in done.refusal, f"the file is not named: {done.refusal}"
            return done.refusal
        assert done.out.count(" -m train ") == max(1, len(task.folds))
        config = read_mapping(here / "configs" / task.config)
        # superb fills these in; processes would only be slow.
        paths = {key: reduce(dict.__getitem__, key.split("."), given) for key in task.filled_in}
        section = "corpus" if name == "pr" else "datarc"
        put(config, {**paths, f"downstream_expert.{section}.num_workers": 0})
        with refusals() as said:
            start(task, config, here)
        return said[0] if said else None


@property_of(
    "options of `superb --dry-run`",
    80,
    words=st.lists(
        st.tuples(
            st.sampled_from(["--lr", "--seeds", "--interfaces", "--jobs", "--device", "-t", "-u", "--slurm", "--"]),
            st.one_of(
                st.sampled_from(["1e-3,1e-4", "1,2", "hconv,chconv", "cpu", "asr", "0", "-1", "nan", "inf", "", ","]),
                st.sampled_from(["cuda:99", "banana", "asr,asr", "sid,,er", "fbank", "fused_demo", "--bogus", "-o x"]),
                st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=6),
            ),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_options_are_planned_or_refused(corpora, words):
    with folder() as here:
        given = [word for pair in words for word in pair if word]
        done = command(
            "superb", "-u", "fused__fbank__mfcc", "-t", "sid", "-o", here / "exp", *corpora, "--dry-run", *given
        )
        assert not (here / "exp").exists(), "a dry run wrote something"
        return done.refusal
