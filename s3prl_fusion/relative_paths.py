"""Relative paths in a fusion YAML: what lies beside the file is meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .upstreams.references import parse


def resolve_paths(folder: Path, config: Any) -> Any:
    """Make a raw config's paths absolute where they exist in a folder: the members' ``ckpt`` and ``model_config``, and
    the modules of a user's own upstreams and interface.

    What is not of its kind stays as it is: the checks of `s3prl_fusion.FusionConfig` come later.
    """
    if not isinstance(config, Mapping):
        return config
    config = dict(config)
    if isinstance(config.get("members"), list):
        config["members"] = [_member(folder, member) for member in config["members"]]
    interface = config.get("interface")
    if isinstance(interface, str):
        config["interface"] = _own_interface(folder, interface)
    elif isinstance(interface, Mapping) and isinstance(interface.get("name"), str):
        config["interface"] = {**interface, "name": _own_interface(folder, interface["name"])}
    return config


def _member(folder: Path, member: Any) -> Any:
    if isinstance(member, str):
        return _own_upstream(folder, member)
    if not isinstance(member, Mapping):
        return member
    if isinstance(member.get("name"), str):
        member = {**member, "name": _own_upstream(folder, member["name"])}
    paths = {key: folder / member[key] for key in ("ckpt", "model_config") if isinstance(member.get(key), str)}
    return {**member, **{key: str(path.resolve()) for key, path in paths.items() if path.exists()}}


def _own_upstream(folder: Path, name: str) -> str:
    reference = parse(name)
    return str(reference.beside(folder)) if reference else name


def _own_interface(folder: Path, name: str) -> str:
    """Turn ``module:Class`` into ``/folder/module.py:Class`` where that file is there."""
    module, colon, class_name = name.rpartition(":")
    file = folder / (module if module.endswith(".py") else f"{module.replace('.', '/')}.py")
    return f"{file.resolve()}:{class_name}" if colon and file.is_file() else name
