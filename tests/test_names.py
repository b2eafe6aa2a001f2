"""Names of fused upstreams: the grammar, its defaults, and what a mistyped name is told."""

from __future__ import annotations

import pytest

from s3prl_fusion import FusionConfig, list_interfaces
from s3prl_fusion.names import ALIASES, LARGE, is_fused_name, parse, presets


def members(name: str) -> list[str]:
    return [member.name for member in parse(name).members]


@pytest.mark.parametrize(
    "name, expected, interface",
    [
        ("fused_wavlm_hubert", ["wavlm_base_plus", "hubert_base"], "hconv"),
        ("fused_hubert_wavlm", ["hubert_base", "wavlm_base_plus"], "hconv"),
        ("fused_wavlm", ["wavlm_base_plus"], "hconv"),
        ("fused_data2vec_wav2vec2", ["data2vec_base_960", "wav2vec2_base_960"], "hconv"),
        ("fused_whisper_wavlm_weighted_sum", ["whisper_small", "wavlm_base_plus"], "weighted_sum"),
        ("fused_whisper_en_wavlm", ["whisper_small_en", "wavlm_base_plus"], "hconv"),
        ("fused_wavlm_whisper_en_hconv", ["wavlm_base_plus", "whisper_small_en"], "hconv"),
        ("fused_unispeech_sat_apc", ["unispeech_sat_base_plus", "apc"], "hconv"),
        ("fused_fbank_mfcc_tera", ["fbank", "mfcc", "tera"], "hconv"),
        ("fused_wavlm_large", ["wavlm_large"], "hconv"),
        ("fused_whisper_wavlm_large_weighted_sum", ["whisper_medium", "wavlm_large"], "weighted_sum"),
        ("fused_whisper_en_data2vec_large", ["whisper_medium_en", "data2vec_large_ll60k"], "hconv"),
        ("fused_demo", ["demo_hubert", "demo_whisper"], "hconv"),
        ("fused_demo_weighted_sum", ["demo_hubert", "demo_whisper"], "weighted_sum"),
        ("fused_demo_hubert", ["demo_hubert"], "hconv"),
        ("fused_demo_whisper_weighted_sum", ["demo_whisper"], "weighted_sum"),
        ("fused__fbank__mfcc", ["fbank", "mfcc"], "hconv"),
        ("fused__fbank", ["fbank"], "hconv"),
        ("fused__hubert_large_ll60k__mfcc__weighted_sum", ["hubert_large_ll60k", "mfcc"], "weighted_sum"),
        ("fused__fbank__hconv", ["fbank"], "hconv"),
    ],
)
def test_names(name, expected, interface):
    config = FusionConfig.from_name(name)
    assert [member.name for member in config.members] == expected
    assert config.interface.name == interface and not config.interface.options and not config.normalize


@pytest.mark.parametrize("name", presets())
def test_every_preset_parses(name):
    assert is_fused_name(name) and members(name)


def test_presets_come_with_every_interface_and_do_not_repeat():
    names = presets()
    assert len(set(names)) == len(names)
    for interface in list_interfaces():
        assert f"fused_wavlm_hubert_{interface}" in names
        assert parse(f"fused_wavlm_hubert_{interface}").interface.name == interface


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_every_alias_names_one_member(alias):
    assert members(f"fused_{alias}") == [ALIASES[alias]]


@pytest.mark.parametrize("alias", sorted(LARGE))
def test_every_large_alias_names_one_member(alias):
    assert members(f"fused_{alias}_large") == [LARGE[alias]]


@pytest.mark.parametrize("name", sorted({*ALIASES.values(), *LARGE.values()}))
def test_every_alias_stands_for_an_entry_that_loads_by_name(name):
    from s3prl_fusion.host.members import NEEDS_CKPT, entries

    assert name in entries() and not name.endswith(NEEDS_CKPT)


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
        parse(name)


@pytest.mark.parametrize("name", ["fused_weighted_sum", "fused_hconv", "fused_weighted_sum_wavlm"])
def test_an_interface_is_no_member(name):
    with pytest.raises(ValueError, match="fused_wavlm_hubert|unknown alias"):
        parse(name)


@pytest.mark.parametrize(
    "name, claims", [("fused", True), ("fused_x", True), ("fused__x", True), ("fusedx", False), ("fbank", False)]
)
def test_what_claims_to_be_fused(name, claims):
    assert is_fused_name(name) is claims
