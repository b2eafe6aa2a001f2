"""Tell s3prl_fusion when s3prl is imported: so that s3prl's own scripts know fused upstreams, and find what they need.

A copy of this file in an environment's site-packages is imported when Python starts there: see `s3prl-fusion hook -h`,
which has put it there and takes it away. S3PRL_FUSION_HOOK=0 switches it off.
"""

import os
import sys

TYPE_CHECKING = False  # importing typing would make every start of Python slower
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

PACKAGE = "s3prl"
WATCHED = (
    *("s3prl.hub", "s3prl.dataio", "s3prl.dataio.corpus.base"),
    *("s3prl.nn.upstream", "s3prl.downstream.runner", "s3prl.problem.base"),
)


class Hook:
    """A finder that finds nothing itself, but has a word with the loaders of what others find."""

    @classmethod
    def find_spec(
        cls, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name != PACKAGE and name not in WATCHED:
            return None
        for finder in sys.meta_path:
            if finder is cls or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader and hasattr(spec.loader, "exec_module"):
                    _with_us(spec.loader, name)
                return spec
        return None


def _with_us(loader: "Loader", name: str) -> None:
    exec_module = loader.exec_module

    def exec_and_attach(module: "ModuleType") -> None:
        exec_module(module)
        _unless_it_fails(_attach, module)

    def supply_and_exec(module: "ModuleType") -> None:
        _unless_it_fails(_supply, module)
        exec_module(module)

    loader.exec_module = supply_and_exec if name == PACKAGE else exec_and_attach  # type: ignore[method-assign]


def _supply(module: "ModuleType") -> None:
    from s3prl_fusion.host import shims

    shims.supply()


def _attach(module: "ModuleType") -> None:
    from s3prl_fusion.host.register import attach

    attach(module)


def _unless_it_fails(function: "Callable[[ModuleType], None]", module: "ModuleType") -> None:
    """Let s3prl go on, whatever is wrong with s3prl_fusion, as if it were not there; one message is enough."""
    if Hook not in sys.meta_path:
        return
    try:
        function(module)
    except Exception as error:
        sys.meta_path.remove(Hook)
        print(
            f"s3prl_fusion's hook does not work: {error!r}; {module.__name__} knows no fused upstreams. "
            "`s3prl-fusion hook remove` takes it away, S3PRL_FUSION_HOOK=0 switches it off",
            file=sys.stderr,
        )


if os.environ.get("S3PRL_FUSION_HOOK") != "0":
    sys.meta_path.insert(0, Hook)
