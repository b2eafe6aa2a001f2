"""What a fusion is made of: equal for two exactly when they compute the same features and learn them the same way.

Names, paths, devices and caches are how a fusion is reached, not what it is; what it refers to counts by content.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from .config import FusionConfig, InterfaceConfig, MemberConfig
from .files import read_mapping
from .interfaces import interface_class, interface_options
from .source import code_digest, content_digest
from .upstreams.entries import known
from .upstreams.references import parse
from .upstreams.repositories import Repository

_ABSENT = object()
CONTENT = "sha256:"  # before the digest of what is in a file


def describe(fusion: FusionConfig, code: Sequence[str] = (), contents: bool = True) -> dict[str, Any]:
    """Describe a fusion by what it is made of, in plain dicts, lists and scalars.

    Args:
        fusion: its paths are read, as far as they are on this machine.
        code: for each member a digest of its upstream's own code, where somebody knows it.
        contents: False lets the names of files stand for what is in them.
    """
    members = [_member(member, contents) for member in fusion.members]
    for member, text in zip(members, code):
        member.update({"code": text} if text else {})
    return {
        "members": members,
        "interface": _interface(fusion.interface, contents),
        **{key: True for key in ("normalize", "stock") if getattr(fusion, key)},
    }


def by_content(settings: Any) -> Any:
    """Put the digest of its content in the place of each file that settings name, in mappings and lists below too."""
    if isinstance(settings, Mapping):
        return {key: by_content(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [by_content(value) for value in settings]
    if not isinstance(settings, str):
        return settings
    path = Path(settings)
    # A text without a folder or a suffix, such as Adam, is a name, whatever lies in the current folder.
    return _file(settings, True) if (path.suffix or len(path.parts) > 1) and path.is_file() else settings


def digest(made_of: Any) -> str:
    """Shorten what something is made of to 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _member(member: MemberConfig, contents: bool) -> dict[str, Any]:
    entry = known(member.name)
    config = member.model_config if member.model_config is not None else dict(entry.options) or None
    own = parse(member.name)
    if isinstance(own, Repository) and contents and not own.runs_code:
        own = own.pinned()
    made_of = {
        "name": own.identity if own else entry.via or entry.name,
        "code": own and contents and own.digest() or None,
        "ckpt": _file(member.ckpt or (own.ckpt if own else entry.pretrained), contents),
        "model_config": _settings(config, contents),
        "layers": member.layers and list(member.layers),
        "precision": member.precision,
    }
    return {key: value for key, value in made_of.items() if value is not None}


def _file(path: str | None, contents: bool) -> str | None:
    """Name a file or folder by its content; one that is not here by its last part, an address or a hub id as it is."""
    if path is not None and contents and Path(path).exists():
        return CONTENT + content_digest(Path(path))[:16]
    return PurePath(path).name if path is not None and PurePath(path).is_absolute() else path


def _settings(config: Any, contents: bool) -> Any:
    if not isinstance(config, str):
        return dict(config) if isinstance(config, Mapping) else config
    if contents and Path(config).suffix in (".yaml", ".yml", ".json") and Path(config).is_file():
        return read_mapping(config)
    return _file(config, contents)


def _interface(interface: InterfaceConfig, contents: bool) -> dict[str, Any]:
    """Describe it with every default of its options, which later releases may change; a user's own class by source."""
    options = {**interface_options(interface.name), **interface.options}
    made_of = {"name": PurePath(interface.name).name, "output_dim": interface.output_dim, **options}
    if ":" in interface.name and contents:
        own = [cls for cls in inspect.getmro(interface_class(interface.name)) if _is_own(cls)]
        made_of["code"] = code_digest(own, imported=True)[:16]
    return {key: value for key, value in made_of.items() if value is not None}


def _is_own(cls: type) -> bool:
    return cls.__module__.partition(".")[0] not in ("torch", "builtins", __package__)


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Say what differs between two descriptions, a clause each."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            pair = (before.get(key, _ABSENT), now.get(key, _ABSENT))
            if key == "code":
                if _ABSENT not in pair and pair[0] != pair[1]:  # else nobody knew it
                    yield f"the source code of {where} ({now.get('name')}) has changed"
                continue
            yield from differences(*pair, f"{where}.{key}".lstrip("."))
    elif where.endswith("members") and len(before) == len(now):
        for i, pair in enumerate(zip(before, now)):
            yield from differences(*pair, f"{where}[{i}]")
    elif _is_content(before) and _is_content(now) and before != now:
        yield f"the content of {where} has changed"
    elif before != now:
        yield f"{where} was {_show(where, before)}, is {_show(where, now)}"


def _is_content(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(CONTENT)


def _show(where: str, value: Any) -> str:
    if value is _ABSENT:
        return "not given"
    return " + ".join(member["name"] for member in value) if where.endswith("members") else repr(value)
