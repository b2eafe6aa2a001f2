"""Capacity control: the best single member with as many trained parameters as a set, so that none wins by its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ..config import FusionConfig
from ..costs import count_parameters
from ..schema import LARGEST_WIDTH
from .costs import MemberCost, interface_of

NEAR = 0.02  # of the wanted parameters


def control(single: FusionConfig, cost: MemberCost, wanted: int, head: Callable[[int], int]) -> FusionConfig | None:
    """Widen what an interface gives to the head until both together have so many parameters.

    Args:
        single: one member under an interface.
        cost: what is known of the member.
        wanted: trained parameters, of interface and head.
        head: parameters of the head for features of a width, see `head_of`.

    Returns:
        The same fusion with an ``output_dim``; None where it has as many as wanted already, or no width comes near.
    """

    def trained(width: int | None) -> tuple[int, int]:
        with torch.device("meta"):  # shapes are enough
            interface = interface_of([cost], replace(single.interface, output_dim=width))
        return count_parameters(interface) + head(interface.output_dim), interface.output_dim

    parameters, width = trained(single.interface.output_dim)
    if parameters >= (1 - NEAR) * wanted:
        return None
    low, high = width, LARGEST_WIDTH
    while high - low > 1:  # trained grows with the width
        middle = (low + high) // 2
        low, high = (middle, high) if trained(middle)[0] <= wanted else (low, middle)
    best = min((low, high), key=lambda width: abs(trained(width)[0] - wanted))
    if abs(trained(best)[0] - wanted) > NEAR * wanted:
        return None
    return replace(single, interface=replace(single.interface, output_dim=best))


def head_of(ckpt: Path, rate: int) -> Callable[[int], int]:
    """Tell how many parameters the head of a trained run would have for features of other widths.

    It is built twice: heads begin with linear maps of the features, so that two widths tell of all.

    Args:
        ckpt: a checkpoint of the run, or its folder.
        rate: samples a frame of its features.
    """
    from ..host.load import head_parameters

    one, two = head_parameters(ckpt, rate, (64, 128))
    slope = (two - one) // 64
    return lambda width: one + slope * (width - 64)
