"""The files that recipes need beside a corpus, such as ASR's dictionary: the shipped ones, or the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..assets import downstream_configs_dir, own_file
from ..corpora.base import ROOT
from ..errors import KindError, MissingFileError, within
from ..files import read_mapping
from ..source import content_digest
from .tasks import Task


def recipe_files(task: Task, config: Path) -> dict[str, Path]:
    """Find the files of a task that ship with this package, or what the recipe's settings name in their place.

    Args:
        task: its `paths` tell which.
        config: the recipe's YAML; a relative path in it begins there, or in the current folder.

    Returns:
        Absolute paths by the config's keys.

    Raises:
        MissingFileError: the YAML names a file that is not there.
        KindError: it has something else in the place of a path.
    """
    shipped = {key: name for key, name in task.paths.items() if name != ROOT and name not in task.corpus.products}
    values = read_mapping(config) if shipped else {}
    return {key: _find(values, key, name, config) for key, name in shipped.items()}


def _find(values: dict[str, Any], key: str, name: str, config: Path) -> Path:
    value: Any = values
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str) and (config.parent / value).is_file():
        value = str(config.parent / value)
    # A bare name is that of the shipped file, also where one of that name happens to lie in the current folder.
    try:
        own = None if value == name else own_file(value, name)
    except KindError as error:
        raise within(f"{config}: {key}: ", error) from error
    if own is None:
        return downstream_configs_dir() / name
    if not own.is_file():
        raise MissingFileError(
            f"{config}: {key} is {value!r}, which is neither below {config.parent} nor below the current folder; "
            f"correct it, or write {name} for the one that ships with this package"
        )
    return own.absolute()


def shipped_files(task: Task, config: Path) -> dict[str, Path]:
    """Do as `recipe_files`, by the names of the shipped files."""
    return {task.paths[key]: path for key, path in recipe_files(task, config).items()}


def own_digest(path: Path | str | None, name: str) -> str | None:
    """Return the digest of a file that takes the place of a shipped one; None for what says the same as that.

    Args:
        path: the file; none, where the shipped one is meant, and one that is gone is told apart by its path.
        name: of the shipped file.
    """
    own = own_file(str(path or ""), name)
    if own is None:
        return None
    digest = content_digest(own) if own.is_file() else str(own)
    return None if digest == content_digest(downstream_configs_dir() / name) else digest
