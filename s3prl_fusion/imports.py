"""A user's own objects, named as ``module:Name``, where ``module`` can be imported or is the path of a Python file.

Who named them is looked at before: see `permissions`.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import sysconfig
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from . import permissions
from .errors import UsageError, unknown


def is_own(name: str) -> bool:
    """Tell whether a name is of that form."""
    return ":" in name


def load_object(kind: str, name: str, wanted: type, advice: str = "") -> tuple[Any, ModuleType]:
    """Import an object.

    Args:
        kind: what it is, for messages, e.g. ``"interface"``.
        name: ``module:Name`` or ``path/to/file.py:Name``.
        wanted: what the module's objects are listed by, where the name is unknown: subclasses or instances of this.
        advice: what else to do where the module cannot be imported.

    Returns:
        The object, which may be of any kind, and its module.

    Raises:
        UsageError: the module cannot be imported, or has no such name.
    """
    where, _, attribute = name.rpartition(":")
    try:
        module = _module_at(str(Path(where).resolve())) if where.endswith(".py") else _module_called(where)
    except (ImportError, OSError, ValueError, SyntaxError) as error:
        raise UsageError(
            f"{kind} {name!r}: {where!r} cannot be imported ({error}); {advice}give the file's path "
            "(path/to/file.py:Name), or add its folder to PYTHONPATH"
        ) from error
    if not hasattr(module, attribute):
        raise UsageError(f"{kind} {name!r}: " + unknown("name", attribute, _objects_in(module, wanted)))
    return getattr(module, attribute), module


def _objects_in(module: ModuleType, wanted: type) -> list[str]:
    found = {name: value for name, value in vars(module).items() if value is not wanted}
    return [
        name
        for name, value in found.items()
        if (issubclass(value, wanted) if isinstance(value, type) else isinstance(value, wanted))
    ]


def _module_called(name: str) -> ModuleType:
    package = name.partition(".")[0]
    if name not in sys.modules and package != __package__ and importlib.util.find_spec(package):
        say(name)
    return import_module(name)


def say(where: str, place: str = "") -> None:
    """Say on the screen whose code runs, and where it lies, and note that it was named."""
    permissions.remember(where)
    print(f"[s3prl_fusion] runs the code of {where}{place and f' ({place})'}", file=sys.stderr, flush=True)


@functools.cache
def _module_at(path: str) -> ModuleType:
    name = f"{Path(path).stem}_{zlib.crc32(path.encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    if Path(path).is_file():
        say(path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with beside(Path(path).parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Let code import what lies in its folder by its plain name, until the block ends; two folders may each have a
    module of one name."""
    if folder in [Path(entry).resolve() for entry in sys.path]:
        yield
        return
    hidden = {file.stem: sys.modules.pop(file.stem) for file in folder.glob("*.py") if _is_others(file.stem)}
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in set(sys.modules) - before if _lies_in(folder, name)]:
            del sys.modules[name]
        sys.modules.update(hidden)


def _lies_in(folder: Path, name: str) -> bool:
    """Tell whether a module, by its plain name, came from a folder."""
    file, top = Path(getattr(sys.modules[name], "__file__", None) or "/"), name.partition(".")[0]
    return any(path in (folder / top, folder / f"{top}.py") for path in (file, *file.parents))


def _is_others(name: str) -> bool:
    """Tell whether a module of this name is there, from a single file that is not the standard library's."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and Path(file).stem == name and Path(sysconfig.get_path("stdlib")) != Path(file).parent
