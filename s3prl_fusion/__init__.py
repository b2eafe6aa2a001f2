"""s3prl_fusion: any set of frozen speech models as one s3prl upstream, and a trainable interface that fuses them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

# The names are looked up on first use, so that `import s3prl_fusion` loads neither torch nor s3prl.
_HOME = {
    "FusionConfig": "config",
    "MemberConfig": "config",
    "InterfaceConfig": "config",
    "FusedUpstream": "host.upstream",
    "WhisperUpstream": "upstreams.whisper",
    "FusionFeaturizer": "featurizer",
    "HostError": "errors",
    "UserError": "errors",
    "Interface": "interfaces.base",
    "build_interface": "interfaces",
    "list_interfaces": "interfaces",
    "register": "host.register",
    "unregister": "host.register",
    "load_experiment": "host.load",
    "resolve": "names",
}
__all__ = ["__version__", *_HOME]

# Whoever imports s3prl from now on finds what newer packages have dropped.
import_module(f"{__name__}.host.watch").watch()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
