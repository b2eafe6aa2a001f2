"""Interfaces: each file in this folder, but ``base``, is one, and its name is the interface's name.

A user's own interface is named ``module:Class``, where ``module`` can be imported or is the path of a Python file.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Sequence

from ..errors import KindError, UsageError, unknown, within
from ..imports import is_own, load_object

if TYPE_CHECKING:
    from .base import Interface

DEFAULT_INTERFACE = "lowrank"


def list_interfaces() -> list[str]:
    """List the known interfaces' names, sorted, and import none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def interface_class(name: str) -> type[Interface]:
    """Find the class behind an interface's name, or behind ``module:Class``.

    Raises:
        UsageError: the name is unknown; the message lists what is known and what is near.
        KindError: the class is not an `Interface`.
    """
    if not is_own(name) and name not in list_interfaces():
        raise UsageError(unknown("interface", name, list_interfaces()) + ", or module:Class for one of your own")
    base = import_module(f"{__name__}.base").Interface
    if is_own(name):
        return _users_class(name, base)
    module = import_module(f"{__name__}.{name}")
    classes = _interfaces_in(module, base)
    assert len(classes) == 1, f"{module.__file__} must define one Interface, not {len(classes)}"
    return next(iter(classes.values()))


def _interfaces_in(module: ModuleType, base: type[Interface]) -> dict[str, type[Interface]]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    }


def _users_class(name: str, base: type[Interface]) -> type[Interface]:
    found, _ = load_object("interface", name, base, "put the file beside the fusion YAML, ")
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise KindError(f"interface {name!r} must be a subclass of s3prl_fusion.Interface; got {found!r}")
    return found


def interface_options(name: str) -> dict[str, Any]:
    """List the keyword options of an interface, beyond layers, dims and output_dim, with their defaults."""
    parameters = inspect.signature(interface_class(name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def build_interface(
    name: str, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, **options: Any
) -> Interface:
    """Build an interface.

    Example:
        >>> sf.build_interface("hconv", layers=(13, 7), dims=(768, 512)).output_dim
        768

    Args:
        name: one of `list_interfaces`, or ``module:Class``.
        layers: number of hidden states of each member, e.g. (13, 7).
        dims: width of each member, e.g. (768, 512).
        output_dim: width of the result; ``None`` is the interface's own choice.
        **options: the interface's own, see its class.

    Returns:
        A module that maps, per member, its layers' (B, T, D_i) states to (B, T, output_dim).

    Raises:
        UsageError: the name or an option is unknown, or layers and dims do not fit.
        KindError: a user's own class does not say its width.
    """
    cls = interface_class(name)
    for option in options:
        if option not in interface_options(name):
            raise UsageError(unknown(f"option of the interface {name}", option, interface_options(name)))
    try:
        interface = cls(layers, dims, output_dim, **options)
    except (ValueError, TypeError) as error:
        raise within(f"interface {name}: ", error) from error
    if not isinstance(getattr(interface, "output_dim", None), int):
        raise KindError(f"interface {name!r} must set self.output_dim, the width of its result, in its constructor")
    return interface
