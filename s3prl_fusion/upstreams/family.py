"""What is to be known of a family of transformers' speech encoders, and how many frames its front makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from torch import Tensor

# Of a convolution, or what counts frames as one does: kernel, stride, and padding of both ends together.
Window = tuple[int, int, int]
Masks = Mapping[str, Tensor]


def _run(encoder: Any, x: Tensor, masks: Masks) -> Any:
    return encoder(x, **masks)


@dataclass(frozen=True)
class Family:
    """Models whose speech encoders are run alike.

    Attributes:
        name: what tables call it.
        models: by ``model_type`` in config.json, the class that reads such a file.
        encoder: the class of the part that is run; the rest is dropped. The model itself where it has no such part.
        layers: where the encoder's layers are, or have been in earlier releases of transformers; none where what the
            encoder gives is the one hidden state.
        front: from the encoder's config and the feature extractor, what makes frames of samples, in order.
        norm: from the config, where the norm behind the last layer is; empty for none.
        mask: what the encoder's forward calls the mask of padding; empty for none.
        by_file: whether preprocessor_config.json says if there is a mask (``return_attention_mask``); where it does
            not, models with layer norm in their convolutions have one, and those with group norm have none.
        hush: how the names of convolutions end into which padding would leak, though it is masked elsewhere; their
            input, (B, D, T), is zero there, as it is beyond the end of an utterance alone.
        drop: attributes of the encoder that come behind its layers.
        takes: keyword arguments for the feature extractor.
        window: from the same as ``front``, of models for speech of a length: how many samples these are, and after how
            many of them the next window begins.
        fewest: samples that the feature extractor needs, of models whose windows it pads to that length.
        crop: whether it gives a frame beyond what ``front`` counts, which is padding to itself.
        run: runs the encoder on its input and its masks.
        shape: brings a layer's output to (B, T, D).
        rate: samples a frame of the published models, for the table.
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
    takes: Mapping[str, Any] = field(default_factory=dict)
    window: Callable[[Any, Any], tuple[int, int]] | None = None
    fewest: int | None = None
    crop: bool = False
    run: Callable[[Any, Tensor, Masks], Any] = _run
    shape: Callable[[Tensor, Any], Tensor] | None = None
    rate: int = 320
    note: str = ""
    batch: str = ""


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
