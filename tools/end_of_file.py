"""Ends text files in one newline, as a hook of pre-commit: python tools/end_of_file.py FILE ..."""

import sys
from pathlib import Path


def main(files: list[str]) -> int:
    """Rewrites files that end otherwise; the exit status is 1 if there were any."""
    changed = 0
    for path in map(Path, files):
        before = path.read_bytes()
        after = before.rstrip(b"\r\n") + b"\n" if before.strip() else b""
        if after != before:
            path.write_bytes(after)
            print(f"{path}: ends in one newline now")
            changed = 1
    return changed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
