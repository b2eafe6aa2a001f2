"""Kaldi-style folders: wav.scp, segments, text, utt2spk, and the same by any label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import CorpusError
from .lines import read_lines

SPLITS = ("train", "dev", "test")
# A file of `UTTERANCE VALUE` lines -> the column that it is.
COLUMNS = {"text": "text", "utt2spk": "speaker", "utt2label": "label", "utt2lang": "label"}
FORM = "DIR/train, DIR/dev and DIR/test, each with wav.scp and what the task needs: text, utt2spk, utt2label; segments"


def read(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a folder with `SPLITS`, as a table would have them.

    Raises:
        CorpusError: it has another form, a line lacks something, wav.scp has a command, or an utterance is there twice
            or in no wav.scp.
    """
    splits = [split for split in SPLITS if (folder / split / "wav.scp").is_file()]
    if not splits:
        raise CorpusError(f"--table: {folder} has no train/wav.scp; a Kaldi-style folder has {FORM}")
    for split in splits:
        yield from _read_split(folder / split, split)


def _read_split(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    recordings = _values(folder / "wav.scp")
    for where, path in recordings.values():
        if path.endswith("|"):
            raise CorpusError(f"{where}: a command is not run here; make sound files, and name them")
    segments = _values(folder / "segments")
    told = {name: _values(folder / file) for file, name in COLUMNS.items() if (folder / file).is_file()}
    for utterance, (where, value) in (segments or recordings).items():
        cells = {"id": utterance, "split": split}
        if segments:
            recording, *times = value.split()
            if len(times) != 2 or recording not in recordings:
                raise CorpusError(f"{where}: got {value!r}, expected 'RECORDING START END', a recording of wav.scp")
            cells.update(path=recordings[recording][1], start=times[0], end=times[1])
        else:
            cells["path"] = value
        cells.update({name: values[utterance][1] if utterance in values else "" for name, values in told.items()})
        yield where, cells
    for values in told.values():
        lost = [where for utterance, (where, _) in values.items() if utterance not in (segments or recordings)]
        if lost:
            raise CorpusError(f"{lost[0]}: of no utterance of {folder / ('segments' if segments else 'wav.scp')}")


def _values(path: Path) -> dict[str, tuple[str, str]]:
    """Read lines of `NAME VALUE`, the value and where it stands by name; none where there is no such file."""
    found: dict[str, tuple[str, str]] = {}
    for where, line in read_lines(path) if path.is_file() else ():
        name, *rest = line.split(maxsplit=1)
        if name in found:
            raise CorpusError(f"{where}: {name} is there twice, the first at {found[name][0]}; remove one")
        found[name] = (where, rest[0] if rest else "")
    return found
