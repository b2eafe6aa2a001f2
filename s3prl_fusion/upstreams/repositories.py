"""Upstreams in repositories of the Hugging Face hub, or in local copies of such.

- ``hf:owner/name[@revision]`` and ``hf:FOLDER``: a model that transformers has saved, see `upstreams.transformers`.
- ``hf-s3prl:owner/name[@revision]`` and ``hf-s3prl:FOLDER``: s3prl's layout, an ``expert.py``, whose code runs, and
  ``model.pt``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ..errors import MissingFileError
from ..permissions import COMMIT, REPOSITORY
from ..source import code_digest, defining_files

TRANSFORMERS = "hf:"
MODEL = "model.pt"
# What is looked at before anything else is fetched.
_FIRST = {REPOSITORY: ["*.py", "requirements.txt"], TRANSFORMERS: ["config.json"]}


@dataclass(frozen=True)
class Repository:
    """What a name with one of these prefixes refers to.

    Attributes:
        prefix: with its colon.
        target: owner and name, or the path of a folder.
        revision: a branch, a tag or a commit; None is the newest.
    """

    prefix: str
    target: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.prefix}{self.target}{f'@{self.revision}' if self.revision else ''}"

    @property
    def path(self) -> Path | None:
        """The folder, which may not be there; None of what is on the hub."""
        return Path(self.target).expanduser() if _is_path(self.target) else None

    @property
    def runs_code(self) -> bool:
        """Whether code that is in it runs."""
        return self.prefix == REPOSITORY

    @property
    def where(self) -> str:
        """Whose code it is, as `permissions` call it; empty where none runs."""
        return (str(self.path) if self.path else str(self)) if self.runs_code else ""

    @property
    def label(self) -> str:
        """A short name for tables and files."""
        name = Path(os.path.abspath(self.path)).name if self.path else self.target
        revision = self.revision and (self.revision[:7] if COMMIT.fullmatch(self.revision) else self.revision)
        return f"{name}@{revision}" if revision else name

    @property
    def identity(self) -> str:
        """The name without the folders that it is in."""
        if not self.runs_code:
            return self.prefix.rstrip(":")
        return f"{self.prefix.rstrip(':')}" if self.path else f"{self.prefix}{self.target}"

    @property
    def ckpt(self) -> str | None:
        """The checkpoint that it brings, as far as it is told apart by that: a path, or the hub's name for it."""
        if self.path:
            return str(self.path / MODEL if self.runs_code else self.path)
        return None if self.runs_code else f"{self.target}{f'@{self.revision}' if self.revision else ''}"

    def all_files(self) -> list[Path]:
        """Find its files, as far as they are in a folder of the user's."""
        return [path for path in sorted(self.path.rglob("*")) if path.is_file()] if self.path else []

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the code in a folder, or a repository's commit; empty where none runs."""
        if not self.runs_code:
            return ""
        if self.path is None:
            return self.pinned().revision or ""
        return code_digest(defining_files(str(self.path)))[:16] if self.path.is_dir() else ""

    def pinned(self) -> Repository:
        """Put the commit in the place of a branch or a tag; of what runs no code, only where it can be found out.

        Raises:
            MissingFileError: it runs code, the hub cannot be asked, and nothing of it is on this machine.
        """
        if self.path or (self.revision and COMMIT.fullmatch(self.revision)):
            return self
        commit = fetch(self, first_only=True).name if self.runs_code else _commit(self)
        return replace(self, revision=commit) if commit else self

    def absolute(self) -> Repository:
        """Make it mean the same from any folder and, as far as `pinned` does, at any time."""
        return replace(self, target=os.path.abspath(self.path)) if self.path else self.pinned()

    def beside(self, folder: Path) -> Repository:
        """Take what lies in a folder, such as that of the YAML where the name stands; else it stays as it is."""
        local = folder / Path(self.target).expanduser()
        return replace(self, target=str(local.resolve())) if local.is_dir() else self


def parse(name: str) -> Repository | None:
    """Read a name with one of the prefixes; None for any other."""
    prefix = next((prefix for prefix in (TRANSFORMERS, REPOSITORY) if name.startswith(prefix)), None)
    if prefix is None:
        return None
    target = name[len(prefix) :]
    if _is_path(target) or "@" not in target:
        return Repository(prefix, target)
    target, _, revision = target.partition("@")
    return Repository(prefix, target, revision)


def _is_path(target: str) -> bool:
    """Tell a folder from the name of a repository, which has one separator at most."""
    path = Path(target).expanduser()
    return target[:1] in ("/", "~", ".") or target.count("/") > 1 or target.endswith("/") or path.is_dir()


@cache
def fetch(repository: Repository, first_only: bool = False) -> Path:
    """Fetch a repository of the hub; what is on this machine already is not fetched again.

    Args:
        repository: it.
        first_only: whether its Python files, or its config.json, are enough.

    Returns:
        The folder, which is called after the commit.

    Raises:
        MissingFileError: there is no such repository or revision, or the hub cannot be reached.
    """
    import huggingface_hub

    patterns = _FIRST[repository.prefix] if first_only else None
    try:
        folder = huggingface_hub.snapshot_download(
            repository.target, revision=repository.revision, allow_patterns=patterns
        )
    except Exception as error:  # of whatever kind the hub's client raises
        said = " ".join(str(error).split())[:300]
        raise MissingFileError(
            f"{repository} cannot be fetched from the Hugging Face hub ({type(error).__name__}: {said}); correct the "
            f"name, or fetch it elsewhere and give its folder: {repository.prefix}FOLDER"
        ) from error
    return Path(folder)


@cache
def _commit(repository: Repository) -> str | None:
    """Find out what a model's branch or tag is now; None where nobody knows, as without a network."""
    try:
        folder = fetch(repository, first_only=True)
    except MissingFileError:
        return None
    return folder.name if COMMIT.fullmatch(folder.name) else None
