"""Names of upstreams that are in no hub: what they refer to, told from the text and from what files there are.

- ``my_model.py:MyModel`` and ``package.module:MyModel``: a class or function of a user's own.
- ``path/to/folder``: s3prl's layout, an ``expert.py`` with the class ``UpstreamExpert``. A folder here is ``./folder``.
- ``path/to/folder:name``: a function in the ``hubconf.py`` of such a folder.
- ``hf:`` and ``hf-s3prl:`` are `repositories`.

Nothing is imported here: `host.own_upstreams` loads them, and whether their code may run is `permissions`' affair.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ..source import code_digest, defining_files, imported_files, is_path
from . import repositories
from .repositories import Repository

# A fusion YAML, with or without one of its members and another interface.
YAML = re.compile(r"(?P<path>.+\.ya?ml)(:(?P<member>[^:/]+?))?(__(?P<interface>.+))?")
EXPERT, HUBCONF, EXPERT_CLASS = "expert.py", "hubconf.py", "UpstreamExpert"
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Reference:
    """What a name refers to.

    Attributes:
        where: whose code it is: the path of a Python file or of a folder, or an importable module. A path has a
            separator or ends in ``.py``.
        attribute: the class or function there; empty where the user has not said it, as of a folder's expert.
    """

    where: str
    attribute: str
    ckpt: ClassVar[None] = None  # it brings none

    def __str__(self) -> str:
        return f"{self.where}:{self.attribute}" if self.attribute else self.where

    @property
    def path(self) -> Path | None:
        """The file or folder, which may not be there; None of a module."""
        return Path(self.where).expanduser() if is_path(self.where) else None

    @property
    def is_folder(self) -> bool:
        """Whether it is in s3prl's layout."""
        return self.path is not None and not self.where.endswith(".py")

    @property
    def label(self) -> str:
        """A short name for tables and files."""
        stem = Path(os.path.abspath(self.path)).stem if self.path else self.where.rpartition(".")[2]
        is_whole = not self.attribute or self.attribute.startswith(stem)
        return (self.attribute or stem) if is_whole else f"{stem}_{self.attribute}"

    @property
    def identity(self) -> str:
        """The name without the folders that it is in."""
        if self.is_folder:
            return f"folder:{self.attribute or EXPERT_CLASS}"
        return f"{self.path.name if self.path else self.where}:{self.attribute}"

    def source(self) -> Path | None:
        """Find the file that defines it; None where it is not on this machine."""
        if self.is_folder and self.path:
            file = self.path / (HUBCONF if self.attribute else EXPERT)
            return file if file.is_file() else None
        files = self._defining_files()
        return files[-1] if files else None

    def _defining_files(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return defining_files(self.where)
        return []

    def all_files(self) -> list[Path]:
        """Find the Python files that decide what it computes, as far as they are its author's."""
        if self.is_folder and self.path:
            return sorted(self.path.rglob("*.py"))
        return [found for file in self._defining_files() for found in (file, *imported_files(file.absolute()))]

    def digest(self) -> str:
        """Return 16 hexadecimal digits of its code by content; an empty text where that is not on this machine."""
        files = self._defining_files()
        return code_digest(files, imported=True)[:16] if files else ""

    def absolute(self) -> Reference:
        """Make its path independent of the current folder."""
        return replace(self, where=os.path.abspath(self.path)) if self.path else self

    def beside(self, folder: Path) -> Reference:
        """Take what lies in a folder, such as that of the YAML where the name stands; else it stays as it is."""
        paths = [folder / self.path] if self.path else [folder / f"{self.where.replace('.', '/')}.py"]
        paths += [] if self.path or not _has_layout(folder / self.where) else [folder / self.where]
        return next((replace(self, where=str(path.resolve())) for path in paths if path.exists()), self)


def parse(name: str) -> Reference | Repository | None:
    """Read what is no name of an entry of s3prl's hub, and no fusion's; None for these."""
    if YAML.fullmatch(name):
        return None
    repository = repositories.parse(name)
    if repository is not None:
        return repository
    if name.endswith(".py"):
        return Reference(name, "")
    where, _, attribute = name.rpartition(":")
    if where.endswith(".py"):
        return _of_layout(Path(where), attribute) or Reference(where, attribute)
    if attribute.isidentifier() and where:
        if is_path(where):
            return Reference(where, attribute)
        if _has_layout(Path(where)):
            return Reference(f".{os.sep}{where}", attribute)
        return Reference(where, attribute) if _MODULE.fullmatch(where) else None
    return Reference(name, "") if is_path(name) else None


def _of_layout(file: Path, attribute: str) -> Reference | None:
    """Read an expert.py or a hubconf.py as its folder, which their relative imports need."""
    if file.name == EXPERT and attribute == EXPERT_CLASS:
        return Reference(f"{file.parent}{os.sep}", "")
    return Reference(f"{file.parent}{os.sep}", attribute) if file.name == HUBCONF and attribute else None


def _has_layout(folder: Path) -> bool:
    return any((folder / file).is_file() for file in (EXPERT, HUBCONF))


def label(name: str) -> str:
    """Shorten a member's name for tables and files; a hub entry's stays as it is."""
    reference = parse(name)
    if reference is None:
        return name
    # Two underscores would begin an interface.
    return re.sub(r"_{2,}", "_", re.sub(r"[^\w.+-]", "-", reference.label)).strip("_")
