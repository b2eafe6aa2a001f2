"""``s3prl-fusion hook``: s3prl's own scripts, s3prl-main and ESPnet know fused upstreams, with no change to their code.

`install` puts two small files into this environment's site-packages, and nothing ever does so unasked. They wait until
s3prl is imported; S3PRL_FUSION_HOOK=0 switches them off, `remove` takes them away without trace.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("action", choices=("install", "remove", "status"))


def main(args: argparse.Namespace) -> int:
    """Install, remove or look, and say what was done."""
    from ..host import hook

    folder = hook.folder()
    if args.action == "install":
        hook.install(folder)
    elif args.action == "remove":
        for file in hook.remove(folder):
            print(f"removed {file}")
    print(hook.status(folder))
    return 0
