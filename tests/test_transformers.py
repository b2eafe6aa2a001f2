"""Encoders through transformers: its own hidden states of one utterance, and the same in a batch where that can be."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
import transformers
from tiny_encoders import CASES, LAYER_NORM, MAJOR, SPEECH_TO_TEXT, WAV2VEC2, Case
from tiny_models import wavs
from torchaudio.functional import resample
from transformers import AutoFeatureExtractor

from s3prl_fusion import FusedUpstream, FusionConfig, MemberConfig, WhisperUpstream
from s3prl_fusion.upstreams.families import BY_TYPE
from s3prl_fusion.upstreams.transformers import TransformersUpstream

LENGTHS = (16000, 9001, 5300)
BY_NAME = {case.name: case for case in CASES}
# Raw waveforms with and without a mask, mels with one, windows, another sampling rate: the rest is slow.
QUICK = ("Wav2Vec2-layer", "WavLM-group", "Wav2Vec2Bert", "AST", "Mimi")
ONE_A_KIND = [BY_NAME[name] for name in (*QUICK, "SEW", "ParakeetCTC", "Qwen2AudioEncoder", "GlmAsr", "GraniteSpeech")]


def each_family(cases: list[Case] = CASES):
    """Run a test on each tiny model that the installed transformers knows."""
    lacking, slow = pytest.mark.skip("this transformers lacks it"), pytest.mark.slow
    marks = {case.name: [lacking] if not case.known else [slow] if case.name not in QUICK else [] for case in cases}
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name, marks=marks[case.name]) for case in cases])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Save a tiny model once."""
    saved: dict[str, str] = {}

    def save(case: Case) -> str:
        if case.name not in saved:
            saved[case.name] = case.save(tmp_path_factory.mktemp("model") / case.name)
        return saved[case.name]

    return save


@pytest.fixture(scope="module")
def loaded(folder):
    """Load a tiny model once, for who does not change it."""
    return cache(lambda name: TransformersUpstream(folder(BY_NAME[name])).eval())


def part(model: torch.nn.Module, name: str) -> torch.nn.Module:
    return next((module for module in model.modules() if type(module).__name__ == name), model)


@torch.no_grad()
def transformers_states(ckpt: str, wav: torch.Tensor, call: dict | None = None) -> list[torch.Tensor]:
    """Hidden states of one utterance by transformers alone, the last one as the encoder gives it."""
    kind = transformers.AutoConfig.from_pretrained(ckpt).model_type
    family = BY_TYPE[kind]
    encoder = part(getattr(transformers, family.models[kind]).from_pretrained(ckpt).eval(), family.encoder)
    extractor = AutoFeatureExtractor.from_pretrained(ckpt)
    wav = resample(wav, 16000, extractor.sampling_rate)
    options = {"sampling_rate": extractor.sampling_rate, "return_tensors": "pt", **(call or {})}
    inputs = extractor(wav.numpy(), **options) if "Granite" not in type(extractor).__name__ else extractor(wav.numpy())
    x = inputs.pop(extractor.model_input_names[0])
    if kind == "audioflamingo3":
        mask = extractor(wav.numpy(), return_attention_mask=True, **options)["attention_mask"]
        inputs = {"input_features_mask": mask}
    if kind == "qwen2_audio_encoder":  # its language model makes the mask
        frames = (extractor(wav.numpy(), return_attention_mask=True, **options)["attention_mask"].sum() - 1) // 2 + 1
        inputs = {"attention_mask": torch.zeros(1, 1, 1500, 1500)}
        inputs["attention_mask"][..., frames:] = torch.finfo(torch.float).min
    if kind in ("granite_speech", "dac", "encodec", "mimi"):
        inputs = {}
    if kind in ("dac", "encodec"):
        return [encoder(x).transpose(1, 2)]
    if kind == "mimi" and MAJOR < 5:
        embeddings = encoder.encoder(x).transpose(1, 2)
        return list(encoder.encoder_transformer(embeddings, output_hidden_states=True).hidden_states)
    if kind == "granite_speech" and MAJOR < 5:
        return [encoder(x)]
    out = encoder(x, **inputs, output_hidden_states=True)
    states = list(out.hidden_states)
    if out.get("last_hidden_state") is not None and out.last_hidden_state.shape == states[-1].shape:
        states[-1] = out.last_hidden_state if family.norm(encoder.config) else states[-1]
    return states


