"""Files of weights, read whole and without running anything that is in them: members' checkpoints and the runner's."""

from __future__ import annotations

import functools
import os
import pickle
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import torch

from .. import permissions
from ..errors import MissingFileError, UsageError

ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # how torch's files begin: since 1.6, and before


class Damaged(UsageError):
    """A file that is not as it was written, or never was one of torch's."""


def read_weights(path: str | os.PathLike[str], mmap: bool = False, trusted: bool = False, **options: Any) -> Any:
    """Read what torch.save wrote: tensors, plain containers, and settings of the kinds in `shims.checkpoints`.

    Args:
        path: the file.
        mmap: tensors are read when they are used, for who wants few of them.
        trusted: it may hold anything, as if the user had allowed it.
        **options: more of torch.load's.

    Raises:
        MissingFileError: there is no such file.
        Damaged: it is not as it was written, or of another kind.
        UsageError: it holds objects whose code would run.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"the checkpoint {path} does not exist; correct the path")
    is_zip = _starts_with(path, ZIP)
    found = damage(path) if is_zip else ""
    if found:
        raise Damaged(f"{path} is damaged: {found}; fetch or copy it again, or remove it")
    options = {"map_location": "cpu", **options, **({"mmap": True} if mmap and is_zip else {})}
    if trusted or permissions.is_allowed(path, within=False):
        return torch.load(path, **options, weights_only=False)
    if is_zip and _is_torchscript(path):
        raise _refusal(path, "it is a TorchScript archive, a program and not weights")
    if not is_zip and tarfile.is_tarfile(path):
        raise _refusal(path, "it is in torch's oldest format, tar, of which torch before 2.6 runs code")
    try:
        return torch.load(path, **options, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # what torch raises for a file that is none, or is cut short, depends on its bytes
        if isinstance(error, pickle.UnpicklingError) and (is_zip or _starts_with(path, _PICKLE)):
            raise _refusal(path, _reason(error)) from error
        what = "it is no file of torch.save" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise Damaged(f"{path} cannot be read as a checkpoint: {what}; fetch or copy it again, or remove it") from error


def is_whole(path: str | os.PathLike[str]) -> bool:
    """Tell whether a checkpoint, such as the runner writes, is there and undamaged, whatever is in it."""
    if not zipfile.is_zipfile(path):  # told without reading all of it
        return False
    try:
        read_weights(path, mmap=True)
    except Damaged:
        return False
    except UsageError:
        pass
    return True


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _is_torchscript(path: Path) -> bool:
    """Tell whether torch.load would hand a file to torch.jit.load, as torch 2.5 does whatever weights_only says."""
    try:
        return "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records()
    except RuntimeError:  # torch.load says why it is none
        return False


def damage(path: Path) -> str:
    """Say what the checksums of a ZIP file find; nothing where it is whole, or has none."""
    stat = path.stat()
    return _damage(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _damage(path: Path, size: int, changed: int) -> str:
    """Say what the checksums find that torch.save wrote with every record, and torch.load does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(record.CRC for record in archive.infolist()):  # torch.serialization.set_crc32_options(False)
                return ""
            record = archive.testzip()
    except Exception as error:  # zipfile raises what a wrong byte makes it stumble over
        return _first_line(error) or type(error).__name__
    return f"the checksum of {record} is another" if record else ""


def _refusal(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is not read: {reason}. If you trust who made it, allow it: {permissions.allowing(path)} (in Python: "
        f"the environment variable {permissions.VARIABLE}); docs/security.md says how to convert it"
    )


def _reason(error: Exception) -> str:
    """Pick from torch's ten lines of advice what was found."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return f"it holds {found[1] if found else 'objects'}, which is more than weights: loading it would run code"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
