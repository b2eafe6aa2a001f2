"""What an upstream costs: multiply-accumulates, parameters, time and memory, member by member, the interface apart."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from ..config import FusionConfig

HELP = "multiply-accumulates, parameters, speed and memory of an upstream"
REPEATS = 3  # the fastest run counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("-u", "--upstream", required=True, metavar="NAME", help="an upstream, fused or stock")
    parser.add_argument("-g", "--model-config", metavar="FILE", help="-u fused: the fusion YAML; else the upstream's")
    parser.add_argument("-k", "--ckpt", metavar="CKPT", help="checkpoint of a stock upstream")
    parser.add_argument("--seconds", default="5,10,15,20", metavar="S[,S...]", help="default: 5,10,15,20")
    parser.add_argument("--device", default="cpu", help="default: cpu")


def main(args: argparse.Namespace) -> int:
    """Prints the table; the exit status is 2 for a mistake of the user's."""
    from ..errors import HostError
    from ..host.checks import check_device, fusion_or_single

    try:
        seconds = parse_seconds(args.seconds)
        check_device(args.device)
        table = profile(fusion_or_single(args.upstream, args.model_config, args.ckpt), seconds, args.device)
    except (ValueError, TypeError, OSError, HostError) as error:
        print(f"s3prl-fusion profile: error: {error}", file=sys.stderr)
        return 2
    table["parameters"] = table["parameters"].map("{:,}".format)
    table["MACs"] = table["MACs"].map("{:,}".format)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    return 0


def parse_seconds(text: str) -> list[float]:
    """Positive numbers of a comma-separated list.

    Raises:
        ValueError: there is none, or something else.
    """
    try:
        seconds = [float(part) for part in text.split(",")]
    except ValueError:
        seconds = []
    if not seconds or min(seconds) <= 0:
        raise ValueError(f"--seconds: got {text!r}; give positive numbers, for example 5,10")
    return seconds


def profile(fusion: FusionConfig, seconds: list[float], device: str = "cpu") -> pandas.DataFrame:
    """Measures one utterance of noise of each length.

    Args:
        fusion: what is fused; one member alone is under s3prl's own weighted sum, which is not measured.
        seconds: lengths of the utterances.
        device: where to run.

    Returns:
        A row for each length and part (the members, then "interface"). Columns: seconds, part, MACs (half of what
        torch's counter gives: matrix products and convolutions), parameters, real_time_factor (time per second of
        speech, the fastest of 3 runs), peak_MB (what torch allocates on a GPU; NaN on a CPU, where torch does not say).
    """
    import pandas
    import torch
    from tqdm import tqdm

    from .. import FusedUpstream, FusionFeaturizer
    from ..audio import SAMPLE_RATE
    from ..names import member_names

    upstream = FusedUpstream(fusion).to(device).eval()
    generator, rows = torch.Generator().manual_seed(0), []
    parts: list[tuple[str, Any]] = list(zip(member_names(fusion), upstream.members))
    featurizer = None
    if len(parts) > 1:
        featurizer = FusionFeaturizer(upstream, upstream_device=device).to(device).eval()
        parts.append(("interface", featurizer))
    with torch.no_grad():
        for length in tqdm(seconds, desc="utterances", leave=False):
            wavs = [(0.1 * torch.randn(round(length * SAMPLE_RATE), generator=generator)).to(device)]
            states = upstream(wavs)
            for name, module in parts:
                arguments = (wavs, states) if module is featurizer else (wavs,)
                run = partial(module, *arguments)
                spent, peak = measure(run, device)
                parameters = sum(parameter.numel() for parameter in module.parameters())
                rows.append((length, name, count_macs(run), parameters, spent / length, peak))
    columns = ["seconds", "part", "MACs", "parameters", "real_time_factor", "peak_MB"]
    return pandas.DataFrame(rows, columns=columns)


def count_macs(run: Callable[[], Any]) -> int:
    """Multiply-accumulates of the matrix products and convolutions in a call, recurrent layers' included."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # Fused operators for a CPU's LSTM and attention are unknown to the counter: without them, they are matrix products.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            with FlopCounterMode(display=False) as counter:
                run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2


def measure(run: Callable[[], Any], device: str) -> tuple[float, float]:
    """Seconds of the fastest of 3 runs, and the peak of the memory allocated in MB (NaN on a CPU)."""
    import torch

    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - started)
    return min(spent), torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else float("nan")
