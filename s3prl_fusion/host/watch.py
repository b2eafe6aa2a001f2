"""Whoever imports s3prl in a process that has imported s3prl_fusion finds what s3prl needs, also before `register`.

Torchaudio 2.9, for one, lacks what s3prl.hub calls when it is imported. Imported with s3prl_fusion itself, so this file
imports nothing but what Python has started with.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "s3prl"


class Watch:
    """A finder that finds nothing itself, but has a word with the loader of what others find; gone after that."""

    _asking = False

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find s3prl, or the part of it that is imported, by the others, and supply its needs before it runs."""
        if name.partition(".")[0] != PACKAGE or cls._asking:
            return None
        cls._asking = True  # a finder of another kind may ask the others too, and so us
        try:
            found = (finder.find_spec(name, path, target) for finder in sys.meta_path if hasattr(finder, "find_spec"))
            spec = next(filter(None, found), None)
        finally:
            cls._asking = False
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            exec_module = spec.loader.exec_module

            def supply_and_exec(module: ModuleType) -> None:
                cls.supply()
                exec_module(module)

            spec.loader.exec_module = supply_and_exec  # type: ignore[method-assign]
        return spec

    @classmethod
    def supply(cls) -> None:
        """Supply what is missing, once; what cannot be supplied is said, and left to s3prl to stumble over."""
        if cls not in sys.meta_path:
            return
        sys.meta_path.remove(cls)
        try:
            import_module(f"{__package__}.shims").supply()
        except Exception as error:  # whatever is wrong with another package
            print(f"s3prl_fusion: {error}", file=sys.stderr)


def watch() -> None:
    """Begin to."""
    if Watch not in sys.meta_path:
        sys.meta_path.insert(0, Watch)
