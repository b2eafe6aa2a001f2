"""What an upstream costs: multiply-accumulates, parameters, time and memory, member by member, the interface apart."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from .upstreams.fused import FusedUpstream
from .waveforms import SAMPLE_RATE

if TYPE_CHECKING:
    import pandas

REPEATS = 3  # the fastest run counts


def count_parameters(module: nn.Module) -> int:
    """Count all parameters, trained or frozen."""
    return sum(parameter.numel() for parameter in module.parameters())


def noise(samples: Sequence[int], device: str = "cpu") -> Iterator[list[Tensor]]:
    """Yield one utterance of noise of each length, as a batch of one; always the same."""
    generator = torch.Generator().manual_seed(0)
    return ([(0.1 * torch.randn(length, generator=generator)).to(device)] for length in samples)


@torch.no_grad()
def profile(
    upstream: FusedUpstream, featurizer: nn.Module | None, seconds: Sequence[float], device: str = "cpu"
) -> pandas.DataFrame:
    """Measure one utterance of noise of each length.

    Args:
        upstream, featurizer: in evaluation mode, without a cache; no featurizer for a stock upstream.
        seconds: lengths of the utterances.
        device: where they are.

    Returns:
        A row for each length and part (the members, then "interface"). A member that takes other layers of an earlier
        one's forward costs nothing. Columns: seconds, part, MACs (see `count_macs`), parameters, real_time_factor (time
        per second of speech, the fastest of 3 runs), peak_MB (see `peak_memory`, in 10^6 bytes: activations; the
        weights, 4 bytes a parameter in single precision, come on top).
    """
    import pandas

    fusion, rows = upstream.fusion, []
    samples = [round(length * SAMPLE_RATE) for length in seconds]
    for length, wavs in tqdm(zip(seconds, noise(samples, device)), "utterances", len(seconds), leave=False):
        states = upstream(wavs)
        for i, name in enumerate(fusion.member_names):
            run, where = partial(upstream.run_member, i, wavs), fusion.members[i].device or device
            runs = upstream.sources[i] == i
            row = _costs(run, upstream.members[i], length, where) if runs else (0, 0, 0.0, 0.0)
            rows.append((length, name, *row))
        if featurizer is not None:
            rows.append((length, "interface", *_costs(partial(featurizer, wavs, states), featurizer, length, device)))
    columns = ["seconds", "part", "MACs", "parameters", "real_time_factor", "peak_MB"]
    return pandas.DataFrame(rows, columns=columns)


def _costs(run: Callable[[], Any], module: nn.Module, seconds: float, device: str) -> tuple[int, int, float, float]:
    """Measure a row of `profile`."""
    factor, peak = fastest(run, device) / seconds, peak_memory(run, device) / 1e6
    return count_macs(run), count_parameters(module), factor, peak


@torch.no_grad()
def profile_groups(
    upstream: FusedUpstream, featurizer: nn.Module | None, groups: Mapping[str, Sequence[int]], device: str = "cpu"
) -> pandas.DataFrame:
    """Sum the multiply-accumulates over groups of utterances of noise, one utterance at a time, with a progress bar.

    Args:
        upstream, featurizer: as for `profile`.
        groups: for each group's name its utterances' lengths in samples.
        device: where they are.

    Returns:
        A row for each group, and one "total". Columns: utterances (the group's name), the members' names, "upstream"
        (its whole forward), and "interface" if there is one; all MACs, as `count_macs` counts them.
    """
    import pandas

    upstream.get_downsample_rates()  # measured by running it, once: no utterance's cost
    lengths = [(group, length) for group, samples in groups.items() for length in samples]
    rows = []
    wavs = noise([length for _, length in lengths], device)
    for (group, _), batch in tqdm(zip(lengths, wavs), "utterances", len(lengths), leave=False):
        with _flop_counter() as counter:
            states = upstream(batch)
        by_module = counter.get_flop_counts()
        row = {"utterances": group}
        for i, name in enumerate(upstream.fusion.member_names):
            row[name] = sum(by_module.get(f"{type(upstream).__name__}.members.{i}", {}).values()) // 2
        row["upstream"] = counter.get_total_flops() // 2
        if featurizer is not None:
            row["interface"] = count_macs(partial(featurizer, batch, states))
        rows.append(row)
    table = pandas.DataFrame(rows).groupby("utterances", sort=False).sum()
    table.loc["total"] = table.sum()
    return table.reset_index()


def count_macs(run: Callable[[], Any]) -> int:
    """Count a call's multiply-accumulates: half of the FLOPs of its matrix products and convolutions, recurrent layers'
    and attention's included. Fourier transforms, norms, biases and whatever goes element by element are not counted.

    SUPERB's profiling tool also counts, in each attention layer of T frames, D features and H heads, 4 T D for biases
    and scaling and 3 H T^2 for mask and softmax (4 H T^2 where attention has dropout); and it was run on wav2vec 2.0
    and HuBERT before their implementation padded to an even number of frames, as s3prl's does now. With both taken
    into account its published totals for HuBERT Base and Large come out to the last digit; the counts here are 0.14 %
    and 0.07 % lower. FBANK's total is the published one.
    """
    with _flop_counter() as counter:
        run()
    return counter.get_total_flops() // 2


@contextmanager
def _flop_counter() -> Iterator[FlopCounterMode]:
    """Count in the block. A CPU's fused operators for LSTM and attention are unknown to torch's counter: without them,
    they are matrix products."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="TF32 acceleration", category=UserWarning)
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                with FlopCounterMode(display=False) as counter:
                    yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def fastest(run: Callable[[], Any], device: str = "cpu") -> float:
    """Return the seconds of the fastest of 3 runs."""
    on_gpu = torch.device(device).type == "cuda"
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - started)
    return min(spent)


def peak_memory(run: Callable[[], Any], device: str = "cpu") -> int:
    """Measure the bytes that a call has allocated at its worst moment, its result included: what was there before, such
    as weights and inputs, is not. It is what torch's allocators hand out, on a CPU and on a GPU alike."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # else it complains of a missing GPU
    activities = [torch.profiler.ProfilerActivity.CPU]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Profiler clears events", category=UserWarning)
        with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
            run()
    # Allocations are positive, releases negative; those of what was there before are not among them.
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(changes), default=0)
