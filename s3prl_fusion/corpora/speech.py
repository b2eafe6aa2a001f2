"""The sound of a user's own corpus, as recipes want it: a file an utterance, mono at 16 kHz, called by its name.

A file that is so already is linked to; what is a part of a file, or in another form, is written once, as FLAC.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio import decode, raise_faults
from ..decoding import Fault, Form, form
from ..errors import CorpusError
from ..files import link_or_copy, reading_threads, whole_folder, write_whole
from ..identity import digest
from ..waveforms import SAMPLE_RATE
from . import arrow
from .table import Utterance

if TYPE_CHECKING:
    import numpy as np

EXTRACTED = "extracted"  # below that: sound that was within a file of rows, as it is there
SPEECH = "speech"  # below the folder of what is prepared: what was cut or converted, whatever the task
LATE = 0.1  # seconds that an utterance may end after its file does
_STAMP = ".made_of"
_TIMES = "times are seconds within the file; correct the rows"
_DECODERS = 4  # a thread has a whole recording in memory


def place(utterances: Sequence[Utterance], folder: Path, convert: bool) -> dict[str, Path]:
    """Give each utterance a file of its own, mono at 16 kHz.

    Args:
        utterances: of a table.
        folder: what is written goes there, a file for each content: what is there is not written again.
        convert: whether files in another form are converted.

    Returns:
        By the utterances' names, absolute.

    Raises:
        CorpusError: files are unusable, or in another form and not to be converted; or a time is not within its file.
    """
    within = [utterance.file for utterance in utterances if arrow.is_within(utterance.file)]
    extracted = arrow.extract(within, folder / EXTRACTED) if within else {}
    utterances = [replace(row, file=extracted.get(row.file, row.file)) for row in utterances]
    by_file: dict[Path, list[Utterance]] = {}
    for utterance in utterances:
        by_file.setdefault(utterance.file, []).append(utterance)
    forms = _forms(list(by_file))
    others = [file for file, found in forms.items() if not found.is_speech]
    if others and not convert:
        raise CorpusError(
            f"{len(others)} of {len(forms)} sound files are not mono at {SAMPLE_RATE} Hz, first {others[0]}: "
            f"{forms[others[0]]}; give --convert, which writes them so once, and leaves yours as they are"
        )
    placed: dict[str, Path] = {}
    to_write: dict[Path, dict[Utterance, Path]] = {}
    for file, rows in by_file.items():
        for row in rows:
            _check_times(row, forms[file])
            if forms[file].is_speech and row.start is None and row.end is None:
                placed[row.name] = file
                continue
            placed[row.name] = target = folder.resolve() / f"{_key(row)}.flac"
            if not target.is_file():
                to_write.setdefault(file, {})[row] = target
    _write(to_write)
    return placed


def _forms(files: Sequence[Path]) -> dict[Path, Form]:
    faults: dict[Path, str] = {}

    def look(file: Path) -> Form | None:
        try:
            return form(file)
        except Fault as fault:
            faults[file] = str(fault)
            return None

    with reading_threads() as pool:
        found = dict(zip(files, pool.map(look, files)))
    raise_faults({file: faults[file] for file in files if file in faults}, len(files))
    return {file: of for file, of in found.items() if of is not None}


def _check_times(row: Utterance, of: Form) -> None:
    latest = row.end if row.end is not None else row.start or 0.0
    if latest > of.seconds + LATE or (row.start or 0.0) >= of.seconds:
        raise CorpusError(f"{row.where}: {row.file} has {of.seconds:.2f} s, and the row ends at {latest:g}; {_TIMES}")


def _key(row: Utterance) -> str:
    """Tell one piece of sound from another: by its file, as that is now, and the times."""
    stat = row.file.stat()
    made_of = [str(row.file.resolve()), stat.st_size, stat.st_mtime_ns, row.start, row.end]
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:24]


def _write(to_write: Mapping[Path, Mapping[Utterance, Path]]) -> None:
    from tqdm import tqdm

    if not to_write:
        return
    with ThreadPoolExecutor(max_workers=min(_DECODERS, os.cpu_count() or 1)) as pool:
        written = pool.map(lambda item: _write_parts(*item), to_write.items())
        list(tqdm(written, total=len(to_write), desc="sound that is cut or converted", leave=False))


def _write_parts(file: Path, parts: Mapping[Utterance, Path]) -> None:
    import soundfile

    wav, rate = decode(file)
    for row, target in parts.items():
        start, end = round((row.start or 0.0) * rate), len(wav) if row.end is None else round(row.end * rate)
        out = io.BytesIO()
        soundfile.write(out, to_speech(wav[start:end], rate), SAMPLE_RATE, subtype="PCM_16", format="FLAC")
        write_whole(target, out.getvalue())


def to_speech(wav: np.ndarray, rate: int) -> np.ndarray:
    """Average the channels of (T', channels), and bring (T',) to 16 kHz, within [-1, 1]."""
    from scipy.signal import resample_poly

    mono = wav.mean(axis=1)
    if rate != SAMPLE_RATE:
        shared = math.gcd(rate, SAMPLE_RATE)
        mono = resample_poly(mono, SAMPLE_RATE // shared, rate // shared, window=("kaiser", 8.6))  # 86 dB down
    return mono.clip(-1.0, 1.0).astype("float32")


def lay_out(folder: Path, links: Mapping[str, Path], texts: Mapping[str, str] | None = None) -> None:
    """Make a folder of links to sound files, and of small texts; it appears whole, and is left alone where it is so.

    Args:
        folder: what else is in it is removed.
        links: file by the path in the folder.
        texts: content by the path in the folder.
    """
    texts = texts or {}
    stamp = digest([{name: str(path) for name, path in links.items()}, texts])
    if _is_there(folder, links, stamp):
        return
    with whole_folder(folder, unless=lambda: _is_there(folder, links, stamp)) as draft:
        for parent in {(draft / name).parent for name in links}:
            parent.mkdir(parents=True, exist_ok=True)
        for name, path in links.items():
            _link(path, draft / name)
        for name, text in texts.items():
            write_whole(draft / name, text)
        write_whole(draft / _STAMP, stamp)


def _is_there(folder: Path, names: Collection[str], stamp: str) -> bool:
    with contextlib.suppress(OSError):
        return (folder / _STAMP).read_text() == stamp and all((folder / name).is_file() for name in names)
    return False


def _link(path: Path, link: Path) -> None:
    try:
        link.symlink_to(path)
    except OSError:  # a system, or a disk, without such links
        link_or_copy(path, link)
