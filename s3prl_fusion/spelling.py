"""Letters and words of any script."""

from __future__ import annotations

import re
import unicodedata

# Scripts that are written without spaces, whose characters stand for syllables or words: Han and kana.
_ALONE = "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_CHARACTER = re.compile(f"([{_ALONE}])")
_SPACE_BESIDE = re.compile(f"(?<=[{_ALONE}]) | (?=[{_ALONE}])")


def in_capitals(text: str) -> str:
    """Return a text in capital letters and composed (NFC), with single spaces; each character of a script without
    spaces (Han, kana) is a word."""
    capitals = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).upper())
    return " ".join(_CHARACTER.sub(r" \1 ", capitals).split())


def characters(text: str) -> str:
    """Return a text as it is written: without the spaces beside characters that `in_capitals` makes words of."""
    return _SPACE_BESIDE.sub("", " ".join(text.split()))
