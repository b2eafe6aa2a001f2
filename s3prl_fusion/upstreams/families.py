"""Encoders of transformers that take speech, one row a family: which part is run, and what it is given and gives."""

from __future__ import annotations

from dataclasses import replace
from math import log2, prod
from typing import Any, Callable

import torch
from torch import Tensor

from .family import Family, Masks, Window
from .whisper_encoder import attention_mask


def _convolutions(config: Any, extractor: Any) -> list[Window]:
    return [(kernel, stride, 0) for kernel, stride in zip(config.conv_kernel, config.conv_stride)]


def _squeezed(config: Any, extractor: Any) -> list[Window]:
    return [*_convolutions(config, extractor), (config.squeeze_factor, config.squeeze_factor, 0)]


def _stacked_fbank(config: Any, extractor: Any) -> list[Window]:
    """Count Kaldi's frames (25 ms every 10 ms), ``stride`` of them one, begun ones included."""
    return [(400, 160, 0), (1, extractor.stride, 0)]


def _stable_norm(config: Any) -> str:
    return "encoder.layer_norm" if config.do_stable_layer_norm else ""


def _wav2vec2_like(name: str, kind: str, prefix: str, **more: Any) -> Family:
    row: dict[str, Any] = {"layers": ("encoder.layers",), "front": _convolutions, "by_file": True, **more}
    row.setdefault("batch", f"without a mask, {_ATTENDED}; {_GROUP}")
    return Family(name, {kind: f"{prefix}Model"}, f"{prefix}Model", **row)


