"""Folders in s3prl's layout, which s3prl itself sees only after an edit of its hub: imported where they lie.

A folder becomes a package below ``s3prl.upstream``, so that its relative imports lead to its own files, and
``from ..interfaces import UpstreamBase`` to s3prl's. Its code is the user's, and not confined as s3prl's is.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ..imports import beside, say
from ..upstreams.references import EXPERT, EXPERT_CLASS, HUBCONF, Reference
from .hub import hub
from .patches import Patches

_PARENT = "s3prl.upstream"


def find(reference: Reference, origin: str = "") -> Any:
    """Import what a folder's name means: the class of its expert.py, or what its hubconf.py calls so.

    Args:
        reference: it.
        origin: the repository of the hub that it was fetched from.
    """
    assert reference.path is not None
    hub()  # what s3prl lacks is supplied from here on
    file, name = (HUBCONF, reference.attribute) if reference.attribute else (EXPERT, EXPERT_CLASS)
    # In a download of huggingface_hub every file is a link to another folder: the folder alone is resolved.
    return getattr(_module(reference.path.resolve(), Path(file).stem, origin), name)


@cache
def _module(folder: Path, stem: str, origin: str) -> ModuleType:
    name = f"{_PARENT}.{folder.name.replace('.', '_')}_{zlib.crc32(str(folder).encode()):08x}"
    with beside(folder):
        try:
            if name not in sys.modules:
                say(origin or str(folder), str(folder) if origin else "")
                _make_package(name, folder)
            return importlib.import_module(f"{name}.{stem}")
        except BaseException:
            for part in [part for part in sys.modules if part == name or part.startswith(f"{name}.")]:
                del sys.modules[part]
            raise


def _make_package(name: str, folder: Path) -> None:
    file = folder / "__init__.py"
    if file.is_file():
        spec = spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    if spec.loader is not None:
        spec.loader.exec_module(module)


@contextmanager
def own_hooks() -> Iterator[None]:
    """Let s3prl's UpstreamBase evaluate the paths of hooks as it does itself: they stand in the user's own code."""
    interfaces, patches = importlib.import_module(f"{_PARENT}.interfaces"), Patches()
    patches.set(interfaces, "eval", builtins.eval)
    try:
        yield
    finally:
        patches.undo()
