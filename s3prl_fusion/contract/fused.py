"""Members that keep to the contract each, together under their interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from ..config import FusionConfig
from ..featurizer import FusionFeaturizer
from ..upstreams.fused import FusedUpstream
from ..upstreams.outputs import are_finite
from .findings import FAILS, OK, Finding, explained
from .probe import noise_of

SECONDS = (1.0, 2.0)


def fused(fusion: FusionConfig, members: Sequence[nn.Module], device: str = "cpu") -> Finding:
    """Fuse members with an untrained interface, and look at the features of a batch of two utterances."""
    try:
        upstream = FusedUpstream(replace(fusion, cache=None), members).to(device).eval()
        featurizer = FusionFeaturizer(upstream, upstream_device=device).to(device).eval()
        wavs = noise_of(SECONDS, device)
        with torch.no_grad():
            features = featurizer(wavs, upstream(wavs))
    except Exception as error:  # of whatever kind a member's code raises
        return Finding("features", FAILS, explained(error))
    shapes = [tuple(feature.shape) for feature in features]
    said = f"{fusion.interface.name}: {' and '.join(f'{frames} frames x {width}' for frames, width in shapes)}"
    said += f", for {' and '.join(f'{length:g} s' for length in SECONDS)}"
    if are_finite(features):
        return Finding("features", OK, said, {"seconds": SECONDS, "shapes": shapes})
    return Finding("features", FAILS, f"{said}, with NaN or infinity", {"seconds": SECONDS, "shapes": shapes})