# Families whose output is pooled or adapted behind the norm: what is before it is compared.
BEHIND = ("SeamlessM4T", "SeamlessM4Tv2", "AudioFlamingo3", "Qwen2AudioEncoder", "Mimi")


@torch.no_grad()
@each_family([case for case in CASES if "adapter" not in case.name])
def test_one_utterance_has_transformers_states(case, folder, loaded):
    (wav,) = wavs(9001)
    states, expected = loaded(case.name)([wav])["hidden_states"], transformers_states(folder(case), wav, case.call)
    if case.name == "AST":
        expected = [state[:, 2:].unflatten(1, (2, -1)).mean(dim=1) for state in expected]
    if case.name == "GraniteSpeech":  # transformers 4 gives the last one alone
        states = states[-len(expected) :]
    assert len(states) == len(expected)
    kind = transformers.AutoConfig.from_pretrained(folder(case)).model_type
    assert loaded(case.name).get_downsample_rates("x") == BY_TYPE[kind].rate or kind == "encodec"
    if case.name in BEHIND:
        states, expected = states[:-1], expected[:-1]
    for ours, theirs in zip(states, expected):
        torch.testing.assert_close(ours, theirs[:, : ours.size(1)], rtol=0, atol=1e-5)


@torch.no_grad()
@each_family()
def test_a_batch_gives_what_each_utterance_gives_alone(case, loaded):
    # In double precision, where rounding, which tiny models make more of, is no excuse.
    upstream = deepcopy(loaded(case.name)).double()
    together = upstream(wavs(*LENGTHS))["hidden_states"]
    alone = [upstream([wav])["hidden_states"] for wav in wavs(*LENGTHS)]
    assert [states[0].size(1) for states in alone] == [upstream.num_frames(length) for length in LENGTHS]
    assert together[0].size(1) == upstream.num_frames(max(LENGTHS))
    assert gap(alone, together) < 1e-10 if case.exact else gap(alone, together) > 1e-10
    upstream.one_by_one = True
    assert gap(alone, upstream(wavs(*LENGTHS))["hidden_states"]) == 0


def gap(alone: list[list[torch.Tensor]], together: list[torch.Tensor]) -> float:
    """How far each utterance's own frames are from those in a batch, at most."""
    pairs = [(state[0], padded[i]) for i, states in enumerate(alone) for state, padded in zip(states, together)]
    return max(float((padded[: len(own)] - own).abs().max()) for own, padded in pairs)


@torch.no_grad()
@each_family(ONE_A_KIND)
def test_frames_are_counted_as_announced(case, loaded):
    upstream = loaded(case.name)
    rate = upstream.get_downsample_rates("hidden_states")
    for samples in (1, 400, 719, 15999, 16001):
        (frames,) = {state.size(1) for state in upstream(wavs(samples))["hidden_states"]}
        assert frames == upstream.num_frames(samples)
        assert abs(frames - samples / rate) <= 2


@torch.no_grad()
@each_family(ONE_A_KIND)
@pytest.mark.fault("an utterance of digital silence in a model of transformers", "finite states")
def test_silence_gives_finite_states(case, loaded):
    upstream = loaded(case.name)
    (noise,) = wavs(8000)
    for batch in ([torch.zeros(8000)], [noise, torch.zeros(3000)]):
        assert all(state.isfinite().all() for state in upstream(batch)["hidden_states"])


