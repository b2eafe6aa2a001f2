"""Encoders of transformers that `families` has no row of: run in the general way, looked at before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..waveforms import SAMPLE_RATE
from .encoder import features, resampled
from .frames import counter
from .outputs import are_finite
from .rates import LONGEST, first_frame, measure_rate

_SPEECH = ("input_values", "input_features")


class UnknownEncoder(nn.Module):
    """An encoder of a family that nobody has tried, as an upstream: its hidden states are what transformers gives as
    such, the last one is the model's output.

    Args:
        what: what messages call it.
        model: it, or what it is a part of.
        extractor: its feature extractor.

    Raises:
        UsageError: it does not run so; or what it gives is not finite, or no frames that are whole samples apart.
    """

    def __init__(self, what: str, model: nn.Module, extractor: Any) -> None:
        super().__init__()
        self.what, self.extractor = what, extractor
        self.model = _speech_part(model, what)
        self.masks = "attention_mask" in signature(self.model.forward).parameters
        self.eval()
        with torch.no_grad():
            self._measure()
        self.train()

    def _measure(self) -> None:
        """Find the samples a frame, and those of the first one."""
        count = counter(self._encode, torch.device("cpu"))
        try:
            self.rate = measure_rate(count, None, self.what)
            self.first = first_frame(count, self.rate)
        except UsageError:
            raise
        except Exception as error:  # whatever its own code raises for what does not fit
            kind = type(error).__name__
            raise UsageError(f"{self.what} does not run in the general way: {kind}: {str(error)[:300]}") from error
        # The last frame within the longest waveform begins where it should, to a sample that resampling may have lost.
        frames = count(LONGEST)
        least = self.first + (frames - 1) * self.rate
        if (count(least - 2), count(min(least + 1, LONGEST))) != (frames - 1, frames):
            raise UsageError(
                f"{self.what} gives {frames} frames for {LONGEST} samples, and {count(SAMPLE_RATE)} for {SAMPLE_RATE}: "
                "these are not whole samples apart, as an upstream's frames must be; it cannot be used"
            )

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Return samples a frame, for every hidden state."""
        return self.rate

    def num_frames(self, num_samples: int) -> int:
        """Count the frames of an utterance of ``num_samples`` samples."""
        return max(0, (num_samples - self.first) // self.rate + 1)

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return ``{"hidden_states": [...]}``, each (B, T, D), for B waveforms of (T',) samples, 16 kHz."""
        return {"hidden_states": self._encode(wavs)}

    def _encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        x, mask = features(self.extractor, [resampled(wav.detach().float(), self.extractor) for wav in wavs])
        masks = {"attention_mask": mask} if self.masks else {}
        out = self.model(x.to(next(self.model.parameters()).dtype), **masks, output_hidden_states=True)
        last = out[0]
        states = list(out.get("hidden_states") or [last])
        if states[-1].shape == last.shape:
            states[-1] = last
        shapes = sorted({tuple(state.shape) for state in states})
        if len(shapes) > 1 or len(shapes[0]) != 3 or shapes[0][0] != len(wavs):
            raise UsageError(f"{self.what} gives hidden states of shapes {shapes}, where one (B, T, D) is needed")
        if not self.training and not are_finite(states):
            raise UsageError(f"{self.what} gives hidden states that are not finite, of noise or of the waveforms given")
        return states


def _speech_part(model: nn.Module, what: str) -> Any:
    """Find the part of a model that takes speech, and has no decoder."""
    for module in model.modules():
        if getattr(module, "main_input_name", None) in _SPEECH and not hasattr(module, "decoder"):
            return module
    raise UsageError(f"{what} has no part that takes speech ({' or '.join(_SPEECH)}); it cannot be an upstream")