def _centred_mel(config: Any, extractor: Any) -> list[Window]:
    """Count whole steps of a spectrogram: of the frame after the last one, which is there too, the feature extractor's
    mask says that it is padding. Then convolutions halve them."""
    kernel, stride = config.subsampling_conv_kernel_size, config.subsampling_conv_stride
    halved = (kernel, stride, (kernel - 1) // 2 * 2)
    return [(extractor.hop_length, extractor.hop_length, 0), *[halved] * int(log2(config.subsampling_factor))]


def _causal_mel(config: Any, extractor: Any) -> list[Window]:
    mel, *halved = _centred_mel(config, extractor)
    return [mel, *((kernel, stride, kernel + stride - 2) for kernel, stride, _ in halved)]


def _whole_mel(config: Any, extractor: Any) -> list[Window]:
    """Count frames of 20 ms, begun ones included: Whisper's, of which the convolutions make one of two."""
    return [(1, 2 * extractor.hop_length, 0)]


def _whisper_window(config: Any, extractor: Any) -> tuple[int, int]:
    samples = 2 * config.max_source_positions * extractor.hop_length
    return samples, samples


def _run_masked_whisper(encoder: Any, x: Tensor, masks: Masks) -> Any:
    """Run Qwen2-Audio's encoder as its language model does: the mask is made outside of it."""
    (mask,) = masks.values()
    frames = (mask.sum(dim=1, keepdim=True) - 1) // 2 + 1
    valid = torch.arange(mask.size(1) // 2, device=mask.device) < frames
    return encoder(x, attention_mask=attention_mask(valid, x.dtype))


def _ast_front(config: Any, extractor: Any) -> list[Window]:
    return [(1, 160 * config.time_stride, 0)]


def _ast_window(config: Any, extractor: Any) -> tuple[int, int]:
    patches = (config.max_length - config.patch_size) // config.time_stride + 1
    return (config.max_length - 1) * 160 + 400, patches * config.time_stride * 160


def _mean_of_bands(state: Tensor, config: Any) -> Tensor:
    """Average AST's patches of one time, (B, 2 + bands * T, D) with two tokens in front, to (B, T, D)."""
    bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    return state[:, 2:].unflatten(1, (bands, -1)).mean(dim=1)


def _run_mimi(model: Any, x: Tensor, masks: Masks) -> Any:
    convolutions = getattr(model, "encoder_seanet", None) or model.encoder  # since transformers 5, and before it
    return model.encoder_transformer(convolutions(x).transpose(1, 2))


def _codec_front(config: Any, extractor: Any) -> list[Window]:
    strides = getattr(config, "downsampling_ratios", None) or config.upsampling_ratios
    return [(1, prod(strides), 0)]


def _time_last(state: Tensor, config: Any) -> Tensor:
    return state.transpose(1, 2)


def _at(path: str) -> Callable[[Any], str]:
    return lambda config: path


_JOINED = "speech-encoder-decoder"
_GROUP = "group norm in front sees padding"
_ATTENDED = "padding is attended to"
_WHISPER: dict[str, Any] = {"window": _whisper_window, "fewest": 1}
_HALF = {"batch": "with transformers 5, half a frame at an utterance's end is attended to, which is none of it alone"}
_STABLE = {"norm": _stable_norm}

FAMILIES = (
    _wav2vec2_like("wav2vec 2.0, XLS-R, MMS", "wav2vec2", "Wav2Vec2", drop=("adapter",), **_STABLE),
    _wav2vec2_like("HuBERT", "hubert", "Hubert", **_STABLE),
    _wav2vec2_like("WavLM", "wavlm", "WavLM", drop=("adapter",), **_STABLE),
    _wav2vec2_like("UniSpeech", "unispeech", "UniSpeech", **_STABLE),
    _wav2vec2_like("UniSpeech-SAT", "unispeech-sat", "UniSpeechSat", **_STABLE),
    _wav2vec2_like("data2vec", "data2vec-audio", "Data2VecAudio", hush=("pos_conv_embed.*.conv",), drop=("adapter",)),
    _wav2vec2_like(
        "wav2vec 2.0 Conformer",
        "wav2vec2-conformer",
        "Wav2Vec2Conformer",
        norm=_at("encoder.layer_norm"),
        hush=("conv_module.depthwise_conv",),
        drop=("adapter",),
    ),
    _wav2vec2_like(
        "SEW", "sew", "SEW", front=_squeezed, rate=640, note="without the upsampling behind its layers", **_HALF
    ),
    _wav2vec2_like(
        "SEW-D", "sew-d", "SEWD", front=_squeezed, rate=640, layers=("encoder.encoder.layer",), note="as SEW", **_HALF
    ),
    Family(
        "w2v-BERT 2.0",
        {"wav2vec2-bert": "Wav2Vec2BertModel"},
        "Wav2Vec2BertModel",
        ("encoder.layers",),
        _stacked_fbank,
        drop=("adapter",),
    ),
    Family(
        "SeamlessM4T",
        {"seamless_m4t": "SeamlessM4TForSpeechToText"},
        "SeamlessM4TSpeechEncoder",
        ("encoder.layers",),
        _stacked_fbank,
        norm=_at("encoder.layer_norm"),
        drop=("adapter",),
        note="before the adapter",
    ),
    Family(
        "SeamlessM4T v2",
        {"seamless_m4t_v2": "SeamlessM4Tv2ForSpeechToText"},
        "SeamlessM4Tv2SpeechEncoder",
        ("encoder.layers",),
        _stacked_fbank,
        norm=_at("encoder.layer_norm"),
        drop=("adapter",),
        note="before the adapter",
    ),
    Family(
        "SpeechT5",
        {"speecht5": "SpeechT5ForSpeechToText"},
        "SpeechT5EncoderWithSpeechPrenet",
        ("wrapped_encoder.layers",),
        _convolutions,
        by_file=True,
        hush=("pos_conv_embed.conv",),
        batch=_GROUP,
    ),
    Family(
        "Moonshine",
        {"moonshine": "MoonshineModel"},
        "MoonshineEncoder",
        ("layers",),
        lambda config, extractor: [(127, 64, 0), (7, 3, 0), (3, 2, 0)],
        norm=_at("layer_norm"),
        by_file=True,
        rate=384,
        batch=_GROUP,
    ),
    Family(
        "Moonshine Streaming",
        {"moonshine_streaming": "MoonshineStreamingModel"},
        "MoonshineStreamingEncoder",
        ("layers",),
        lambda config, extractor: [(1, round(config.sample_rate * config.frame_ms / 1000), 0), (1, 2, 0), (1, 2, 0)],
        norm=_at("final_norm"),
        takes={"padding": True, "pad_to_multiple_of": 80},
        batch="the last layers' last frames attend to padding",
    ),
    Family(
        "Parakeet, Canary",
        {
            "parakeet_encoder": "ParakeetEncoder",
            "parakeet_ctc": "ParakeetForCTC",
            "parakeet_rnnt": "ParakeetForRNNT",
            "parakeet_tdt": "ParakeetForTDT",
            "canary": "CanaryForConditionalGeneration",
        },
        "ParakeetEncoder",
        ("layers",),
        _centred_mel,
        crop=True,
        rate=1280,
    ),
    Family(
        "Nemotron ASR Streaming",
        {"nemotron_asr_streaming": "NemotronAsrStreamingForRNNT"},
        "NemotronAsrStreamingEncoder",
        ("layers",),
        _causal_mel,
        crop=True,
        rate=1280,
    ),
    Family(
        "MedASR (LASR)",
        {"lasr_encoder": "LasrEncoder", "lasr_ctc": "LasrForCTC"},
        "LasrEncoder",
        ("layers",),
        lambda config, extractor: [
            (extractor.win_length, extractor.hop_length, 0),
            *[(config.subsampling_conv_kernel_size, config.subsampling_conv_stride, 0)] * 2,
        ],
        norm=_at("out_norm"),
        rate=640,
    ),
    Family(
        "Omnilingual ASR",
        {"omniasr_ctc": "OmniASRForCTC"},
        "OmniASRAudioModel",
        ("layers",),
        _convolutions,
        norm=_at("layer_norm"),
        mask="padding_mask",
    ),
    Family(
        "Qwen2-Audio",
        {"qwen2_audio": "Qwen2AudioForConditionalGeneration", "qwen2_audio_encoder": "Qwen2AudioEncoder"},
        "Qwen2AudioEncoder",
        ("layers",),
        _whole_mel,
        norm=_at("layer_norm"),
        run=_run_masked_whisper,
        note="windows of 30 s; before the pooling by two",
        **_WHISPER,
    ),
    Family(
        "Voxtral",
        {"voxtral": "VoxtralForConditionalGeneration", "voxtral_encoder": "VoxtralEncoder"},
        "VoxtralEncoder",
        ("layers",),
        _whole_mel,
        norm=_at("layer_norm"),
        mask="",
        note="windows of 30 s, attended to up to their end",
        **_WHISPER,
    ),
    Family(
        "Audio Flamingo 3",
        {
            "audioflamingo3": "AudioFlamingo3ForConditionalGeneration",
            "audioflamingo3_encoder": "AudioFlamingo3Encoder",
        },
        "AudioFlamingo3Encoder",
        ("layers",),
        _whole_mel,
        norm=_at("layer_norm"),
        mask="input_features_mask",
        note="windows of 30 s; before the pooling by two",
        **_WHISPER,
    ),
    Family(
        "GLM-ASR",
        {"glmasr": "GlmAsrForConditionalGeneration", "glmasr_encoder": "GlmAsrEncoder"},
        "GlmAsrEncoder",
        ("layers",),
        lambda config, extractor: [(extractor.hop_length, extractor.hop_length, 0), (1, 2, 0)],
        norm=_at("norm"),
        mask="",
        takes={"padding": "longest", "truncation": False},
        window=lambda config, extractor: (extractor.n_samples, extractor.n_samples),
        note="windows of 30 s",
        batch=_ATTENDED,
    ),
    Family(
        "Granite Speech",
        {"granite_speech": "GraniteSpeechForConditionalGeneration"},
        "GraniteSpeechCTCEncoder",
        ("layers",),
        lambda config, extractor: [(0, extractor.melspec_kwargs["hop_length"], 0), (2, 2, 0)],
        mask="",
        batch=_ATTENDED,
    ),
    Family(
        "Audio Spectrogram Transformer",
        {"audio-spectrogram-transformer": "ASTModel"},
        "ASTModel",
        ("layers", "encoder.layer"),
        _ast_front,
        norm=_at("layernorm"),
        mask="",
        window=_ast_window,
        fewest=400,
        shape=_mean_of_bands,
        rate=1600,
        note="windows of 10 s; the mean of the patches of a time",
    ),
    Family(
        "Mimi",
        {"mimi": "MimiModel"},
        "MimiEncoderModel",
        ("encoder_transformer.layers",),
        _codec_front,
        mask="",
        drop=("decoder", "decoder_transformer", "quantizer", "downsample", "upsample"),
        run=_run_mimi,
        rate=640,
        note="24 kHz; before the downsampling to 12.5 Hz",
        batch="the last, begun frame sees the padding",
    ),
    Family(
        "DAC",
        {"dac": "DacModel"},
        "DacEncoder",
        (),
        _codec_front,
        mask="",
        shape=_time_last,
        note="the encoder's output; of the published ones that of 16 kHz, and 213 and 186 of those of 24 and 44.1 kHz",
        batch="convolutions of the last frames see the padding",
    ),
    Family(
        "EnCodec",
        {"encodec": "EncodecModel"},
        "EncodecEncoder",
        (),
        _codec_front,
        mask="",
        shape=_time_last,
        rate=213,
        note="the encoder's output; 24 kHz",
        batch="convolutions of the last frames see the padding",
    ),
)
BY_TYPE = {kind: family for family in FAMILIES for kind in family.models}


def family_of(config: Any) -> Family | None:
    """Find the row of a model, by its config; of an encoder and a decoder that were put together, the encoder's."""
    if config.model_type != _JOINED:
        return BY_TYPE.get(config.model_type)
    family = BY_TYPE.get(config.encoder.model_type)
    return family and replace(family, models={_JOINED: "SpeechEncoderDecoderModel"})
