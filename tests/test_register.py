"""Registration: s3prl knows the fused names, keeps its own behaviour, and is given back as it was."""

from __future__ import annotations

import argparse
import sys

import pytest
import torch
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionFeaturizer
from s3prl_fusion.grammar import presets


def snapshot() -> dict:
    """Everything of other packages that the plugin may touch."""
    from s3prl import hub
    from s3prl.downstream import runner
    from s3prl.downstream.voxceleb1 import dataset
    from s3prl.nn import Featurizer

    return {
        "hub": dict(vars(hub)),
        "Featurizer": dict(vars(Featurizer)),
        "runner": dict(vars(runner)),
        "Runner": dict(vars(runner.Runner)),
        "voxceleb1": dict(vars(dataset)),
        "corpus": {name for name in sys.modules if name.startswith("s3prl.downstream.ctc.corpus")},
        "safe_globals": set(torch.serialization.get_safe_globals()),
    }


@pytest.fixture(autouse=True)
def unregistered():
    s3prl_fusion.unregister()
    yield
    s3prl_fusion.unregister()


def test_importing_the_package_loads_neither_torch_nor_s3prl():
    import subprocess

    code = "import s3prl_fusion, sys; sys.exit(any(name in sys.modules for name in ('torch', 's3prl')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unregister_leaves_s3prl_as_found():
    before = snapshot()
    s3prl_fusion.register()
    assert snapshot() != before
    s3prl_fusion.unregister()
    assert snapshot() == before


def test_register_and_unregister_are_idempotent():
    before = snapshot()
    s3prl_fusion.register()
    once = snapshot()
    s3prl_fusion.register()
    assert snapshot() == once
    s3prl_fusion.unregister()
    s3prl_fusion.unregister()
    assert snapshot() == before


def test_registering_again_after_unregistering_works():
    for _ in range(2):
        s3prl_fusion.register()
        from s3prl import hub

        assert "fused_wavlm_hubert" in vars(hub)
        s3prl_fusion.unregister()
        assert not hasattr(hub, "fused_wavlm_hubert")


def test_safe_globals_of_the_user_stay():
    class Mine:
        pass

    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([Mine, argparse.Namespace])
    try:
        s3prl_fusion.register()
        s3prl_fusion.unregister()
        assert {Mine, argparse.Namespace} <= set(torch.serialization.get_safe_globals())
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_options_list_the_presets_and_the_added_upstreams(registered):
    from s3prl import hub

    assert {*presets(), "fused", "demo_hubert", "demo_whisper", "demo_xvector", "whisper_small"} <= set(hub.options())
    # s3prl can leave out entries that come without a checkpoint.
    assert "hf_whisper_custom" in hub.options() and "hf_whisper_custom" not in hub.options(True)
    assert set(presets()) <= set(hub.options(True))


def test_options_still_list_what_stock_has():
    from s3prl import hub

    before = set(hub.options())
    s3prl_fusion.register()
    assert before <= set(hub.options())


def test_s3prl_nn_sees_the_names(registered):
    from s3prl.nn import S3PRLUpstream

    assert "fused_wavlm_hubert" in S3PRLUpstream.available_names()


def test_s3prl_nn_runs_a_fused_upstream(registered):
    from s3prl.nn import S3PRLUpstream

    upstream = S3PRLUpstream("fused__fbank__mfcc").eval()
    states, lengths = upstream(torch.stack(wavs(16000, 16000)), torch.tensor([16000, 9000]))
    assert upstream.hidden_sizes == [240, 39] and upstream.downsample_rates == [160, 160]
    assert [state.shape for state in states] == [(2, 100, 240), (2, 100, 39)]
    assert [length.tolist() for length in lengths] == [[100, 57], [100, 57]]


