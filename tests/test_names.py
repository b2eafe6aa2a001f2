"""Names of fused upstreams: the grammar, its defaults, and what a mistyped name is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s3prl_fusion import FusionConfig, InterfaceConfig, MemberConfig, list_interfaces
from s3prl_fusion.errors import UsageError
from s3prl_fusion.grammar import presets
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.names import absolute, is_fused_name, label, resolve
from s3prl_fusion.upstreams.entries import aliases, known


def members(name: str) -> list[str]:
    return [member.name for member in resolve(name).members]


@pytest.mark.parametrize(
    "name, expected, interface",
    [
        ("fused_wavlm_hubert", ["wavlm_base_plus", "hubert_base"], DEFAULT_INTERFACE),
        ("fused_hubert_wavlm", ["hubert_base", "wavlm_base_plus"], DEFAULT_INTERFACE),
        ("fused_wavlm", ["wavlm_base_plus"], DEFAULT_INTERFACE),
        ("fused_data2vec_wav2vec2", ["data2vec_base_960", "wav2vec2_base_960"], DEFAULT_INTERFACE),
        ("fused_whisper_wavlm_weighted_sum", ["whisper_small", "wavlm_base_plus"], "weighted_sum"),
        ("fused_whisper_en_wavlm", ["whisper_small_en", "wavlm_base_plus"], DEFAULT_INTERFACE),
        ("fused_wavlm_whisper_en_hconv", ["wavlm_base_plus", "whisper_small_en"], "hconv"),
        ("fused_unispeech_sat_apc", ["unispeech_sat_base_plus", "apc"], DEFAULT_INTERFACE),
        ("fused_fbank_mfcc_tera", ["fbank", "mfcc", "tera"], DEFAULT_INTERFACE),
        ("fused_wavlm_large", ["wavlm_large"], DEFAULT_INTERFACE),
        ("fused_whisper_wavlm_large_weighted_sum", ["whisper_medium", "wavlm_large"], "weighted_sum"),
        ("fused_whisper_en_data2vec_large", ["whisper_medium_en", "data2vec_large_ll60k"], DEFAULT_INTERFACE),
        ("fused_demo", ["demo_hubert", "demo_whisper", "demo_xvector"], DEFAULT_INTERFACE),
        ("fused_demo_weighted_sum", ["demo_hubert", "demo_whisper", "demo_xvector"], "weighted_sum"),
        ("fused_demo_xvector_demo_hubert", ["demo_xvector", "demo_hubert"], DEFAULT_INTERFACE),
        ("fused_demo_hubert", ["demo_hubert"], DEFAULT_INTERFACE),
        ("fused_demo_whisper_weighted_sum", ["demo_whisper"], "weighted_sum"),
        ("fused__fbank__mfcc", ["fbank", "mfcc"], DEFAULT_INTERFACE),
        ("fused__fbank", ["fbank"], DEFAULT_INTERFACE),
        ("fused__hubert_large_ll60k__mfcc__weighted_sum", ["hubert_large_ll60k", "mfcc"], "weighted_sum"),
        ("fused__fbank__hconv", ["fbank"], "hconv"),
    ],
)
def test_names(name, expected, interface):
    config = FusionConfig.from_name(name)
    assert [member.name for member in config.members] == expected
    assert config.interface.name == interface and not config.interface.options and config.normalize


@pytest.mark.parametrize("name", presets())
def test_every_preset_parses(name):
    assert is_fused_name(name) and members(name)


def test_presets_come_with_every_interface_and_do_not_repeat():
    names = presets()
    assert len(set(names)) == len(names)
    for interface in list_interfaces():
        assert f"fused_wavlm_hubert_{interface}" in names
        assert resolve(f"fused_wavlm_hubert_{interface}").interface.name == interface


@pytest.mark.parametrize("alias", sorted(aliases()))
def test_every_alias_names_one_member(alias):
    assert members(f"fused_{alias}") == [aliases()[alias].name]


@pytest.mark.parametrize("alias", sorted(alias for alias, entry in aliases().items() if entry.large))
def test_every_large_alias_names_one_member(alias):
    assert members(f"fused_{alias}_large") == [aliases()[alias].large]


@pytest.mark.parametrize(
    "name", sorted(name for entry in aliases().values() for name in (entry.name, entry.large) if name)
)
def test_every_alias_stands_for_an_entry_that_loads_by_name(name):
    from s3prl_fusion.host.members import entries

    assert name in entries() and not known(name).needs_ckpt


@pytest.mark.parametrize(
    "name, message",
    [
        ("fused_wavlm_hubrt", r"unknown alias 'hubrt'.*did you mean 'hubert'.*nearest names: .*fused_wavlm_hubert"),
        ("fused_wavlm_hubert_hconf", r"unknown alias 'hconf'"),
        ("fused_wavlm_hubert_hconf", r"nearest names: .*fused_wavlm_hubert_hconv"),
        ("fused_fbank_large", r"'fbank' has no large model; choose from .*wavlm.*whisper"),
        ("fused_wavlm_fbank_large", r"'fbank' has no large model"),
        ("fused_large", r"unknown alias"),
        ("fused_wavlm_wavlm", r"'wavlm_base_plus' is given twice"),
        ("fused__fbank__fbank", r"'fbank' is given twice"),
        ("fused__fbank____mfcc", r"empty member between underscores"),
        ("fused__fbank__", r"empty member between underscores"),
        ("fused_wavlm_", r"unknown alias ''"),
        ("fused", r"names no fused upstream; try fused_wavlm_hubert"),
        ("fused_", r"names no fused upstream"),
        ("fused__", r"names no fused upstream"),
        ("wavlm_hubert", r"names no fused upstream"),
    ],
)
def test_refused(name, message):
    with pytest.raises(ValueError, match=message):
        FusionConfig.from_name(name)


@pytest.mark.parametrize("name", ["fused_weighted_sum", "fused_hconv", "fused_weighted_sum_wavlm"])
def test_an_interface_is_no_member(name):
    with pytest.raises(ValueError, match="fused_wavlm_hubert|unknown alias"):
        FusionConfig.from_name(name)


@pytest.mark.parametrize(
    "name, claims",
    [
        *(("fused", True), ("fused_x", True), ("fused__x", True), ("fusedx", False), ("fbank", False)),
        *(("a.yaml", True), ("a/b.yml", True), ("a.yaml__hconv", True), ("a.yamlx", False), (".yaml", False)),
    ],
)
def test_what_claims_to_be_fused(name, claims):
    assert is_fused_name(name) is claims


class TestResolve:
    """From what a user types to a fusion."""

    @pytest.fixture
    def yaml(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("members: [fbank, mfcc]\ninterface: {name: hconv, output_dim: 8, match_dim: interpolate}\n")
        return path

    def test_a_yaml_is_a_name(self, yaml):
        assert resolve(str(yaml)) == resolve("fused", str(yaml)) == FusionConfig.from_yaml(yaml)

    def test_a_yaml_takes_another_interface(self, yaml):
        fusion = resolve(f"{yaml}__chconv")
        assert (fusion.members, fusion.interface) == (resolve(str(yaml)).members, InterfaceConfig("chconv", 8))
        assert resolve(f"{yaml}__hconv") == resolve(str(yaml))

    def test_a_yaml_that_ships_is_found_from_anywhere(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = resolve("fusion/whisper_wavlm.yaml")
        assert found == resolve("fused", "downstream_configs/fusion/whisper_wavlm.yaml")
        assert found == replace(resolve("fused_whisper_wavlm_hconv"), normalize=False)
        with pytest.raises(FileNotFoundError, match=r"-u fusion/whisper_wavln\.yaml does not exist; .*whisper_wavlm"):
            resolve("fusion/whisper_wavln.yaml")

    def test_any_other_name_is_a_stock_upstream(self):
        fusion = resolve("hubert_local", "config.yaml", "hubert.pt")
        assert (
            fusion.stock
            and not fusion.normalize
            and fusion.members == (MemberConfig("hubert_local", "hubert.pt", "config.yaml"),)
        )
        assert FusionConfig.from_dict(fusion.to_dict()) == fusion != FusionConfig(fusion.members)

    @pytest.mark.parametrize(
        "given, message",
        [
            (("fused",), "needs a fusion YAML: -u fused -g fusion.yaml"),
            (("fused_demo", "x.yaml"), "says it all and takes no -g x.yaml"),
            (("a.yaml", "x.yaml"), "says it all and takes no -g x.yaml"),
            (("fused_demo", None, "x.pt"), "takes no checkpoint of its own"),
        ],
    )
    def test_refused(self, given, message):
        with pytest.raises(UsageError, match=message):
            resolve(*given)

    @pytest.mark.parametrize(
        "name, called",
        [("fused_demo", "fused_demo"), ("x/a.yaml", "a"), ("x/a.b.yml__chconv", "a.b_chconv"), ("fbank", "fbank")],
    )
    def test_what_it_is_called(self, name, called):
        assert label(name) == called

    def test_paths_are_made_absolute(self, yaml, monkeypatch):
        monkeypatch.chdir(yaml.parent)
        assert absolute("mine.yaml__chconv") == f"{yaml}__chconv" and absolute("fused_demo") == "fused_demo"


def test_one_member_of_a_yaml(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("members: [fbank, {name: mfcc, layers: [0]}]\ninterface: {name: gumbel, output_dim: 8}\n")
    whole = resolve(str(path))
    alone = resolve(f"{path}:mfcc")
    assert alone.members == whole.members[1:] and alone.interface == whole.interface
    assert resolve(f"{path}:mfcc__hconv").interface == InterfaceConfig("hconv", 8)
    assert (label(f"{path}:mfcc"), label(f"{path}:mfcc__hconv")) == ("mine_mfcc", "mine_mfcc_hconv")
    assert absolute(f"{path}:mfcc__hconv") == f"{path}:mfcc__hconv"
    with pytest.raises(UsageError, match=r"mine\.yaml:mfc: unknown member 'mfc'; choose from fbank, mfcc"):
        resolve(f"{path}:mfc")
