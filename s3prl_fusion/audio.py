"""Speech as upstreams want it: mono, 16 kHz, floating point."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CorpusError, KindError, MissingFileError, UsageError

if TYPE_CHECKING:
    from soundfile import SoundFile
    from torch import Tensor

SAMPLE_RATE = 16000
UNKNOWN_SIZE = 2**31 - 4096  # a WAV that was written to a pipe declares this many bytes or more
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def find_files(paths: Sequence[str | Path]) -> dict[Path, Path]:
    """Find the sound files among files and folders, which are searched below, and name each: by its path below the
    folder given, or its own name, without the suffix.

    Raises:
        MissingFileError: a path is not there, or a folder has no sound file.
        UsageError: two files would be called the same, or files are unusable (see `count_samples`).
    """
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = {file: file.relative_to(path) for file in sorted(path.rglob("*")) if _is_sound(file)}
        else:
            found = {path: Path(path.name)} if path.is_file() else {}
        if not found:
            raise MissingFileError(f"{path} {'has no sound file in it' if path.is_dir() else 'does not exist'}")
        files.update({file: name.with_suffix("") for file, name in found.items()})
    sources: dict[Path, Path] = {}
    for file, name in files.items():
        if name in sources:
            advice = "remove one" if file.parent == sources[name].parent else "give the folder above both"
            raise UsageError(f"{sources[name]} and {file} would both be called {name}; {advice}")
        sources[name] = file
    count_samples(list(files), "sound files")
    return files


def _is_sound(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def count_samples(files: Sequence[Path], what: str) -> list[int]:
    """Return each file's length in samples. Several threads look at the files, under a progress bar called `what`.

    Raises:
        CorpusError: files cannot be read, are empty, lack their end, or are not mono at 16 kHz; the message counts
            them and names the first three. A cut Ogg file cannot be told from a short one.
    """
    from tqdm import tqdm

    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        found = list(tqdm(pool.map(_samples_or_fault, files), total=len(files), desc=what, leave=False))
    faults = [f"{file}: {fault}" for file, fault in zip(files, found) if isinstance(fault, str)]
    if faults:
        raise CorpusError("\n".join([f"{len(faults)} of {len(files)} files are unusable:", *faults[:3]]))
    return found


def _samples_or_fault(path: Path) -> int | str:
    import soundfile

    empty = "no samples; remove it, or fetch it again"
    if path.stat().st_size == 0:
        return empty
    try:
        with soundfile.SoundFile(str(path)) as sound:
            if sound.frames == 0:
                return empty
            if sound.samplerate != SAMPLE_RATE or sound.channels != 1:
                return (
                    f"{sound.channels} channel(s), {sound.samplerate} Hz; needed is mono at {SAMPLE_RATE} Hz: "
                    f"ffmpeg -i FILE -ac 1 -ar {SAMPLE_RATE} NEW.wav"
                )
            return sound.frames if _has_its_end(sound) else "the end is missing; fetch or unpack it again"
    except soundfile.LibsndfileError as error:
        return f"not readable as audio ({error.error_string}); fetch or unpack it again"


def _has_its_end(sound: SoundFile) -> bool:
    import soundfile

    # libsndfile takes a short WAV for what is there, and only notes it in its log.
    short = re.search(r"^data : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
    if short and int(short[2]) < int(short[1]) < UNKNOWN_SIZE:
        return False
    try:
        # The header of a FLAC or MP3 file tells its length also when the end is missing.
        sound.seek(sound.frames - 1)
        return len(sound.read(1)) == 1
    except soundfile.LibsndfileError:
        return False


def load(path: Path) -> Tensor:
    """Read a sound file as (T',), in [-1, 1].

    Raises:
        UsageError: it has NaN or infinite samples.
    """
    import soundfile
    import torch

    wav = torch.from_numpy(soundfile.read(str(path), dtype="float32")[0])
    if not wav.isfinite().all():
        raise UsageError(f"{path} has NaN or infinite samples; remove it")
    return wav


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
