"""How many hidden states a member has, told without loading it where that can be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..files import read_json
from ..schema import Section, whole
from .entries import WHISPER, known

if TYPE_CHECKING:
    from ..config import MemberConfig

# Where config.json has the number of layers, after which, and before the first of which, there is a hidden state.
_KEYS = {"hf_hubert_custom": "num_hidden_layers", "hf_wav2vec2_custom": "num_hidden_layers", WHISPER: "encoder_layers"}


def count_layers(member: MemberConfig) -> int | None:
    """Return the number of hidden states; None where only the loaded member knows it.

    Raises:
        UsageError: the config.json of its folder is damaged.
    """
    entry = known(member.name)
    key, ckpt = _KEYS.get(entry.via or entry.name), member.ckpt or entry.pretrained
    if key and ckpt and (Path(ckpt) / "config.json").is_file():
        config = read_json(Path(ckpt) / "config.json", Section(more={key: whole(1)}, others=True), "fetch it again")
        return config[key] + 1 if key in config else None
    return entry.size.layers if entry.size and member.ckpt is None else None
