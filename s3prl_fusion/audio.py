"""Speech as upstreams want it: mono, 16 kHz, floating point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16000
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def find_files(paths: Sequence[str | Path]) -> dict[Path, Path]:
    """The sound files among files and folders, which are searched below, and what to call each: its path below the
    folder given, or its name, without the suffix.

    Raises:
        FileNotFoundError: a path is not there, or a folder has no sound file.
        ValueError: two files would be called the same, or files are empty or not mono at 16 kHz; the first are named.
    """
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = {file: file.relative_to(path) for file in sorted(path.rglob("*")) if _is_sound(file)}
        else:
            found = {path: Path(path.name)} if path.is_file() else {}
        if not found:
            raise FileNotFoundError(f"{path} {'has no sound file in it' if path.is_dir() else 'does not exist'}")
        files.update({file: name.with_suffix("") for file, name in found.items()})
    sources: dict[Path, Path] = {}
    for file, name in files.items():
        if name in sources:
            advice = "remove one" if file.parent == sources[name].parent else "give the folder above both"
            raise ValueError(f"{sources[name]} and {file} would both be called {name}; {advice}")
        sources[name] = file
    wrong = [f"{file} ({fault})" for file in files for fault in [_fault(file)] if fault]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(files)} files are not mono at {SAMPLE_RATE} Hz or empty, e.g. {', '.join(wrong[:3])}"
            f"; remove or convert them: ffmpeg -i FILE -ac 1 -ar {SAMPLE_RATE} NEW.wav"
        )
    return files


def _is_sound(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _fault(path: Path) -> str | None:
    import soundfile

    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        return str(error)
    if info.frames == 0:
        return "no samples"
    fits = info.samplerate == SAMPLE_RATE and info.channels == 1
    return None if fits else f"{info.channels} channels, {info.samplerate} Hz"


def load(path: Path) -> Tensor:
    """A sound file as (T',), in [-1, 1].

    Raises:
        ValueError: it has NaN or infinite samples.
    """
    import soundfile
    import torch

    wav = torch.from_numpy(soundfile.read(str(path), dtype="float32")[0])
    if not wav.isfinite().all():
        raise ValueError(f"{path} has NaN or infinite samples; remove it")
    return wav


def check_wavs(wavs: Sequence[Tensor]) -> None:
    """Refuses what no upstream can use, naming the utterance's index.

    Raises:
        TypeError: an item is not a floating-point tensor.
        ValueError: there is no item, or one is not 1-D, is empty, or has NaN or infinity in it.
    """
    import torch

    if len(wavs) == 0:
        raise ValueError("the batch has no utterance; give a list of at least one waveform")
    for i, wav in enumerate(wavs):
        if not isinstance(wav, torch.Tensor) or not wav.is_floating_point():
            got = wav.dtype if isinstance(wav, torch.Tensor) else type(wav).__name__
            raise TypeError(f"utterance {i} must be a floating-point tensor in [-1, 1]; got {got}")
        if wav.dim() != 1:
            raise ValueError(f"utterance {i} must be 1-D, (samples,); got shape {tuple(wav.shape)}")
        if wav.numel() == 0:
            raise ValueError(f"utterance {i} is empty; remove it from the data")
    finite = torch.stack([wav.isfinite().all() for wav in wavs])
    if not finite.all():
        raise ValueError(f"utterance {int((~finite).nonzero()[0])} has NaN or infinite samples; check its file")
