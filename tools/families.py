"""Writes the table of transformers' speech encoders into docs/own-model.md: python tools/families.py"""

from __future__ import annotations

from pathlib import Path

from put_table import put

from s3prl_fusion.upstreams.families import FAMILIES
from s3prl_fusion.upstreams.family import Family

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own-model.md"
_WHISPER = "| Whisper, Distil-Whisper | `whisper` | 320 | never | the same | windows of 30 s, see `pad_to_30s` |"


def table() -> str:
    """All families in Markdown, a row each."""
    head = ["| family | `model_type` | samples a frame | padding is masked | in a batch | note |"]
    head += ["| --- | --- | ---: | --- | --- | --- |", _WHISPER]
    return "\n".join([*head, *map(_row, FAMILIES), ""])


def _row(family: Family) -> str:
    kinds = " ".join(f"`{kind}`" for kind in family.models)
    mask = "as its file says" if family.by_file else "always" if family.mask else "never"
    return f"| {family.name} | {kinds} | {family.rate or ''} | {mask} | {family.batch or 'the same'} | {family.note} |"


if __name__ == "__main__":
    put("families", table(), PAGE)
