"""torchaudio's input and output, which torchaudio 2.9 gave to torchcodec or dropped: through soundfile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Union

from ..patches import Patches
from .shim import Shim

if TYPE_CHECKING:
    from torch import Tensor

THREAD = "https://github.com/pytorch/audio/issues/3902"
File = Union[str, "os.PathLike[str]", BinaryIO]

# How soundfile reads a WAV file's own numbers; it knows no uint8.
_DTYPES = {
    "PCM_U8": "int16",
    "PCM_16": "int16",
    "PCM_24": "int32",
    "PCM_32": "int32",
    "FLOAT": "float32",
    "DOUBLE": "float64",
}
_BITS = {"FLOAT": 32, "DOUBLE": 64, "ULAW": 8, "ALAW": 8}
_ENCODINGS = {
    "PCM_U8": "PCM_U",
    "FLOAT": "PCM_F",
    "DOUBLE": "PCM_F",
    "ULAW": "ULAW",
    "ALAW": "ALAW",
    "VORBIS": "VORBIS",
}


def set_audio_backend(backend: str | None) -> None:
    """Accepted, without effect, as in torchaudio 2.2 to 2.8."""


def list_audio_backends() -> list[str]:
    """What reads sound files."""
    return ["soundfile"]


@dataclass
class AudioMetaData:
    """What torchaudio 2.8 says of a sound file."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def info(uri: File, format: str | None = None, buffer_size: int = 4096, backend: str | None = None) -> AudioMetaData:
    """A sound file's header. ``format``, ``buffer_size`` and ``backend`` are accepted, without effect.

    Raises:
        RuntimeError: soundfile cannot read it; the message names it.
    """
    import soundfile

    found = soundfile.info(uri)
    subtype = found.subtype
    pcm = subtype.rpartition("_")[2].lstrip("US")
    bits = int(pcm) if subtype.startswith("PCM_") else _BITS.get(subtype, 0)
    default = "PCM_S" if subtype.startswith("PCM_") else "UNKNOWN"
    encoding = "FLAC" if found.format == "FLAC" else _ENCODINGS.get(subtype, default)
    return AudioMetaData(found.samplerate, found.frames, found.channels, bits, encoding)


def load(
    uri: File,
    frame_offset: int = 0,
    num_frames: int = -1,
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
) -> tuple[Tensor, int]:
    """A sound file's samples, as torchaudio 2.8 returns them.

    Args:
        uri: a path or an open file.
        frame_offset: samples to skip.
        num_frames: samples to read at most; -1 for all.
        normalize: False gives a WAV file's own numbers: uint8, int16, int32 (also for 24 bits), or floats.
        channels_first: (channels, T), else (T, channels).
        format, buffer_size, backend: accepted, without effect.

    Returns:
        The samples, float32 in [-1, 1] but for ``normalize=False``, and the sample rate in Hz.

    Raises:
        RuntimeError: soundfile cannot read it; the message names it.
        ValueError: ``normalize=False`` for a WAV file without numbers of its own, e.g. mu-law.
    """
    import soundfile
    import torch

    with soundfile.SoundFile(uri) as file:
        own = file.format == "WAV" and not normalize
        if own and file.subtype not in _DTYPES:
            raise ValueError(f"{uri} is {file.subtype}, which has no numbers to return; leave normalize=True")
        file.seek(min(frame_offset, file.frames))
        samples = file.read(num_frames, dtype=_DTYPES[file.subtype] if own else "float32", always_2d=True)
        rate = file.samplerate
        if own and file.subtype == "PCM_U8":
            samples = ((samples >> 8) + 128).astype("uint8")
    wav = torch.from_numpy(samples)
    return (wav.t() if channels_first else wav), rate


def save(
    uri: File,
    src: Tensor,
    sample_rate: int,
    channels_first: bool = True,
    format: str | None = None,
    encoding: str | None = None,
    bits_per_sample: int | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
    compression: Any = None,
) -> None:
    """Writes WAV, FLAC or Ogg Vorbis, as torchaudio 2.8 does.

    Args:
        uri: a path, or an open file if ``format`` is given.
        src: (channels, T), or (T, channels) unless ``channels_first``; the numbers of a WAV file are of its dtype.
        sample_rate: in Hz.
        format: "wav", "flac" or "ogg"; of a path, its suffix.
        encoding, bits_per_sample: e.g. "PCM_S", 24.
        buffer_size, backend, compression: accepted, without effect.

    Raises:
        ValueError: ``src`` is not 2-D, or there is no such format, or none with such numbers.
    """
    import soundfile

    if src.dim() != 2:
        raise ValueError(f"src must be 2-D, (channels, samples); got shape {tuple(src.shape)}")
    if format is None and hasattr(uri, "write"):
        raise ValueError("an open file has no suffix: give format, 'wav', 'flac' or 'ogg'")
    kind = (format or os.path.splitext(str(uri))[1].lstrip(".")).lower()
    kind = {"vorbis": "ogg"}.get(kind, kind)
    subtype = _subtype(kind, str(src.dtype).rpartition(".")[2], encoding, bits_per_sample)
    samples = (src.t() if channels_first else src).detach().cpu().numpy()
    if samples.dtype == "uint8":
        samples = (samples.astype("int16") - 128) << 8
    soundfile.write(uri, samples, sample_rate, subtype, format=kind.upper())


def _subtype(kind: str, dtype: str, encoding: str | None, bits: int | None) -> str:
    """soundfile's name for how samples are written."""
    import soundfile

    pcm = "PCM_U8" if kind == "wav" and bits == 8 else f"PCM_{bits or 16}"
    if kind == "ogg":
        subtype = "VORBIS"
    elif encoding in ("ULAW", "ALAW"):
        subtype = encoding
    elif encoding == "PCM_F":
        subtype = "DOUBLE" if bits == 64 else "FLOAT"
    elif encoding == "PCM_U":
        subtype = "PCM_U8"
    elif kind == "wav" and bits is None:
        numbers = {"uint8": "PCM_U8", "int16": "PCM_16", "int32": "PCM_32", "float32": "FLOAT", "float64": "DOUBLE"}
        subtype = "PCM_32" if encoding == "PCM_S" else numbers.get(dtype, dtype)
    else:
        subtype = {"PCM_8": "PCM_S8"}.get(pcm, pcm)
    if kind not in ("wav", "flac", "ogg") or not soundfile.check_format(kind.upper(), subtype):
        what = f"format {kind!r}, encoding {encoding!r}, bits_per_sample {bits!r}, dtype {dtype}"
        raise ValueError(f"cannot write {what}; formats are wav, flac and ogg, numbers e.g. PCM_S with 16 or 24 bits")
    return subtype


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
_CODEC = "torchaudio 2.9 reads and writes files through torchcodec, which is not installed or does not load"
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
    Shim("torchaudio.save", _CODEC, THREAD, "torchaudio.save(", _has_no_codec, _setter("save", save)),
)
