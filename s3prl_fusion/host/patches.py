"""Changes to other people's modules that can be taken back."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

_MISSING = object()


class Patches:
    """A stack of changes, undone in reverse order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []

    def __bool__(self) -> bool:
        return bool(self._undo)

    def set(self, target: Any, name: str, value: Any) -> None:
        """Set an attribute."""
        before = vars(target).get(name, _MISSING)
        setattr(target, name, value)
        self.add(partial(delattr, target, name) if before is _MISSING else partial(setattr, target, name, before))

    def set_item(self, target: dict[str, Any], key: str, value: Any) -> None:
        """Set an entry of a dict, e.g. of ``sys.modules``."""
        before = target.get(key, _MISSING)
        target[key] = value
        self.add(partial(target.pop, key, None) if before is _MISSING else partial(target.__setitem__, key, before))

    def add(self, undo: Callable[[], Any]) -> None:
        """Note how to undo a change that was made elsewhere."""
        self._undo.append(undo)

    def undo(self) -> None:
        """Take every change back, the last one first."""
        while self._undo:
            self._undo.pop()()
