"""Whisper's encoder: transformers' own hidden states where padded to 30 s, batch invariance where not."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import ToyUpstream, wavs
from transformers import WhisperFeatureExtractor, WhisperModel

from s3prl_fusion import FusedUpstream, FusionConfig, WhisperUpstream
from s3prl_fusion.host.members import added_entries

LENGTHS = (16000, 9001, 481, 1)


@pytest.fixture(scope="module")
def padded(tiny_whisper):
    return WhisperUpstream(tiny_whisper).eval()


@pytest.fixture(scope="module")
def short(tiny_whisper):
    return WhisperUpstream(tiny_whisper, pad_to_30s=False).eval()


@torch.no_grad()
def transformers_states(folder: str, wav: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Hidden states of one utterance of up to 30 s, by transformers alone."""
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    mel = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt")["input_features"]
    return WhisperModel.from_pretrained(folder).eval().encoder(mel, output_hidden_states=True).hidden_states


@torch.no_grad()
def test_padded_states_are_transformers_states_cropped(padded, tiny_whisper):
    states = padded(wavs(*LENGTHS))["hidden_states"]
    frames = math.ceil(max(LENGTHS) / 320)
    for i, wav in enumerate(wavs(*LENGTHS)):
        expected = transformers_states(tiny_whisper, wav)
        assert len(states) == len(expected) == 3
        for ours, theirs in zip(states, expected):
            torch.testing.assert_close(ours[i], theirs[0, :frames], rtol=0, atol=1e-5)


@torch.no_grad()
def test_longer_than_30_s_are_windows_joined(padded, tiny_whisper):
    (wav,) = wavs(31 * 16000 + 100)
    states = padded([wav])["hidden_states"]
    head = transformers_states(tiny_whisper, wav[: 30 * 16000])
    tail = transformers_states(tiny_whisper, wav[30 * 16000 :])
    for ours, first, second in zip(states, head, tail):
        expected = torch.cat([first, second[:, : math.ceil(16100 / 320)]], dim=1)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [LENGTHS, (31 * 16000, 5000)])
def test_short_states_do_not_depend_on_the_batch_and_are_finite(short, lengths):
    together = short(wavs(*lengths))["hidden_states"]
    assert all(state.isfinite().all() for state in together)
    for i, wav in enumerate(wavs(*lengths)):
        alone = short([wav])["hidden_states"]
        frames = math.ceil(len(wav) / 320)
        for state, padded_state in zip(alone, together):
            assert state.size(1) == frames
            torch.testing.assert_close(padded_state[i, :frames], state[0], rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(480000,), (479900,), (480000, 480000), (600000,)])
def test_short_states_of_whole_windows_are_the_padded_ones(padded, short, lengths):
    frames = 1500  # a second window is not whole
    for ours, theirs in zip(short(wavs(*lengths))["hidden_states"], padded(wavs(*lengths))["hidden_states"]):
        torch.testing.assert_close(ours[:, :frames], theirs[:, :frames], rtol=0, atol=1e-6)


@torch.no_grad()
def test_short_states_are_the_padded_ones_with_the_silence_hidden(padded, short):
    # Why they differ from what Whisper gives: attention to silence, and silence in the convolutions' reach.
    batch, hooks = wavs(50000, 20000), []
    frames = torch.tensor([padded.num_frames(len(wav)) for wav in batch])
    valid = torch.arange(1500) < frames.unsqueeze(1)
    fine = valid.repeat_interleave(2, dim=1).unsqueeze(1)
    mask = torch.zeros(2, 1, 1500, 1500).masked_fill(~valid[:, None, None], -1e30)
    for conv in (padded.encoder.conv1, padded.encoder.conv2):
        hooks.append(conv.register_forward_pre_hook(lambda conv, given: (given[0] * fine,)))
    for layer in padded.encoder.layers:
        hooks.append(layer.register_forward_pre_hook(lambda layer, given: (given[0], mask, *given[2:])))
    hidden = padded(batch)["hidden_states"]
    for hook in hooks:
        hook.remove()
    for ours, theirs, whole in zip(short(batch)["hidden_states"], hidden, padded(batch)["hidden_states"]):
        for i, count in enumerate(frames):
            torch.testing.assert_close(ours[i, :count], theirs[i, :count], rtol=0, atol=1e-5)
        assert (ours - whole).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 319, 320, 321, 15999, 16000, 16001])
def test_frames_are_counted_as_announced(padded, short, samples):
    for upstream in (padded, short):
        assert (
            upstream(wavs(samples))["hidden_states"][0].size(1)
            == upstream.num_frames(samples)
            == math.ceil(samples / 320)
        )


def test_the_decoder_is_not_kept(padded, tiny_whisper):
    whole = WhisperModel.from_pretrained(tiny_whisper)
    assert sum(p.numel() for p in padded.parameters()) == sum(p.numel() for p in whole.encoder.parameters())
    assert not any("decoder" in name for name, _ in padded.named_parameters())


@torch.no_grad()
def test_as_a_member_it_is_itself_bit_for_bit(padded, tiny_whisper):
    fused = FusedUpstream(FusionConfig.from_dict({"members": [{"name": "hf_whisper_custom", "ckpt": tiny_whisper}]}))
    ours, plain = (upstream.eval()(wavs(16000, 5000))["hidden_states"] for upstream in (fused, padded))
    assert all(torch.equal(a, b) for a, b in zip(ours, plain))


def test_options_reach_it_from_a_mapping_and_from_a_file(tiny_whisper, tmp_path):
    (tmp_path / "short.yaml").write_text("pad_to_30s: false\n")
    hf_whisper_custom = added_entries()["hf_whisper_custom"]
    assert hf_whisper_custom(tiny_whisper).pad_to_30s is True
    assert hf_whisper_custom(tiny_whisper, model_config={"pad_to_30s": False}).pad_to_30s is False
    assert hf_whisper_custom(tiny_whisper, model_config=str(tmp_path / "short.yaml")).pad_to_30s is False


def test_wrong_options_are_refused(tiny_whisper):
    with pytest.raises(TypeError, match="pad_to_30s must be true or false; got 'no'"):
        WhisperUpstream(tiny_whisper, pad_to_30s="no")


def test_gradients_reach_it_when_it_is_trained(tiny_whisper):
    for pad_to_30s in (True, False):
        upstream = WhisperUpstream(tiny_whisper, pad_to_30s).train()
        upstream.encoder.layerdrop = 0.0
        upstream(wavs(16000, 5000))["hidden_states"][-1].pow(2).sum().backward()
        without = [name for name, p in upstream.named_parameters() if p.grad is None or not p.grad.any()]
        assert all("embed_positions" in name for name in without), without


@torch.no_grad()
def test_a_faster_toy_beside_it_sets_the_grid(short):
    fused = FusedUpstream(FusionConfig.from_dict({"members": ["whisper", "toy"]}), [short, ToyUpstream(160)])
    states = fused(wavs(16000, 8000))["hidden_states"]
    assert fused.get_downsample_rates() == 160
    assert all(state.size(1) == (16000 - 400) // 160 + 1 for state in states)
