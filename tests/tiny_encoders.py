"""Tiny random models of transformers' speech families, saved as their authors would, with feature extractors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

MAJOR = int(transformers.__version__.partition(".")[0])
WAV2VEC2 = {
    "vocab_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LAYER_NORM = {**WAV2VEC2, "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
CONFORMER = {**LAYER_NORM, "conv_depthwise_kernel_size": 5}
SQUEEZED = {**WAV2VEC2, "conv_dim": (8,) * 13, "squeeze_factor": 2, "feat_extract_norm": "layer", "conv_bias": True}
# Of the parts that speak and write.
TEXT = {"vocab_size": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
FAST = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_kernel_size": 5,
    "subsampling_conv_channels": 4,
    "num_mel_bins": 16,
}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 16,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Case:
    """A tiny model.

    Attributes:
        name: of the test.
        kind: its class, without ``Config`` and ``Model``.
        sizes: for its config.
        extractor: the class of its feature extractor.
        options: for it.
        model: the class that is saved, where its name is another.
        exact: whether padding changes nothing.
        call: what the feature extractor is called with.
    """

    name: str
    kind: str
    sizes: dict[str, Any]
    extractor: str = "Wav2Vec2FeatureExtractor"
    options: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    exact: bool = True
    call: dict[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the installed transformers has it."""
        return all(hasattr(transformers, name) for name in (f"{self.kind}Config", self.saved, self.extractor))

    @property
    def saved(self) -> str:
        return self.model or f"{self.kind}Model"

    def save(self, folder: Path) -> str:
        """Write the model, with the same weights every time, and its feature extractor."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = getattr(transformers, f"{self.kind}Config")(**self.sizes)
            model = getattr(transformers, self.saved)(config)
        model.save_pretrained(folder)
        getattr(transformers, self.extractor)(**self.options).save_pretrained(folder)
        return str(folder)


MASKED = {"do_normalize": True, "return_attention_mask": True}
UNMASKED = {"do_normalize": True, "return_attention_mask": False}
_STABLE = ("Wav2Vec2", "Hubert", "WavLM", "UniSpeech", "UniSpeechSat")
CASES = [
    *(Case(f"{kind}-layer", kind, LAYER_NORM, options=MASKED) for kind in _STABLE),
    *(Case(f"{kind}-group", kind, WAV2VEC2, options=UNMASKED, exact=False) for kind in _STABLE),
    Case("Data2VecAudio", "Data2VecAudio", {**LAYER_NORM, "conv_pos_kernel_size": 5}, options=MASKED),
    Case("Wav2Vec2Conformer-relative", "Wav2Vec2Conformer", CONFORMER, options=MASKED),
    Case(
        "Wav2Vec2Conformer-rotary",
        "Wav2Vec2Conformer",
        {**CONFORMER, "position_embeddings_type": "rotary"},
        options=MASKED,
    ),
    Case("Wav2Vec2-adapter", "Wav2Vec2", {**LAYER_NORM, "add_adapter": True}, options=MASKED),
    Case("SEW", "SEW", SQUEEZED, options=MASKED, exact=MAJOR < 5),
    Case(
        "SEW-D",
        "SEWD",
        {**SQUEEZED, "max_position_embeddings": 64, "position_buckets": 32},
        options=MASKED,
        exact=False,
    ),
    Case(
        "Wav2Vec2Bert",
        "Wav2Vec2Bert",
        {
            "vocab_size": 8,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "feature_projection_input_dim": 160,
            "conv_depthwise_kernel_size": 5,
            "add_adapter": True,
        },
        "SeamlessM4TFeatureExtractor",
    ),
    *(
        Case(
            kind,
            kind,
            {
                **TEXT,
                "hidden_size": 16,
                "speech_encoder_layers": 2,
                "speech_encoder_attention_heads": 2,
                "speech_encoder_intermediate_size": 24,
                "encoder_layers": 1,
                "decoder_layers": 1,
                "encoder_attention_heads": 2,
                "decoder_attention_heads": 2,
                "encoder_ffn_dim": 8,
                "decoder_ffn_dim": 8,
                "conv_depthwise_kernel_size": 5,
                "position_embeddings_type": position,
            },
            "SeamlessM4TFeatureExtractor",
            model=f"{kind}ForSpeechToText",
        )
        for kind, position in (("SeamlessM4T", "relative"), ("SeamlessM4Tv2", "relative_key"))
    ),
    Case(
        "SpeechT5",
        "SpeechT5",
        {
            **TEXT,
            **{key: WAV2VEC2[key] for key in ("conv_dim", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups")},
            "hidden_size": 16,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 8,
        },
        "SpeechT5FeatureExtractor",
        model="SpeechT5ForSpeechToText",
        exact=False,
    ),
    Case(
        "Moonshine",
        "Moonshine",
        {
            **TEXT,
            "hidden_size": 16,
            "intermediate_size": 24,
            "encoder_num_hidden_layers": 2,
            "decoder_num_hidden_layers": 1,
            "encoder_num_attention_heads": 2,
            "decoder_num_attention_heads": 2,
        },
        options={"do_normalize": False, "return_attention_mask": True},
        model="MoonshineForConditionalGeneration",
        exact=False,
    ),
    Case(
        "MoonshineStreaming",
        "MoonshineStreaming",
        {
            **TEXT,
            "encoder_config": {
                "model_type": "moonshine_streaming_encoder",
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "sliding_windows": [[16, 4], [16, 0]],
            },
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        },
        options={"do_normalize": False, "return_attention_mask": True},
        exact=False,
        call={"padding": True, "pad_to_multiple_of": 80},
    ),
    Case(
        "ParakeetEncoder", "ParakeetEncoder", FAST, "ParakeetFeatureExtractor", {"feature_size": 16}, "ParakeetEncoder"
    ),
    Case(
        "ParakeetCTC",
        "ParakeetCTC",
        {"vocab_size": 8, "pad_token_id": 0, "encoder_config": {"model_type": "parakeet_encoder", **FAST}},
        "ParakeetFeatureExtractor",
        {"feature_size": 16},
        "ParakeetForCTC",
    ),
    Case(
        "ParakeetTDT",
        "ParakeetTDT",
        {"vocab_size": 8, "decoder_hidden_size": 8, "encoder_config": {"model_type": "parakeet_encoder", **FAST}},
        "ParakeetFeatureExtractor",
        {"feature_size": 16},
        "ParakeetForTDT",
    ),
    Case(
        "Canary",
        "Canary",
        {
            **TEXT,
            "encoder_config": {"model_type": "parakeet_encoder", **FAST},
            "decoder_config": {
                "model_type": "canary_decoder",
                "vocab_size": 8,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 8,
            },
        },
        "ParakeetFeatureExtractor",
        {"feature_size": 16},
        "CanaryForConditionalGeneration",
    ),
    Case(
        "NemotronAsrStreaming",
        "NemotronAsrStreaming",
        {"vocab_size": 8, "encoder_config": {"model_type": "nemotron_asr_streaming_encoder", **FAST}},
        "NemotronAsrStreamingFeatureExtractor",
        {"feature_size": 16},
        "NemotronAsrStreamingForRNNT",
    ),
    Case(
        "LasrCTC",
        "LasrCTC",
        {"vocab_size": 8, "encoder_config": {"model_type": "lasr_encoder", **FAST}},
        "LasrFeatureExtractor",
        {"feature_size": 16},
        "LasrForCTC",
    ),
    Case(
        "OmniASRCTC",
        "OmniASRCTC",
        {
            "vocab_size": 8,
            "audio_config": {
                "model_type": "omniasr_audio",
                **{key: value for key, value in WAV2VEC2.items() if key != "vocab_size"},
            },
        },
        "OmniASRFeatureExtractor",
        model="OmniASRForCTC",
    ),
    *(
        Case(
            kind,
            kind,
            {"audio_config": {"model_type": f"{kind.lower()}_encoder", **WHISPER}, "text_config": LLAMA, **more},
            "WhisperFeatureExtractor",
            {"feature_size": 16},
            f"{kind}ForConditionalGeneration",
        )
        for kind, more in (("Voxtral", {}), ("AudioFlamingo3", {"audio_token_id": 1}))
    ),
    Case(
        "Qwen2AudioEncoder",
        "Qwen2AudioEncoder",
        WHISPER,
        "WhisperFeatureExtractor",
        {"feature_size": 16},
        "Qwen2AudioEncoder",
    ),
    Case(
        "GlmAsr",
        "GlmAsr",
        {
            "audio_config": {
                "model_type": "glmasr_encoder",
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_mel_bins": 16,
            },
            "text_config": {**LLAMA, "eos_token_id": 1},
            "audio_token_id": 1,
        },
        "WhisperFeatureExtractor",
        {"feature_size": 16},
        "GlmAsrForConditionalGeneration",
        exact=False,
        call={"padding": "longest"},
    ),
    Case(
        "GraniteSpeech",
        "GraniteSpeech",
        {
            "encoder_config": {
                "input_dim": 160,
                "num_layers": 2,
                "hidden_dim": 16,
                "feedforward_mult": 2,
                "num_heads": 2,
                "output_dim": 8,
                "context_size": 20,
                "max_pos_emb": 32,
                "conv_kernel_size": 5,
            },
            "text_config": {**LLAMA, "model_type": "granite"},
            "projector_config": {
                "model_type": "blip_2_qformer",
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 16,
                "encoder_hidden_size": 16,
            },
            "has_lora_adapter": False,
            "audio_token_index": 1,
        },
        "GraniteSpeechFeatureExtractor",
        model="GraniteSpeechForConditionalGeneration",
        exact=False,
    ),
    Case(
        "AST",
        "AST",
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "num_mel_bins": 32,
            "max_length": 128,
        },
        "ASTFeatureExtractor",
        {"num_mel_bins": 32, "max_length": 128},
    ),
    Case(
        "Mimi",
        "Mimi",
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "intermediate_size": 24,
            "num_filters": 2,
            "codebook_size": 8,
            "codebook_dim": 8,
            "vector_quantization_hidden_dimension": 8,
            "upsample_groups": 16,
        },
        "EncodecFeatureExtractor",
        {"feature_size": 1, "sampling_rate": 24000},
        exact=False,
    ),
    Case(
        "Dac",
        "Dac",
        {"encoder_hidden_size": 2, "downsampling_ratios": [2, 4, 5, 8], "decoder_hidden_size": 16, "hidden_size": 16}
        | {
            "upsampling_ratios": [8, 5, 4, 2],
            "codebook_size": 8,
            "n_codebooks": 2,
            "codebook_dim": 4,
            "sampling_rate": 16000,
        },
        "DacFeatureExtractor",
        {"hop_length": 320},
        exact=False,
    ),
    Case(
        "Encodec",
        "Encodec",
        {
            "num_filters": 2,
            "hidden_size": 16,
            "codebook_size": 8,
            "codebook_dim": 16,
            "upsampling_ratios": [6, 5, 4, 2],
        },
        "EncodecFeatureExtractor",
        {"feature_size": 1, "sampling_rate": 24000},
        exact=False,
    ),
]

# A family without a row.
SPEECH_TO_TEXT = Case(
    "Speech2Text",
    "Speech2Text",
    {
        **TEXT,
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 8,
        "conv_channels": 16,
        "max_source_positions": 1000,
    },
    "Speech2TextFeatureExtractor",
)
