"""The fusion featurizer: the stock one's contract, lengths, random state and state dict."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from s3prl.upstream.interfaces import Featurizer
from tiny_models import ToyUpstream, wavs
from torch import nn

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer, InterfaceConfig, MemberConfig

LENGTHS = (16000, 9001, 4321, 1600)


def fuse(*members: nn.Module, interface: str = "weighted_sum", normalize: bool = False, **options) -> FusedUpstream:
    names = tuple(MemberConfig(f"toy{i}") for i in range(len(members)))
    return FusedUpstream(FusionConfig(names, InterfaceConfig(interface, **options), normalize), members)


def featurize(featurizer, upstream, batch):
    with torch.no_grad():
        features = upstream(batch)
    return featurizer(batch, features)


def mixed(**kwargs) -> FusedUpstream:
    return fuse(ToyUpstream(320, layers=4, dim=8), ToyUpstream(160, layers=2, dim=6, seed=1), **kwargs)


def real_members(request) -> dict[str, dict]:
    ckpts = {"hf_hubert_custom": "tiny_hubert", "wavlm_local": "wavlm_ckpt", "hubert_local": "hubert_ckpt"}
    return {name: {"ckpt": request.getfixturevalue(fixture)} for name, fixture in ckpts.items()}


@pytest.mark.parametrize(
    "entry, normalize",
    # Stock normalizes only what it sums, and fbank is one hidden state.
    [("fbank", False), *((e, n) for e in ("hf_hubert_custom", "wavlm_local", "hubert_local") for n in (False, True))],
)
def test_one_member_under_weighted_sum_is_stock_bit_for_bit(entry, normalize, request):
    from s3prl import hub

    options = real_members(request).get(entry, {})
    plain = getattr(hub, entry)(**options)
    config = {"members": [{"name": entry, **options}], "interface": "weighted_sum", "normalize": False}
    fused = FusedUpstream(FusionConfig.from_dict(config))
    stock = Featurizer(plain, upstream_device="cpu", normalize=normalize)
    ours = FusionFeaturizer(fused, normalize=normalize)
    assert (ours.output_dim, ours.downsample_rate) == (stock.output_dim, stock.downsample_rate)
    if list(stock.parameters()):
        stock.weights.data.normal_(generator=torch.Generator().manual_seed(5))
        ours.load_state_dict(stock.state_dict(), strict=True)
    batch = wavs(*LENGTHS)
    expected, got = featurize(stock, plain, batch), featurize(ours, fused, batch)
    assert [len(x) for x in got] == [len(x) for x in expected]
    assert all(torch.equal(a, b) for a, b in zip(got, expected))


@pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
def test_constructing_either_featurizer_leaves_the_upstream_in_the_same_state(interface):
    plain, fused = ToyUpstream().train(), fuse(ToyUpstream(), interface=interface).train()
    Featurizer(plain, upstream_device="cpu")
    FusionFeaturizer(fused)
    assert not plain.training and not any(module.training for module in fused.modules())
    assert all(p.requires_grad for p in plain.parameters()) and all(p.requires_grad for p in fused.parameters())


def test_constructing_either_featurizer_draws_the_same_random_numbers():
    draws = []
    with torch.random.fork_rng():
        for make in (
            lambda: Featurizer(ToyUpstream(), upstream_device="cpu"),
            lambda: FusionFeaturizer(fuse(ToyUpstream())),
        ):
            torch.manual_seed(3)
            make()
            draws.append(torch.randn(4))
    assert torch.equal(*draws)


@pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
@pytest.mark.parametrize("lengths", [LENGTHS, (16159, 15999), (81,), (1,), (100, 16000), (399,), (401, 240)])
def test_lengths_are_as_stock_counts_but_at_least_one(interface, lengths):
    upstream = mixed(interface=interface)
    features = featurize(FusionFeaturizer(upstream), upstream, wavs(*lengths))
    longest = max(lengths)
    assert len(features) == len(lengths)
    for feature, samples in zip(features, lengths):
        wanted = max(1, round(samples / 160))
        # Sequences end with the upstream's frames, as stock's do.
        have = upstream(wavs(longest))["hidden_states"][0].size(1)
        assert len(feature) == min(wanted, have) and feature.isfinite().all()


@pytest.mark.parametrize("samples", [1, 100, 399, 401])
@pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
def test_short_utterances_of_real_members(samples, interface, tiny_hubert):
    config = {"members": ["fbank", {"name": "hf_hubert_custom", "ckpt": tiny_hubert}], "interface": interface}
    upstream = FusedUpstream(FusionConfig.from_dict(config))
    (feature,) = featurize(FusionFeaturizer(upstream), upstream, wavs(samples))
    # 401 samples count as 3 frames but give 2, as with the stock featurizer.
    assert len(feature) == min(2, max(1, round(samples / 160))) and feature.isfinite().all()


def test_fused_values_agree_with_the_reference():
    members = [ToyUpstream(320, layers=4, dim=6), ToyUpstream(160, layers=2, dim=6, seed=1)]
    upstream = fuse(*members, normalize=True)
    featurizer = FusionFeaturizer(upstream)
    featurizer.interface.weights.data.normal_(generator=torch.Generator().manual_seed(2))
    batch = wavs(*LENGTHS)
    valid = [(length - 400) // 320 + 1 for length in LENGTHS]
    fast = [state.detach().numpy() for state in members[1](batch)["hidden_states"]]
    slow = [
        reference.align_frames(state.detach().numpy(), 320, 160, fast[0].shape[1], valid)
        for state in members[0](batch)["hidden_states"]
    ]
    flat = reference.layer_norm(np.stack(slow + fast))
    expected = reference.weighted_sum(featurizer.interface.weights.detach().numpy(), flat)
    for got, whole, samples in zip(featurize(featurizer, upstream, batch), expected, LENGTHS):
        np.testing.assert_allclose(got.detach(), whole[: round(samples / 160)], atol=1e-5)


@pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
def test_the_runners_normalize_is_the_configs(interface):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        by_config = FusionFeaturizer(mixed(interface=interface, normalize=True))
    by_runner = FusionFeaturizer(mixed(interface=interface), normalize=True)
    plain = FusionFeaturizer(mixed(interface=interface))
    outputs = []
    for featurizer in (by_config, by_runner, plain):
        featurizer.load_state_dict(dict(by_config.state_dict()))  # the weights, without the record of their fusion
        outputs.append(featurize(featurizer, mixed(), wavs(16000))[0])
    assert torch.equal(outputs[0], outputs[1]) and not torch.allclose(outputs[0], outputs[2])


@pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
def test_an_utterance_is_fused_alone_as_in_a_batch(interface):
    upstream = mixed(interface=interface)
    featurizer = FusionFeaturizer(upstream)
    batch = wavs(*LENGTHS)
    together = featurize(featurizer, upstream, batch)
    for wav, feature in zip(batch, together):
        (alone,) = featurize(featurizer, upstream, [wav])
        frames = min(len(alone), (len(wav) - 400) // 160 + 1)
        torch.testing.assert_close(feature[:frames], alone[:frames], rtol=0, atol=1e-5)


@pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
def test_gradients_reach_every_featurizer_parameter_and_no_upstream_parameter(interface):
    upstream = mixed(interface=interface)
    featurizer = FusionFeaturizer(upstream).train()
    sum(feature.pow(2).sum() for feature in featurize(featurizer, upstream, wavs(*LENGTHS))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in featurizer.parameters())
    assert all(p.grad is None for p in upstream.parameters())


def test_the_featurizer_does_not_own_the_upstream():
    upstream = mixed(interface="hconv")
    featurizer = FusionFeaturizer(upstream)
    theirs = {id(p) for p in upstream.parameters()}
    assert not any(id(p) in theirs for p in featurizer.parameters())


class TestStateDict:
    @pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
    def test_it_is_the_interfaces_own_and_loads_back(self, interface):
        one, other = FusionFeaturizer(mixed(interface=interface)), FusionFeaturizer(mixed(interface=interface))
        state = one.state_dict()
        assert state.keys() == one.interface.state_dict().keys()
        assert not any(key.startswith("interface.") for key in state)
        for parameter in one.parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
        assert other.load_state_dict(one.state_dict(), strict=True).missing_keys == []
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))

    @pytest.mark.parametrize("interface", ["weighted_sum", "hconv"])
    def test_nested_in_another_module(self, interface):
        def model():
            return nn.ModuleDict({"featurizer": FusionFeaturizer(mixed(interface=interface)), "head": nn.Linear(2, 2)})

        one, other = model(), model()
        for parameter in one.parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
        state = one.state_dict()
        own = one["featurizer"].interface.state_dict()
        assert {key for key in state if key.startswith("featurizer.")} == {f"featurizer.{key}" for key in own}
        other.load_state_dict(state, strict=True)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))

    def test_loading_does_not_change_the_given_dict(self):
        featurizer = FusionFeaturizer(mixed(interface="hconv"))
        state = featurizer.state_dict()
        keys = list(state)
        featurizer.load_state_dict(state)
        assert list(state) == keys

    @pytest.mark.parametrize("nested", [False, True])
    def test_wrong_keys_are_named_in_strict_loading(self, nested):
        featurizer = FusionFeaturizer(mixed())
        module = nn.ModuleDict({"f": featurizer}) if nested else featurizer
        prefix = "f." if nested else ""
        with pytest.raises(RuntimeError, match="weights"):
            module.load_state_dict({f"{prefix}match.projections.0.weight": torch.zeros(1)}, strict=True)

    def test_one_members_mixture_loads_into_stock_and_back(self):
        stock = Featurizer(ToyUpstream(), upstream_device="cpu")
        ours = FusionFeaturizer(fuse(ToyUpstream()))
        ours.interface.weights.data.copy_(torch.tensor([1.0, -2.0, 0.5]))
        stock.load_state_dict(ours.state_dict(), strict=True)
        assert torch.equal(stock.weights, ours.interface.weights)
        FusionFeaturizer(fuse(ToyUpstream())).load_state_dict(stock.state_dict(), strict=True)


class TestRefused:
    @pytest.mark.parametrize("selection", ["last_hidden_state", "hidden_state_3"])
    def test_other_features(self, selection):
        with pytest.raises(ValueError, match=rf"has hidden_states only; got -s {selection}\. Leave -s out"):
            FusionFeaturizer(mixed(), feature_selection=selection)

    @pytest.mark.parametrize("layer", [0, 3, -1])
    def test_a_single_layer(self, layer):
        with pytest.raises(
            ValueError, match=rf"no single layer {layer}; leave -l out and give each member its `layers`"
        ):
            FusionFeaturizer(mixed(), layer_selection=layer)

    def test_an_upstream_that_is_not_fused(self):
        with pytest.raises(TypeError, match="needs a FusedUpstream; got ToyUpstream"):
            FusionFeaturizer(ToyUpstream())

    @pytest.mark.parametrize("change", [-1, 1])
    def test_another_number_of_layers(self, change):
        upstream = mixed()
        featurizer, features = FusionFeaturizer(upstream), upstream(wavs(16000))
        states = features["hidden_states"]
        features["hidden_states"] = states[:change] if change < 0 else [*states, states[-1]]
        with pytest.raises(
            ValueError, match=rf"made for \[4, 2\] hidden states of its members; got {6 + change} in all"
        ):
            featurizer(wavs(16000), features)

    def test_frames_and_samples_that_do_not_belong_together(self):
        upstream = mixed()
        featurizer, features = FusionFeaturizer(upstream), upstream(wavs(16000))
        with pytest.raises(
            ValueError, match=r"gives 98 frames for 20000 samples.*should be 125; check get_downsample_rates"
        ):
            featurizer(wavs(20000), features)


def test_a_wrapped_upstream_is_unwrapped():
    class Wrapped(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    assert FusionFeaturizer(Wrapped(mixed(interface="hconv"))).output_dim == 8


def test_an_interface_with_a_child_named_interface_loads_its_own_state_dict(tmp_path):
    (tmp_path / "nested.py").write_text(
        "from torch import nn\nfrom s3prl_fusion import Interface\n\n\n"
        "class Nested(Interface):\n"
        "    def __init__(self, layers, dims, output_dim=None):\n"
        "        super().__init__(layers, dims, output_dim)\n"
        "        self.output_dim = dims[0]\n"
        "        self.interface = nn.ModuleDict({'a': nn.Linear(dims[0], dims[0])})\n"
        "        self.a = nn.Linear(dims[0], dims[0])\n\n"
        "    def forward(self, members):\n"
        "        return self.a(self.interface['a'](members[0][-1]))\n"
    )
    config = FusionConfig.from_dict({"members": ["toy"], "interface": f"{tmp_path}/nested.py:Nested"})
    one, other = (FusionFeaturizer(FusedUpstream(config, [ToyUpstream()])) for _ in range(2))
    state = one.state_dict()
    assert set(state) == {f"{name}.{part}" for name in ("a", "interface.a") for part in ("weight", "bias")}
    other.load_state_dict(state)
    for module in (torch.nn.ModuleDict({"featurizer": one}), torch.nn.ModuleDict({"featurizer": other})):
        module.load_state_dict({f"featurizer.{name}": tensor for name, tensor in state.items()})
    assert all(torch.equal(a, b) for a, b in zip(one.interface.parameters(), other.interface.parameters()))


@pytest.mark.fault("hidden states of another number of utterances than there are waveforms", "refused")
def test_states_of_another_batch():
    upstream = mixed()
    batch = wavs(*LENGTHS)
    with torch.no_grad():
        states = upstream(batch[:1])
    with pytest.raises(ValueError, match="4 waveforms, and hidden states of 1"):
        FusionFeaturizer(upstream)(batch, states)
