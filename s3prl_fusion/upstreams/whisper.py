"""Whisper's encoder as an s3prl upstream, through transformers (asked for in s3prl #494 since 2023)."""

from __future__ import annotations

from ..errors import KindError, UsageError
from . import pretrained
from .entries import WHISPER
from .whisper_encoder import WhisperEncoder


class WhisperUpstream(WhisperEncoder):
    """The encoder of a Whisper model; the decoder is dropped after loading.

    Hidden states are the embedding output and every block's output, the last one after the final layer norm, as
    transformers gives them: 13 for the small model. Each is cropped to ceil(len / 320) frames, where the model has
    OpenAI's spectrogram, of a frame every 160 samples.

    Args:
        ckpt: a local folder or a hub id that ``WhisperModel.from_pretrained`` reads, e.g. ``"openai/whisper-small"``.
        pad_to_30s: ``True`` pads every utterance to Whisper's 30 s, as it was trained. ``False`` computes only the
            frames that the batch needs and hides padding from convolutions and attention: several times as fast on
            short utterances, and independent of the batch. It is another representation, not only a faster one: at
            30 s the values are the same; on clips of 3 s they differ by up to 0.45 and 1.59 of a hidden state's norm in
            two pretrained encoders. Whisper as it was trained attends to the silence after the speech too, whose
            frames have positions and a spectrogram at its floor, and its convolutions see that floor beyond the last
            frame; here neither is there.
        revision: of a hub id: a branch, tag or commit; the newest by default.

    Raises:
        MissingFileError: there is no model at ``ckpt``, or a file of it is missing; the message names it.
        UsageError: it is another model, or its weights or its spectrogram are not its own.
    """

    def __init__(self, ckpt: str, pad_to_30s: bool = True, revision: str | None = None) -> None:
        from transformers import WhisperFeatureExtractor, WhisperModel

        if not isinstance(pad_to_30s, bool):
            raise KindError(f"pad_to_30s must be true or false; got {pad_to_30s!r}")
        pretrained.check_ckpt(WHISPER, ckpt)
        extractor = pretrained.load_extractor(WhisperFeatureExtractor, ckpt, revision)
        encoder = pretrained.load_model(WHISPER, WhisperModel, ckpt, part="WhisperEncoder", revision=revision)
        bins = (extractor.feature_size, encoder.config.num_mel_bins)
        if bins[0] != bins[1]:
            raise UsageError(
                f"{ckpt}: preprocessor_config.json makes {bins[0]} mel bins, and config.json's model takes {bins[1]}; "
                "the two are of different models: fetch it again"
            )
        super().__init__(extractor, encoder, pad_to_30s)