@torch.no_grad()
def test_halves_are_computed_in_float32(folder, tmp_path):
    ckpt = folder(BY_NAME["WavLM-group"])
    shutil.copytree(ckpt, tmp_path / "half")
    transformers.WavLMModel.from_pretrained(ckpt).half().save_pretrained(tmp_path / "half")
    states = TransformersUpstream(str(tmp_path / "half")).eval()(wavs(9001))["hidden_states"]
    assert {state.dtype for state in states} == {torch.float32}
    expected = transformers_states(ckpt, wavs(9001)[0])
    assert all((ours - theirs).abs().max() < 0.1 for ours, theirs in zip(states, expected))


def test_training_drops_no_layer_and_masks_no_frame(folder, tmp_path):
    off = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
    case = BY_NAME["Wav2Vec2Bert"]
    sizes = {**case.sizes, **off, "conformer_conv_dropout": 0.0, "layerdrop": 0.9, "mask_time_prob": 0.9}
    upstream = TransformersUpstream(replace(case, sizes=sizes).save(tmp_path / "drop"))
    with torch.no_grad():
        expected = upstream.eval()(wavs(16000))["hidden_states"]
    # Batch norm is what training mode is for: it alone stays as it is.
    for module in upstream.train().modules():
        module.train(not isinstance(module, torch.nn.BatchNorm1d))
    ours = upstream(wavs(16000))["hidden_states"]
    assert len(ours) == len(expected)
    torch.testing.assert_close(ours[-1], expected[-1], rtol=0, atol=1e-5)
    ours[-1].square().sum().backward()
    assert all(parameter.grad is not None for parameter in upstream.encoder.model.encoder.layers.parameters())


@torch.no_grad()
def test_whether_padding_is_masked_is_said_by_the_file_or_else_by_the_norm(tmp_path):
    for norm, sizes in (("group", WAV2VEC2), ("layer", LAYER_NORM)):
        case = Case(norm, "Hubert", sizes)
        for said in (norm == "group", None):
            folder = Path(case.save(tmp_path / f"{norm}-{said}"))
            file = folder / "preprocessor_config.json"
            settings = {**json.loads(file.read_text()), "return_attention_mask": said}
            file.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
            assert TransformersUpstream(str(folder)).encoder.masks is (norm == "layer" if said is None else said)


@torch.no_grad()
@pytest.mark.fault(
    "a model of another sampling rate",
    "its waveforms are resampled, its frames interpolated onto whole samples; refused with windows, or without a row",
)
def test_another_sampling_rate_is_resampled_to(folder, tmp_path):
    ckpt = folder(BY_NAME["Wav2Vec2-layer"])
    shutil.copytree(ckpt, tmp_path / "slow")
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=True)
    extractor.save_pretrained(tmp_path / "slow")
    slow, same = TransformersUpstream(str(tmp_path / "slow")).eval(), TransformersUpstream(ckpt).eval()
    assert slow.get_downsample_rates("hidden_states") == 640
    (wav,) = wavs(16000)
    ours, expected = slow([wav]), same([resample(wav, 16000, 8000)])
    assert all(map(torch.equal, ours["hidden_states"], expected["hidden_states"]))
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=11025, return_attention_mask=True)
    extractor.save_pretrained(tmp_path / "slow")
    odd = TransformersUpstream(str(tmp_path / "slow")).eval()
    assert odd.get_downsample_rates("hidden_states") == 464  # of 320 * 16000 / 11025 = 464.40
    expected = same([resample(wav, 16000, 11025)])["hidden_states"]
    ours = odd([wav])["hidden_states"]
    assert ours[0].size(1) == odd.num_frames(16000) == 34
    for state, given in zip(ours, expected):
        aligned = reference.align_frames(given.numpy(), 464.3990929705215, 464, 34, [given.size(1)])
        np.testing.assert_allclose(state, aligned, atol=1e-5)
    together = odd(wavs(16000, 9001))["hidden_states"]
    assert gap([ours, odd([wavs(16000, 9001)[1]])["hidden_states"]], together) < 1e-4


