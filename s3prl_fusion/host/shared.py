"""Members that are loaded once, for the processes that are forked from this one.

While a member is made it draws random numbers, most of which its checkpoint replaces. What a run makes after it, the
featurizer and the downstream, must find the generators where they would be without the sharing. So a member is shared
only if two makings, from different seeds, draw equally many numbers of torch and none of others, and end with the same
weights and states; a run then draws as many in its place.
"""

from __future__ import annotations

import io
import json
import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..cache.key import fingerprint
from ..config import FusionConfig, MemberConfig
from ..identity import describe
from ..upstreams import fused
from ..upstreams.entries import known
from ..upstreams.layer_rates import LayerGrid
from ..upstreams.references import parse
from ..waveforms import SAMPLE_RATE
from .hub import quiet_torchaudio
from .patches import Patches

_SEEDS = (0, 1)
_PROBE = 64  # numbers: no two places of the generator's sequence have as many in common
_BLOCK = 1 << 20
_MOST = 1 << 29  # numbers: who draws more is loaded nearly as fast as these are drawn
_REMAINDER = 40  # bytes at the end of the generator's state: the other half of a pair of normal numbers
_FREE = 0.25  # of the machine's memory, which is left to the runs

Load = Callable[[MemberConfig], nn.Module]


@dataclass
class Shared:
    """A loaded member.

    Attributes:
        module: it.
        draws: how many numbers of torch's generator its making draws.
        said: what that prints.
        files: what it was loaded from, as that was.
        frames: its rate and first frame in samples, and its layers' where they differ (`FrameGrid`), by `_key` with
            layers and precision.
        fingerprints: `cache.key.fingerprint`, by the same and the cache's dtype.
    """

    module: nn.Module
    draws: int
    said: str
    files: list[tuple[str, int, int]]
    frames: dict[str, tuple[int, int, LayerGrid | None]] = field(default_factory=dict)
    fingerprints: dict[tuple[str, str], str] = field(default_factory=dict)


_kept: dict[str, Shared | None] = {}  # None: it cannot be shared
_taken: dict[int, Shared] = {}  # by the module's id


def keep(fusion: FusionConfig, load: Load) -> None:
    """Load a fusion's members, as far as they can be shared and are not there yet, and find out what runs ask of them.

    Args:
        fusion: of runs that are about to be forked.
        load: makes a member anew.
    """
    for config in fusion.members:
        key = _key(config)
        if key not in _kept:
            _make_room()
            _kept[key] = _shareable(config, load)
        _kept[key] = shared = _kept.pop(key)  # the last one is the one that was used last
        if shared is not None and not fusion.stock:
            _measure(shared, config, fusion)
    describe(fusion)  # files are hashed once for all runs


def take(config: MemberConfig) -> nn.Module | None:
    """Return a member that was loaded before this process was forked, once, and leave the random generators as its
    making would; None where there is none, or where it would be another one by now."""
    shared = _kept.pop(_key(config), None)
    if shared is None or shared.files != _files(config) or _has_remainder(torch.get_rng_state()):
        return None
    _draw(shared.draws, torch.default_generator)
    print(shared.said, end="", flush=True)
    _taken[id(shared.module)] = shared
    return shared.module


def tell(upstream: fused.FusedUpstream) -> None:
    """Tell a fused upstream what is known of members that it was given by `take`: frames and fingerprints."""
    found = [(_taken.get(id(member)), config) for member, config in zip(upstream.members, upstream.fusion.members)]
    frames = [shared.frames.get(_key(config, full=True)) if shared else None for shared, config in found]
    if all(frames):
        rates, first_frames, layers = zip(*filter(None, frames))
        upstream.grid.rates, upstream.grid.first_frames = list(rates), list(first_frames)
        upstream.grid.layers = {i: grid for i, grid in enumerate(layers) if grid is not None}
    for cache, (shared, config) in zip(upstream.caches, found):
        if shared is not None:
            cache.fingerprint = shared.fingerprints.get((_key(config, full=True), cache.dtype))


def _key(config: MemberConfig, full: bool = False) -> str:
    """Write what a member is loaded from, or, in ``full``, also what decides its states; where it runs does neither."""
    config = replace(config, device=None) if full else MemberConfig(config.name, config.ckpt, config.model_config)
    return json.dumps(asdict(config), sort_keys=True, default=str)


def _files(config: MemberConfig) -> list[tuple[str, int, int]]:
    """Return path, size and time of change of each file that a member names."""
    own = parse(config.name)
    files = own.all_files() if own else []
    for name in (config.ckpt or known(config.name).pretrained, config.model_config):
        if isinstance(name, str) and Path(name).exists():
            files += sorted(Path(name).rglob("*")) if Path(name).is_dir() else [Path(name)]
    stats = [(str(file), file.stat()) for file in files if file.is_file()]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def _shareable(config: MemberConfig, load: Load) -> Shared | None:
    files = _files(config)
    try:
        with _without_traces():
            modules, draws, said = zip(*(_make(config, load, seed) for seed in _SEEDS))
            alike = draws[0] is not None and draws[0] == draws[1] and _same(config, *modules)
    except Exception:  # a run says what is wrong, when it loads the member itself
        return None
    return Shared(modules[0], draws[0], said[0], files) if alike else None


