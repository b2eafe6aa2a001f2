"""Running Whisper's encoder, with 30 s of everything or with what there is."""

from __future__ import annotations

from inspect import signature
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..waveforms import SAMPLE_RATE


class WhisperEncoder(nn.Module):
    """The encoder of a Whisper model, as an upstream, see `whisper.WhisperUpstream`.

    Args:
        extractor, encoder: transformers' own, of one model.
        pad_to_30s: see there.
    """

    def __init__(self, extractor: Any, encoder: Any, pad_to_30s: bool = True) -> None:
        super().__init__()
        self.extractor, self.encoder, self.pad_to_30s = extractor, encoder, pad_to_30s
        self.rate = 2 * extractor.hop_length  # the second convolution halves the spectrogram's frames
        self.window = encoder.config.max_source_positions * self.rate

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Return samples a frame, for every hidden state."""
        return self.rate

    def num_frames(self, num_samples: int) -> int:
        """Count the frames of an utterance of ``num_samples`` samples."""
        return -(-num_samples // self.rate)

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Encode waveforms.

        Args:
            wavs: B waveforms of any length, each (T',), 16 kHz. What is longer than 30 s is encoded in windows of
                30 s, and these are joined.

        Returns:
            ``{"hidden_states": [...]}``, each (B, ceil(max(T') / 320), D).
        """
        longest = max(len(wav) for wav in wavs)
        encode = self._encode_padded if self.pad_to_30s else self._encode_short
        windows = [
            encode([wav[start : start + self.window] for wav in wavs]) for start in range(0, longest, self.window)
        ]
        frames = self.num_frames(longest)
        joined = windows[0] if len(windows) == 1 else [torch.cat(states, dim=1) for states in zip(*windows)]
        return {"hidden_states": [state[:, :frames] for state in joined]}

    def _mel(self, wavs: Sequence[Tensor], samples: int) -> Tensor:
        padded = torch.stack([F.pad(wav.detach().float(), (0, samples - len(wav))) for wav in wavs])
        # Powers of a spectrum need the range and precision of float32.
        with torch.autocast(padded.device.type, enabled=False):
            mel = self.extractor(
                list(padded.cpu().numpy()),
                sampling_rate=SAMPLE_RATE,
                padding="do_not_pad",
                truncation=False,
                return_tensors="pt",
                device=str(padded.device),
            )
        return mel["input_features"].to(padded.device)

    def _encode_padded(self, wavs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.encoder(self._mel(wavs, self.window), output_hidden_states=True).hidden_states

    def _encode_short(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Run the encoder's forward with sliced positions and with padding masked wherever frames meet."""
        frames = torch.tensor([self.num_frames(len(wav)) for wav in wavs])
        longest = int(frames.max())
        # Zeros after every utterance keep the spectrogram's end free of reflection and of the batch; at the end of a
        # whole window Whisper's own spectrogram is reflected.
        mel = self._mel(wavs, min(longest * self.rate + self.extractor.n_fft, self.window))[..., : 2 * longest]
        valid = (torch.arange(longest) < frames.unsqueeze(1)).to(mel.device)
        fine = valid.repeat_interleave(2, dim=1).unsqueeze(1)
        encoder = self.encoder
        x = F.gelu(encoder.conv1(mel * fine)) * fine
        x = F.gelu(encoder.conv2(x)).transpose(1, 2) + encoder.embed_positions.weight[:longest]
        x = F.dropout(x, encoder.dropout, self.training)
        mask = None if int(frames.min()) == longest else attention_mask(valid, x.dtype)
        states = [x]
        for layer in encoder.layers:
            x = call_layer(layer, x, mask)
            states.append(x)
        states[-1] = encoder.layer_norm(x)
        return states


def attention_mask(valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Make what to add to attention logits, (B, 1, T, T), so that no frame attends to one that is not valid (B, T)."""
    # An utterance without a frame in this window attends to all: a row of -inf alone would give NaN.
    keys = valid | ~valid.any(dim=1, keepdim=True)
    mask = torch.zeros(keys.shape, dtype=dtype, device=keys.device).masked_fill(~keys, torch.finfo(dtype).min)
    return mask[:, None, None, :].expand(-1, 1, valid.size(1), -1)


def call_layer(layer: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """Run one block: transformers 4 asks for a mask of heads and returns a tuple, transformers 5 does neither."""
    heads = {"layer_head_mask": None} if "layer_head_mask" in signature(layer.forward).parameters else {}
    out = layer(x, mask, **heads)
    return out[0] if isinstance(out, tuple) else out
