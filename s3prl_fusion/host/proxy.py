"""torch, or another module, as s3prl's runner sees it."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class Proxy(ModuleType):
    """A module some of whose attributes are replaced, for whoever holds the proxy; the module stays as it is."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__)
        vars(self).update(replaced, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_module"], name)
