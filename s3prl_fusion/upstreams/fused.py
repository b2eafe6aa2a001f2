"""Several frozen upstreams that look like one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Sequence

from torch import Tensor, nn

from ..cache.states import caches_of
from ..identity import describe
from .aligned import AlignedMembers, fetch

if TYPE_CHECKING:
    from ..config import FusionConfig


class FusedUpstream(AlignedMembers):
    """The hidden states of all members, on the frame grid of the fastest one, from the cache where there is one.

    Nothing here learns: what does is in `s3prl_fusion.FusionFeaturizer`.

    Args:
        fusion, members: see `aligned.AlignedMembers`.
        made_of: the fusion's description; made here where nobody knows more, see `identity.describe`.

    Attributes:
        made_of: its description.
        caches: one a member where the fusion has a ``cache``, else none.
        crop_samples: length of the random crops that it is trained on; the caches do not store these. The host sets it.

    Raises:
        UserError: see `aligned.AlignedMembers`.
    """

    fusion: FusionConfig

    def __init__(
        self, fusion: FusionConfig, members: Sequence[nn.Module], made_of: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(fusion, members)
        self.made_of = describe(fusion) if made_of is None else made_of
        self.caches = caches_of(fusion)
        self.crop_samples: int | None = None
        self.register_load_state_dict_post_hook(_forget_caches)

    def outputs(self, wavs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Return each member's states for its own waveforms; what is in no cache is computed."""
        if not self.caches:
            return self.run_all(wavs)

        def compute(i: int, batch: Sequence[Tensor]) -> list[Tensor]:
            config = self.fusion.members[i]
            states = fetch(self.own_states(i, self.run_member(i, batch), batch), config, batch[0].device)
            self.check_finite(i, states, batch)
            return states

        return [
            cache(self.members[i], partial(compute, i), wavs[i], self.crop_samples)
            for i, cache in enumerate(self.caches)
        ]


def _forget_caches(module: FusedUpstream, incompatible_keys: object) -> None:
    for cache in module.caches:
        cache.forget()
