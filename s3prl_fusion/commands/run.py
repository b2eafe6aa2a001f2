"""``s3prl-fusion run``: s3prl's run_downstream with fused upstreams."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the arguments are run_downstream's own."""


def main(argv: Sequence[str]) -> int:
    """Run s3prl.run_downstream with its own arguments; see `host.runner.run`."""
    from ..corpora.demo import fill_in
    from ..host.runner import run

    run(argv, fill_in)
    return 0
