"""Tiny random models of transformers' speech families, saved as their authors would, with feature extractors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

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
    """

    name: str
    kind: str
    sizes: dict[str, Any]
    extractor: str = "Wav2Vec2FeatureExtractor"
    options: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    exact: bool = True

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
    Case("SEW", "SEW", SQUEEZED, options=MASKED, exact=False),
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
]
