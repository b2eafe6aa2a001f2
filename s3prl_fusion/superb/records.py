"""What the JSON files of a run hold, as far as it is used: whoever reads one, reads it by these."""

from __future__ import annotations

from typing import Any

from ..schema import TEXT, Items, Kind, Section, whole


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return value


_TEXT = Kind("a text", TEXT.read, null=True)
_REAL, _REAL_OR_NONE = Kind("a number", _real), Kind("a number", _real, null=True)
_COUNT = whole(0, null=True)
_MADE_OF = Section(others=True, null=True)
_NAMED = Section({"name": TEXT}, others=True)
_FUSION = Section({"members": Items(_NAMED), "interface": _NAMED}, others=True, null=True)

_TRIED = Section({"upstream": TEXT, "interface": TEXT, "members": Items(TEXT), "dev_score": _REAL_OR_NONE}, others=True)
_AUTO = Section(
    {"upstream": TEXT, "identity": TEXT, "members": Items(TEXT), "chosen": TEXT, "candidates": Items(_TRIED)},
    others=True,
)

_STATES = Section({"chosen": TEXT, "tried": Items(Section({"states": TEXT, "dev_score": _REAL}))})

STAMP = Section(
    more={
        "key": TEXT,
        "status": TEXT,
        "seconds": _REAL,
        "made_of": _MADE_OF,
        "upstream": TEXT,
        "identity": TEXT,
        "task": TEXT,
        "seed": whole(),
        "lr": _REAL_OR_NONE,
        "dev_score": _REAL,
        "files": Section(others=True),
    },
    others=True,
)
RUN = Section(
    more={
        "fusion": _FUSION,
        "made_of": _MADE_OF,
        "states": _STATES,
        "parameters": Section(more={name: _COUNT for name in ("upstream", "featurizer", "downstream")}, others=True),
    },
    others=True,
)
SCORE = Section(
    needed={
        "task": TEXT,
        "fold": _TEXT,
        "score": _REAL,
        "seed": whole(),
        "upstream": TEXT,
        "interface": TEXT,
    },
    more={
        "fusion": _FUSION,
        "made_of": _MADE_OF,
        "auto": _AUTO,
        "members": Items(TEXT),
        "states": _STATES,
        "lr": _REAL_OR_NONE,
        "dev_score": _REAL_OR_NONE,
        "more": Section(others=True, null=True),
        "chance": _REAL_OR_NONE,
        "more_chance": Section(others=True, null=True),
        "utterances": _COUNT,
        "config_hash": _TEXT,
        **{f"{stage}_seconds": _REAL_OR_NONE for stage in ("train", "evaluate")},
        **{f"{part}_parameters": _COUNT for part in ("featurizer", "downstream", "frozen", "finetuned")},
    },
    others=True,
)
