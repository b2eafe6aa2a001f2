"""Puts the demo's table into the README: python tools/update_readme.py exp/demo/results.md"""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def main(results: str) -> None:
    """Replaces what stands between the README's markers by the first table of a results.md."""
    table = re.search(r"^\|.*?\n(?!\|)", Path(results).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    between = re.compile(r"(?<=<!-- demo table: begin -->\n).*(?=<!-- demo table: end -->)", flags=re.DOTALL)
    README.write_text(between.sub(table.group(0), README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
