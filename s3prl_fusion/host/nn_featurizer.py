"""The fusion featurizer for s3prl's newer interface, s3prl.nn, which s3prl.problem (s3prl-main) and ESPnet use."""

from __future__ import annotations

from collections.abc import Sequence

from s3prl.nn.upstream import Featurizer, S3PRLUpstream
from torch import Tensor, nn

from ..errors import UsageError
from ..featurizer import FusionCore


class FusionNNFeaturizer(FusionCore, Featurizer):
    """s3prl.nn's Featurizer (s3prl/nn/upstream.py:210) for a fused upstream: an interface instead of a sum.

    ``output_size`` and ``downsample_rate`` are as there.

    Args:
        upstream: an S3PRLUpstream around a fused upstream.
        layer_selections: refused, as members have layers of their own.
        normalize: layer norm of every hidden state first; the fusion's ``normalize`` does the same.

    Raises:
        UsageError: layers are selected.
    """

    def __init__(
        self, upstream: S3PRLUpstream, layer_selections: Sequence[int] | None = None, normalize: bool = False
    ) -> None:
        if layer_selections is not None:
            raise UsageError(
                f"a fused upstream has no common layers {list(layer_selections)}; leave layer_selections out and give "
                "each member its `layers` in a fusion YAML"
            )
        FusionCore.__init__(self, upstream.upstream, normalize)
        self._output_size = self.interface.output_dim
        self._downsample_rate = upstream.upstream.get_downsample_rates("hidden_states")

    @property
    def weights(self) -> nn.Parameter:
        """A weighted sum's weights, which ESPnet plots; other interfaces have none."""
        return self.interface.get_parameter("weights")

    def forward(self, all_hs: Sequence[Tensor], all_lens: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Fuse hidden states.

        Args:
            all_hs: the upstream's hidden states, each (B, T, D_i).
            all_lens: for each of them its utterances' frames, (B,).

        Returns:
            (B, T, output_size), and the frames, (B,).
        """
        return self.fuse(all_hs), all_lens[0]
