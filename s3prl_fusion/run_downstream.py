"""``python -m s3prl_fusion.run_downstream``: s3prl's run_downstream under its familiar name, with fused upstreams."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
