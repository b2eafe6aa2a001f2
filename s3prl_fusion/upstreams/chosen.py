"""Which of a member's hidden states are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..errors import UsageError
from .frames import hidden_states

if TYPE_CHECKING:
    from .aligned import Member


def check_layers(member: Member, count: int) -> None:
    """Refuse layers that a member of ``count`` hidden states does not have, or that are one and the same.

    Raises:
        UsageError: says which it has.
    """
    layers = member.layers or ()
    for layer in layers:
        if not -count <= layer < count:
            raise UsageError(f"member {member.name!r} has hidden states 0 to {count - 1}; its layers ask for {layer}")
    if len({layer % count for layer in layers}) < len(layers):
        raise UsageError(
            f"member {member.name!r} has {count} hidden states, of which its layers name one twice: {[*layers]}"
        )


def all_states(output: Any, name: str) -> list[Tensor]:
    """List the hidden states of what a member gives.

    Raises:
        UsageError: it gives none.
    """
    if not isinstance(output, Mapping) or "hidden_states" not in output:
        given = f"only {sorted(output)}" if isinstance(output, Mapping) else f"but a {type(output).__name__}"
        raise UsageError(f"member {name!r} gives no hidden_states, {given}; it cannot be fused")
    return hidden_states(output)


def chosen_states(output: Any, member: Member) -> list[Tensor]:
    """List the hidden states of what a member gives, of the layers that its config asks for.

    Raises:
        UsageError: it gives none, or lacks one.
    """
    states = all_states(output, member.name)
    if member.layers is None:
        return states
    check_layers(member, len(states))
    return [states[layer] for layer in member.layers]