def test_any_pair_of_entries_resolves_on_demand(registered):
    from s3prl import hub

    assert "fused__fbank__mfcc" not in vars(hub)
    upstream = hub.fused__fbank__mfcc(ckpt=None, model_config=None, refresh=False)
    assert isinstance(upstream, FusedUpstream)
    assert [member.name for member in upstream.fusion.members] == ["fbank", "mfcc"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("fused__fbank__mfc", r"members\[1\]: unknown upstream 'mfc'.*did you mean 'mfcc'"),
        ("fused_wavlm_hubrt", r"unknown alias 'hubrt'.*did you mean 'hubert'"),
        ("fban", r"unknown upstream 'fban'.*did you mean 'fbank'"),
        ("fused_wavlm_hubert_hconf", r"nearest names: .*fused_wavlm_hubert_hconv"),
    ],
)
def test_a_near_miss_is_an_attribute_error_that_says_what_is_near(registered, name, message):
    from s3prl import hub

    with pytest.raises(AttributeError, match=message):
        getattr(hub, name)
    assert not hasattr(hub, name)


def test_pythons_own_attributes_are_missing_as_usual(registered):
    from s3prl import hub

    with pytest.raises(AttributeError, match="module 's3prl.hub' has no attribute '__wrapped__'"):
        getattr(hub, "__wrapped__")  # noqa: B009 -- the attribute's name is the point
    assert not hasattr(hub, "__path__")


def test_fused_takes_its_members_from_a_yaml(registered, tmp_path):
    from s3prl import hub

    (tmp_path / "fusion.yaml").write_text("members: [fbank, mfcc]\ninterface: weighted_sum\n")
    upstream = hub.fused(model_config=str(tmp_path / "fusion.yaml"))
    assert [member.name for member in upstream.fusion.members] == ["fbank", "mfcc"]
    assert upstream.fusion.interface.name == "weighted_sum"


def test_fused_without_a_yaml_is_refused(registered):
    from s3prl import hub

    with pytest.raises(ValueError, match=r"needs a fusion YAML: -u fused -g fusion\.yaml"):
        hub.fused()


@pytest.mark.parametrize("name", ["fused", "fused_wavlm_hubert", "fused__fbank__mfcc"])
def test_a_checkpoint_for_the_whole_fusion_is_refused(registered, name):
    from s3prl import hub

    with pytest.raises(ValueError, match=rf"'{name}' takes no checkpoint of its own \(-k x\.pt\)"):
        getattr(hub, name)(ckpt="x.pt")


def test_stock_upstreams_keep_the_stock_featurizer_and_fused_ones_get_ours(registered):
    from s3prl import hub
    from s3prl.downstream import runner
    from s3prl.upstream.interfaces import Featurizer

    plain = runner.Featurizer(hub.fbank(), upstream_device="cpu")
    fused = runner.Featurizer(
        upstream=hub.fused__fbank__mfcc(),
        feature_selection="hidden_states",
        layer_selection=None,
        upstream_device="cpu",
        normalize=False,
    )
    assert type(plain) is Featurizer and type(fused) is FusionFeaturizer


def test_the_phoneme_corpus_can_be_imported_while_registered(registered):
    from s3prl.downstream.ctc.corpus.libriphone import LibriPhoneDataset

    assert LibriPhoneDataset.__init__.__code__.co_varnames[1:4] == ("split", "tokenizer", "bucket_size")


def test_the_demos_upstreams_load_by_name(registered):
    from s3prl import hub

    from s3prl_fusion.assets import demo_dir

    if not (demo_dir() / "upstreams" / "hubert").is_dir():
        pytest.skip("this checkout has no trained demo upstreams")
    upstream = hub.fused_demo()
    assert [member.name for member in upstream.fusion.members] == ["demo_hubert", "demo_whisper", "demo_xvector"]
    with torch.no_grad():
        states = upstream.eval()([torch.zeros(16000)])["hidden_states"]
    assert len({state.shape[:2] for state in states}) == 1 and all(state.isfinite().all() for state in states)
