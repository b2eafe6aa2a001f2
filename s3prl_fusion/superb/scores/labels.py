"""What to call the rows of a table: short names for people, no two alike, that say what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ...names import label
from ..layout import auto_name

_OF_RUN = ("trained", "selection", "layer", "states")  # what is in made_of and in no fusion


def unique_labels(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Name each identity.

    Args:
        rows: as in score.json, with `identity`; several may be of one.

    Returns:
        `{identity: label}`. Where several would be called the same, each says what the others do not share: an
        interface, a checkpoint, an option, `normalize`; at last the first digits of the identity.
    """
    first = {row["identity"]: row for row in reversed(rows)}
    names = {identity: _name(row) for identity, row in first.items()}
    labels = {}
    for identity, row in first.items():
        alike = [other for other in first if names[other] == names[identity]]
        facts = [dict(_facts(first[other])) for other in alike]
        mine = dict(_facts(row))
        words = [text for key, text in mine.items() if any(other.get(key) != text for other in facts)]
        labels[identity] = ", ".join([names[identity], *words])
    counts = Counter(labels.values())
    return {identity: f"{text} [{identity[:6]}]" if counts[text] > 1 else text for identity, text in labels.items()}


def _name(row: Mapping[str, Any]) -> str:
    """Return what the user called it; of `fused`, whose YAML may be any, the members; of a choice, its row."""
    if "auto" in row:
        return auto_name(row["auto"]["upstream"])
    if row["upstream"] != "fused":
        return label(row["upstream"])
    return f"fused ({' + '.join(_member(member) for member in row['fusion']['members'])})"


def _member(member: Mapping[str, Any]) -> str:
    name = label(member["name"])
    return f"{name} ({PurePath(member['ckpt']).name})" if member.get("ckpt") else name


def _facts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return what can differ between two rows of one name, in words, by where it stands."""
    fusion, interface = row["fusion"], row["fusion"]["interface"]
    yield "members", " + ".join(_member(member) for member in fusion["members"])
    for i, member in enumerate(fusion["members"]):
        for key in ("layers", "precision", "model_config"):
            if member.get(key):
                yield f"{i}.{key}", f"{label(member['name'])} {_text(key, member[key])}"
    yield "interface", PurePath(interface["name"]).name
    for key, value in interface.items():
        if key != "name":
            yield f"interface.{key}", _text(key, value)
    normalized, is_stock = bool(fusion.get("normalize")), bool(fusion.get("stock"))
    if normalized == is_stock:  # else it is as by default
        yield "normalize", "normalized" if normalized else "not normalized"
    for key in _OF_RUN:
        if row["made_of"].get(key) is not None:
            yield key, key if row["made_of"][key] is True else _text(key, row["made_of"][key])


def _text(key: str, value: Any) -> str:
    return f"{key}: {PurePath(value).name if isinstance(value, str) else value}"
