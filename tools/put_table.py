"""Puts a results table into the page that has its markers: python tools/put_table.py demo exp/demo/results.md"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def put(name: str, text: str, page: Path) -> None:
    """Replaces what stands between a page's markers for ``name``."""
    between = re.compile(rf"(?<=<!-- {name} table: begin -->\n).*(?=<!-- {name} table: end -->)", flags=re.DOTALL)
    page.write_text(between.sub(lambda _: text, page.read_text(encoding="utf-8")), encoding="utf-8")


def main(name: str, results: str) -> None:
    """Replaces what stands between a page's markers for ``name`` by the first table of results.md, and its list."""
    (page,) = (page for page in PAGES if f"<!-- {name} table: begin -->" in page.read_text(encoding="utf-8"))
    text = Path(results).read_text(encoding="utf-8")
    table = re.search(r"^\|.*?\n(?!\|)(\n(- [^\n]*\n)+)?", text, flags=re.DOTALL | re.MULTILINE)
    put(name, table.group(0), page)


if __name__ == "__main__":
    main(*sys.argv[1:])
