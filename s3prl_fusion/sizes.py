"""How large well-known upstreams are and what they learned from, for `s3prl-fusion list`, `submit` and whoever plans a
run: nothing is downloaded for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """What an entry of s3prl's hub gives, and its weight.

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


SIZES = {
    "fbank": Size(1, 240, 160, 0),
    "mfcc": Size(1, 39, 160, 0),
    "apc": Size(3, 512, 160, 4_105_296),
    "tera": Size(4, 768, 160, 21_327_360),
    "distilhubert": Size(6, 768, 320, 27_034_752),
    "wav2vec2_base_960": Size(13, 768, 320, 95_044_608),
    "wav2vec2_large_ll60k": Size(25, 1024, 320, 317_390_592),
    "hubert_base": Size(13, 768, 320, 94_697_600),
    "hubert_large_ll60k": Size(25, 1024, 320, 316_609_408),
    "wavlm_base_plus": Size(13, 768, 320, 94_381_936),
    "wavlm_large": Size(25, 1024, 320, 315_453_120),
    "data2vec_base_960": Size(13, 768, 320, 93_754_880),
    "data2vec_large_ll60k": Size(25, 1024, 320, 314_326_016),
    "whisper_tiny": Size(5, 384, 320, 8_208_384),
    "whisper_tiny_en": Size(5, 384, 320, 8_208_384),
    "whisper_base": Size(7, 512, 320, 20_590_592),
    "whisper_base_en": Size(7, 512, 320, 20_590_592),
    "whisper_small": Size(13, 768, 320, 88_154_112),
    "whisper_small_en": Size(13, 768, 320, 88_154_112),
    "whisper_medium": Size(25, 1024, 320, 307_216_384),
    "whisper_medium_en": Size(25, 1024, 320, 307_216_384),
    "whisper_large_v2": Size(33, 1280, 320, 636_784_640),
    "whisper_large_v3": Size(33, 1280, 320, 636_968_960),
    "demo_hubert": Size(7, 192, 320, 2_993_840),
    "demo_whisper": Size(5, 208, 320, 2_579_200),
}

# What upstreams were pretrained on, where this repository itself can tell.
CORPORA = {
    **dict.fromkeys(("fbank", "fbank_no_cmvn", "mfcc", "mel", "linear", "spectrogram"), "none (signal processing)"),
    "demo_hubert": "1.7 h of Asterisk voice prompts in five languages, 1.3 h of synthesized English; no labels",
    "demo_whisper": "0.2 h of English Asterisk voice prompts, up to 2.9 h of synthesized English; transcribed",
}


def learned_from_labels(name: str) -> bool:
    """Whether a hub entry was pretrained with labels, as far as its name tells: Whisper was."""
    return name.startswith(("whisper_", "hf_whisper")) or name == "demo_whisper"
