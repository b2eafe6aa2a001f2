"""Puts a results table into the README: python tools/update_readme.py demo exp/demo/results.md"""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def put(name: str, text: str, readme: Path = README) -> None:
    """Replaces what stands between a README's markers for ``name``."""
    between = re.compile(rf"(?<=<!-- {name} table: begin -->\n).*(?=<!-- {name} table: end -->)", flags=re.DOTALL)
    readme.write_text(between.sub(lambda _: text, readme.read_text(encoding="utf-8")), encoding="utf-8")


def main(name: str, results: str) -> None:
    """Replaces what stands between the README's markers for ``name`` by the first table of a results.md."""
    table = re.search(r"^\|.*?\n(?!\|)", Path(results).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    put(name, table.group(0))


if __name__ == "__main__":
    main(*sys.argv[1:])
