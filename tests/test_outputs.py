"""What members give: frames at a measured rate, and finite numbers, or the file, member and layer are named."""

from __future__ import annotations

import argparse
import json
import random
import shutil

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import ToyUpstream, wavs
from torch import nn

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer, MemberConfig
from s3prl_fusion.alignment import align_frames
from s3prl_fusion.cli import main
from s3prl_fusion.host.load import LoadedExperiment
from s3prl_fusion.host.members import stock_loader
from s3prl_fusion.upstreams.rates import measure_rate


class Counted(ToyUpstream):
    """A toy that notes what it is run on; it draws random numbers, as WavLM does."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.asked: list[int] = []

    def forward(self, batch):
        assert not self.training and not torch.is_grad_enabled()
        self.asked += [len(wav) for wav in batch]
        torch.rand(1), np.random.rand(), random.random()
        return super().forward(batch)


class Claiming(ToyUpstream):
    """A toy that says another rate than it has."""

    def __init__(self, claim: int, **options) -> None:
        super().__init__(**options)
        self.claim = claim

    def get_downsample_rates(self, key: str) -> int:
        return self.claim


class Unsaid(nn.Module):
    """A toy that says no rate."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.toy = ToyUpstream(rate)

    def forward(self, batch):
        return self.toy(batch)


def fuse(*members: nn.Module, **options) -> FusedUpstream:
    return FusedUpstream(FusionConfig(tuple(MemberConfig(f"toy{i}") for i in range(len(members))), **options), members)


@pytest.fixture(scope="module")
def slow_hubert(tiny_hubert, tmp_path_factory):
    """A folder whose model gives a frame every 640 samples; s3prl says 320 of any."""
    folder = tmp_path_factory.mktemp("slow") / "hubert"
    shutil.copytree(tiny_hubert, folder)
    config = {**json.loads((folder / "config.json").read_text()), "conv_stride": [5, 2, 2, 2, 2, 2, 4]}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.fixture(scope="module")
def broken_hubert(tiny_hubert, tmp_path_factory):
    """A folder with NaN in the weights of its second layer."""
    from transformers import HubertModel

    folder = tmp_path_factory.mktemp("broken") / "hubert"
    shutil.copytree(tiny_hubert, folder)
    model = HubertModel.from_pretrained(folder)
    with torch.no_grad():
        model.encoder.layers[1].feed_forward.output_dense.weight[0, 0] = float("nan")
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def speech(tmp_path):
    """A folder of one sound file."""
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech/a.wav", wavs(32000)[0].numpy(), 16000)
    return tmp_path / "speech"


