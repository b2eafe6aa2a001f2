"""Folders as the Hugging Face `datasets` library saves them, and Parquet files: rows, and the sound that is in them.

- ``Dataset.save_to_disk`` and ``DatasetDict.save_to_disk``: ``state.json`` and Arrow files, in a folder for each split.
- Parquet files, as the hub has them: ``train-00000-of-00001.parquet``, with ``data/`` or ``train/`` before it.

A sound file that is within one of these files has the path ``FILE/ROW/NAME``, which no file on a disk can have. It is
written out where it is needed, see `extract`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import CorpusError, UsageError
from ..files import read_json, write_whole

PARQUET, ARROW = ".parquet", ".arrow"
_SPLIT = re.compile(r"(train|dev|validation|valid|val|test)(?![a-z])")
_BATCH = 64  # rows in memory, with their sound


def is_dataset(path: Path) -> bool:
    """Tell whether a path is such a folder or file; nothing is read."""
    if path.is_file():
        return path.suffix.lower() == PARQUET
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return saved or any(next(path.glob(pattern), None) for pattern in (f"*{PARQUET}", f"*/*{PARQUET}"))


def read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read rows as a table would have them: plain columns, labels by their names, sound as ``path``, and ``split``.

    Raises:
        UsageError: pyarrow is not there.
        CorpusError: a file is damaged, or a folder that was saved lacks one.
    """
    for file, split in _files(path):
        number = 0
        for batch, names in _batches(file):
            sound = _sound_column(batch.schema)
            plain = [field.name for field in batch.schema if field.name != sound and _is_plain(field.type)]
            rows = batch.select(plain).to_pylist()
            clips = batch.column(sound).to_pylist() if sound else [None] * len(rows)
            for cells, clip in zip(rows, clips):
                cells = {name: _value(value, names.get(name)) for name, value in cells.items()}
                if sound:
                    cells["path"] = _path(file, number, clip or {})
                elif "path" not in cells and isinstance(cells.get("audio"), str):
                    cells["path"] = cells["audio"]
                if split and "split" not in cells and "fold" not in cells:
                    cells["split"] = split
                number += 1
                yield f"{file}:{number}", cells


def is_within(path: Path) -> bool:
    """Tell whether a sound file is within one of these files; whether that has such a row, nobody looks."""
    container = path.parent.parent
    return container.suffix.lower() in (PARQUET, ARROW) and container.is_file()


def extract(paths: Collection[Path], folder: Path) -> dict[Path, Path]:
    """Write sound files that are within others into a folder, each by its content, once.

    Returns:
        Where each is now.
    """
    wanted: dict[Path, dict[int, Path]] = {}
    for path in paths:
        wanted.setdefault(path.parent.parent, {})[int(path.parent.name)] = path
    found = {}
    for file, rows in wanted.items():
        number = 0
        for batch, _ in _batches(file):
            here = [row - number for row in rows if number <= row < number + batch.num_rows]
            column = batch.column(_sound_column(batch.schema))
            for row in here:
                data, path = column[row].as_py()["bytes"], rows[row + number]
                target = folder.resolve() / f"{hashlib.sha256(data).hexdigest()[:24]}{path.suffix}"
                if not target.is_file():
                    write_whole(target, data)
                found[path] = target
            number += batch.num_rows
    return found


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """List the files with rows, each with the split that its place tells, if any."""
    if path.is_file():
        yield path, _split_of(path.name)
    elif (path / "dataset_dict.json").is_file():
        for split in read_json(path / "dataset_dict.json")["splits"]:
            yield from ((file, split) for file in _saved(path / split))
    elif (path / "state.json").is_file():
        yield from ((file, "") for file in _saved(path))
    else:
        for file in sorted([*path.glob(f"*{PARQUET}"), *path.glob(f"*/*{PARQUET}")]):
            yield file, _split_of(file.name) or _split_of(file.parent.name)


def _saved(folder: Path) -> list[Path]:
    files = [folder / data["filename"] for data in read_json(folder / "state.json")["_data_files"]]
    lost = [file for file in files if not file.is_file()]
    if lost:
        raise CorpusError(f"{folder}: state.json names {lost[0].name}, which is not there; save the data set again")
    return files


def _split_of(name: str) -> str:
    match = _SPLIT.match(name.lower())
    return match[1] if match else ""


def _batches(file: Path) -> Iterator[tuple[Any, dict[str, list[str]]]]:
    """Read a file in pieces, each with the names of its columns' labels."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"--table: {file} is read with pyarrow: pip install 's3prl-fusion[datasets]' ({error})"
        ) from error
    try:
        if file.suffix.lower() == PARQUET:
            with pyarrow.parquet.ParquetFile(file) as source:
                names = _label_names(source.schema_arrow)
                yield from ((batch, names) for batch in source.iter_batches(_BATCH))
        else:
            with pyarrow.memory_map(str(file)) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
                names = _label_names(stream.schema)
                for batch in stream:
                    pieces = range(0, batch.num_rows, _BATCH)
                    yield from ((batch.slice(start, _BATCH), names) for start in pieces)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{file}: damaged ({str(error).splitlines()[0]}); fetch or save it again") from error


def _label_names(schema: Any) -> dict[str, list[str]]:
    """Find the names of labels, which are numbers in the rows, in what `datasets` notes beside a schema."""
    noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = (noted.get("info") or {}).get("features") or {}
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def _sound_column(schema: Any) -> str | None:
    """Find the column of sound: of bytes and path. Of several, that called ``audio``."""
    import pyarrow

    found = [
        field.name
        for field in schema
        if pyarrow.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}
    ]
    return "audio" if "audio" in found else next(iter(found), None)


def _is_plain(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
        return types.is_string(kind) or types.is_large_string(kind)
    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_floating)
    return any(check(kind) for check in checks)


def _value(value: Any, names: list[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else ""  # -1 is no label there


def _path(file: Path, row: int, clip: dict[str, Any]) -> str:
    name = clip.get("path") or ""
    if clip.get("bytes") is None:
        return name and str(file.parent / name)
    return str(file.absolute() / str(row) / (Path(name).name or f"{file.stem}-{row}.wav"))
