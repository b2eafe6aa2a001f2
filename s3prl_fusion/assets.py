"""Where the files that ship with the package lie: data in a wheel, top-level folders in a checkout."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import KindError, MissingFileError

_PACKAGE = Path(__file__).resolve().parent


def _asset_dir(name: str) -> Path:
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise MissingFileError(
        f"s3prl_fusion's folder {name!r} is neither in {_PACKAGE} nor in {_PACKAGE.parent}; "
        "install the package again (pip install --force-reinstall s3prl-fusion) or use a complete checkout"
    )


def downstream_configs_dir() -> Path:
    """Find the recipes' YAML files, dictionaries and vocabularies."""
    return _asset_dir("downstream_configs")


def own_file(value: str | None, shipped: str) -> Path | None:
    """Return the file of the user's that a recipe's config names in the place of a shipped one; it need not exist.

    Args:
        value: the path in the config.
        shipped: the name of a file in `downstream_configs_dir`.

    Returns:
        None where the shipped one is meant: by no value, its bare name, and the paths that configs have for it,
        ``/path/to/NAME``, s3prl's ``./downstream/...`` and that of another environment, where there is no such file.
    """
    if not value:
        return None
    if not isinstance(value, str):
        raise KindError(f"a recipe's config must name a file in the place of {shipped}; got {value!r}")
    path = Path(value)
    if path.is_file():
        return None if path.resolve() == (downstream_configs_dir() / shipped).resolve() else path
    usual = rf"(.*/)?(path/to|downstream/\w+(/vocab)?|downstream_configs)/{re.escape(shipped)}"
    return None if value == shipped or re.fullmatch(usual, path.as_posix()) else path


def demo_dir() -> Path:
    """Find the demo's recordings (``corpus/``) and trained tiny models (``upstreams/``)."""
    return _asset_dir("demo")
