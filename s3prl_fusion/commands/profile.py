"""What an upstream costs: multiply-accumulates, parameters, time and memory, member by member, the interface apart."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..names import resolve

if TYPE_CHECKING:
    import pandas

EPILOG = (
    "MACs: of matrix products and convolutions. real_time_factor: time per second of speech. peak_MB: what a call has "
    "allocated at its worst moment, in 10^6 bytes, beside the weights (4 bytes a parameter)."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = EPILOG
    parser.add_argument("-u", "--upstream", required=True, metavar="NAME", help="an upstream, fused or stock")
    parser.add_argument("-g", "--model-config", metavar="FILE", help="-u fused: the fusion YAML; else the upstream's")
    parser.add_argument("-k", "--ckpt", metavar="CKPT", help="checkpoint of a stock upstream")
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--seconds", default="5,10,15,20", metavar="S[,S...]", help="default: 5,10,15,20")
    lengths.add_argument("--superb", action="store_true", help="the MACs that the SUPERB leaderboard asks for")
    parser.add_argument("--device", default="cpu", help="default: cpu")


def main(args: argparse.Namespace) -> int:
    """Print the table."""
    table = measure(args)
    whole = {name: "{:,}".format for name in table.select_dtypes("integer")}
    print(table.to_string(index=False, float_format="{:.3g}".format, formatters=whole))
    return 0


def measure(args: argparse.Namespace) -> pandas.DataFrame:
    """Check the arguments, then measure; see `costs.profile` and, for --superb, `costs.profile_groups`."""
    seconds = parse_seconds(args.seconds)
    fusion = resolve(args.upstream, args.model_config, args.ckpt)
    from .. import costs
    from ..host.upstream import load_pair
    from ..superb.scores.leaderboard import PROFILED_SAMPLES

    pair = load_pair(fusion, args.device)
    if not args.superb:
        return costs.profile(*pair, seconds, args.device)
    return costs.profile_groups(*pair, PROFILED_SAMPLES, args.device)


def parse_seconds(text: str) -> list[float]:
    """Read numbers of seconds from a comma-separated list.

    Raises:
        UsageError: there is none, or something else, or more than an hour.
    """
    try:
        seconds = [float(part) for part in text.split(",")]
    except ValueError:
        seconds = []
    if not seconds or not all(0 < length <= 3600 for length in seconds):
        raise UsageError(f"--seconds: got {text!r}; give positive numbers up to 3600, for example 5,10")
    return seconds
