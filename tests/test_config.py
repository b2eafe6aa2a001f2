"""Fusion configs: what is written is read back, and every mistake is refused with what, got, allowed, near."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import yaml

from s3prl_fusion import FusionConfig, InterfaceConfig, MemberConfig
from s3prl_fusion.errors import UserError
from s3prl_fusion.files import read_json
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.schema import Section, whole

FULL = FusionConfig(
    members=(
        MemberConfig("wavlm_local", ckpt="wavlm.pt", layers=(0, 6, -1)),
        MemberConfig("hf_whisper_custom", ckpt="openai/whisper-small", model_config={"pad_to_30s": False}),
        MemberConfig("baseline_local", model_config="fbank.yaml", precision="bf16", device="cuda:1"),
    ),
    interface=InterfaceConfig("hconv", output_dim=512, options={"match_dim": "interpolate"}),
    normalize=False,
)
MINIMAL = FusionConfig((MemberConfig("fbank"),))


@pytest.mark.parametrize("config", [FULL, MINIMAL])
def test_dict_round_trip(config):
    assert FusionConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("config", [FULL, MINIMAL])
def test_yaml_round_trip(config, tmp_path):
    path = tmp_path / "fusion.yaml"
    path.write_text(config.to_yaml())
    assert FusionConfig.from_yaml(path) == FusionConfig.from_yaml(str(path)) == config


def test_to_dict_holds_only_plain_values_and_leaves_defaults_out():
    default = {"name": DEFAULT_INTERFACE}
    assert MINIMAL.to_dict() == {"members": [{"name": "fbank"}], "interface": default, "normalize": True}
    assert FULL.to_dict() == {
        "members": [
            {"name": "wavlm_local", "ckpt": "wavlm.pt", "layers": [0, 6, -1]},
            {"name": "hf_whisper_custom", "ckpt": "openai/whisper-small", "model_config": {"pad_to_30s": False}},
            {"name": "baseline_local", "model_config": "fbank.yaml", "precision": "bf16", "device": "cuda:1"},
        ],
        "interface": {"name": "hconv", "match_dim": "interpolate", "output_dim": 512},
        "normalize": False,
    }


def test_a_fusion_is_normalized_unless_it_says_otherwise_and_a_record_of_0_1_is_what_it_was(tmp_path):
    said = {"members": ["fbank"]}
    (tmp_path / "a.yaml").write_text("members: [fbank]")
    assert all(FusionConfig.from_dict(c).normalize for c in (said, {**said, "normalize": True}))
    assert FusionConfig.from_yaml(tmp_path / "a.yaml").normalize and FusionConfig.from_name("fused__fbank").normalize
    assert not FusionConfig.from_dict({**said, "normalize": False}).normalize
    assert not FusionConfig.from_record(said).normalize
    for fusion in (MINIMAL, FULL):
        assert FusionConfig.from_record(fusion.to_dict()) == fusion


def test_yaml_text_is_safe_and_in_the_configs_order():
    assert list(yaml.safe_load(FULL.to_yaml())) == ["members", "interface", "normalize"]


def test_names_alone_stand_for_members_and_interface():
    short = FusionConfig.from_dict({"members": ["fbank", {"name": "mfcc"}], "interface": "weighted_sum"})
    assert short == FusionConfig((MemberConfig("fbank"), MemberConfig("mfcc")), InterfaceConfig("weighted_sum"))


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MINIMAL.normalize = True


def test_the_same_upstream_twice_with_other_layers_is_two_members():
    config = FusionConfig.from_dict({"members": [{"name": "hubert", "layers": [0]}, {"name": "hubert", "layers": [1]}]})
    assert [member.layers for member in config.members] == [(0,), (1,)]


def test_float32_said_aloud_is_the_default():
    aloud = FusionConfig.from_dict({"members": [{"name": "fbank", "precision": "float32"}]})
    assert aloud == MINIMAL and aloud.to_dict() == MINIMAL.to_dict()


def test_another_precision_is_another_member():
    config = FusionConfig.from_dict({"members": ["fbank", {"name": "fbank", "precision": "bf16"}]})
    assert [member.precision for member in config.members] == [None, "bf16"]


def test_relative_paths_beside_the_yaml_are_taken_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "wavlm.pt").touch()
    others = {"layers": [1], "precision": "fp16", "device": "cpu"}
    member = {"name": "wavlm_local", "ckpt": "wavlm.pt", "model_config": "elsewhere.yaml", **others}
    (folder / "fusion.yaml").write_text(yaml.safe_dump({"members": [member]}))
    (read,) = FusionConfig.from_yaml("models/fusion.yaml").members
    assert (read.ckpt, read.model_config) == (str((folder / "wavlm.pt").resolve()), "elsewhere.yaml")
    assert (read.layers, read.precision, read.device) == ((1,), "fp16", "cpu")


REFUSED = [
    (
        {"members": ["fbank"], "interfaces": "hconv"},
        ValueError,
        r"unknown key 'interfaces'; choose from cache, interface, members, normalize \(did you mean 'interface'",
    ),
    (
        {"members": [{"name": "fbank", "checkpoint": "x"}]},
        ValueError,
        r"members\[0\]: unknown key 'checkpoint'; choose from ckpt, device, layers, model_config, name, precision",
    ),
    ({"members": [{"name": "fbank", "layer": [1]}]}, ValueError, r"members\[0\].*'layer'.*did you mean 'layers'"),
    ({"members": ["mfcc", {"ckpt": "x"}]}, ValueError, r"members\[1\] has no name"),
    ({}, ValueError, r"members is empty; name at least one"),
    ({"members": []}, ValueError, r"members is empty"),
    ({"members": "fbank"}, TypeError, r"members must be a list; got 'fbank'"),
    ({"members": None}, TypeError, r"members must be a list; got None"),
    ({"members": [3]}, TypeError, r"members\[0\] must be a mapping .*; got 3"),
    ({"members": [None]}, TypeError, r"members\[0\] must be a mapping .*; got None"),
    ({"members": [{"name": 3}]}, TypeError, r"members\[0\]\.name must be of type str; got 3"),
    ({"members": [{"name": "x", "ckpt": 3}]}, TypeError, r"members\[0\]\.ckpt must be null or of type str; got 3"),
    ({"members": [{"name": "x", "model_config": [1]}]}, TypeError, r"model_config must be null, a path or a mapping"),
    ({"members": [{"name": "x", "layers": 3}]}, TypeError, r"members\[0\]\.layers must be .*; got 3"),
    ({"members": [{"name": "x", "layers": []}]}, TypeError, r"layers must be null or a non-empty list of integers"),
    ({"members": [{"name": "x", "layers": [1.5]}]}, TypeError, r"list of integers; got \[1\.5\]"),
    ({"members": [{"name": "x", "layers": [True]}]}, TypeError, r"list of integers; got \[True\]"),
    ({"members": [{"name": "x", "layers": [1, 1]}]}, ValueError, r"layers must not repeat; got \[1, 1\]"),
    ({"members": ["fbank", "mfcc", "fbank"]}, ValueError, r"'fbank' is given twice"),
    ({"members": ["fbank", {"name": "fbank", "device": "cpu"}]}, ValueError, r"'fbank' is given twice"),
    ({"members": ["fbank", {"name": "fbank", "precision": "float32"}]}, ValueError, r"'fbank' is given twice"),
    (
        {"members": ["mfcc", {"name": "fbank", "precision": "bf61"}]},
        ValueError,
        r"members\[1\]\.precision: unknown precision 'bf61'; choose from bf16, float32, fp16 \(did you mean 'bf16'",
    ),
    (
        {"members": [{"name": "fbank", "precision": 16}]},
        ValueError,
        r"precision: unknown precision 16; choose from bf16, float32, fp16",
    ),
    ({"members": [{"name": "x", "device": 1}]}, TypeError, r"members\[0\]\.device must be null or of type str; got 1"),
    ({"members": ["fbank"], "normalize": "yes"}, TypeError, r"normalize must be of type bool; got 'yes'"),
    ({"members": ["fbank"], "normalize": 1}, TypeError, r"normalize must be of type bool; got 1"),
    (
        {"members": ["fbank"], "interface": "hconf"},
        ValueError,
        r"unknown interface 'hconf'; choose from .*hconv.*weighted_sum.*did you mean 'hconv'",
    ),
    ({"members": ["fbank"], "interface": {"name": 3}}, TypeError, r"interface\.name must be of type str; got 3"),
    ({"members": ["fbank"], "interface": 3}, TypeError, r"interface must be a name or a mapping; got 3"),
    (
        {"members": ["fbank"], "interface": {"matchdim": "project"}},
        ValueError,
        r"interface: unknown key 'matchdim'.*did you mean 'match_dim'",
    ),
    ({"members": ["fbank"], "interface": {"output_dim": 0}}, ValueError, r"output_dim must be positive; got 0"),
    ({"members": ["fbank"], "interface": {"output_dim": 10**11}}, ValueError, r"must be at most 65,536; got 100,000,"),
    (
        {"members": ["fbank"], "interface": {"output_dim": "8"}},
        TypeError,
        r"output_dim must be null or .* int; got '8'",
    ),
    ({"members": ["fbank"], "interface": {"output_dim": "512"}}, TypeError, r"output_dim must be .*int; got '512'"),
    ({"members": ["fbank"], "interface": {"output_dim": True}}, TypeError, r"output_dim must be .*int; got True"),
    (["fbank"], TypeError, r"fusion config must be a mapping .*; got \['fbank'\]"),
    (None, TypeError, r"fusion config must be a mapping .*; got None"),
]


@pytest.mark.parametrize("config, error, message", REFUSED)
def test_refused(config, error, message):
    with pytest.raises(error, match=message):
        FusionConfig.from_dict(config)


@pytest.mark.parametrize("config, error, message", REFUSED[:5])
def test_refused_in_yaml_with_the_files_name(config, error, message, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(error, match=r"mine\.yaml: .*" + message):
        FusionConfig.from_yaml(tmp_path / "mine.yaml")


def test_the_option_match_dim_is_checked_before_anything_loads():
    with pytest.raises(ValueError, match=r"match_dim must be one of project, interpolate, project_all; got 'projekt'"):
        FusionConfig.from_dict({"members": ["fbank"], "interface": {"name": "hconv", "match_dim": "projekt"}})


def test_reading_a_config_draws_no_random_numbers():
    # The runner's seed is set before: spelling a default out must not change a downstream's first weights.
    before = torch.get_rng_state()
    FusionConfig.from_dict({"members": ["fbank"], "interface": {"name": "hconv", "match_dim": "project"}})
    assert torch.equal(torch.get_rng_state(), before)


def test_a_missing_yaml_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.yaml' does not exist; give a YAML file"):
        FusionConfig.from_yaml(tmp_path / "no.yaml")


def test_broken_yaml_is_named(tmp_path):
    (tmp_path / "broken.yaml").write_text("members: [fbank\n")
    with pytest.raises(ValueError, match=r"broken\.yaml is not valid YAML"):
        FusionConfig.from_yaml(tmp_path / "broken.yaml")


def test_an_empty_yaml_is_refused(tmp_path):
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(TypeError, match=r"empty\.yaml must be a mapping of keys to values; it is empty"):
        FusionConfig.from_yaml(tmp_path / "empty.yaml")


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "fusion.yaml"
    path.write_bytes(b"members: [\xff]")
    with pytest.raises(ValueError, match=r"fusion\.yaml is not valid YAML: .*can't decode"):
        FusionConfig.from_yaml(path)


@pytest.mark.fault(
    "a fusion YAML that is empty, no mapping, no YAML, or has a key twice",
    "one line: the file, what it holds, the line",
)
@pytest.mark.parametrize(
    "text, told",
    [
        ("", "must be a mapping of keys to values; it is empty"),
        ("[fbank]", r"must be a mapping of keys to values; got \['fbank'\]"),
        ("fbank", "must be a mapping of keys to values; got 'fbank'"),
        ("3", "must be a mapping of keys to values; got 3"),
        ("members: [fbank", "is not valid YAML: line 1: expected"),
        ("members: [fbank]\n---\nmembers: [mfcc]", "is not valid YAML: line 2: but found another document"),
        ("members: [fbank]\nmembers: [mfcc]", "is not valid YAML: line 2: the key 'members' is there twice"),
        ("members: [{name: fbank, layers: [0], layers: [0]}]", "line 1: the key 'layers' is there twice"),
        ("members: [{name: fbank, model_config: {a: 1, no: 2}}]", "keys must be of one kind .*; got 'a', False"),
        ("members: [fbank]\ncache: !!binary aGVsbG8=", "line 2: could not determine a constructor for the tag"),
        ("members: [fbank]\nnormalize: 2001-99-99", "normalize must be of type bool; got .2001-99-99"),
        ("[" * 1500, "is not valid YAML: maximum recursion depth"),
        ("members: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("members: {fbank: mfcc}", r"members must be a list; got \{'fbank': 'mfcc'\}"),
        ("members: [[fbank]]", r"members\[0\] must be a mapping"),
    ],
)
def test_files_that_are_no_fusion(text, told, tmp_path):
    path = tmp_path / "fusion.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"^{path}:? .*{told}|^{path}: {told}") as raised:
        FusionConfig.from_yaml(path)
    assert len(str(raised.value).splitlines()) == 1


def test_merged_keys_are_not_there_twice(tmp_path):
    path = tmp_path / "fusion.yaml"
    path.write_text("members:\n- &first {name: fbank, precision: bf16}\n- {<<: *first, name: mfcc}\n")
    assert [member.precision for member in FusionConfig.from_yaml(path).members] == ["bf16", "bf16"]


@pytest.mark.fault(
    "a JSON file of ours that is cut or holds something else", "one line: the file, what it holds, what to do"
)
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '"text"', "[" * 100000, '{"seconds": "x"}', '{"seconds": []}']
)
def test_json_of_another_kind(text, tmp_path):
    section, path = Section(more={"seconds": whole()}, others=True), tmp_path / "stamp.json"
    assert read_json(path, section) == {}
    path.write_text('{"seconds": 3, "more": null}')
    assert read_json(path, section) == {"seconds": 3, "more": None}
    path.write_text(text)
    with pytest.raises(UserError, match=rf"^{path} is damaged: [^\n]*; fetch it again$"):
        read_json(path, section, "fetch it again")


@pytest.mark.fault("a YAML with a date in it", "a text, as it stands there")
def test_a_date_is_a_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("members: [{name: fbank, model_config: {since: 2026-11-27}}]\n")
    assert FusionConfig.from_yaml(path).members[0].model_config == {"since": "2026-11-27"}
