"""Names of upstreams that are in no hub: what they refer to, told from the text and from what files there are.

- ``my_model.py:MyModel`` and ``package.module:MyModel``: a class or function of a user's own.

Nothing is imported here: `host.own_upstreams` loads them, and whether their code may run is `permissions`' affair.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..source import code_digest, imported_files, module_files

# A fusion YAML, with or without one of its members and another interface.
YAML = re.compile(r"(?P<path>.+\.ya?ml)(:(?P<member>[^:/]+?))?(__(?P<interface>.+))?")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Reference:
    """What a name refers to.

    Attributes:
        where: whose code it is: the path of a Python file, or an importable module.
        attribute: the class or function there; empty where the user has not said it.
    """

    where: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.where}:{self.attribute}" if self.attribute else self.where

    @property
    def path(self) -> Path | None:
        """The file, which may not be there; None of a module."""
        return Path(self.where).expanduser() if self.where.endswith(".py") else None

    @property
    def label(self) -> str:
        """A short name for tables and files."""
        stem = self.path.stem if self.path else self.where.rpartition(".")[2]
        return _legal(f"{stem}_{self.attribute}")

    @property
    def identity(self) -> str:
        """The name without the folders that it is in."""
        return f"{self.path.name if self.path else self.where}:{self.attribute}"

    def files(self) -> list[Path]:
        """Find the Python files that define it; none where they are not on this machine."""
        if self.path:
            return [self.path] if self.path.is_file() else []
        with suppress(FileNotFoundError):
            return module_files(self.where)
        return []

    def all_files(self) -> list[Path]:
        """Find the files of `files`, and those that they import."""
        return [found for file in self.files() for found in (file, *imported_files(file.absolute()))]

    def digest(self) -> str:
        """Return 16 hexadecimal digits of its code by content; an empty text where that is not on this machine."""
        files = self.files()
        return code_digest(files, imported=True)[:16] if files else ""

    def absolute(self) -> Reference:
        """Make its path independent of the current folder."""
        return replace(self, where=os.path.abspath(self.path)) if self.path else self

    def beside(self, folder: Path) -> Reference:
        """Take what lies in a folder, such as that of the YAML where the name stands; else it stays as it is."""
        file = folder / (self.path or f"{self.where.replace('.', '/')}.py")
        return replace(self, where=str(file.resolve())) if file.is_file() else self


def parse(name: str) -> Reference | None:
    """Read what is no hub entry's name, and no fusion's; None for these."""
    if YAML.fullmatch(name):
        return None
    where, colon, attribute = name.rpartition(":")
    if name.endswith(".py"):
        return Reference(name, "")
    is_module = _MODULE.fullmatch(where) and attribute.isidentifier()
    return Reference(where, attribute) if colon and (where.endswith(".py") or is_module) else None


def label(name: str) -> str:
    """Shorten a member's name for tables and files; a hub entry's stays as it is."""
    reference = parse(name)
    return reference.label if reference else name


def _legal(text: str) -> str:
    # Two underscores would begin an interface.
    return re.sub(r"_{2,}", "_", re.sub(r"[^\w.+-]", "-", text)).strip("_")
