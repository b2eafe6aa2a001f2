"""The capacity control: is a gain more than trained parameters? The best single hconv, widened to as many."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from s3prl_fusion.config import FusionConfig, InterfaceConfig, MemberConfig
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.select.capacity import control
from s3prl_fusion.select.costs import MemberCost, interface_of
from s3prl_fusion.upstreams.entries import known

from .cells import Cell, Evidence

HCONV = InterfaceConfig("hconv")


def controls(evidence: Evidence, task: str) -> list[tuple[str, int]]:
    """Choose the controls of the sets that have been run under the default interface.

    Returns:
        Who, the set's best member under hconv by dev, and its `output_dim`; a pair a set that has one.
    """
    sets = [cell for cell in evidence.find(task, variants=[DEFAULT_INTERFACE]) if len(cell.members) > 1]
    if not sets:
        return []
    head, found = head_of(evidence.find(task, variants=["hconv"])), []
    for fused in sets:
        (member,) = evidence.best_single(task, fused.members, ["hconv"]).members
        single = FusionConfig((MemberConfig(member),), HCONV)
        wide = control(single, *sizes([member]), fused.trained, head)
        if wide and wide.interface.output_dim:
            found.append((member, wide.interface.output_dim))
    return list(dict.fromkeys(found))


def head_of(cells: Iterable[Cell]) -> Callable[[int], int]:
    """Tell how many parameters a task's head has for features of any width: as many more for each as runs of two widths
    tell.

    Args:
        cells: of the task, under hconv.
    """
    seen = {
        interface_of(sizes(cell.members), HCONV).output_dim: int(cell.runs["head_params"].iloc[0]) for cell in cells
    }
    (one, less), (other, more) = list(seen.items())[:2]
    slope = (more - less) // (other - one)
    return lambda width: less + slope * (width - one)


def sizes(members: Iterable[str]) -> list[MemberCost]:
    """Say what is known of members without loading them; what they cost is not."""
    found = [size for size in (known(member).size for member in members) if size]
    return [MemberCost(0.0, size.parameters, 0.0, size.layers, size.dim, size.downsample_rate) for size in found]