def _make(config: MemberConfig, load: Load, seed: int) -> tuple[nn.Module, int | None, str]:
    """Load a member; return it, how many numbers that draws (None: not only of torch's), and what it prints."""
    torch.default_generator.manual_seed(seed)
    before, others = torch.get_rng_state(), (random.getstate(), repr(np.random.get_state()))
    with _heard() as said:
        module = load(config)
    same = others == (random.getstate(), repr(np.random.get_state())) and torch.initial_seed() == seed
    return module, _count_draws(before, torch.get_rng_state()) if same else None, said.getvalue()


@contextmanager
def _heard() -> Iterator[io.StringIO]:
    """Catch what is printed, warned of and logged, as run_downstream logs it (s3prl/run_downstream.py:125)."""
    said, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(said), root.level
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings(), quiet_torchaudio():
            yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@contextmanager
def _without_traces() -> Iterator[None]:
    """Let nothing begin CUDA, nor tqdm's thread, which do not survive a fork."""

    def refuse() -> None:
        raise RuntimeError("members that are shared are loaded on the CPU")

    patches = Patches()
    patches.set(torch.cuda, "_lazy_init", refuse)
    patches.set(tqdm, "monitor_interval", 0)
    try:
        yield
    finally:
        patches.undo()


def _count_draws(before: Tensor, after: Tensor) -> int | None:
    """Count the 32-bit numbers between two states of torch's generator; None where one does not lead to the other."""
    generator = torch.Generator()
    generator.set_state(after)
    probe = _draw(_PROBE, generator)
    generator.set_state(before)
    block, passed = _draw(_PROBE - 1, generator), 0
    while passed < _MOST:
        block = torch.cat([block[1 - _PROBE :], _draw(_BLOCK, generator)])
        for place in (block[: 1 - _PROBE] == probe[0]).nonzero()[:, 0].tolist():
            if torch.equal(block[place : place + _PROBE], probe):
                return passed + place if _leads(before, passed + place, after) else None
        passed += _BLOCK
    return None


def _leads(before: Tensor, draws: int, after: Tensor) -> bool:
    generator = torch.Generator()
    generator.set_state(before)
    _draw(draws, generator)
    return torch.equal(generator.get_state(), after)


def _draw(count: int, generator: torch.Generator) -> Tensor:
    """Draw 32-bit numbers; return the last of them."""
    numbers = torch.empty(min(count, _BLOCK), dtype=torch.int32)
    for start in range(0, count, _BLOCK):
        numbers[: min(_BLOCK, count - start)].random_(generator=generator)
    return numbers


def _has_remainder(state: Tensor) -> bool:
    """Tell whether the next normal number would come from the last draw: a making would then draw fewer."""
    return not torch.equal(state[-_REMAINDER:], torch.Generator().get_state()[-_REMAINDER:])


def _same(config: MemberConfig, one: nn.Module, other: nn.Module) -> bool:
    """Tell whether two makings of a member are the same, to the bit, in weights and in what they give for noise."""
    for ours, theirs in (
        (one.named_parameters(), other.named_parameters()),
        (one.named_buffers(), other.named_buffers()),
    ):
        tensors, others = dict(ours), dict(theirs)
        if tensors.keys() != others.keys() or not all(_equal(tensors[name], others[name]) for name in tensors):
            return False
    alone = FusionConfig((replace(config, device=None, layers=None),))
    wav = torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    states = [fused.FusedUpstream(alone, [module]).states_alone(0, [wav]) for module in (one, other)]
    return len(states[0]) == len(states[1]) and all(map(_equal, *states))


def _equal(one: Tensor, other: Tensor) -> bool:
    bytes_of = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*bytes_of)


def _measure(shared: Shared, config: MemberConfig, fusion: FusionConfig) -> None:
    key = _key(config, full=True)
    if key not in shared.frames:
        upstream = fused.FusedUpstream(FusionConfig((replace(config, device=None),)), [shared.module])
        upstream.measure()
        grid = upstream.grid
        shared.frames[key] = grid.rates[0], grid.first_frames[0], grid.layers.get(0)
    if fusion.cache is not None and (key, fusion.cache.dtype) not in shared.fingerprints:
        shared.fingerprints[key, fusion.cache.dtype] = fingerprint(shared.module, config, fusion.cache.dtype)


def _make_room() -> None:
    """Drop the members that were used longest ago where memory is scarce."""
    while _kept and _available() < _FREE:
        del _kept[next(iter(_kept))]


def _available() -> float:
    """Return the part of the memory that is available."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    numbers = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return numbers["MemAvailable"] / numbers["MemTotal"]
