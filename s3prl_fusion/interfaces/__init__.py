"""Interfaces: each file in this folder, but ``base``, is one, and its name is the interface's name."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any, Sequence

from ..errors import unknown

if TYPE_CHECKING:
    from .base import Interface

DEFAULT_INTERFACE = "hconv"


def list_interfaces() -> list[str]:
    """The known interfaces' names, sorted. Imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def interface_class(name: str) -> type[Interface]:
    """The class behind an interface's name.

    Raises:
        ValueError: the name is unknown; the message lists what is known and what is near.
    """
    if name not in list_interfaces():
        raise ValueError(unknown("interface", name, list_interfaces()))
    base = import_module(f"{__name__}.base").Interface
    module = import_module(f"{__name__}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    assert len(classes) == 1, f"{module.__file__} must define one Interface, not {len(classes)}"
    return classes[0]


def interface_options(name: str) -> list[str]:
    """The keyword options of an interface, beyond layers, dims and output_dim."""
    parameters = inspect.signature(interface_class(name)).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def build_interface(
    name: str, layers: Sequence[int], dims: Sequence[int], output_dim: int | None = None, **options: Any
) -> Interface:
    """Builds an interface.

    Args:
        name: one of `list_interfaces`.
        layers: number of hidden states of each member, e.g. (13, 7).
        dims: width of each member, e.g. (768, 512).
        output_dim: width of the result; ``None`` is the interface's own choice.
        **options: the interface's own, see its class.

    Returns:
        A module that maps, per member, its layers' (B, T, D_i) states to (B, T, output_dim).

    Raises:
        ValueError: the name or an option is unknown, or layers and dims do not fit.
    """
    cls = interface_class(name)
    for option in options:
        if option not in interface_options(name):
            raise ValueError(unknown(f"option of the interface {name}", option, interface_options(name)))
    return cls(layers, dims, output_dim, **options)
