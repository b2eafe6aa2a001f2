"""What torch.load may build from a checkpoint where it is told to load weights only: tensors and plain containers, and
what is allowed here."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Callable, Sequence

from ..patches import Patches
from .shim import Shim

# None of these runs code of a checkpoint's choosing when it is built. fairseq keeps its settings as omegaconf objects;
# learning rates and statistics are often numpy numbers.
ALLOWED = (
    "argparse.Namespace",
    "builtins.dict",
    "builtins.int",
    "builtins.list",
    "collections.defaultdict",
    "pathlib.PosixPath",
    "typing.Any",
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(f"omegaconf.nodes.{kind}Node" for kind in "Any Boolean Bytes Enum Float Integer Path String".split()),
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.dtypes.{kind}DType" for kind in ("Bool", "Int32", "Int64", "UInt32", "Float32", "Float64")),
)
# numpy 2 moved the two: older checkpoints name them where they were, newer ones where they are.
_REBUILDERS = ("scalar", "_reconstruct")
_HOMES = ("numpy.core.multiarray", "numpy._core.multiarray")


def allow(patches: Patches, allowed: Sequence[Any]) -> None:
    """Let torch.load build more kinds of objects, besides the ones that are allowed already.

    Args:
        patches: takes them back.
        allowed: classes or functions.
    """
    import torch

    before = torch.serialization.get_safe_globals()
    added = [item for item in allowed if item not in before]
    if not added:
        return
    torch.serialization.add_safe_globals(added)

    def undo() -> None:
        kept = [item for item in torch.serialization.get_safe_globals() if item not in added]
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(kept)

    patches.add(undo)


def _allow_settings(patches: Patches) -> None:
    import numpy

    multiarray = getattr(numpy, "_core", None) or numpy.core
    moved = [_called(getattr(multiarray.multiarray, name), home, name) for name in _REBUILDERS for home in _HOMES]
    found = [item for item in map(_look_up, ALLOWED) if hasattr(item, "__name__")]  # torch 2.5 asks for it
    allow(patches, [*found, *moved])


def _called(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """Give a function the name that a checkpoint has for it; torch from 2.6 on takes pairs, torch 2.5 does not."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, call.__name__, call.__qualname__ = module, name, name
    return call


def _look_up(name: str) -> Any:
    """Return what a dotted name names, or None where the package or a version of it lacks it."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute, None)
    except ImportError:
        return None


SHIMS = (
    Shim(
        "torch.load's allow-list",
        "torch 2.6 and later load weights only, and torch 2.5 does when told to; checkpoints of s3prl and of its "
        "upstreams hold settings too",
        "https://github.com/pytorch/pytorch/releases/tag/v2.6.0",
        "torch.load(",
        lambda: True,
        _allow_settings,
    ),
)
