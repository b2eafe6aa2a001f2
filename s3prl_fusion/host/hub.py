"""s3prl's hub, and which s3prl it is."""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from ..errors import HostError, UsageError, unknown
from . import shims
from .defined import definitions

HOSTS = ("s3prl", "espnet-s3prl")  # distributions with a module named s3prl


def hub() -> ModuleType:
    """Import s3prl's hub module.

    Raises:
        HostError: s3prl cannot be imported; the message says why and what to install.
    """
    shims.supply()
    try:
        with quiet_torchaudio(), _quiet_espnet():
            from s3prl import hub as module
    except ImportError as error:
        raise HostError(
            f"s3prl cannot be imported: {error}. Install what s3prl_fusion declares: "
            "pip install --upgrade s3prl-fusion; `s3prl-fusion doctor` says what is wrong"
        ) from error
    return module


@cache
def entry_files() -> dict[str, Path]:
    """Find the hubconf.py of each entry of s3prl's hub by the text of its files: importing them takes seconds.

    What comes to the hub in another way than as a function in such a file is not found.
    """
    root, found = s3prl_folder(), {}
    for node in ast.parse((root / "hub.py").read_bytes()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("s3prl."):
            file = root.joinpath(*node.module.split(".")[1:]).with_suffix(".py")  # type: ignore[union-attr]
            wanted = [alias.name for alias in node.names]
            names = [name for name, of in definitions(file).items() if not of.is_class and not name.startswith("_")]
            found.update({name: file for name in names if wanted == ["*"] or name in wanted})
    return found


def s3prl_folder() -> Path:
    """Find s3prl's package folder, without importing it.

    Raises:
        HostError: s3prl is not installed.
    """
    spec = find_spec("s3prl")
    if spec is None or spec.origin is None:
        raise HostError("s3prl is not installed; pip install --upgrade s3prl-fusion installs it and what it needs")
    return Path(spec.origin).resolve().parent


def check_downstream(name: str) -> None:
    """Raise UsageError for what is none of s3prl's downstreams, which it imports by that name."""
    recipes = {file.parent.name for file in (s3prl_folder() / "downstream").glob("*/expert.py")}
    if name not in recipes:
        raise UsageError(unknown("downstream", name, recipes))


def host_version() -> str:
    """Tell which s3prl Python sees: distribution, version and path."""
    path = s3prl_folder()
    version = (path / "version.txt").read_text().strip()
    installed = [found for found in map(_distribution, HOSTS) if found]
    here = [found for found in installed if Path(str(found.locate_file("s3prl"))).resolve() == path]
    # Installed both, the two share a folder: the files there are of the one that was installed last.
    for found in sorted(here, key=lambda found: _numbers(found.version) != _numbers(version)):
        return f"{found.name} {found.version} ({path})"
    return f"s3prl {version} from a source checkout ({path})"


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


@contextmanager
def quiet_torchaudio() -> Iterator[None]:
    """Hide what torchaudio 2.8 says, in four lines a function, of functions that s3prl calls and 2.9 will not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchaudio|torio")
        warnings.filterwarnings("ignore", category=UserWarning, message=r".*torchaudio\._backend")
        yield


@contextmanager
def _quiet_espnet() -> Iterator[None]:
    """Hide that ESPnet is not installed: its own upstream says it again when it is asked for."""
    logger = logging.getLogger("s3prl.upstream.espnet_hubert.expert")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
