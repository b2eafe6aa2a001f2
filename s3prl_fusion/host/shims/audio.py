"""torchaudio's reading of sound files, which torchaudio 2.9 gave to torchcodec or dropped: through soundfile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Union

from ...audio import decode
from ...audio import load as speech
from ...waveforms import SAMPLE_RATE
from ..patches import Patches
from .shim import Shim

if TYPE_CHECKING:
    from torch import Tensor

THREAD = "https://github.com/pytorch/audio/issues/3902"
File = Union[str, "os.PathLike[str]", BinaryIO]

# What torchaudio says of a file's numbers, and their bits; PCM_16 is ("PCM_S", 16).
_ENCODINGS = {"PCM_U8": ("PCM_U", 8), "FLOAT": ("PCM_F", 32), "DOUBLE": ("PCM_F", 64), "VORBIS": ("VORBIS", 0)}


def set_audio_backend(backend: str | None) -> None:
    """Accept a name, without effect, as in torchaudio 2.2 to 2.8."""


def list_audio_backends() -> list[str]:
    """Return what reads sound files."""
    return ["soundfile"]


@dataclass
class AudioMetaData:
    """What torchaudio 2.8 says of a sound file."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def info(uri: File) -> AudioMetaData:
    """Read a sound file's header.

    Raises:
        RuntimeError: soundfile cannot read it; the message names it.
    """
    import soundfile

    found = soundfile.info(uri)
    kind, _, bits = found.subtype.partition("_")
    pcm = ("PCM_S", int(bits.lstrip("SU"))) if kind == "PCM" else ("UNKNOWN", 0)
    encoding, size = _ENCODINGS.get(found.subtype, pcm)
    if found.format == "FLAC":
        encoding = "FLAC"
    return AudioMetaData(found.samplerate, found.frames, found.channels, size, encoding)


def load(uri: File, frame_offset: int = 0, num_frames: int = -1) -> tuple[Tensor, int]:
    """Read a sound file's samples, as torchaudio 2.8 does.

    Args:
        uri: a path or an open file.
        frame_offset: samples to skip.
        num_frames: samples to read at most; -1 for all.

    Returns:
        (channels, T) float32 in [-1, 1], and the sample rate in Hz.

    Raises:
        CorpusError: of a path, the file is not readable or damaged; the message names it.
        RuntimeError: of an open file, soundfile cannot read it.
    """
    import soundfile
    import torch

    if isinstance(uri, (str, os.PathLike)):
        samples, rate = decode(uri)
        end = None if num_frames == -1 else frame_offset + num_frames
        return torch.from_numpy(samples[frame_offset:end]).t(), rate
    with soundfile.SoundFile(uri) as file:
        file.seek(min(frame_offset, file.frames))
        samples = file.read(num_frames, dtype="float32", always_2d=True)
        return torch.from_numpy(samples).t(), file.samplerate


def load_speech(uri: str | os.PathLike[str]) -> tuple[Tensor, int]:
    """Do as `load`, for what must be mono at 16 kHz, see `s3prl_fusion.audio.load`: (1, T) and the rate."""
    return speech(uri)[None], SAMPLE_RATE


def _has_no_codec() -> bool:
    """Whether torchaudio leaves files to torchcodec, which is not there, or finds no FFmpeg."""
    import torchaudio

    if hasattr(torchaudio, "_backend"):  # up to 2.8, torchaudio reads files itself
        return False
    try:
        import torchcodec.decoders  # noqa: F401
    except Exception:  # torchcodec raises RuntimeError without FFmpeg, OSError beside another torch
        return True
    return False


def _lacks(name: str) -> Callable[[], bool]:
    def missing() -> bool:
        import torchaudio

        return not hasattr(torchaudio, name)

    return missing


def _setter(name: str, value: Any) -> Callable[[Patches], None]:
    def apply(patches: Patches) -> None:
        import torchaudio

        patches.set(torchaudio, name, value)

    return apply


_GONE = "torchaudio 2.9 dropped it; s3prl's {} calls it"
_CODEC = "torchaudio 2.9 reads files through torchcodec, which is not installed or does not load"
SHIMS = (
    Shim(
        "torchaudio.set_audio_backend",
        _GONE.format("hub, when it is imported,"),
        THREAD,
        "torchaudio.set_audio_backend(",
        _lacks("set_audio_backend"),
        _setter("set_audio_backend", set_audio_backend),
    ),
    Shim(
        "torchaudio.list_audio_backends",
        "torchaudio 2.9 dropped it; SpeechBrain, which shares processes with s3prl, calls it when it is imported",
        THREAD,
        "",
        _lacks("list_audio_backends"),
        _setter("list_audio_backends", list_audio_backends),
    ),
    Shim(
        "torchaudio.info",
        _GONE.format("util.audio_info"),
        THREAD,
        "torchaudio.info(",
        _lacks("info"),
        _setter("info", info),
    ),
    Shim("torchaudio.load", _CODEC, THREAD, "torchaudio.load(", _has_no_codec, _setter("load", load)),
)
