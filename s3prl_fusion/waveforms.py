"""Waveforms as upstreams take them: one-dimensional, floating point, at one rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import KindError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16000  # Hz


def check_wavs(wavs: Sequence[Tensor]) -> None:
    """Refuse what no upstream can use, naming the utterance's index.

    Raises:
        KindError: an item is not a floating-point tensor.
        UsageError: there is no item, or one is not 1-D, is empty, or has NaN or infinity in it.
    """
    import torch

    if len(wavs) == 0:
        raise UsageError("the batch has no utterance; give a list of at least one waveform")
    for i, wav in enumerate(wavs):
        if not isinstance(wav, torch.Tensor) or not wav.is_floating_point():
            got = wav.dtype if isinstance(wav, torch.Tensor) else type(wav).__name__
            raise KindError(f"utterance {i} must be a floating-point tensor in [-1, 1]; got {got}")
        if wav.dim() != 1:
            raise UsageError(f"utterance {i} must be 1-D, (samples,); got shape {tuple(wav.shape)}")
        if wav.numel() == 0:
            raise UsageError(f"utterance {i} is empty; remove it from the data")
    finite = torch.stack([wav.isfinite().all() for wav in wavs])
    if not finite.all():
        raise UsageError(f"utterance {int((~finite).nonzero()[0])} has NaN or infinite samples; check its file")
