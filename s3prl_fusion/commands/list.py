"""``s3prl-fusion list``: what can be named."""

from __future__ import annotations

import argparse

from ..interfaces import list_interfaces
from ..names import ALIASES, parse, presets

HELP = "names of fused upstreams, and of the interfaces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""


def main(args: argparse.Namespace) -> int:
    """Prints the list."""
    print(f"interfaces: {', '.join(list_interfaces())}")
    print(f"aliases: {', '.join(ALIASES)}")
    for name in presets():
        config = parse(name)
        print(f"{name:50s} {config.interface.name:14s} {' + '.join(member.name for member in config.members)}")
    return 0
