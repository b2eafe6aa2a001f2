"""The command line: `s3prl-fusion COMMAND`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Sequence

from . import __version__

_RUN = "s3prl's run_downstream with fused upstreams; takes run_downstream's own arguments"
_COMMANDS = {
    "superb": "superb.runs.command",
    "prepare": "commands.prepare",
    "score": "commands.score",
    "results": "commands.results",
    "submit": "commands.submit",
    "profile": "commands.profile",
    "list": "commands.list",
    "extract": "commands.extract",
    "cache": "commands.cache",
    "weights": "commands.weights",
    "hook": "commands.hook",
    "doctor": "commands.doctor",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
        argv: the arguments after the program's name; ``None`` takes them from the command line.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["run"]:
        # Passed on untouched: what they mean is run_downstream's affair.
        from .host.runner import run
        from .superb.data.demo import fill_in

        return run(argv[1:], fill_in)
    args = build_parser().parse_args(argv)
    return args.command(args)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command but `run`, whose arguments are run_downstream's."""
    parser = argparse.ArgumentParser("s3prl-fusion", description="SUPERB with fused upstreams, on s3prl.")
    parser.add_argument("--version", action="version", version=f"s3prl-fusion {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("run", help=_RUN, add_help=False)
    for name, home in _COMMANDS.items():
        command = import_module(f"{__package__}.{home}")
        command_parser = commands.add_parser(name, help=command.HELP, description=command.__doc__)
        command.add_arguments(command_parser)
        command_parser.set_defaults(command=command.main)
    return parser