@pytest.mark.parametrize("kind, rate, samples", [("Encodec", 24000, 213), ("Dac", 44100, 186)])
@torch.no_grad()
def test_published_codecs_of_other_rates_are_fused(kind, rate, samples, tmp_path):
    """Their frames are 213.3 and 185.8 samples apart: a minute of them keeps to the whole rate."""
    given = BY_NAME[kind]
    config = {**given.sizes, "sampling_rate": rate, "upsampling_ratios": [8, 5, 4, 2]}
    options = {"feature_size": 1, "sampling_rate": rate}
    if kind == "Dac":
        config.update(downsampling_ratios=[2, 4, 8, 8], upsampling_ratios=[8, 8, 4, 2])
        options = {"hop_length": 512, "sampling_rate": rate}
    ckpt = replace(given, sizes=config, options=options).save(tmp_path / kind)
    fused = FusedUpstream(FusionConfig((MemberConfig(f"hf:{ckpt}"), MemberConfig("fbank")))).eval()
    batch = wavs(16000, 9001)
    states = fused(batch)["hidden_states"]
    assert fused.grid.rates == [samples, 160] and states[0].size(1) == states[-1].size(1)
    upstream = TransformersUpstream(ckpt).eval()
    frames = upstream(wavs(16000 * 35))["hidden_states"][0].size(1)
    assert abs(frames - round(16000 * 35 / samples)) < 5


@torch.no_grad()
def test_whisper_goes_through_its_own_upstream(tiny_whisper):
    for options, whisper in (({}, {}), ({"pad_to_30s": False}, {"pad_to_30s": False})):
        ours, own = (
            TransformersUpstream(tiny_whisper, **options).eval(),
            WhisperUpstream(tiny_whisper, **whisper).eval(),
        )
        states, expected = (upstream(wavs(16000, 5000))["hidden_states"] for upstream in (ours, own))
        assert all(map(torch.equal, states, expected))
        assert (ours.get_downsample_rates("x"), ours.num_frames(321)) == (320, 2)


def test_the_documented_table_is_the_code(monkeypatch):
    root = Path(__file__).resolve().parent.parent
    monkeypatch.syspath_prepend(root / "tools")
    import families

    page = (root / "docs" / "own-model.md").read_text(encoding="utf-8")
    assert families.table() in page, "families have changed: python tools/families.py"


class TestUnknownFamilies:
    @pytest.fixture
    def ckpt(self, tmp_path):
        return SPEECH_TO_TEXT.save(tmp_path / "s2t")

    @torch.no_grad()
    def test_a_family_without_a_row_is_run_in_the_general_way(self, ckpt):
        upstream = TransformersUpstream(ckpt).eval()
        (wav,) = wavs(9001)
        inputs = AutoFeatureExtractor.from_pretrained(ckpt)(wav.numpy(), sampling_rate=16000, return_tensors="pt")
        encoder = transformers.Speech2TextModel.from_pretrained(ckpt).eval().encoder
        expected = encoder(**inputs, output_hidden_states=True)
        states = upstream([wav])["hidden_states"]
        assert len(states) == 3 and upstream.get_downsample_rates("hidden_states") == 640
        torch.testing.assert_close(
            states[1:], [expected.hidden_states[1], expected.last_hidden_state], rtol=0, atol=1e-5
        )
        assert [upstream.num_frames(n) for n in (9001, 32000)] == [states[0].size(1), 50]

    @pytest.mark.slow
    def test_frames_that_are_no_whole_samples_apart_are_refused(self, ckpt):
        transformers.Speech2TextFeatureExtractor(sampling_rate=11025).save_pretrained(ckpt)
        with pytest.raises(ValueError, match="'speech_to_text', which nobody has tried here,.*not whole samples apart"):
            TransformersUpstream(ckpt)

    def test_what_is_not_finite_is_refused(self, ckpt):
        model = transformers.Speech2TextModel.from_pretrained(ckpt)
        torch.nn.init.constant_(model.encoder.layer_norm.weight, float("nan"))
        model.save_pretrained(ckpt)
        with pytest.raises(ValueError, match="nobody has tried here, gives hidden states that are not finite"):
            TransformersUpstream(ckpt)

    def test_a_model_that_takes_no_speech_is_refused(self, tmp_path):
        config = transformers.BertConfig(
            vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
        transformers.BertModel(config).save_pretrained(tmp_path / "text")
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "text")
        with pytest.raises(ValueError, match="'bert', .*has no part that takes speech"):
            TransformersUpstream(str(tmp_path / "text"))


