"""Where the files that ship with the package lie: data in a wheel, top-level folders in a checkout."""

from __future__ import annotations

from pathlib import Path

from .errors import MissingFileError

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


def demo_dir() -> Path:
    """Find the demo's recordings (``corpus/``) and trained tiny models (``upstreams/``)."""
    return _asset_dir("demo")
