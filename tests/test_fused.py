"""The fused upstream: one member is that member, batches do not matter, and wrong input is named."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from tiny_models import ToyUpstream, wavs
from torch import nn

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer, MemberConfig
from s3prl_fusion.waveforms import check_wavs

LENGTHS = (16000, 9001, 4321, 1600)


def fuse(*members: nn.Module, layers: tuple | None = None) -> FusedUpstream:
    selected = layers or (None,) * len(members)
    names = tuple(MemberConfig(f"toy{i}", layers=chosen) for i, chosen in enumerate(selected))
    return FusedUpstream(FusionConfig(names), members).eval()


def load(*members: str | dict) -> FusedUpstream:
    return FusedUpstream(FusionConfig.from_dict({"members": list(members)})).eval()


def own_frames(samples: int, first: int, rate: int) -> int:
    return (samples - first) // rate + 1


@torch.no_grad()
def assert_batch_invariant(upstream: FusedUpstream, lengths, frames_alone, atol: float = 1e-5) -> None:
    batch = wavs(*lengths)
    together = upstream(batch)["hidden_states"]
    for i, wav in enumerate(batch):
        alone = upstream([wav])["hidden_states"]
        frames = frames_alone(len(wav))
        assert len(alone) == len(together) and frames <= alone[0].size(1)
        for layer, (state, padded) in enumerate(zip(alone, together)):
            name = f"utterance {i}, state {layer}: "
            torch.testing.assert_close(padded[i, :frames], state[0, :frames], rtol=0, atol=atol, msg=name.__add__)


@pytest.mark.parametrize("lengths", [(16000,), LENGTHS])
def test_one_toy_member_is_that_member_bit_for_bit(lengths):
    member = ToyUpstream()
    fused, plain = fuse(member)(wavs(*lengths)), member(wavs(*lengths))
    assert fused.keys() == {"hidden_states"} and len(fused["hidden_states"]) == 3
    assert all(torch.equal(a, b) for a, b in zip(fused["hidden_states"], plain["hidden_states"]))


@pytest.mark.parametrize(
    "entry", ["fbank", "mfcc", "hf_hubert_custom", "hf_wav2vec2_custom", "wavlm_local", "hubert_local"]
)
@torch.no_grad()
def test_one_real_member_is_that_member_bit_for_bit(entry, request):
    from s3prl import hub

    fixtures = {
        "hf_hubert_custom": "tiny_hubert",
        "hf_wav2vec2_custom": "tiny_wav2vec2",
        "wavlm_local": "wavlm_ckpt",
        "hubert_local": "hubert_ckpt",
    }
    ckpt = request.getfixturevalue(fixtures[entry]) if entry in fixtures else None
    options = {"ckpt": ckpt} if ckpt else {}
    member = getattr(hub, entry)(**options).eval()
    fused = load({"name": entry, **options})
    assert fused.get_downsample_rates("hidden_states") == member.get_downsample_rates("hidden_states")
    ours, plain = fused(wavs(*LENGTHS))["hidden_states"], member(wavs(*LENGTHS))["hidden_states"]
    assert len(ours) == len(plain)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain))


@pytest.mark.parametrize("form, layers", [("list", 3), ("tuple", 3), ("dict", 3), ("tensor", 1)])
def test_every_form_of_hidden_states_is_read(form, layers):
    expected = ToyUpstream(layers=layers)(wavs(*LENGTHS))["hidden_states"]
    fused = fuse(ToyUpstream(layers=layers, form=form))(wavs(*LENGTHS))["hidden_states"]
    assert len(fused) == layers and all(torch.equal(a, b) for a, b in zip(fused, expected))
    mixed = fuse(ToyUpstream(layers=layers, form=form), ToyUpstream(seed=1))(wavs(*LENGTHS))["hidden_states"]
    assert all(torch.equal(a, b) for a, b in zip(mixed, expected))


def test_equal_grids_pass_untouched():
    one, other = ToyUpstream(seed=1), ToyUpstream(seed=2, layers=2, dim=5)
    fused = fuse(one, other)(wavs(*LENGTHS))["hidden_states"]
    expected = one(wavs(*LENGTHS))["hidden_states"] + other(wavs(*LENGTHS))["hidden_states"]
    assert all(torch.equal(a, b) for a, b in zip(fused, expected))


@pytest.mark.parametrize("rates", [(320, 160), (160, 640), (320, 256), (640, 320)])
def test_slower_members_are_interpolated_as_the_reference_does(rates):
    members = [ToyUpstream(rate, first=400, seed=i) for i, rate in enumerate(rates)]
    fused = fuse(*members)(wavs(*LENGTHS))["hidden_states"]
    target, slow = min(rates), int(rates[1] > rates[0])
    plain = members[slow](wavs(*LENGTHS))["hidden_states"]
    valid = [own_frames(length, 400, rates[slow]) for length in LENGTHS]
    frames = own_frames(max(LENGTHS), 400, target)
    for ours, state in zip(fused[3 * slow : 3 * slow + 3], plain):
        expected = reference.align_frames(state.detach().numpy(), rates[slow], target, frames, valid)
        np.testing.assert_allclose(ours.detach(), expected, atol=1e-5)


@pytest.mark.parametrize(
    "grids",
    [
        [(320, 400), (160, 400)],
        [(160, 400), (320, 400), (640, 720)],
        [(320, 400), (256, 512)],
        [(320, 400), (320, 320)],
        [(320, 320), (320, 400)],
        [(320, 1000), (320, 400)],
    ],
)
def test_batch_invariance_of_toys(grids):
    members = [ToyUpstream(rate, first, layers=i + 1, dim=4 + i, seed=i) for i, (rate, first) in enumerate(grids)]
    fused = fuse(*members)
    grid = min(grids)
    assert_batch_invariant(fused, LENGTHS, lambda samples: own_frames(samples, grid[1], grid[0]))


def test_batch_invariance_of_fbank_beside_a_tiny_hubert(tiny_hubert):
    fused = load("fbank", {"name": "hf_hubert_custom", "ckpt": tiny_hubert})
    assert fused.get_downsample_rates() == 160 and len(fused(wavs(16000))["hidden_states"]) == 5
    assert_batch_invariant(fused, LENGTHS, lambda samples: own_frames(samples, 400, 160))


def test_batch_invariance_of_a_tiny_hubert_beside_a_short_whisper(tiny_hubert, tiny_whisper):
    whisper = {"name": "hf_whisper_custom", "ckpt": tiny_whisper, "model_config": {"pad_to_30s": False}}
    fused = load({"name": "hf_hubert_custom", "ckpt": tiny_hubert}, whisper)
    assert_batch_invariant(fused, LENGTHS, lambda samples: own_frames(samples, 400, 320), atol=5e-5)


def test_a_members_order_orders_only_the_states():
    one, other = ToyUpstream(320, seed=1), ToyUpstream(160, seed=2, layers=2)
    forward, backward = (fuse(*pair)(wavs(*LENGTHS))["hidden_states"] for pair in [(one, other), (other, one)])
    assert all(torch.equal(a, b) for a, b in zip(forward, backward[2:] + backward[:2]))


def test_layers_select_and_order_states():
    member = ToyUpstream(layers=5)
    plain = member(wavs(16000))["hidden_states"]
    selected = fuse(member, layers=((3, 0, -1),))(wavs(16000))["hidden_states"]
    assert len(selected) == 3
    assert all(torch.equal(state, plain[layer]) for state, layer in zip(selected, (3, 0, 4)))


class Trimming(ToyUpstream):
    """Gives no frames for the zeros that end a batch, and tells of the batch in each of its numbers."""

    def forward(self, wavs):
        longest = max(int(wav.nonzero()[-1]) + 1 if wav.any() else len(wav) for wav in wavs)
        return {
            "hidden_states": [
                state + len(wavs) for state in super().forward([w[:longest] for w in wavs])["hidden_states"]
            ]
        }


@pytest.mark.fault(
    "`mel`, `linear` or another member that trims, and a waveform that ends in digital silence",
    "as many frames as its samples give, the last one with sound held; alone as in any batch",
)
class TestDigitalSilence:
    NOISE = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    SILENT = torch.cat([NOISE, torch.zeros(8000)])

    @pytest.fixture(params=["mel", "linear", Trimming], ids=["mel", "linear", "own"])
    def upstream(self, request) -> FusedUpstream:
        return load(request.param) if isinstance(request.param, str) else fuse(request.param(160))

    @torch.no_grad()
    def test_frames_follow_from_the_samples_and_the_last_one_holds(self, upstream):
        states, own = upstream([self.SILENT])["hidden_states"], upstream.members[0]([self.SILENT])["hidden_states"]
        usual = upstream([torch.randn(24000)])["hidden_states"][0].size(1)
        for state, trimmed in zip(states, own):
            sound = trimmed.size(1)
            assert state.size(1) == usual > sound and torch.equal(state[:, :sound], trimmed)
            assert (state[:, sound:] == trimmed[:, -1:]).all()

    @torch.no_grad()
    def test_a_batch_does_not_matter(self, upstream):
        others = [self.NOISE, 0.1 * torch.randn(30000), torch.zeros(9000)]
        alone = [upstream([wav])["hidden_states"] for wav in (self.SILENT, *others)]
        for batch in ([0, 1], [2, 0], [3, 0], [0, 1, 2, 3]):
            together = upstream([(self.SILENT, *others)[i] for i in batch])["hidden_states"]
            for row, i in enumerate(batch):
                for state, expected in zip(together, alone[i]):
                    assert torch.equal(state[row, : expected.size(1)], expected[0])

    @torch.no_grad()
    @pytest.mark.parametrize("sound", [1, 100, 481, 1000])
    def test_silence_but_for_its_beginning_is_finite(self, sound):
        upstream = load("mel", "linear", "fbank")
        wav = torch.cat([self.NOISE[:sound], torch.zeros(4000)])
        alone = upstream([wav])["hidden_states"]
        assert {state.size(1) for state in alone} == {(sound + 4000) // 160 + 1}
        assert all(state.isfinite().all() for state in alone)

    def test_its_fusion_is_featurized(self):
        upstream = load("mel", "linear")
        with torch.no_grad():
            (features,) = FusionFeaturizer(upstream)([self.SILENT], upstream([self.SILENT]))
        assert len(features) == 150

    def test_the_cache_gives_the_same(self, tmp_path):
        config = {"members": ["mel", "fbank"]}
        cached, plain = (
            FusedUpstream(FusionConfig.from_dict({**config, **more})).eval()
            for more in ({"cache": {"dir": str(tmp_path)}}, {})
        )
        with torch.no_grad():
            expected = plain([self.SILENT])["hidden_states"]
            for _ in range(2):
                for state, other in zip(cached([self.SILENT, self.NOISE])["hidden_states"], expected):
                    torch.testing.assert_close(state[:1], other, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("layer", [5, -6])
def test_a_layer_that_a_member_lacks_is_refused(layer):
    with pytest.raises(ValueError, match=rf"member 'toy0' has hidden states 0 to 4; its layers ask for {layer}"):
        fuse(ToyUpstream(layers=5), layers=((0, layer),))(wavs(16000))


@pytest.mark.parametrize("samples", [1, 100, 399, 400, 401, 720, 1599])
def test_short_utterances_are_zero_padded_for_the_member_that_needs_it(samples):
    members = [ToyUpstream(320, 400, seed=1), ToyUpstream(160, 300, seed=2)]
    fused = fuse(*members)(wavs(samples))["hidden_states"]
    needed = 400 + 320
    padded = torch.nn.functional.pad(wavs(samples)[0], (0, max(0, needed - samples)))
    slow = members[0]([padded])["hidden_states"][0]
    fast_samples = max(samples, 300 + 160)
    frames = own_frames(fast_samples, 300, 160)
    valid = [own_frames(len(padded), 400, 320)]
    expected = reference.align_frames(slow.detach().numpy(), 320, 160, frames, valid)
    np.testing.assert_allclose(fused[0].detach(), expected, atol=1e-6)
    assert fused[3].size(1) == frames


@pytest.mark.parametrize("samples", [1, 100, 399, 401, 561])
@torch.no_grad()
def test_short_utterances_of_real_members_are_finite(samples, tiny_hubert, wavlm_ckpt, tiny_whisper):
    whisper = {"name": "hf_whisper_custom", "ckpt": tiny_whisper, "model_config": {"pad_to_30s": False}}
    members = ["fbank", {"name": "hf_hubert_custom", "ckpt": tiny_hubert}, {"name": "wavlm_local", "ckpt": wavlm_ckpt}]
    for fused in (load(*members, whisper), *(load(member) for member in members)):
        states = fused(wavs(samples))["hidden_states"]
        assert states[0].size(1) >= 1 and all(state.isfinite().all() for state in states)


@torch.no_grad()
def test_a_short_utterance_does_not_change_the_long_ones_beside_it(tiny_hubert):
    fused = load("fbank", {"name": "hf_hubert_custom", "ckpt": tiny_hubert})
    long, frames = wavs(16000), own_frames(16000, 400, 160)
    alone, together = fused(long)["hidden_states"], fused([*long, *wavs(50)])["hidden_states"]
    for state, padded in zip(alone, together):
        torch.testing.assert_close(padded[:1, :frames], state[:, :frames], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "bad, error, message",
    [
        (torch.zeros(0), ValueError, r"utterance 1 is empty"),
        (torch.tensor([0.0, float("nan")]), ValueError, r"utterance 1 has NaN or infinite samples"),
        (torch.full((9000,), float("inf")), ValueError, r"utterance 1 has NaN or infinite samples"),
        (torch.zeros(2, 9000), ValueError, r"utterance 1 must be 1-D, \(samples,\); got shape \(2, 9000\)"),
        (torch.tensor(0.5), ValueError, r"utterance 1 must be 1-D"),
        (torch.zeros(9000, dtype=torch.int16), TypeError, r"utterance 1 must be a floating-point tensor.*torch\.int16"),
        (np.zeros(9000, dtype=np.float32), TypeError, r"utterance 1 must be a floating-point tensor.*ndarray"),
        ([0.0, 0.1], TypeError, r"utterance 1 must be a floating-point tensor.*list"),
    ],
)
def test_bad_input_is_refused_by_its_index(bad, error, message):
    with pytest.raises(error, match=message):
        fuse(ToyUpstream())([wavs(9000)[0], bad, wavs(9000)[0]])


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="the batch has no utterance"):
        fuse(ToyUpstream())([])


def test_silence_and_double_precision_are_good_input():
    check_wavs([torch.zeros(16000), torch.zeros(10, dtype=torch.float64)])


def test_the_rate_is_the_fastest_members_and_an_int():
    fused = fuse(ToyUpstream(640), ToyUpstream(160), ToyUpstream(320))
    assert fused.get_downsample_rates("hidden_states") == 160 and type(fused.get_downsample_rates()) is int


class TestMembersThatCannotBeFused:
    def test_no_hidden_states_at_all(self):
        with pytest.raises(ValueError, match=r"member 'toy0' gives no hidden_states, but a list"):
            fuse(nn.Identity())(wavs(16000))

    @pytest.mark.parametrize("rate", [0, 20.0, "320"])
    def test_a_rate_that_is_no_int(self, rate):
        member = ToyUpstream()
        member.rate = rate
        with pytest.raises(TypeError, match=r"member 'toy0': get_downsample_rates must give a positive int"):
            fuse(member)

    def test_no_hidden_states(self):
        class Other(ToyUpstream):
            def forward(self, batch):
                return {"last_hidden_state": super().forward(batch)["hidden_states"][0]}

        with pytest.raises(ValueError, match=r"member 'toy0' gives no hidden_states, only \['last_hidden_state'\]"):
            fuse(Other())(wavs(16000))

    def test_another_number_of_hidden_states_in_a_later_call(self):
        toy = ToyUpstream(layers=3)
        upstream = fuse(toy)
        upstream(wavs(16000))
        toy.kernels = torch.nn.Parameter(toy.kernels[:2].detach())
        with pytest.raises(ValueError, match=r"'toy0' gave 3 hidden states of width 8, and now 2 .*layer drop off"):
            upstream(wavs(16000))

    def test_hidden_states_of_several_widths(self):
        class Widening(ToyUpstream):
            def forward(self, batch):
                first, *rest = super().forward(batch)["hidden_states"]
                return {"hidden_states": [first, *(torch.cat([state, state], dim=-1) for state in rest)]}

        batch, toy = wavs(16000, 9000), Widening(layers=3)
        upstream = fuse(toy, ToyUpstream(160))
        given, found = toy(batch)["hidden_states"], upstream.member_states(batch)
        assert [state.size(-1) for state in found[0]] == [16] * 3 and upstream.dims == [16, 8]
        # Each pair of features is mixed 3 to 1, the outer ones are held: F.interpolate's definition, written out.
        first = given[0].repeat_interleave(2, dim=-1)
        near = torch.cat([given[0][..., :1], given[0], given[0][..., -1:]], dim=-1)
        mixed = 0.75 * first + 0.25 * torch.stack([near[..., :-2], near[..., 2:]], dim=-1).flatten(-2)
        narrow = fuse(toy).member_states(batch)[0]
        assert torch.allclose(narrow[0], mixed, atol=1e-6) and torch.equal(narrow[1], given[1])
        assert fuse(toy, layers=((0,),)).member_states(batch)[0][0].size(-1) == 8  # no wider than what is asked for

    def test_rates_too_far_apart(self):
        with pytest.raises(ValueError, match=r"'toy1' gives a frame every 16000 .*'toy0' every 100; .*of 100"):
            fuse(ToyUpstream(100), ToyUpstream(16000))
        fuse(ToyUpstream(160), ToyUpstream(16000))

    def test_more_modules_than_names(self):
        with pytest.raises(ValueError, match="the config names 1 members; got 2 modules"):
            FusedUpstream(FusionConfig((MemberConfig("toy"),)), [ToyUpstream(), ToyUpstream()])

    @pytest.mark.parametrize(
        "member, error, message",
        [
            ("fbnk", ValueError, r"members\[1\]: unknown upstream 'fbnk'.*did you mean 'fbank'"),
            ("fused_wavlm_hubert", ValueError, r"members\[1\]: 'fused_wavlm_hubert' is a fused upstream itself"),
            ("hubert_local", ValueError, r"members\[1\]: 'hubert_local' has no checkpoint of its own"),
            ("baseline_local", ValueError, r"members\[1\]: 'baseline_local'.*give the member a model_config"),
            ({"name": "wavlm_local", "ckpt": "/no/such.pt"}, FileNotFoundError, r"ckpt '/no/such\.pt'.*does not exist"),
            (
                {"name": "baseline_local", "model_config": "/no.yaml"},
                FileNotFoundError,
                r"model_config '/no\.yaml'.*does not exist",
            ),
        ],
    )
    def test_members_of_the_hub_are_checked_before_any_loads(self, member, error, message, monkeypatch):
        from s3prl import hub

        def refuse(*args, **kwargs):
            raise AssertionError("a member was loaded before the check")

        monkeypatch.setattr(hub, "mfcc", refuse)
        with pytest.raises(error, match=message):
            load("mfcc", member)


def test_a_mapping_as_model_config_reaches_a_stock_entry():
    config = {
        "kaldi": {
            "feat_type": "fbank",
            "fbank": {"frame_length": 25.0, "frame_shift": 10.0, "num_mel_bins": 13, "use_log_fbank": True},
        },
        "delta": {"order": 0, "win_length": 5},
        "cmvn": {"use_cmvn": True},
    }
    fused = load({"name": "baseline_local", "model_config": config})
    assert fused(wavs(16000))["hidden_states"][0].shape == (1, 98, 13)


def test_gradients_reach_members_when_they_are_trained():
    members = [ToyUpstream(320, seed=1), ToyUpstream(160, seed=2)]
    fused = fuse(*members).train()
    sum(state.pow(2).sum() for state in fused(wavs(*LENGTHS))["hidden_states"]).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in fused.parameters())


def test_after_the_first_batch_every_member_runs_once_a_batch():
    calls = []
    members = [ToyUpstream(320), ToyUpstream(160, seed=1)]
    for i, member in enumerate(members):
        member.register_forward_hook(lambda *args, i=i: calls.append(i))
    fused = fuse(*members)
    fused(wavs(16000, 9000))
    calls.clear()
    for lengths in ((16000, 9000), (400,)):
        fused(wavs(*lengths))
    assert calls == [0, 1, 0, 1]


def test_the_first_look_at_the_members_keeps_their_mode_and_the_random_state():
    fused = fuse(ToyUpstream(320), ToyUpstream(160, seed=1)).train()
    before = torch.get_rng_state()
    fused(wavs(16000))
    assert fused.training and all(member.training for member in fused.members)
    assert torch.equal(torch.get_rng_state(), before)
