"""The opt-in hook: s3prl's own scripts know fused upstreams in one Python environment, with no change to their code."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from ..errors import HostError
from ..files import write_whole

MODULE = "_s3prl_fusion_hook"
SWITCH = "S3PRL_FUSION_HOOK"
_STARTUP = Path(__file__).with_name("startup.py")


def folder() -> Path:
    """Find this environment's site-packages."""
    return Path(sysconfig.get_path("purelib"))


def install(site_packages: Path) -> None:
    """Put the hook into a site-packages folder, or the present version in place of another.

    Raises:
        HostError: the folder cannot be written to.
    """
    try:
        # The .pth comes last: it must never name a module that is not there.
        write_whole(site_packages / f"{MODULE}.py", _STARTUP.read_text(encoding="utf-8"))
        write_whole(site_packages / f"{MODULE}.pth", f"import {MODULE}\n")
    except OSError as error:
        remove(site_packages)
        raise HostError(
            f"cannot write to {site_packages}: {error}. Use a virtual environment of your own (python -m venv), "
            "or start runs with `s3prl-fusion run`, which needs no hook"
        ) from error


def remove(site_packages: Path) -> list[Path]:
    """Take the hook and every trace of it away; return the files that were there.

    Raises:
        HostError: a file cannot be removed.
    """
    files = [site_packages / f"{MODULE}.pth", site_packages / f"{MODULE}.py"]
    files += sorted((site_packages / "__pycache__").glob(f"{MODULE}.*.pyc"))
    present = [file for file in files if file.exists()]
    try:
        for file in present:
            file.unlink()
    except OSError as error:
        raise HostError(f"cannot remove {file}: {error}; remove it as its owner") from error
    return present


def status(site_packages: Path) -> str:
    """Tell people in one line whether it is installed, where, of this version, and switched on."""
    module, pth = site_packages / f"{MODULE}.py", site_packages / f"{MODULE}.pth"
    if not (module.is_file() and pth.is_file()):
        return f"not installed in {site_packages}"
    state = f"switched off by {SWITCH}=0" if os.environ.get(SWITCH) == "0" else "on"
    if module.read_text(encoding="utf-8") != _STARTUP.read_text(encoding="utf-8"):
        state += ", of another version of s3prl_fusion: install it again"
    return f"installed in {site_packages}: {state}"
