"""The fusion featurizer behind s3prl.nn.Featurizer: the other one's values in the other contract's clothes."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from tiny_models import wavs

from s3prl_fusion import FusionFeaturizer, list_interfaces

LENGTHS = (16000, 9000)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.nn.utils.rnn.pad_sequence(wavs(*LENGTHS), batch_first=True), torch.tensor(LENGTHS)


def build(name: str, **options):
    from s3prl.nn import Featurizer, S3PRLUpstream

    upstream = S3PRLUpstream(name).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return upstream, Featurizer(upstream, **options).eval()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("interface", list_interfaces())
@torch.no_grad()
def test_gives_what_the_runners_featurizer_gives(registered, interface, normalize):
    upstream, ours = build(f"fused__fbank__mfcc__{interface}", normalize=normalize)
    runners = FusionFeaturizer(upstream.upstream, normalize=normalize).eval()
    runners.load_state_dict(ours.state_dict(), strict=True)
    fused, lengths = ours(*upstream(*batch()))
    expected = runners(wavs(*LENGTHS), upstream.upstream(wavs(*LENGTHS)))
    assert (ours.output_size, ours.downsample_rate) == (runners.output_dim, runners.downsample_rate)
    for sequence, length, theirs in zip(fused, lengths, expected):
        frames = min(int(length), len(theirs))
        torch.testing.assert_close(sequence[:frames], theirs[:frames], rtol=1e-5, atol=1e-6)


def test_lengths_are_each_utterances_own(registered):
    upstream, featurizer = build("fused__fbank__mfcc")
    fused, lengths = featurizer(*upstream(*batch()))
    assert fused.shape == (2, 100, featurizer.output_size) and lengths.tolist() == [100, 57]


def test_stock_upstreams_keep_the_stock_featurizer(registered):
    from s3prl.nn import Featurizer

    _, featurizer = build("fbank")
    assert type(featurizer) is Featurizer and featurizer.output_size == 240


def test_a_class_bound_before_registration_fuses_too():
    import s3prl_fusion

    s3prl_fusion.unregister()
    from s3prl.nn import Featurizer, S3PRLUpstream

    s3prl_fusion.register()
    try:
        assert isinstance(featurizer := Featurizer(S3PRLUpstream("fused__fbank__mfcc")), Featurizer)
        assert type(featurizer) is not Featurizer
    finally:
        s3prl_fusion.unregister()


def test_only_a_weighted_sum_has_weights_to_plot(registered):
    _, summed = build("fused__fbank__mfcc__weighted_sum")
    _, convolved = build("fused__fbank__mfcc__hconv")
    assert summed.weights is summed.interface.weights and not hasattr(convolved, "weights")


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
@torch.no_grad()
def test_can_be_copied_and_pickled(registered, clone):
    upstream, featurizer = build("fused__fbank__mfcc")
    states = upstream(*batch())
    assert torch.equal(clone(featurizer)(*states)[0], featurizer(*states)[0])


def test_selecting_layers_is_refused(registered):
    with pytest.raises(ValueError, match=r"no common layers \[0, 1\]; leave layer_selections out and give each member"):
        build("fused__fbank__mfcc", layer_selections=[0, 1])


def test_fused_takes_its_yaml_as_extra_conf(registered, tmp_path):
    from s3prl.nn import S3PRLUpstream

    (tmp_path / "fusion.yaml").write_text("members: [fbank, mfcc]\ninterface: gumbel\n")
    upstream = S3PRLUpstream("fused", extra_conf={"model_config": str(tmp_path / "fusion.yaml")})
    assert upstream.upstream.fusion.interface.name == "gumbel"


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("fused__fbank__mfcc", {"layers": [1], "dim": 8}, r"takes no dim, layers, only model_config; .* fusion YAML"),
        ("fused", {"model_config": {"members": ["fbank"]}}, r"must be the path of a fusion YAML; got dict"),
        (
            "fused__fbank__mfcc",
            {"model_config": "fusion.yaml"},
            r"takes no -g fusion\.yaml; give the file to .* 'fused'",
        ),
    ],
)
def test_no_extra_conf_is_ignored_in_silence(registered, name, options, message):
    from s3prl.nn import S3PRLUpstream

    with pytest.raises((TypeError, ValueError), match=message):
        S3PRLUpstream(name, extra_conf=options)


def test_a_checkpoint_for_the_whole_fusion_is_refused_as_path_or_url_too(registered):
    from s3prl.nn import S3PRLUpstream

    with pytest.raises(ValueError, match=r"'fused' takes no checkpoint of its own .*in a fusion YAML"):
        S3PRLUpstream("fused", path_or_url="fusion.yaml")


@pytest.mark.parametrize("samples", [1, 300, 1000, 1601])
@torch.no_grad()
def test_short_utterances_keep_their_true_lengths(registered, samples):
    upstream, featurizer = build("fused__fbank__mfcc")
    lengths = torch.tensor([samples, max(1, samples // 2)])
    fused, frames = featurizer(*upstream(torch.randn(2, samples, generator=torch.Generator().manual_seed(0)), lengths))
    assert frames.tolist() == [-(-int(length) // 160) for length in lengths]
    assert fused.size(1) == int(frames.max()) and fused.isfinite().all()
