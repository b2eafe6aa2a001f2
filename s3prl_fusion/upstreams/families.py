"""Encoders of transformers that take speech, one row a family: which part is run, and what it is given and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from torch import Tensor, nn

# Of a convolution, or what counts frames as one does: kernel, stride, and padding of both ends together.
Window = tuple[int, int, int]
Masks = Mapping[str, Tensor]


def _run(encoder: nn.Module, x: Tensor, masks: Masks) -> Any:
    return encoder(x, **masks)


@dataclass(frozen=True)
class Family:
    """Models whose speech encoders are run alike.

    Attributes:
        name: what tables call it.
        models: by ``model_type`` in config.json, the class that reads such a file.
        encoder: the class of the part that is run; the rest is dropped. The model itself where it has no such part.
        layers: where the encoder's layers are, or have been in earlier releases of transformers.
        front: from the encoder's config and the feature extractor, what makes frames of samples, in order.
        norm: from the config, where the norm behind the last layer is; empty for none.
        mask: what the encoder's forward calls the mask of padding; empty for none.
        by_file: whether preprocessor_config.json says if there is a mask (``return_attention_mask``); where it does
            not, models with layer norm in their convolutions have one, and those with group norm have none.
        hush: how the names of convolutions end into which padding would leak, though it is masked elsewhere; their
            input, (B, D, T), is zero there, as it is beyond the end of an utterance alone.
        drop: attributes of the encoder that come behind its layers.
        takes: keyword arguments for the feature extractor.
        window: from the same as ``front``, of models that take one length alone: how many samples these are, and after
            how many of them the next window begins.
        run: runs the encoder on its input and its masks.
        shape: brings a layer's output to (B, T, D).
        note: what a user should know, for the table.
        batch: in which way padding changes what it gives; empty where it does not.
    """

    name: str
    models: Mapping[str, str]
    encoder: str
    layers: tuple[str, ...]
    front: Callable[[Any, Any], list[Window]]
    norm: Callable[[Any], str] = lambda config: ""
    mask: str = "attention_mask"
    by_file: bool = False
    hush: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    takes: Mapping[str, Any] | None = None
    window: Callable[[Any, Any], tuple[int, int]] | None = None
    run: Callable[[Any, Tensor, Masks], Any] = _run
    shape: Callable[[Tensor, Any], Tensor] | None = None
    note: str = ""
    batch: str = ""


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
    row.setdefault("batch", "where there is no mask, padding is attended to; group norm in front sees it")
    return Family(name, {kind: f"{prefix}Model"}, f"{prefix}Model", **row)


_HALF = {"batch": "a half frame at an utterance's end is attended to, which is left out of the utterance alone"}
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
        norm=lambda config: "encoder.layer_norm",
        hush=("conv_module.depthwise_conv",),
        drop=("adapter",),
    ),
    _wav2vec2_like("SEW", "sew", "SEW", front=_squeezed, note="without the upsampling behind its layers", **_HALF),
    _wav2vec2_like(
        "SEW-D", "sew-d", "SEWD", front=_squeezed, layers=("encoder.encoder.layer",), note="as SEW", **_HALF
    ),
    Family(
        "w2v-BERT 2.0",
        {"wav2vec2-bert": "Wav2Vec2BertModel"},
        "Wav2Vec2BertModel",
        ("encoder.layers",),
        _stacked_fbank,
        drop=("adapter",),
    ),
)
BY_TYPE = {kind: family for family in FAMILIES for kind in family.models}


def num_frames(front: list[Window], samples: int) -> int:
    """Count the frames that ``front`` makes of so many samples."""
    for kernel, stride, padding in front:
        samples = max(0, (samples + padding - kernel) // stride + 1)
    return samples


def fewest_samples(front: list[Window], frames: int) -> int:
    """Find the fewest samples of which ``front`` makes so many frames."""
    for kernel, stride, padding in reversed(front):
        frames = (frames - 1) * stride + kernel - padding
    return max(1, frames)
