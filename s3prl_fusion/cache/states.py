"""Frozen members' hidden states, computed once and kept on disk.

An utterance's states are found by a hash of its waveform, below a fingerprint of the member. They are what the member
gives for that utterance alone, in evaluation mode, rounded (`codec`): the same whether they were just computed or
read, in whatever batch. Nothing is kept in memory but counters, and files
that stay mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..upstreams.alone import alone
from . import codec
from .key import FORMAT, fingerprint, key_of
from .store import Disk, MemberStore

if TYPE_CHECKING:
    from ..config import FusionConfig, MemberConfig
    from .config import CacheConfig

Run = Callable[[Sequence[Tensor]], list[Tensor]]


def caches_of(fusion: FusionConfig) -> list[CachedStates]:
    """Return one cache a member; none where the fusion has no ``cache``."""
    if fusion.cache is None:
        return []
    disk = Disk(fusion.cache)
    return [CachedStates(member, fusion.cache, disk) for member in fusion.members]


class CachedStates:
    """One member's hidden states, from the disk where they are there.

    Args:
        config: the member.
        cache: where and how its states are kept.
        disk: shared by all members of a fusion.

    Attributes:
        lookups, hits: utterances asked for, and found.
        fingerprint: the member's, where somebody has it already.
    """

    def __init__(self, config: MemberConfig, cache: CacheConfig, disk: Disk) -> None:
        self.config, self.dtype, self.disk = config, cache.dtype, disk
        self.lookups = self.hits = 0
        self.fingerprint: str | None = None
        self._store: MemberStore | None = None

    def __call__(
        self, member: nn.Module, run: Run, wavs: Sequence[Tensor], crop_samples: int | None = None
    ) -> list[Tensor]:
        """Return a batch's hidden states; what is not there is computed, one utterance at a time, and stored.

        Args:
            member: the loaded member, which is frozen.
            run: its hidden states for a batch, those that the config asks for, each (B, T, D).
            wavs: B waveforms, each (T',).
            crop_samples: a waveform of this length is a random crop, which never comes again, and is not stored.

        Returns:
            As ``run`` does, in float32 or the member's own type; see `codec.decode` for the frames behind an
            utterance's own.

        Raises:
            RuntimeError: the member is being trained.
        """
        if torch.is_grad_enabled() and member.training and any(p.requires_grad for p in member.parameters()):
            raise RuntimeError(
                f"member {self.config.name!r} is being trained, so its hidden states cannot come from the cache "
                f"{self.disk.root}; freeze it (eval(), torch.no_grad() or requires_grad_(False)), or use no cache"
            )
        store = self.store(member)
        entries = [self._entry(store, member, run, wav, crop_samples) for wav in wavs]
        dtype = next((p.dtype for p in member.parameters() if p.is_floating_point()), torch.float32)
        return codec.decode(entries, wavs[0].device, dtype)

    def store(self, member: nn.Module) -> MemberStore:
        """Return the member's files; its fingerprint is taken at the first call."""
        if self._store is None:
            config = self.config
            about: dict[str, Any] = {"name": config.name, "ckpt": config.ckpt, "dtype": self.dtype, "format": FORMAT}
            if config.layers is not None:
                about["layers"] = list(config.layers)
            self._store = MemberStore(self.disk, self.fingerprint or fingerprint(member, config, self.dtype), about)
        return self._store

    def forget(self) -> None:
        """Take the fingerprint anew: the member has other weights from now on."""
        self._store = self.fingerprint = None

    def _entry(
        self, store: MemberStore, member: nn.Module, run: Run, wav: Tensor, crop_samples: int | None
    ) -> dict[str, Tensor]:
        key = key_of(wav)
        entry = store.read(key)
        self.lookups += 1
        self.hits += entry is not None
        if entry is not None:
            return entry
        with alone(member, torch.device(self.config.device or wav.device)):
            entry = codec.encode([state[0] for state in run([wav])], self.dtype)
        if len(wav) == crop_samples:
            self.disk.warn_once(
                "crops",
                f"waveforms of {crop_samples:,} samples are the recipe's random crops of longer ones, which never come "
                "again: they are computed each time and not stored; others, evaluation's too, are",
            )
        else:
            store.write(key, entry)
        return entry
