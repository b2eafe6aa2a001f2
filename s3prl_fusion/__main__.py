"""``python -m s3prl_fusion`` is ``s3prl-fusion``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