@torch.no_grad()
def test_the_encoder_of_two_models_that_were_put_together(folder, loaded, tmp_path):
    encoder = transformers.Wav2Vec2Model.from_pretrained(folder(BY_NAME["Wav2Vec2-layer"]))
    sizes = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    decoder = transformers.BertLMHeadModel(
        transformers.BertConfig(**sizes, intermediate_size=8, is_decoder=True, add_cross_attention=True)
    )
    transformers.SpeechEncoderDecoderModel(encoder=encoder, decoder=decoder).save_pretrained(tmp_path)
    AutoFeatureExtractor.from_pretrained(folder(BY_NAME["Wav2Vec2-layer"])).save_pretrained(tmp_path)
    ours = TransformersUpstream(str(tmp_path)).eval()(wavs(9001))["hidden_states"]
    torch.testing.assert_close(ours, loaded("Wav2Vec2-layer")(wavs(9001))["hidden_states"], rtol=0, atol=1e-6)


class TestMistakes:
    @pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
    def test_a_file_that_is_missing_is_named(self, file, folder, tmp_path):
        shutil.copytree(folder(BY_NAME["Wav2Vec2-layer"]), tmp_path / "x")
        (tmp_path / "x" / file).unlink()
        with pytest.raises(FileNotFoundError, match=f"x has no .*{file}"):
            TransformersUpstream(str(tmp_path / "x"))

    def test_weights_of_another_model_are_refused(self, folder, tmp_path):
        shutil.copytree(folder(BY_NAME["WavLM-group"]), tmp_path / "x")
        shutil.copy(Path(folder(BY_NAME["Wav2Vec2-layer"])) / "model.safetensors", tmp_path / "x")
        with pytest.raises(ValueError, match=r"x lacks weights: .*; 'hf' would not be the model that was saved"):
            TransformersUpstream(str(tmp_path / "x"))

    @pytest.mark.fault(
        "a model of transformers that this one does not know, or that takes no speech", "refused: its type is said"
    )
    def test_an_architecture_that_is_not_known_is_said(self, folder, tmp_path):
        shutil.copytree(folder(BY_NAME["Wav2Vec2-layer"]), tmp_path / "x")
        (tmp_path / "x/config.json").write_text(json.dumps({"model_type": "new-speech-model"}))
        with pytest.raises(ValueError, match=r"transformers cannot load it: .*new-speech-model"):
            TransformersUpstream(str(tmp_path / "x"))

    @pytest.mark.fault(
        "a repository with code of its own for its model", "refused without a question; nothing of it runs"
    )
    def test_code_of_the_repository_does_not_run(self, folder, tmp_path):
        shutil.copytree(folder(BY_NAME["Wav2Vec2-layer"]), tmp_path / "x")
        (tmp_path / "x/theirs.py").write_text("raise SystemExit('it ran')")
        config = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"}}
        (tmp_path / "x/config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match="x: transformers cannot load it: .*"):
            TransformersUpstream(str(tmp_path / "x"))

    def test_options_of_other_kinds_are_refused(self, folder):
        ckpt = folder(BY_NAME["Wav2Vec2-layer"])
        with pytest.raises(TypeError, match="one_by_one must be true or false; got 1"):
            TransformersUpstream(ckpt, one_by_one=1)
        with pytest.raises(ValueError, match="pad_to_30s is an option of Whisper's.*'wav2vec2': leave it out"):
            TransformersUpstream(ckpt, pad_to_30s=True)
