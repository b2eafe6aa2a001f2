"""What is kept of hidden states, against ones that are computed anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save
from torch import Tensor, nn

from . import codec
from .key import key_of
from .states import CachedStates, Run, alone
from .store import DamagedFile, Disk, read_file

if TYPE_CHECKING:
    from ..config import MemberConfig
    from ..upstreams.fused import FusedUpstream
    from .config import CacheConfig

HEADER = ["member", "hidden state", "error, max", "median", "worst frame", "bytes a byte of audio"]


def compare_instead(upstream: FusedUpstream) -> list[Comparison]:
    """Put a comparison in the place of each of an upstream's caches, which it has, and return them."""
    kept = upstream.fusion.cache
    assert kept is not None
    compared = [Comparison(cache.config, kept, cache.disk) for cache in upstream.caches]
    upstream.caches = [*compared]
    return compared


class Comparison(CachedStates):
    """In the place of a member's `CachedStates`: computes everything, writes nothing, and notes how far what is stored
    of it, or would be, is from what it is now.

    Args:
        config, cache, disk: see `CachedStates`.

    Attributes:
        stored: utterances that were there.
        faults: what is wrong with a stored file, by its path.
    """

    def __init__(self, config: MemberConfig, cache: CacheConfig, disk: Disk) -> None:
        super().__init__(config, cache, disk)
        self.stored = 0
        self.faults: dict[Path, str] = {}
        self._errors: list[list[tuple[float, float]]] = []  # an utterance's, by layer: the state's, the worst frame's
        self._sizes: list[list[float]] = []  # bytes a byte of audio, by layer, and the whole file's

    def __call__(
        self, member: nn.Module, run: Run, wavs: Sequence[Tensor], crop_samples: int | None = None
    ) -> list[Tensor]:
        """Return the hidden states of one waveform, which no rounding has touched; see `CachedStates`."""
        (wav,) = wavs
        with alone(member, torch.device(self.config.device or wav.device)):
            states = run([wav])
        live = [state[0] for state in states]
        path = self.store(member).path(key_of(wav))
        entry = self._read(path)
        self.lookups += 1
        self.stored += entry is not None
        if entry is None:
            entry = codec.encode(live, self.dtype)
        self._note(path, entry, live, 2 * len(wav))
        return states

    def _read(self, path: Path) -> dict[str, Tensor] | None:
        try:
            return read_file(path)
        except FileNotFoundError:
            return None
        except DamagedFile as error:
            self.faults[path] = str(error)
            return None

    def _note(self, path: Path, entry: Mapping[str, Tensor], live: Sequence[Tensor], audio: int) -> None:
        kept = codec.decode([entry], live[0].device, live[0].dtype)
        if [state.shape[1:] for state in kept] != [state.shape for state in live]:
            self.faults[path] = f"{path} has hidden states of other sizes than {self.config.name!r} gives now"
            return
        errors = [codec.errors(one[0], other) for one, other in zip(kept, live)]
        limits = codec.LIMITS[self.dtype]
        for layer, found in zip(self._layers(len(live)), errors):
            if not all(error <= limit for error, limit in zip(found, limits)):
                (whole, frame), most = _percent(found), " and ".join(_percent(limits))
                self.faults[path] = (
                    f"{path}: hidden state {layer} is {whole} from what {self.config.name!r} gives now, a frame of it "
                    f"{frame}; {self.dtype} makes {most} at most"
                )
        self._errors.append(errors)
        sizes = [
            sum(tensor.nbytes for name, tensor in entry.items() if name.partition(".")[0] == str(layer))
            for layer in range(len(live))
        ]
        self._sizes.append([size / audio for size in (*sizes, len(save(dict(entry))))])

    def _layers(self, count: int) -> Sequence[int]:
        return self.config.layers or range(count)

    def rows(self) -> Iterator[list[str]]:
        """Yield the lines of a table below `HEADER`: one a hidden state, and one of the whole files."""
        if not self._errors:
            return
        sizes = [sum(found) / len(found) for found in zip(*self._sizes)]
        of_all = [found for errors in self._errors for found in errors]
        columns = [*zip(*self._errors), of_all]
        for layer, found, size in zip([*self._layers(len(columns) - 1), "all"], columns, sizes):
            whole, frame = zip(*found)
            yield [self.config.name, str(layer), *_percent((max(whole), median(whole), max(frame))), f"{size:.3g}"]


def _percent(errors: Sequence[float]) -> list[str]:
    return [f"{100 * error:.3g} %" for error in errors]
