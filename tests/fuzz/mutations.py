"""YAML files that are almost right: valid ones with values, keys, or characters changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2, 1.5, 99, -99, 2**31, 2**63, 10**30, 1e308, 1e-300, float("inf"), float("nan")]),
    st.sampled_from(
        ["", "ten", "8", "1e-3", "true", "None", "../x", "~", "a b", "a=b", ",,", "\n", "Ü", "\0", "x.py:X"]
    ),
    st.sampled_from([[], {}, [[]], [{}], [None], [1, 1], ["a", "a"], {"a": 1}, {1: 2}, {None: None}]),
    st.dates(),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=5),
).map(copy.deepcopy)
KEYS = st.sampled_from(["name", "members", "ckpt", "layers", "dir", "lr", "extra", "Name", "", 1, None, True])
Path = tuple[Any, ...]


def paths(tree: Any, above: Path = ()) -> Iterator[Path]:
    """Every place of a tree, the root first."""
    yield above
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield from paths(tree[key], (*above, key))


def nudged(value: Any) -> Any:
    """Another value that may well be meant."""
    if isinstance(value, bool):
        return not value
    return value * 2 + 1 if isinstance(value, (int, float)) else value[::-1] if isinstance(value, list) else value


@st.composite
def changed(draw: st.DrawFn, tree: Any, least: int = 1, most: int = 3) -> Any:
    """A tree with some places replaced, removed, doubled, nested deeper, or given one more key."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(least, most))):
        place = draw(st.sampled_from(list(paths(tree))))
        if not place:
            kind = draw(st.sampled_from(["add", "add", "add", "replace"]))
            if kind == "replace":
                return draw(ODD_VALUES)
            if isinstance(tree, dict):
                tree[draw(KEYS)] = draw(ODD_VALUES)
            continue
        *above, last = place
        parent = tree
        for key in above:
            parent = parent[key]
        kind = draw(
            st.sampled_from(["replace", "replace", "replace", "remove", "rename", "nest", "double", *["nudge"] * 3])
        )
        if kind == "nudge":
            parent[last] = nudged(parent[last])
        elif kind == "remove":
            del parent[last]
        elif kind == "nest":
            parent[last] = draw(st.sampled_from([lambda x: [x], lambda x: {"name": x}, str]))(parent[last])
        elif kind == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
        elif kind == "rename" and isinstance(parent, dict):
            parent[draw(KEYS)] = parent.pop(last)
        else:
            parent[last] = draw(ODD_VALUES)
    return tree


@st.composite
def written(draw: st.DrawFn, tree: Any) -> bytes:
    """A tree as YAML, now and then with a damage to the text: a key twice, cut off, a BOM, latin-1, odd characters."""
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))
    kind = draw(st.sampled_from(["whole"] * 8 + ["cut", "insert", "double", "bom", "crlf", "latin-1", "utf-16"]))
    if kind in ("cut", "insert"):
        place = draw(st.integers(0, len(text)))
        middle = draw(st.sampled_from(list("\t{}[]:&*!%@`'\"\0\x07\n-é") + ["\n- ", ": ", "!!python/name:os.system "]))
        text = text[:place] + (middle + text[place:] if kind == "insert" else "")
    elif kind == "double":
        line = draw(st.sampled_from(text.splitlines() or [""]))
        text += f"{line}\n"
    elif kind == "bom":
        text = f"\ufeff{text}"
    elif kind == "crlf":
        text = text.replace("\n", "\r\n")
    encoding = kind if kind in ("latin-1", "utf-16") else "utf-8"
    return text.encode(encoding, errors="replace")