class TestRates:
    @pytest.mark.fault(
        "convolution strides that give another frame rate than s3prl claims", "the measured rate is used"
    )
    @torch.no_grad()
    def test_a_model_is_aligned_by_the_frames_that_it_gives(self, slow_hubert):
        hubert = {"name": "hf_hubert_custom", "ckpt": slow_hubert}
        upstream = FusedUpstream(FusionConfig.from_dict({"members": ["fbank", hubert]})).eval()
        batch = wavs(48000)
        states = upstream(batch)["hidden_states"]
        assert upstream.grid.rates == [160, 640]
        own = list(upstream.members[1](batch)["hidden_states"])
        assert own[0].size(1) == 75
        expected = align_frames(own, 640, 160, states[0].size(1), [75])
        assert all(map(torch.equal, states[1:], expected))

    @pytest.mark.fault("the same model alone", "its frames are as many as its measured rate says")
    @torch.no_grad()
    def test_also_alone(self, slow_hubert):
        config = FusionConfig.from_dict({"members": [{"name": "hf_hubert_custom", "ckpt": slow_hubert}]})
        upstream, batch = FusedUpstream(config), wavs(16000 * 8)
        assert upstream.get_downsample_rates("hidden_states") == 640
        (features,) = FusionFeaturizer(upstream)(batch, upstream(batch))
        assert len(features) == 200

    @pytest.mark.fault("the same model as run_downstream's own upstream", "refused: frames and samples are named")
    @torch.no_grad()
    def test_s3prls_own_featurizer_gets_no_wrong_rate(self, slow_hubert, tiny_hubert):
        stock_loader(MemberConfig("hf_hubert_custom", ckpt=tiny_hubert))()(wavs(16000))
        slow = stock_loader(MemberConfig("hf_hubert_custom", ckpt=slow_hubert))()
        with pytest.raises(ValueError, match=r"gives 25 frames for 16000 samples; at the 320 samples a frame"):
            slow(wavs(16000))

    @torch.no_grad()
    def test_whispers_follows_from_its_spectrogram(self, tiny_whisper, tmp_path):
        from transformers import WhisperFeatureExtractor

        shutil.copytree(tiny_whisper, tmp_path / "fine")
        WhisperFeatureExtractor(hop_length=80).save_pretrained(tmp_path / "fine")
        for padded in (True, False):
            member = {
                "name": "hf_whisper_custom",
                "ckpt": str(tmp_path / "fine"),
                "model_config": {"pad_to_30s": padded},
            }
            upstream = FusedUpstream(FusionConfig.from_dict({"members": [member, "fbank"]})).eval()
            assert upstream.grid.rates == [] and upstream.get_downsample_rates() == 160
            states = upstream(wavs(16000))["hidden_states"]
            assert {state.size(1) for state in states} == {100} and upstream.grid.rates == [160, 160]
            assert upstream.members[0](wavs(16000))["hidden_states"][0].size(1) == 100

    @pytest.mark.parametrize("rate", [160, 320, 384, 441, 640, 1280, 5120])
    def test_a_member_need_not_say_its_rate(self, rate):
        upstream = fuse(Unsaid(rate), ToyUpstream(320))
        assert upstream.get_downsample_rates() == min(rate, 320) and upstream.grid.rates == [rate, 320]
        assert len({state.shape[1] for state in upstream(wavs(20000))["hidden_states"]}) == 1

    @pytest.mark.parametrize("claim", [1, 160, 312, 328, 640, 16000])
    def test_what_it_says_is_measured_whatever_it_is(self, claim):
        assert fuse(Claiming(claim, rate=320)).get_downsample_rates() == 320

    def test_measuring_takes_two_short_waveforms_once_and_leaves_no_trace(self):
        member = Counted()
        upstream = fuse(member).train()
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
        assert upstream.get_downsample_rates() == upstream.get_downsample_rates("hidden_states") == 320
        assert member.asked == [16000, 32000] and member.training
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())
        with torch.no_grad():
            upstream.eval()(wavs(16000))
        assert member.asked == [16000, 32000, 16000]

    @pytest.mark.parametrize("claim, rate", [(320, 320), (300, 300), (160, 320), (None, 320)])
    def test_of_frames_in_groups_a_claim_that_is_near_is_believed(self, claim, rate):
        assert measure_rate(lambda samples: 5 * (samples // 1600), claim, "x") == rate

    def test_frames_that_do_not_follow_the_waveform_are_refused(self):
        with pytest.raises(ValueError, match=r"member 'x' gives 12 frames for 16000 samples and 12 for 64000"):
            measure_rate(lambda samples: 12, 320, "x")


class TestFinite:
    MESSAGE = r"'hf_hubert_custom' gives NaN or infinite values: hidden state 2"

    @pytest.mark.fault("a model that gives NaN", "refused: file, member and layer named, and nothing written")
    def test_extract_writes_nothing(self, broken_hubert, speech, tmp_path, capsys):
        argv = ["extract", "-u", "hf_hubert_custom", "-k", broken_hubert, str(speech), "-o", str(tmp_path / "out")]
        assert main(argv) != 0
        error = capsys.readouterr().err
        assert f"{speech / 'a.wav'}: 'hf_hubert_custom' gives NaN or infinite values: hidden state 2, 32000" in error
        assert not list((tmp_path / "out").rglob("*.npy"))

    @pytest.mark.fault(
        "a model that gives NaN, and a cache", "refused: file, member and layer named, and nothing stored"
    )
    def test_a_cache_stores_nothing(self, broken_hubert, speech, tmp_path, capsys):
        argv = ["cache", "fill", "-u", "hf_hubert_custom", "-k", broken_hubert, "--corpus", str(speech)]
        assert main([*argv, "-o", str(tmp_path / "cache")]) != 0
        assert f"{speech / 'a.wav'}: 'hf_hubert_custom' gives NaN" in capsys.readouterr().err
        assert not list((tmp_path / "cache").rglob("*.safetensors"))

    def test_training_gets_none(self, broken_hubert):
        member = {"name": "hf_hubert_custom", "ckpt": broken_hubert, "layers": [0, 2]}
        upstream = FusedUpstream(FusionConfig.from_dict({"members": ["fbank", member]}))
        with pytest.raises(ValueError, match=self.MESSAGE):
            FusionFeaturizer(upstream)

    @torch.no_grad()
    def test_nor_from_s3prls_own_featurizer(self, broken_hubert):
        upstream = stock_loader(MemberConfig("hf_hubert_custom", ckpt=broken_hubert))().eval()
        with pytest.raises(ValueError, match=self.MESSAGE + ", utterance 0 of 2, 16000 samples"):
            upstream(wavs(16000, 12000))

    @pytest.mark.fault("a trained checkpoint whose featurizer holds NaN", "refused: said to be the featurizer's")
    def test_an_experiments_features_are_finite_too(self):
        upstream = fuse(ToyUpstream())
        featurizer = FusionFeaturizer(upstream)
        torch.nn.init.constant_(next(featurizer.parameters()), float("nan"))
        experiment = LoadedExperiment(upstream, featurizer, nn.Identity(), argparse.Namespace(device="cpu"), {})
        with pytest.raises(ValueError, match="the trained featurizer's features are not: the training has diverged"):
            experiment.features(wavs(16000))

    def test_the_utterance_is_said_and_padding_does_not_count(self):
        class Padded(ToyUpstream):
            """NaN where an utterance has none; of the second, in its own frames too."""

            def forward(self, batch):
                states = super().forward(batch)["hidden_states"]
                for state in states:
                    for row, wav in zip(state, batch):
                        row[round(len(wav) / self.rate) :] = float("nan")
                        row[:3][wav[0] > 0.99] = float("inf")
                return {"hidden_states": states}

        upstream, batch = fuse(Padded().requires_grad_(False)), wavs(16000, 9000, 12000)
        with torch.no_grad():
            upstream(batch)
            batch[1][0] = 1.0
            with pytest.raises(ValueError, match=r"hidden state 0, utterance 1 of 3, 9000 samples"):
                upstream(batch)

    def test_large_numbers_are_numbers(self):
        toy = ToyUpstream().requires_grad_(False)
        toy.kernels *= 1e36
        assert all(state.isfinite().all() for state in fuse(toy)(wavs(16000))["hidden_states"])
