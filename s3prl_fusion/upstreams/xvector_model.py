"""A small network that knows voices (x-vector-like); `demo/train_upstreams.py` trains one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..waveforms import SAMPLE_RATE

CONFIG, WEIGHTS, MODEL_TYPE = "config.json", "model.safetensors", "xvector"
HOP, N_FFT = 160, 512
_FLOOR = 1e-5  # of a mel bin's power: about that of noise at -70 dB of full scale


@dataclass(frozen=True)
class XVectorConfig:
    """Sizes of an `XVector`.

    Attributes:
        dim: width of the hidden states.
        inner: width inside a block.
        mels: bins of the spectrogram.
        dilations: of each block's convolution, in frames of 20 ms.
    """

    dim: int = 144
    inner: int = 256
    mels: int = 64
    dilations: tuple[int, ...] = (1, 2, 3, 4, 6, 8)


class Block(nn.Module):
    """A dilated convolution over three frames, weighed by what the whole utterance has in each channel, and added.

    Normalised a frame, not a batch: what an utterance gives does not depend on the others, nor on training mode.
    """

    def __init__(self, config: XVectorConfig, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.conv = nn.Conv1d(config.dim, config.inner, 3, padding=dilation, dilation=dilation)
        squeezed = config.inner // 4 or 1
        self.weigh = nn.Sequential(
            nn.Linear(config.inner, squeezed), nn.ReLU(), nn.Linear(squeezed, config.inner), nn.Sigmoid()
        )
        self.out = nn.Linear(config.inner, config.dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map hidden states (B, T, D) to the next; ``valid`` (B, T, 1) is 1 for frames and 0 for padding."""
        y = F.gelu(self.conv((self.norm(x) * valid).transpose(1, 2))).transpose(1, 2)
        return x + self.out(y * self.weigh(mean(y, valid)))


class XVector(nn.Module):
    """Dilated convolutions over log-mels from which each utterance's mean is taken, and with it much of the channel.

    Args:
        config: its sizes.
        filters: (bins of the spectrum, mels), where they are not to be made by torchaudio.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, config: XVectorConfig, filters: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        if filters is None:
            from torchaudio.functional import melscale_fbanks

            filters = melscale_fbanks(N_FFT // 2 + 1, 20.0, SAMPLE_RATE / 2, config.mels, SAMPLE_RATE)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.stem = nn.Conv1d(config.mels, config.dim, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(Block(config, dilation) for dilation in config.dilations)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, wavs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Encode B waveforms, each (T',), 16 kHz.

        Returns:
            hidden states, each (B, T, D) with T = ceil(max(T') / 320): of the first convolution and of every block,
            the last one normalised; and (B, T, 1), 1 for frames and 0 for padding.
        """
        fine, valid = (_frames(wavs, rate).to(self.window.device) for rate in (HOP, 2 * HOP))
        mel = self._log_mel(wavs, 2 * valid.size(1))
        fine = F.pad(fine, (0, 0, 0, mel.size(1) - fine.size(1)))
        mel = (mel - mean(mel, fine)) * fine
        states = [F.gelu(self.stem(mel.transpose(1, 2))).transpose(1, 2)]
        for block in self.blocks:
            states.append(block(states[-1], valid))
        states[-1] = self.norm(states[-1])
        return states, valid

    def _log_mel(self, wavs: Sequence[Tensor], frames: int) -> Tensor:
        """Make (B, frames, mels); zeros around every utterance keep its spectrum free of the batch."""
        samples = frames * HOP + N_FFT
        left = N_FFT // 2
        padded = torch.stack([F.pad(wav.detach().float(), (left, samples - left - len(wav))) for wav in wavs])
        # Powers of a spectrum need the range and precision of float32.
        with torch.autocast(padded.device.type, enabled=False):
            window = self.window.float()
            spectrum = torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True)
            power = spectrum.abs().square().transpose(1, 2)[:, :frames] / window.square().sum()
            return torch.log(power @ self.filters.float() + _FLOOR)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, which `xvector.XVectorUpstream` reads."""
        from safetensors.torch import save_file

        Path(folder).mkdir(parents=True, exist_ok=True)
        config = {"model_type": MODEL_TYPE, **asdict(self.config)}
        (Path(folder) / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(self.state_dict(), Path(folder) / WEIGHTS, {"format": "pt"})


class XVectorEncoder(nn.Module):
    """An `XVector` as an upstream: a hidden state of its first convolution and of every block.

    Args:
        model: it.
    """

    def __init__(self, model: XVector) -> None:
        super().__init__()
        self.model = model

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Return samples a frame, for every hidden state."""
        return 2 * HOP

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Encode waveforms.

        Args:
            wavs: B waveforms of any length, each (T',), 16 kHz.

        Returns:
            ``{"hidden_states": [...]}``, each (B, ceil(max(T') / 320), D).
        """
        return {"hidden_states": self.model(wavs)[0]}


def mean(x: Tensor, valid: Tensor) -> Tensor:
    """Take the mean over the frames of (B, T, D) that are valid (B, T, 1): (B, 1, D)."""
    return (x * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)


def _frames(wavs: Sequence[Tensor], rate: int) -> Tensor:
    """Mark the frames of each utterance, begun ones included: (B, T, 1), 1 or 0."""
    counts = torch.tensor([-(-len(wav) // rate) for wav in wavs])
    return (torch.arange(int(counts.max())) < counts.unsqueeze(1)).float().unsqueeze(2)
