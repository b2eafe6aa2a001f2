"""What a fusion is made of: what decides features is in it by content, and what does not is not."""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import replace

import pytest
import yaml

from s3prl_fusion import FusionConfig
from s3prl_fusion.host import checks, members
from s3prl_fusion.identity import by_content, describe, differences, digest
from s3prl_fusion.names import resolve

OWN = """
from torch import nn
from s3prl_fusion import Interface


class Last(Interface):
    def __init__(self, layers, dims, output_dim=None):
        super().__init__(layers, dims, output_dim)
        self.output_dim = dims[0]

    def forward(self, members):
        return members[0][{layer}]
"""


@pytest.fixture
def folder(tmp_path):
    """A fusion YAML and everything that it refers to, of the user's own."""
    where = tmp_path / "here"
    where.mkdir()
    (where / "own.py").write_text(OWN.format(layer=-1))
    (where / "model.ckpt").write_bytes(b"weights")
    (where / "model.yaml").write_text("width: 8\n")
    config = {
        "members": [
            "fbank",
            {"name": "tera_local", "ckpt": "model.ckpt", "model_config": "model.yaml", "layers": [0, 1]},
        ],
        "interface": "own.py:Last",
    }
    (where / "fusion.yaml").write_text(yaml.safe_dump(config))
    return where


def read(path) -> dict:
    """A description as a new process makes it."""
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]
    from s3prl_fusion import imports

    imports._module_at.cache_clear()
    return describe(FusionConfig.from_yaml(path))


def edit(path, before: str, now: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, now))


@pytest.mark.fault(
    "the source of an interface, a member's weights or config, or a YAML that changed after a run of `superb`",
    "the run is set aside and made anew; what has changed is said",
)
@pytest.mark.parametrize(
    "file, before, now, difference",
    [
        ("own.py", "[-1]", "[ 0]", "the source code of interface (own.py:Last) has changed"),
        ("model.ckpt", "weights", "others!", "the content of members[1].ckpt has changed"),
        ("model.yaml", "8", "9", "members[1].model_config.width was 8, is 9"),
        ("fusion.yaml", "- 1", "- 2", "members[1].layers was [0, 1], is [0, 2]"),
        ("fusion.yaml", "members:", "normalize: false\nmembers:", "normalize was True, is not given"),
        ("fusion.yaml", "own.py:Last", "hconv", "interface.name was 'own.py:Last', is 'hconv'"),
    ],
)
def test_what_decides_features_is_in_it(folder, file, before, now, difference):
    first = read(folder / "fusion.yaml")
    edit(folder / file, before, now)
    second = read(folder / "fusion.yaml")
    assert digest(first) != digest(second)
    assert any(text.startswith(difference) for text in differences(first, second)), list(differences(first, second))


