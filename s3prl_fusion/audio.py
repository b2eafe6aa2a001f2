"""Speech as upstreams want it: mono, 16 kHz, floating point. All sound files are found and read here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .decoding import Fault, length, read
from .errors import CorpusError, MissingFileError, UsageError
from .files import reading_threads, walk

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".sph", ".w64", ".rf64")
# Sound that is not read here, but that a folder may hold in place of what is.
OTHER_SUFFIXES = tuple(".m4a .m4b .aac .mp4 .mp2 .wma .webm .weba .mka .amr .3gp .caf .ac3 .ape .wv .ra .shn".split())


def find_sounds(folder: Path) -> list[Path]:
    """List the sound files below a folder, sorted; of what is not read here only files without a converted sibling.

    See `files.walk` for what is hidden or linked.
    """
    found = [path for path in walk(folder) if path.suffix.lower() in (*SUFFIXES, *OTHER_SUFFIXES)]
    read = {path.with_suffix("") for path in found if path.suffix.lower() in SUFFIXES}
    return sorted(p for p in found if p.suffix.lower() in SUFFIXES or p.with_suffix("") not in read)


def find_files(paths: Sequence[str | Path]) -> dict[Path, Path]:
    """Find the sound files among files and folders, which are searched below, and name each: by its path below the
    folder given, or its own name, without the suffix. None is opened.

    Raises:
        MissingFileError: a path is not there, or a folder has no sound file.
        UsageError: two files would be called the same.
    """
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = {file: file.relative_to(path) for file in find_sounds(path)}
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
    return files


def count_samples(files: Sequence[Path], what: str, speech: bool = True) -> list[int]:
    """Return each file's length in samples. Several threads look at the files, under a progress bar called `what`.

    Raises:
        CorpusError: files cannot be read, are empty, lack their end, or, of ``speech``, are not mono at 16 kHz; the
            message counts them and names the first three.
    """
    found = _look_at(files, what, speech)
    raise_faults({file: fault for file, fault in zip(files, found) if isinstance(fault, str)}, len(files))
    return [length for length in found if isinstance(length, int)]


def find_faults(files: Iterable[Path], what: str) -> dict[Path, str]:
    """Return what `count_samples` would raise, by file."""
    files = list(files)
    return {file: fault for file, fault in zip(files, _look_at(files, what)) if isinstance(fault, str)}


def raise_faults(faults: dict[Path, str], count: int, named: int = 3) -> None:
    """Raise CorpusError where there are faults, which counts them among `count` files and names the first of them."""
    if faults:
        lines = [f"{file}: {fault}" for file, fault in faults.items()]
        raise CorpusError("\n".join([f"{len(faults)} of {count} files are unusable:", *lines[:named]]))


def _look_at(files: Sequence[Path], what: str, speech: bool = True) -> list[int | str]:
    from tqdm import tqdm

    look = _samples_or_fault if speech else partial(_samples_or_fault, speech=False)
    with reading_threads() as pool:
        return list(tqdm(pool.map(look, files), total=len(files), desc=what, leave=False))


def _samples_or_fault(path: Path, speech: bool = True) -> int | str:
    try:
        return length(path, speech)
    except Fault as fault:
        return str(fault)


def load(path: str | os.PathLike[str]) -> Tensor:
    """Read a sound file as (T',), in [-1, 1].

    Raises:
        CorpusError: as for `count_samples`, or it has NaN or infinite samples; the message names it.
    """
    import torch

    return torch.from_numpy(decode(path, speech=True)[0][:, 0])


def decode(path: str | os.PathLike[str], speech: bool = False) -> tuple[np.ndarray, int]:
    """Read a sound file: (T', channels) float32, in [-1, 1], and the rate in Hz; ``speech`` is mono, at 16 kHz.

    Raises:
        CorpusError: as for `load`.
    """
    try:
        return read(Path(path), speech)
    except Fault as fault:
        raise CorpusError(f"{path}: {fault}") from fault
