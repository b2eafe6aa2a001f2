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
    return _own(values, key, name, config) or downstream_configs_dir() / name


def _own(values: dict[str, Any], key: str, name: str, config: Path) -> Path | None:
    """Find what stands at a key in the place of a file of some name; None for a placeholder."""
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
    if own is not None and not own.is_file():
        raise MissingFileError(
            f"{config}: {key} is {value!r}, which is neither below {config.parent} nor below the current folder; "
            f"correct it, or write {name} for the usual one"
        )
    return own and own.absolute()


def shipped_files(task: Task, config: Path) -> dict[str, Path]:
    """Do as `recipe_files`, by the names of the shipped files; and find those that the settings name in the place of
    what is made of a corpus, by the names of these products."""
    found = {task.paths[key]: path for key, path in recipe_files(task, config).items()}
    replaceable = {key: name for key, name in task.paths.items() if name in task.corpus.replaceable}
    values = read_mapping(config) if replaceable else {}
    for key, product in replaceable.items():
        own = _own(values, key, task.corpus.replaceable[product], config)
        found.update({product: own} if own else {})
    return found


def own_digest(path: Path | str | None, name: str) -> str | None:
    """Return the digest of a file that takes the place of a shipped one; None for what says the same as that.

    Args:
        path: the file; none, where the shipped one is meant, and one that is gone is told apart by its path.
        name: of the shipped file.
    """
    own = own_file(str(path or ""), name)
    if own is None:
        return None
    digest, shipped = content_digest(own) if own.is_file() else str(own), downstream_configs_dir() / name
    return None if shipped.is_file() and digest == content_digest(shipped) else digest
