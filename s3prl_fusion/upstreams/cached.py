"""Frozen members' hidden states, computed once and kept on disk.

An utterance's states are found by a hash of its waveform, below a fingerprint of the member. They are what the member
gives for that utterance alone, in evaluation mode, rounded (`cache_codec`): the same whether they were just computed or
read, in whatever batch. Nothing is kept in memory but counters.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from . import cache_codec
from .cache_store import Disk, MemberStore
from .fingerprint import FORMAT, fingerprint

if TYPE_CHECKING:
    from ..cache_config import CacheConfig
    from ..config import FusionConfig, MemberConfig

# See `Repeats`.
BLOCK = 2000
SHARE = 0.2
RARE = 0.05
LARGEST_EPOCH = 300_000

Run = Callable[[Sequence[Tensor]], list[Tensor]]


def caches_of(fusion: FusionConfig) -> list[CachedStates]:
    """One cache a member; none where the fusion has no ``cache``."""
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
        repeats: tells what will come again; None stores everything.
    """

    def __init__(self, config: MemberConfig, cache: CacheConfig, disk: Disk) -> None:
        self.config, self.dtype, self.disk = config, cache.dtype, disk
        self.lookups = self.hits = 0
        self.repeats: Repeats | None = Repeats()
        self._store: MemberStore | None = None

    def __call__(self, member: nn.Module, run: Run, wavs: Sequence[Tensor]) -> list[Tensor]:
        """A batch's hidden states; what is not there is computed, one utterance at a time, and stored.

        Args:
            member: the loaded member, which is frozen.
            run: its hidden states for a batch, those that the config asks for, each (B, T, D).
            wavs: B waveforms, each (T',).

        Returns:
            As ``run`` does, in float32 or the member's own type; see `cache_codec.decode` for the frames behind an
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
        entries = [self._entry(store, member, run, wav) for wav in wavs]
        dtype = next((p.dtype for p in member.parameters() if p.is_floating_point()), torch.float32)
        return cache_codec.decode(entries, wavs[0].device, dtype)

    def store(self, member: nn.Module) -> MemberStore:
        """The member's files; its fingerprint is taken at the first call."""
        if self._store is None:
            about = {"name": self.config.name, "ckpt": self.config.ckpt, "dtype": self.dtype, "format": FORMAT}
            if self.config.layers is not None:
                about["layers"] = list(self.config.layers)
            self._store = MemberStore(self.disk, fingerprint(member, self.config, self.dtype), about)
        return self._store

    def forget(self) -> None:
        """The member has other weights from now on."""
        self._store = None

    def _entry(self, store: MemberStore, member: nn.Module, run: Run, wav: Tensor) -> dict[str, Tensor]:
        key = key_of(wav)
        entry = store.read(key)
        self.lookups += 1
        self.hits += entry is not None
        if self.repeats and self.repeats.note(len(wav), entry is not None):
            self.disk.warn_once("crops", _CROPS)
        if entry is None:
            with _alone(member, torch.device(self.config.device or wav.device)):
                entry = cache_codec.encode([state[0] for state in run([wav])], self.dtype)
            if self.repeats is None or self.repeats.expected(len(wav)):
                store.write(key, entry)
        return entry


_CROPS = (
    "much of what the training asks for never comes again, as random crops do (SID's and SV's, of 8 s): such waveforms "
    "are computed each time and not stored any more; others, evaluation's too, still are. If your corpus has clips "
    "of one length, fill the cache first: s3prl-fusion cache fill"
)


class Repeats:
    """Tells which waveforms will come again.

    A first epoch is all misses, and so are random crops, but these share one length. After every 2,000 look-ups, a
    length that a fifth of them or more had, with less than 5 % hits, counts as that of crops, until it has more. No
    length of LibriSpeech's, VoxCeleb1's or IEMOCAP's own clips comes near a fifth. All lengths count as such when fewer
    than 5 % of 300,000 look-ups or more, which is beyond an epoch of 960 hours of LibriSpeech, hit.
    """

    def __init__(self) -> None:
        self._lookups, self._hits = Counter(), Counter()
        self._total = self._total_hits = 0
        self._crops: set[int] = set()
        self._all_crops = False

    def note(self, length: int, hit: bool) -> bool:
        """Counts a look-up; True when it makes a length one of crops."""
        self._lookups[length] += 1
        self._hits[length] += hit
        self._total += 1
        self._total_hits += hit
        if self._total % BLOCK:
            return False
        found = {n for n, count in self._lookups.items() if count >= SHARE * BLOCK and self._hits[n] < RARE * count}
        back = {n for n, count in self._lookups.items() if self._hits[n] >= RARE * count}
        fresh = bool(found - self._crops)
        self._crops = (self._crops | found) - back
        self._lookups.clear()
        self._hits.clear()
        all_crops = self._total >= LARGEST_EPOCH and self._total_hits < RARE * self._total
        fresh |= all_crops and not self._all_crops
        self._all_crops = all_crops
        return fresh

    def expected(self, length: int) -> bool:
        """Whether a waveform of this length may come again."""
        return not self._all_crops and length not in self._crops


def key_of(wav: Tensor) -> str:
    """What a waveform (T',) is found by: its samples in float32, wherever they are."""
    samples = wav.detach().to("cpu", torch.float32).contiguous().numpy()
    return hashlib.sha256(f"{samples.shape}".encode() + samples.tobytes()).hexdigest()


@contextmanager
def _alone(member: nn.Module, device: torch.device) -> Iterator[None]:
    """Runs a member so that nothing around it shows in what it gives, and nothing of it afterwards: some draw random
    numbers also in evaluation mode (s3prl/upstream/wavlm/WavLM.py:624), which a hit would not draw."""
    training, states = member.training, (random.getstate(), np.random.get_state())
    member.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False), torch.random.fork_rng(_gpus(device)):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if training:
            member.train()


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
