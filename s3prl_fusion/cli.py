"""The command line: ``s3prl-fusion run | superb | list``."""

from __future__ import annotations

import argparse
import sys
from typing import Sequence

from . import __version__

_RUN = "s3prl's run_downstream with fused upstreams; takes run_downstream's own arguments"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
        argv: the arguments after the program's name; ``None`` takes them from the command line.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["run"]:
        # Passed on untouched: what they mean is run_downstream's affair.
        from .host.runner import run
        from .superb.demo import fill_in

        return run(argv[1:], fill_in)
    args = build_parser().parse_args(argv)
    return args.command(args)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command but `run`, whose arguments are run_downstream's."""
    from .superb import command as superb

    parser = argparse.ArgumentParser("s3prl-fusion", description="SUPERB with fused upstreams, on s3prl.")
    parser.add_argument("--version", action="version", version=f"s3prl-fusion {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("run", help=_RUN, add_help=False)
    superb_parser = commands.add_parser("superb", help="prepare, train, evaluate and score SUPERB's tasks")
    superb.add_arguments(superb_parser)
    superb_parser.set_defaults(command=superb.main)
    list_parser = commands.add_parser("list", help="names of fused upstreams, and of the interfaces")
    list_parser.set_defaults(command=_list)
    return parser


def _list(args: argparse.Namespace) -> int:
    from .interfaces import list_interfaces
    from .names import ALIASES, parse, presets

    print(f"interfaces: {', '.join(list_interfaces())}")
    print(f"aliases: {', '.join(ALIASES)}")
    for name in presets():
        config = parse(name)
        print(f"{name:50s} {config.interface.name:14s} {' + '.join(member.name for member in config.members)}")
    return 0
