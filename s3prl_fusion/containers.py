"""What compressed sound files say of their own length, which libsndfile takes on trust: Ogg, FLAC and MP3."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# https://www.rfc-editor.org/rfc/rfc3533#section-6
_OGG_PAGE, _OGG_HEADER, _OGG_BEGINS, _OGG_ENDS = b"OggS", 27, 2, 4
# Where in STREAMINFO the number of samples is, in its lower 36 bits; https://www.rfc-editor.org/rfc/rfc9639#section-8.2
_FLAC_TOTAL, _FLAC_BITS = slice(18, 26), 36
# MPEG's frame header: bits a second / 1000 of layer III, and Hz, by version.
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BIT_RATES = {3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320), 2: _LOW, 0: _LOW}
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_ID3, _ID3_HEADER = b"ID3", 10
_TAGS_BEHIND = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_LENGTH_HEADERS = (b"Xing", b"Info")


def ogg_streams(data: bytes) -> int:
    """Count the recordings in an Ogg file, one after the other; 0 where the last one's end is missing."""
    position = streams = flags = 0
    while data[position : position + 4] == _OGG_PAGE and position + _OGG_HEADER <= len(data):
        flags, segments = data[position + 5], data[position + 26]
        streams += bool(flags & _OGG_BEGINS)
        sizes = position + _OGG_HEADER
        position = sizes + segments + sum(data[sizes : sizes + segments])
    return streams if flags & _OGG_ENDS and position <= len(data) else 0


def flac_goes_on(path: Path) -> bool:
    """Tell whether a FLAC file has a sample behind those that its header counts."""
    import soundfile

    with path.open("rb") as file:
        start = file.read(_FLAC_TOTAL.stop)
    if not start.startswith(b"fLaC"):
        return False  # behind a tag of another format
    header = int.from_bytes(start[_FLAC_TOTAL], "big")
    try:
        with _Retold(path, (header + 1).to_bytes(8, "big")) as retold, soundfile.SoundFile(retold) as sound:
            sound.seek(header & ((1 << _FLAC_BITS) - 1))
            return len(sound.read(1)) == 1
    except soundfile.LibsndfileError:
        return False


class _Retold(io.FileIO):
    """A FLAC file whose header tells of another number of samples."""

    def __init__(self, path: Path, total: bytes) -> None:
        super().__init__(path)
        self._total = total

    def readinto(self, buffer: Any) -> int:
        start = self.tell()
        count = super().readinto(buffer)
        for at in range(max(start, _FLAC_TOTAL.start), min(start + count, _FLAC_TOTAL.stop)):
            memoryview(buffer).cast("B")[at - start] = self._total[at - _FLAC_TOTAL.start]
        return count


@dataclass(frozen=True)
class Mp3:
    """The frames of an MP3 file.

    Attributes:
        frames: that have sound.
        told: their number as a Xing or Info header has it; None without one, or with one that is silent about it.
        samples: a frame.
        start: where the first of them is, in bytes.
        whole: whether the last of them, or a tag behind it, ends the file.
    """

    frames: int
    told: int | None
    samples: int
    start: int
    whole: bool


def mp3(data: bytes) -> Mp3:
    """Walk from frame to frame."""
    position = start = _behind_tags(data, 0)
    frames = samples = 0
    told = None
    while (found := _mp3_frame(data, position)) is not None and position + found[0] <= len(data):
        size, samples = found
        if not frames and start == position and any(name in data[position : position + 48] for name in _LENGTH_HEADERS):
            told = _told(data[position : position + size])
            start = position + size
        else:
            frames += 1
        position = _behind_tags(data, position + size)
    rest = data[position:]
    return Mp3(frames, told, samples, start, not rest.strip(b"\0") or rest.startswith(_TAGS_BEHIND))


def _mp3_frame(data: bytes, position: int) -> tuple[int, int] | None:
    """Return a frame's bytes and samples, from its header; None where there is no header of layer III."""
    header = int.from_bytes(data[position : position + 4], "big")
    version, layer, bits, rate = header >> 19 & 3, header >> 17 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or bits in (0, 15) or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    size = samples // 8 * _BIT_RATES[version][bits - 1] * 1000 // _SAMPLE_RATES[version][rate] + (header >> 9 & 1)
    return size, samples


def _told(frame: bytes) -> int | None:
    name = next(at for at in map(frame.find, _LENGTH_HEADERS) if at >= 0)
    return int.from_bytes(frame[name + 8 : name + 12], "big") or None if frame[name + 7] & 1 else None


def _behind_tags(data: bytes, position: int) -> int:
    """Skip ID3 tags, whose size is written in seven bits a byte."""
    while data[position : position + 3] == _ID3:
        size = 0
        for byte in data[position + 6 : position + _ID3_HEADER]:
            size = size << 7 | byte & 127
        position += _ID3_HEADER + size
    return position
