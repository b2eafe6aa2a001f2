"""s3prl's downloads of checkpoints, mended: whole or not kept.

Stock takes the end of a connection for the end of a file (s3prl/util/download.py:84), and half a file for the whole one
ever after.
"""

from __future__ import annotations

import shutil
import sys
import time
import zipfile
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from ..errors import MissingFileError
from ..files import whole_file
from .patches import Patches
from .weights import ZIP, damage

ATTEMPTS = 2
SILENT_SECONDS = 60  # of a server, until an attempt counts as broken off
_AGENT = {"User-Agent": "torch.hub"}  # as s3prl's
_FAILURES = (OSError, HTTPException, ValueError)  # ValueError: of what is no URL


class Downloads:
    """What s3prl takes from its download folder, or puts there, while this is in use.

    Args:
        patches: take it back.
    """

    def __init__(self, patches: Patches) -> None:
        from s3prl.util import download

        self._urls: dict[Path, str] = {}
        patches.set(download, "_download", self._download)

    def _download(self, filepath: Path, url: str, refresh: bool, new_enough_secs: float = 2.0) -> None:
        """Do as s3prl's function of this name."""
        self._urls[Path(filepath)] = url
        fetch_once(url, Path(filepath), new_enough_secs if refresh else None)

    def remove_broken(self) -> bool:
        """Remove the files in use that are not what the server has, and tell whether there was one; they are fetched
        when they are asked for again."""
        broken = [path for path, url in self._urls.items() if path.is_file() and _is_broken(path, url)]
        for path in broken:
            _remove(path)
        return bool(broken)

    @property
    def files(self) -> list[Path]:
        """The files in use."""
        return list(self._urls)


def fetch_once(url: str, path: Path, refresh_after: float | None = None) -> None:
    """Download a file unless it is there; one process of several does, and the others wait.

    Args:
        url: its address.
        path: its place; what lacks its end counts as not there.
        refresh_after: seconds after which it is fetched anew; None for never.

    Raises:
        MissingFileError: it cannot be had; the message says why.
    """
    from filelock import FileLock

    path.parent.mkdir(exist_ok=True, parents=True)
    with FileLock(f"{path}.lock"):
        if path.is_file() and _lacks_its_end(path):
            _remove(path)
        if not path.is_file() or (refresh_after is not None and time.time() - path.stat().st_mtime > refresh_after):
            _fetch_whole(url, path)


def _fetch_whole(url: str, path: Path) -> None:
    """Download a file, whole or not at all; what breaks off is begun again once."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch(url, path)
        except _FAILURES as error:
            why = str(error)
            if attempt < ATTEMPTS:
                print(f"{url}: {why}; once more", file=sys.stderr)
    raise MissingFileError(
        f"{url} cannot be fetched: {why}. Nothing of it is kept; try again later, or put the file yourself at {path}"
    )


def _fetch(url: str, path: Path) -> None:
    from tqdm import tqdm

    with urlopen(Request(url, headers=_AGENT), timeout=SILENT_SECONDS) as response, whole_file(path) as temporary:
        size = _size(response)
        with tqdm.wrapattr(response, "read", total=size, desc=path.name[-40:]) as source, open(temporary, "wb") as file:
            shutil.copyfileobj(source, file)
        received = temporary.stat().st_size
        if size is not None and received != size:
            raise OSError(f"the connection broke off after {received:,} of {size:,} bytes")


def _size(response: Any) -> int | None:
    length = response.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _lacks_its_end(path: Path) -> bool:
    """Tell in no time whether a file is cut off, as far as its kind shows it: PyTorch's are ZIP files, whose directory
    is their end."""
    with path.open("rb") as file:
        start = file.read(len(ZIP))
    return not start or (start == ZIP and not zipfile.is_zipfile(path))


def _is_broken(path: Path, url: str) -> bool:
    """Tell whether a file is damaged, by its checksums if it has any, else by its size on the server."""
    if _lacks_its_end(path):
        return True
    if zipfile.is_zipfile(path):
        return bool(damage(path))
    with suppress(*_FAILURES), urlopen(Request(url, headers=_AGENT, method="HEAD"), timeout=SILENT_SECONDS) as response:
        return _size(response) not in (None, path.stat().st_size)
    return False


def _remove(path: Path) -> None:
    print(f"{path} is damaged, as by a download that broke off: it is removed, and fetched again", file=sys.stderr)
    path.unlink(missing_ok=True)
