"""Fused upstreams whose members come from s3prl's hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from ..config import FusionConfig
from ..devices import check_device
from ..featurizer import FusionFeaturizer
from ..identity import describe
from ..upstreams import fused
from . import shared
from .members import code, load_members


class FusedUpstream(fused.FusedUpstream):
    """`upstreams.fused.FusedUpstream` that loads its members from s3prl's hub.

    Example:
        >>> import s3prl_fusion as sf
        >>> upstream = sf.FusedUpstream(sf.FusionConfig.from_name("fused__fbank__mfcc"))
        >>> upstream.get_downsample_rates("hidden_states")
        160

    Args:
        fusion: what is fused.
        members: the upstreams themselves, where they are loaded already.

    Raises:
        UserError: a member cannot be what the fusion says; raised before any is loaded.
    """

    def __init__(self, fusion: FusionConfig, members: Sequence[nn.Module] | None = None) -> None:
        if members is None:
            super().__init__(fusion, load_members(fusion), describe(fusion, code(fusion)))
            shared.tell(self)
        else:
            super().__init__(fusion, members)


def load_pair(fusion: FusionConfig, device: str = "cpu") -> tuple[FusedUpstream, FusionFeaturizer | None]:
    """Load an upstream and, with untrained weights, its interface, in evaluation mode and without a cache.

    Args:
        fusion: what is fused; a stock upstream has no interface here, as its featurizer is s3prl's own.
        device: where to run.
    """
    check_device(device)
    upstream = FusedUpstream(replace(fusion, cache=None)).to(device).eval()
    return upstream, None if fusion.stock else FusionFeaturizer(upstream, upstream_device=device).to(device).eval()
