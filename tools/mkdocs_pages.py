"""The pages of the site that mkdocs builds: the checkout's own, where they are, and the Python API from its docstrings.

A hook of mkdocs.yml.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "demo/README.md")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# Those of them that are there.
CONTRIBUTORS = ("interfaces.base", "alignment", "metrics", "names", "errors", "host.shims.shim", "host.recipes")


def on_files(files: Files, config: Any) -> Files:
    """Gives mkdocs the checkout's pages and what they link to, under their paths in the checkout."""
    pages = [*PAGES, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
    linked = {link for page in pages for link in links(page) if (ROOT / link).is_file()}
    theme = [file for file in files if not Path(file.abs_src_path or "").is_relative_to(ROOT / "docs")]
    found = [File.generated(config, path, abs_src_path=str(ROOT / path)) for path in sorted({*pages, *linked})]
    made = {"docs/api.md": users_api(), "docs/api-contributors.md": contributors_api()}
    return Files([*theme, *found, *(File.generated(config, path, content=text) for path, text in made.items())])


def links(page: str) -> list[str]:
    """The paths, from the checkout's root, of what a page links to."""
    found = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    return [posixpath.normpath(posixpath.join(posixpath.dirname(page), link)) for link in found]


def users_api() -> str:
    """The page of the public names: those of s3prl_fusion itself."""
    sys.path.insert(0, str(ROOT))
    import s3prl_fusion

    head = "# Python API\n\nAll names are those of `s3prl_fusion` itself: `import s3prl_fusion as sf`.\n"
    options = "    options: {show_root_full_path: false}\n"
    entries = [f"::: s3prl_fusion.{home}.{name}\n{options}" for name, home in s3prl_fusion._HOME.items()]
    return "\n".join([head, *entries])


def contributors_api() -> str:
    """The page of the modules that whoever adds something needs."""
    paths = {name: ROOT / "s3prl_fusion" / name.replace(".", "/") for name in CONTRIBUTORS}
    there = [name for name, path in paths.items() if path.is_dir() or path.with_suffix(".py").is_file()]
    # The users' page is where a name of both leads.
    entries = [f"::: s3prl_fusion.{name}\n    options: {{skip_local_inventory: true}}\n" for name in there]
    return "\n".join(["# Modules for contributors\n", *entries])