@pytest.mark.fault(
    "a file that an interface's own file imports, changed after a run of `superb`", "the run is made anew"
)
@pytest.mark.parametrize(
    "line, file",
    [
        ("from helper import SCALE", "helper.py"),
        ("import parts.scale", "parts/scale.py"),
        ("from parts import scale", "parts/__init__.py"),
        ("import second", "helper.py"),
    ],
)
def test_what_an_interface_imports_is_in_it(folder, line, file, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    (folder / "parts").mkdir()
    for name in ("helper.py", "parts/scale.py", "parts/__init__.py", "unused.py"):
        (folder / name).write_text("SCALE = 1\n")
    (folder / "second.py").write_text("def late():\n    from helper import SCALE\n")
    edit(folder / "own.py", "from s3prl_fusion", f"{line}\nfrom s3prl_fusion")
    first = read(folder / "fusion.yaml")
    edit(folder / "unused.py", "1", "2")
    assert read(folder / "fusion.yaml") == first
    edit(folder / file, "1", "2")
    told = list(differences(first, read(folder / "fusion.yaml")))
    for name in ("helper", "second", "parts", "parts.scale"):
        sys.modules.pop(name, None)
    assert told == ["the source code of interface (own.py:Last) has changed"]


def test_of_a_folder_every_file_counts(folder):
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    edit(folder / "fusion.yaml", "ckpt: model.ckpt", "ckpt: model")
    first = read(folder / "fusion.yaml")
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    assert list(differences(first, read(folder / "fusion.yaml"))) == ["the content of members[1].ckpt has changed"]


def test_a_file_that_settings_name_counts_by_its_content(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "Adam").write_text("")
    lexicon = [str(folder / "own.py"), "none.txt"]
    settings = {"text": {"vocab_file": "model.yaml"}, "lexicon": lexicon, "optimizer": "Adam"}
    first = by_content(settings)
    assert first["lexicon"][1] == "none.txt" and first["optimizer"] == "Adam"
    edit(folder / "model.yaml", "8", "9")
    assert list(differences(first, by_content(settings))) == ["the content of text.vocab_file has changed"]


def test_where_things_are_is_not(folder, tmp_path):
    first = read(folder / "fusion.yaml")
    (folder / "fusion.yaml").rename(folder / "another_name.yaml")
    (folder / "model.ckpt").rename(folder / "renamed.ckpt")
    edit(folder / "another_name.yaml", "ckpt: model.ckpt", "ckpt: renamed.ckpt\n  device: cpu")
    edit(folder / "another_name.yaml", "members:", "cache: /somewhere\nmembers:")
    folder.rename(tmp_path / "there")
    assert digest(read(tmp_path / "there" / "another_name.yaml")) == digest(first)


def test_owners_of_a_hub_id_are_not_the_same():
    configs = [
        FusionConfig.from_dict({"members": [{"name": "hf_hubert_custom", "ckpt": f"{owner}/x"}]})
        for owner in ("facebook", "someone")
    ]
    assert list(differences(*map(describe, configs))) == ["members[0].ckpt was 'facebook/x', is 'someone/x'"]


def test_a_default_said_aloud_changes_nothing_and_neither_does_the_name():
    by_name, aloud = (
        resolve("fused_whisper_hconv"),
        FusionConfig.from_dict(
            {
                "members": [{"name": "hf_whisper_custom", "ckpt": "openai/whisper-small"}],
                "interface": {"name": "hconv", "match_dim": "project"},
            }
        ),
    )
    assert describe(by_name) == describe(aloud)


class TestOfARun:
    ARGS = argparse.Namespace(
        upstream_feature_normalize=False,
        upstream_trainable=False,
        upstream_feature_selection="hidden_states",
        upstream_layer_selection=None,
    )

    def test_options_that_change_features_count(self):
        plain = checks.made_of(resolve("fbank"), self.ARGS)
        for option, value, key in (
            ("upstream_feature_normalize", True, "normalize"),
            ("upstream_trainable", True, "trained"),
            ("upstream_feature_selection", "last_hidden_state", "selection"),
            ("upstream_layer_selection", 2, "layer"),
        ):
            args = argparse.Namespace(**{**vars(self.ARGS), option: value})
            assert checks.made_of(resolve("fbank"), args) == {**plain, key: value}

    def test_a_stock_upstream_is_not_its_fusion(self):
        stock, fused = (checks.made_of(resolve(name), self.ARGS) for name in ("fbank", "fused__fbank__weighted_sum"))
        assert list(differences(stock, fused)) == ["stock was True, is not given", "normalize was not given, is True"]

    def test_an_upstreams_own_code_counts(self, tmp_path, monkeypatch):
        """s3prl's layout, as a user adds it to the hub."""
        from s3prl import hub

        package = tmp_path / "my_upstream"
        package.mkdir()
        expert = package / "expert.py"
        expert.write_text("SCALE = 1.0\n")
        hubconf = "def my_upstream(*args, **kwargs):\n    from .expert import SCALE\n    return SCALE\n"
        (package / "hubconf.py").write_text(textwrap.dedent(hubconf))
        (package / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        from my_upstream.hubconf import my_upstream

        monkeypatch.setattr(hub, "my_upstream", my_upstream, raising=False)
        fusion = resolve("fused__fbank__my_upstream")
        before = members.code(fusion)
        expert.write_text("SCALE = 2.0\n")
        now = members.code(fusion)
        assert before[0] == now[0] and before[1] != now[1]
        described = (describe(fusion, code) for code in (before, now))
        assert list(differences(*described)) == ["the source code of members[1] (my_upstream) has changed"]

    def test_float16_states_are_as_good_as_live_ones_and_int8_ones_are_not(self):
        from s3prl_fusion.cache.config import CacheConfig

        fusion = resolve("fused__fbank")
        live, half, int8 = (
            checks.made_of(replace(fusion, cache=cache), self.ARGS)
            for cache in (None, CacheConfig("x"), CacheConfig("x", "int8"))
        )
        assert live == half and list(differences(live, int8)) == ["states was not given, is 'int8'"]
