"""The fusion featurizer: everything that learns, in the place where run_downstream expects s3prl's Featurizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from . import checkpoint
from .errors import KindError, UsageError
from .interfaces import build_interface
from .interfaces.base import by_member
from .upstreams.fused import FusedUpstream
from .upstreams.outputs import TOLERABLE_SEQLEN_DIFF
from .waveforms import SAMPLE_RATE

_PREFIX = "interface."  # in the state dict that torch makes of a FusionCore


class FusionCore(nn.Module):
    """What both of s3prl's kinds of featurizer share for a fused upstream: the interface, and its state.

    The state dict is the interface's, without a prefix: a weighted sum over one member is ``{"weights": (L,)}``, so it
    loads from and into checkpoints of the stock Featurizer. Its metadata remembers the fusion, see `checkpoint`.

    Args:
        upstream: a `FusedUpstream` that has been run at least once. Its ``fusion`` configures the interface.
        normalize: layer norm of every hidden state first; the fusion's ``normalize`` does the same.

    Attributes:
        fusion: the upstream's, as it takes effect here.
        interface: everything that learns.
    """

    def __init__(self, upstream: FusedUpstream, normalize: bool = False) -> None:
        nn.Module.__init__(self)  # whatever other bases a subclass has
        config = upstream.fusion.interface
        self.layers, self.dims = list(upstream.layers), list(upstream.dims)
        self.interface = build_interface(config.name, self.layers, self.dims, config.output_dim, **config.options)
        self.normalize = normalize or upstream.fusion.normalize
        self.fusion = replace(upstream.fusion, normalize=self.normalize)
        self.made_of = {**upstream.made_of, **({"normalize": True} if self.normalize else {})}
        self._register_state_dict_hook(_drop_prefix)
        self.register_load_state_dict_pre_hook(_add_prefix)

    def members(self, hidden_states: Sequence[Tensor]) -> list[list[Tensor]]:
        """Group the flat list of a `FusedUpstream`'s hidden states, each (B, T, D_i), as the interface takes it.

        Raises:
            UsageError: there are more or fewer states than when the featurizer was made.
        """
        if len(hidden_states) != sum(self.layers):
            raise UsageError(
                f"the featurizer was made for {self.layers} hidden states of its members; got {len(hidden_states)} in "
                "all (in ESPnet, set multilayer_feature: true)"
            )
        return by_member(hidden_states, self.layers, self.normalize)

    def fuse(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Fuse the flat list of a `FusedUpstream`'s hidden states, each (B, T, D_i), to (B, T, output_dim)."""
        return self.interface(self.members(hidden_states))


class FusionFeaturizer(FusionCore):
    """s3prl's Featurizer (s3prl/upstream/interfaces.py:134) for a `FusedUpstream`: an interface instead of a sum.

    Example:
        >>> upstream = sf.FusedUpstream(sf.FusionConfig.from_name("fused__fbank__mfcc"))
        >>> wavs = [torch.randn(16000)]
        >>> (features,) = sf.FusionFeaturizer(upstream)(wavs, upstream(wavs))
        >>> features.shape
        torch.Size([98, 240])

    Args:
        upstream: a `FusedUpstream`, or one wrapped for distributed training. Its ``fusion`` configures the interface.
        feature_selection: run_downstream's ``-s``; a fused upstream has ``"hidden_states"`` only.
        upstream_device: where the upstream is.
        layer_selection: run_downstream's ``-l``; refused, as members have layers of their own.
        normalize: run_downstream's ``--upstream_feature_normalize``; the fusion's ``normalize`` does the same.

    Attributes:
        fusion: the upstream's, as it takes effect here; it goes into every state dict, see `checkpoint`.
        output_dim: width of the features.
        downsample_rate: samples a frame.

    Raises:
        KindError: the upstream is not a fused one.
        UsageError: a selection that a fused upstream does not have; on loading, a state of another fusion.
    """

    def __init__(
        self,
        upstream: nn.Module,
        feature_selection: str = "hidden_states",
        upstream_device: str | torch.device = "cpu",
        layer_selection: int | None = None,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        upstream = getattr(upstream, "module", upstream)
        if not isinstance(upstream, FusedUpstream):
            raise KindError(f"FusionFeaturizer needs a FusedUpstream; got {type(upstream).__name__}")
        check_selection(feature_selection, layer_selection)
        upstream.eval()
        # The stock featurizer draws this noise from the global generator too: so a downstream starts from the same
        # weights on either.
        with torch.no_grad():
            upstream.member_states([torch.randn(SAMPLE_RATE).to(upstream_device)], cached=False)
        super().__init__(upstream, normalize)
        self.output_dim = self.interface.output_dim
        self.downsample_rate = upstream.get_downsample_rates("hidden_states")

    def forward(self, wavs: Sequence[Tensor], features: dict[str, Sequence[Tensor]]) -> list[Tensor]:
        """Fuse, and cut each utterance to its own length.

        Args:
            wavs: B waveforms, each (T',).
            features: the upstream's output for them.

        Returns:
            B sequences of (T_i, output_dim), T_i = round(T' / downsample_rate) as the stock Featurizer counts, but at
            least one frame, and at most those that the upstream gives.

        Raises:
            UsageError: the upstream's frames and the waveforms' lengths differ by 5 frames or more, or the states are
                of another number of utterances.
        """
        fused = self.fuse(features["hidden_states"])
        if len(fused) != len(wavs):
            raise UsageError(f"{len(wavs)} waveforms, and hidden states of {len(fused)}; give those of the same batch")
        frames = [round(len(wav) / self.downsample_rate) for wav in wavs]
        if abs(fused.size(1) - max(frames)) >= TOLERABLE_SEQLEN_DIFF:
            raise UsageError(
                f"the upstream gives {fused.size(1)} frames for {max(map(len, wavs))} samples, which at "
                f"{self.downsample_rate} samples a frame should be {max(frames)}; check get_downsample_rates"
            )
        return [sequence[: max(1, length)] for sequence, length in zip(fused, frames)]


def check_selection(feature_selection: str, layer_selection: int | None) -> None:
    """Refuse run_downstream's ``-s`` and ``-l`` where a fused upstream has no such thing.

    Raises:
        UsageError: says what to use instead.
    """
    if feature_selection != "hidden_states":
        raise UsageError(f"a fused upstream has hidden_states only; got -s {feature_selection}. Leave -s out")
    if layer_selection is not None:
        raise UsageError(
            f"a fused upstream has no single layer {layer_selection}; leave -l out and give each member its `layers` "
            "in a fusion YAML (-u fused -g fusion.yaml)"
        )


def _drop_prefix(module: FusionCore, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    metadata[checkpoint.KEY] = checkpoint.record(module.fusion, module.made_of, module.layers, module.dims)
    _rename(state, prefix + _PREFIX, prefix)


def _add_prefix(module: FusionCore, state: dict[str, Any], prefix: str, metadata: dict[str, Any], *_: Any) -> None:
    checkpoint.check(metadata.get(checkpoint.KEY), module.fusion, module.made_of)
    _rename(state, prefix, prefix + _PREFIX)


def _rename(state: dict[str, Any], before: str, now: str) -> None:
    """Give every key that starts with ``before`` another start; all at once, as an interface's own modules may have any
    name."""
    renamed = {now + key[len(before) :]: state.pop(key) for key in list(state) if key.startswith(before)}
    state.update(renamed)
