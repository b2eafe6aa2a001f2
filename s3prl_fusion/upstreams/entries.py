"""Well-known upstreams, one row each: what names call them, what loads those that s3prl lacks, and how large they are.

Any other entry of s3prl's hub can be a member too; a row tells short names, `s3prl-fusion list` and `submit` of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..assets import demo_dir
from .references import parse

WHISPER, XVECTOR = "hf_whisper_custom", "xvector_local"
# The architecture (config.json's model_type) that each entry loads whose ckpt is a folder as transformers saves.
MODEL_TYPES = {"hf_hubert_custom": "hubert", "hf_wav2vec2_custom": "wav2vec2", WHISPER: "whisper", XVECTOR: "xvector"}


@dataclass(frozen=True)
class Size:
    """What an upstream gives, and its weight.

    Attributes:
        layers: number of hidden states.
        dim: their width.
        downsample_rate: samples a frame.
        parameters: all of the upstream that s3prl loads, heads of its pretraining included.
    """

    layers: int
    dim: int
    downsample_rate: int
    parameters: int


@dataclass(frozen=True)
class Entry:
    """An upstream.

    Attributes:
        name: of the hub entry.
        alias: what it is called in short names (``fused_<alias>``); none for most.
        large: the entry that the alias means in a name that ends in ``_large``.
        size: nothing is downloaded to tell it; None where nobody has looked.
        corpus: what it was pretrained on, where this repository itself can tell.
        labelled: whether it was pretrained with labels.
        factory: ``module:Class`` that loads it, for what s3prl's hub lacks: called with a ckpt, and with what
            model_config holds as keyword arguments.
        via: in place of it the entry that does; with ``ckpt`` and ``options`` where none are given.
        needs_ckpt: whether it has no checkpoint of its own.
    """

    name: str
    alias: str = ""
    large: str = ""
    size: Size | None = None
    corpus: str = ""
    labelled: bool = False
    factory: str = ""
    via: str = ""
    ckpt: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    needs_ckpt: bool = False

    @property
    def pretrained(self) -> str | None:
        """The checkpoint where none is given: a hub id, or the folder of one that ships with this package."""
        if self.ckpt and self.ckpt.startswith(_SHIPPED):
            return str(demo_dir() / "upstreams" / self.ckpt[len(_SHIPPED) :])
        return self.ckpt


_SHIPPED = "demo:"
_SIGNAL = "none (signal processing)"


def _whisper(name: str, size: Size, **row: Any) -> Entry:
    """Make the row of one of OpenAI's models: its hub id is the entry's name with dashes, and a dot before ``en``."""
    ckpt = f"openai/{name.replace('_', '-').replace('-en', '.en')}"
    return Entry(name, size=size, labelled=True, via=WHISPER, ckpt=ckpt, **row)


_ROWS = (
    Entry("wavlm_base_plus", "wavlm", "wavlm_large", Size(13, 768, 320, 94_381_936)),
    Entry("hubert_base", "hubert", "hubert_large_ll60k", Size(13, 768, 320, 94_697_600)),
    Entry("data2vec_base_960", "data2vec", "data2vec_large_ll60k", Size(13, 768, 320, 93_754_880)),
    Entry("wav2vec2_base_960", "wav2vec2", "wav2vec2_large_ll60k", Size(13, 768, 320, 95_044_608)),
    _whisper("whisper_small", Size(13, 768, 320, 88_154_112), alias="whisper", large="whisper_medium"),
    _whisper("whisper_small_en", Size(13, 768, 320, 88_154_112), alias="whisper_en", large="whisper_medium_en"),
    Entry("unispeech_sat_base_plus", "unispeech_sat", "unispeech_sat_large"),
    Entry("distilhubert", "distilhubert", size=Size(6, 768, 320, 27_034_752)),
    Entry("tera", "tera", size=Size(4, 768, 160, 21_327_360)),
    Entry("apc", "apc", size=Size(3, 512, 160, 4_105_296)),
    Entry("fbank", "fbank", size=Size(1, 240, 160, 0), corpus=_SIGNAL),
    Entry("mfcc", "mfcc", size=Size(1, 39, 160, 0), corpus=_SIGNAL),
    Entry(
        "demo_hubert",
        "demo_hubert",
        size=Size(7, 192, 320, 2_993_840),
        corpus="1.7 h of Asterisk voice prompts in five languages, 1.3 h of synthesized English; no labels",
        via="hf_hubert_custom",
        ckpt="demo:hubert",
    ),
    Entry(
        "demo_whisper",
        "demo_whisper",
        size=Size(5, 208, 320, 2_579_200),
        corpus="1.1 h of Asterisk voice prompts in five languages, 3.9 h of synthesized English; transcribed",
        labelled=True,
        via=WHISPER,
        ckpt="demo:whisper",
        options={"pad_to_30s": False},
    ),
    Entry(
        "demo_xvector",
        "demo_xvector",
        size=Size(7, 144, 320, 1_133_904),
        corpus="4.3 h in 62 recorded voices of Debian's packages, 1 h in 76 synthesized ones; who speaks",
        labelled=True,
        via=XVECTOR,
        ckpt="demo:xvector",
    ),
    *(Entry(name, corpus=_SIGNAL) for name in ("fbank_no_cmvn", "mel", "linear", "spectrogram")),
    Entry("wav2vec2_large_ll60k", size=Size(25, 1024, 320, 317_390_592)),
    Entry("hubert_large_ll60k", size=Size(25, 1024, 320, 316_609_408)),
    Entry("wavlm_large", size=Size(25, 1024, 320, 315_453_120)),
    Entry("data2vec_large_ll60k", size=Size(25, 1024, 320, 314_326_016)),
    _whisper("whisper_tiny", Size(5, 384, 320, 8_208_384)),
    _whisper("whisper_tiny_en", Size(5, 384, 320, 8_208_384)),
    _whisper("whisper_base", Size(7, 512, 320, 20_590_592)),
    _whisper("whisper_base_en", Size(7, 512, 320, 20_590_592)),
    _whisper("whisper_medium", Size(25, 1024, 320, 307_216_384)),
    _whisper("whisper_medium_en", Size(25, 1024, 320, 307_216_384)),
    _whisper("whisper_large_v2", Size(33, 1280, 320, 636_784_640)),
    _whisper("whisper_large_v3", Size(33, 1280, 320, 636_968_960)),
    Entry(WHISPER, labelled=True, factory="s3prl_fusion.upstreams.whisper:WhisperUpstream", needs_ckpt=True),
    Entry(XVECTOR, factory="s3prl_fusion.upstreams.xvector:XVectorUpstream", needs_ckpt=True),
)
ENTRIES = {entry.name: entry for entry in _ROWS}


def aliases() -> dict[str, Entry]:
    """Return the rows that short names are made of, by what these call them."""
    return {entry.alias: entry for entry in ENTRIES.values() if entry.alias}


def known(name: str) -> Entry:
    """Return the row of a hub entry; one with nothing but the name where there is none, as of a user's own upstream.

    In s3prl's hub, names of entries without a checkpoint of their own end in ``_local`` and the like (s3prl/hub.py:46).
    """
    without_ckpt = name.endswith(("_local", "_url", "_gdriveid", "_custom")) and parse(name) is None
    return ENTRIES.get(name) or Entry(name, needs_ckpt=without_ckpt)
