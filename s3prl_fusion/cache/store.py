"""A folder of hidden states: DIR/<fingerprint>/<two digits of the key>/<key>.safetensors, and a member.json for people.

One file an utterance. Measured with 13 x (499, 768) in float16 in the page cache (AMD EPYC 9004, one thread), processor
time to float32: safetensors, mapped into memory, 1.4 ms, and 2.6 ms more for the checksum; LMDB 0.9 and the same. Files
win for what LMDB lacks: several machines can write them to a network's disk, and each can be copied or removed.
"""

from __future__ import annotations

import os
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import UsageError
from ..files import read_json, sealed, write_whole
from ..schema import TEXT, Section, several, whole
from .config import CacheConfig

MEMBER_FILE = "member.json"
SUFFIX = ".safetensors"
GB = 10**9
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")  # nothing else in the folder is ours
_ABOUT = Section({"name": TEXT, "dtype": TEXT}, {"layers": several(whole(-(2**31)))}, others=True)
# With max_gb the folder is measured again whenever this process has added so much of it: others write there too.
RECOUNT = 0.01
# Files that a process keeps mapped once it has read and checked them. Linux lets it map 65,530; the memory is the page
# cache's, which all processes share.
MAPPED = 20_000


class DamagedFile(ValueError):
    """A stored file is not what was written."""


class Disk:
    """Whether this process may write below a cache's folder; one for all members of a fusion.

    Attributes:
        writing: False from the first refusal on: a full disk, no permission, ``max_gb``.
        written: bytes of files that this process has stored.
        mapped: what it has read, by the file; up to `MAPPED` of them.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.root = config.path
        self.writing = True
        self.written = 0
        self.mapped: dict[Path, dict[str, Tensor]] = {}
        self._limit = None if config.max_gb is None else config.max_gb * GB
        self._used = 0
        self._counted_at: int | None = None
        self._said: set[str] = set()

    def write(self, path: Path, data: bytes) -> bool:
        """Store a file, whole or not at all; False, after one warning, where nothing may be written (any more)."""
        if not self.writing or not self._has_room(len(data)):
            return False
        try:
            write_whole(path, data)
        except FileNotFoundError:  # its folder was cleared in this very moment
            return False
        except OSError as error:
            self._stop(f"cannot be written to: {error}")
            return False
        self.written += len(data)
        return True

    def _has_room(self, size: int) -> bool:
        if self._limit is None:
            return True
        if self._counted_at is None or self.written - self._counted_at >= RECOUNT * self._limit:
            self._used, self._counted_at = sum(size for _, size in stored(self.root)), self.written
        if self._used + self.written - self._counted_at + size <= self._limit:
            return True
        self._stop(f"has reached its max_gb, {self._limit / GB:g}")
        return False

    def _stop(self, why: str) -> None:
        self.writing = False
        self.warn_once("full", f"the cache {self.root} {why}. Nothing more is stored; what is there is still used")

    def warn_once(self, kind: str, message: str) -> None:
        """Warn unless this has been called with the same ``kind``."""
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(message, RuntimeWarning, stacklevel=2)


class MemberStore:
    """The files of one member.

    Args:
        disk: what may be written.
        fingerprint: the folder's name.
        about: what its member.json says.
    """

    def __init__(self, disk: Disk, fingerprint: str, about: Mapping[str, Any]) -> None:
        self.disk, self.about = disk, about
        self.folder = disk.root / fingerprint
        self._described = False

    def path(self, key: str) -> Path:
        """Return where an utterance's states are, or would be."""
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def read(self, key: str) -> dict[str, Tensor] | None:
        """Return an utterance's tensors, mapped into memory; None where there are none.

        A file is read and checked once. A damaged one is reported, removed, and counts as none.
        """
        path, mapped = self.path(key), self.disk.mapped
        if path in mapped:
            return mapped[path]
        tensors = self._read(path)
        if tensors is not None and len(mapped) < MAPPED:
            mapped[path] = tensors
        return tensors

    def _read(self, path: Path) -> dict[str, Tensor] | None:
        try:
            return read_file(path)
        except FileNotFoundError:
            return None
        except (DamagedFile, OSError) as error:
            self.disk.warn_once(str(path), f"{error}; it is computed anew")
            with suppress(OSError):
                path.unlink()
            return None

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> bool:
        """Store an utterance's tensors; False where nothing may be written."""
        if not self.disk.writing:
            return False
        if not self._described:
            self._described = True
            if _about(self.folder)[0] is None:
                self.disk.write(self.folder / MEMBER_FILE, sealed(self.about).encode())
        return self.disk.write(self.path(key), save(dict(tensors), {"crc32": _checksum(tensors)}))


def read_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a stored file, mapped into memory.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is not what was written.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            checksum = (file.metadata() or {}).get("crc32")
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{path} is damaged: {error}") from error
    if checksum != _checksum(tensors):
        raise DamagedFile(f"{path} is damaged: its checksum is another")
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Digest names, types, shapes and values."""
    crc = 0
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def stored(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the stored files below a folder and their sizes in bytes, in no order, also while others come and go."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from stored(Path(entry.path))
            elif entry.name.endswith(SUFFIX):
                with suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat().st_size


@dataclass(frozen=True)
class Stored:
    """What a cache has of one member.

    Attributes:
        folder: where it is.
        about: its member.json; None where that is gone or damaged, which the states in the folder do not need.
        fault: then a line about it.
        sizes: of its files, in bytes.
    """

    folder: Path
    about: Mapping[str, Any] | None
    fault: str
    sizes: Sequence[int]

    @property
    def name(self) -> str:
        """The member's name and dtype, as far as they are known."""
        return f"{self.about['name']}, {self.about['dtype']}" if self.about else "unknown member"


def members(root: Path) -> list[Stored]:
    """Return what a cache's folder has."""
    folders = sorted(path for path in root.iterdir() if _FINGERPRINT.fullmatch(path.name) and path.is_dir())
    return [Stored(folder, *_about(folder), [size for _, size in stored(folder)]) for folder in folders]


def _about(folder: Path) -> tuple[dict[str, Any] | None, str]:
    file, advice = folder / MEMBER_FILE, "the states beside it are used all the same, and `cache clear` removes them"
    try:
        about = read_json(file, _ABOUT, advice)
    except (UsageError, OSError) as error:
        return None, str(error)
    return (about, "") if about else (None, f"{file} is gone; {advice}")
