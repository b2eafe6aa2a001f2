"""One sound file, through libsndfile: its samples, all of them, or what is wrong with it."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import containers
from .waveforms import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from soundfile import SoundFile

    Found = TypeVar("Found")


UNKNOWN_SIZE = 2**31 - 4096  # what is written to a pipe declares this many bytes or more
# libsndfile's names of what it reads, and where a missing end can be seen.
FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "FLAC", "OGG", "MP3")
CONVERT = f"ffmpeg -i FILE -ac 1 -ar {SAMPLE_RATE} NEW.wav"
CUT = "the end is missing; fetch or unpack it again"
MORE = f"its header tells of fewer samples than there are: {CONVERT}"
EMPTY = "no samples; remove it, or fetch it again"
# libsndfile takes what is there for all, and only notes in its log what the header says,
_SHORT = (
    re.compile(r"^ *(?:data|Data Size|SSND|riff|Riff size) *: (?P<told>\d+) \(should be (?P<there>\d+)\)", re.M),
    re.compile(r"'COMM' chunk \((?P<told>\d+)\)[^(]*'SSND' chunk \((?P<there>\d+)\)"),
    re.compile(r"count (?P<there>\d+) does not match value from 'ds64' chunk of (?P<told>\d+)"),
)
# and where its samples end, of WAV and RF64, and as a sum of AU.
_BEHIND = (
    re.compile(r"Unknown chunk marker .* at position (\w+)\. Exiting"),
    re.compile(r"Data Offset : (\d+)\s+Data Size   : (\d+)$", re.M),
)
_JUNK = 4096  # bytes behind the samples that may be someone's tag


class Fault(Exception):
    """What is wrong with a file, in words that do not name it."""


@dataclass(frozen=True)
class Form:
    """What a sound file's header tells."""

    channels: int
    rate: int  # Hz
    samples: int  # of each channel

    @property
    def is_speech(self) -> bool:
        """Whether it is mono at 16 kHz."""
        return (self.channels, self.rate) == (1, SAMPLE_RATE)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples / self.rate

    def __str__(self) -> str:
        return f"{self.channels} channel(s), {self.rate} Hz"


def form(path: Path) -> Form:
    """Read a file's header.

    Raises:
        Fault: it cannot be read, is empty, or lacks its end.
    """
    return _open(path, lambda sound: Form(sound.channels, sound.samplerate, sound.frames), speech=False)


def read(path: Path, speech: bool = True) -> tuple[np.ndarray, int]:
    """Read (T', channels) float32, in [-1, 1], and the rate in Hz.

    Args:
        path: the file.
        speech: whether it must be mono at 16 kHz.

    Raises:
        Fault: it cannot be read, is empty, lacks its end, or has NaN or infinite samples.
    """
    return _open(path, lambda sound: (_finite(_samples(sound, path)), sound.samplerate), speech)


def length(path: Path, speech: bool = True) -> int:
    """Count a file's samples, which are read for it where the header cannot be trusted.

    Args:
        path: the file.
        speech: whether it must be mono at 16 kHz.

    Raises:
        Fault: as for `read`.
    """
    return _open(path, lambda sound: _count(sound, path), speech)


def _open(path: Path, look: Callable[[SoundFile], Found], speech: bool) -> Found:
    """Return what ``look`` finds in a file, once its form is checked."""
    import soundfile

    try:
        if path.stat().st_size == 0:
            raise Fault(EMPTY)
        with _source(path) as source, soundfile.SoundFile(source) as sound:
            _check_form(sound, speech)
            _check_end(sound, path)
            return look(sound)
    except soundfile.LibsndfileError as error:
        raise Fault(f"not readable as audio ({error.error_string}); fetch it again, or {CONVERT}") from error
    except OSError as error:
        raise Fault(error.strerror or str(error)) from error


def _source(path: Path) -> AbstractContextManager[Any]:
    """Give libsndfile a file's name, or an open one: of X.mp3 by name it would read ._X.mp3, which archives made on a
    Mac bring along."""
    return path.open("rb") if path.suffix.lower() == ".mp3" else contextlib.nullcontext(str(path))


def _check_form(sound: SoundFile, speech: bool) -> None:
    if sound.format not in FORMATS or not sound.seekable():
        raise Fault(f"{sound.format_info}, {sound.subtype_info}, is not read here: {CONVERT}")
    # Only a header that does not tell the length has this many.
    if sound.frames > UNKNOWN_SIZE:
        raise Fault(f"its header does not tell its length: {CONVERT}")
    if sound.frames and speech and (sound.samplerate != SAMPLE_RATE or sound.channels != 1):
        raise Fault(
            f"{sound.channels} channel(s), {sound.samplerate} Hz; needed is mono at {SAMPLE_RATE} Hz: {CONVERT}"
        )


def _check_end(sound: SoundFile, path: Path) -> None:
    """Refuse what holds fewer or more samples than its header says; of MP3, `_samples` does."""
    for pattern in _SHORT:
        short = pattern.search(sound.extra_info)
        if short and int(short["there"]) < int(short["told"]) < UNKNOWN_SIZE:
            raise Fault(CUT)
    for pattern in _BEHIND:
        behind = pattern.search(sound.extra_info)
        if behind and path.stat().st_size - sum(int(number, 0) for number in behind.groups()) > _JUNK:
            raise Fault(MORE)
    if sound.format == "NIST":
        told = re.search(rb"\nsample_count -i (\d+)", _first_bytes(path, 1024))
        if told and int(told[1]) > sound.frames:
            raise Fault(CUT)
    if sound.format == "OGG":
        streams = containers.ogg_streams(path.read_bytes())
        if streams != 1:
            raise Fault(CUT if streams == 0 else f"{streams} recordings, one after the other: {CONVERT}")
    if sound.frames == 0:
        raise Fault(EMPTY)
    if sound.format == "FLAC" and containers.flac_goes_on(path):
        raise Fault(MORE)


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _count(sound: SoundFile, path: Path) -> int:
    import soundfile

    if sound.format == "MP3" or sound.subtype in ("FLOAT", "DOUBLE"):  # others cannot hold a NaN
        return len(_finite(_samples(sound, path)))
    try:
        # The header of a FLAC file tells its length also when the end is missing.
        sound.seek(sound.frames - 1)
        whole = len(sound.read(1)) == 1
    except soundfile.LibsndfileError:
        whole = False
    if not whole:
        raise Fault(CUT)
    return sound.frames


def _samples(sound: SoundFile, path: Path) -> np.ndarray:
    """Read (T', channels) float32."""
    import soundfile

    if sound.format == "MP3":
        return _mp3_samples(sound, path.read_bytes())
    try:
        wav = sound.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise Fault(f"damaged ({error.error_string}); fetch or unpack it again") from error
    if len(wav) != sound.frames:
        raise Fault(CUT)
    return wav


def _finite(wav: np.ndarray) -> np.ndarray:
    """Refuse samples that are no numbers."""
    import numpy as np

    if not np.isfinite(wav).all():
        raise Fault("NaN or infinite samples; remove it, or make it again")
    return wav


def _mp3_samples(sound: SoundFile, data: bytes) -> np.ndarray:
    """Read all frames that are there. Where no header tells how many, or one tells of fewer, libsndfile has a guess in
    its place, and reads no further."""
    found = containers.mp3(data)
    if not found.frames:
        raise Fault(f"an MPEG file of another layer than MP3's: {CONVERT}")
    if not found.whole or (found.told or 0) > found.frames:
        raise Fault(CUT)
    if found.told == found.frames:
        wav, expected = sound.read(dtype="float32", always_2d=True), sound.frames
    else:
        wav, expected = _read_stream(data[found.start :]), found.frames * found.samples
    if len(wav) != expected:
        raise Fault(f"damaged ({len(wav)} of {expected} samples); fetch or unpack it again")
    return wav


def _read_stream(data: bytes) -> np.ndarray:
    """Read through a pipe, of whose length nothing can be guessed."""
    import numpy as np
    import soundfile

    reading, writing = os.pipe()

    def feed() -> None:
        try:
            with open(writing, "wb") as pipe:
                pipe.write(data)
        except BrokenPipeError:  # what is read is no sound, and is not read on
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    blocks = []
    try:
        with soundfile.SoundFile(reading, closefd=False) as sound:
            while len(block := sound.read(SAMPLE_RATE * 60, dtype="float32", always_2d=True)):
                blocks.append(block)
    finally:
        os.close(reading)
        feeder.join()
    return np.concatenate(blocks) if blocks else np.empty((0, 1), np.float32)
