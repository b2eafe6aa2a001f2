"""Any encoder of transformers that takes speech, as an s3prl upstream: `families` has a row for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import KindError, UsageError
from . import pretrained
from .encoder import Encoder, together
from .entries import MODEL_TYPES, WHISPER
from .families import family_of
from .family import Family
from .unknown import UnknownEncoder
from .whisper import WhisperUpstream

NAME = "hf"


class TransformersUpstream(nn.Module):
    """The speech encoder of a model that transformers has saved; text and decoder parts are dropped after loading.

    Hidden states are what goes into the first layer and what each layer gives, the last one after the final norm
    where there is one, whatever the release of transformers. They are computed in float32, whatever precision the file
    has, without layer drop and SpecAugment. Each utterance goes through the model's feature extractor alone, so that
    its normalisation sees no padding. Models of another sampling rate get the waveform resampled (torchaudio).

    Args:
        ckpt: a local folder or a hub id, e.g. ``"facebook/w2v-bert-2.0"``.
        revision: of a hub id: a branch, tag or commit; the newest by default.
        one_by_one: whether each utterance runs alone, slower, and with what it gives alone; families that mask padding
            throughout give the same in a batch, see ``batch`` in `family.Family`.
        pad_to_30s: of Whisper alone, see `WhisperUpstream`; ``True`` by default.

    Raises:
        MissingFileError: there is no model at ``ckpt``, or a file of it is missing; the message names it.
        UsageError: its weights are not its own, or it cannot be used; the message says why.
    """

    def __init__(
        self, ckpt: str, revision: str | None = None, one_by_one: bool = False, pad_to_30s: bool | None = None
    ) -> None:
        super().__init__()
        if not isinstance(one_by_one, bool):
            raise KindError(f"one_by_one must be true or false; got {one_by_one!r}")
        pretrained.check_ckpt(NAME, ckpt)
        config = pretrained.load_config(ckpt, revision)
        self.one_by_one = one_by_one
        self.encoder: nn.Module
        if config.model_type == MODEL_TYPES[WHISPER]:
            self.encoder = WhisperUpstream(ckpt, True if pad_to_30s is None else pad_to_30s, revision)
            return
        if pad_to_30s is not None:
            raise UsageError(f"pad_to_30s is an option of Whisper's; {ckpt} is a {config.model_type!r}: leave it out")
        family = family_of(config)
        self.encoder = (
            _load_unknown(ckpt, revision, config) if family is None else _load(ckpt, revision, config, family)
        )

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Return samples a frame, for every hidden state."""
        return self.encoder.get_downsample_rates(key)  # type: ignore[operator]

    def num_frames(self, num_samples: int) -> int:
        """Count the frames of an utterance of ``num_samples`` samples."""
        return self.encoder.num_frames(num_samples)  # type: ignore[operator]

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Encode waveforms.

        Args:
            wavs: B waveforms of any length, each (T',), 16 kHz.

        Returns:
            ``{"hidden_states": [...]}``, each (B, T, D), with the T of the longest.
        """
        if not self.one_by_one or len(wavs) == 1:
            return self.encoder(wavs)
        alone = [self.encoder([wav])["hidden_states"] for wav in wavs]
        return {"hidden_states": [together([state[0] for state in layer]) for layer in zip(*alone)]}


def _load(ckpt: str, revision: str | None, config: Any, family: Family) -> Encoder:
    import transformers

    extractor = pretrained.load_extractor(transformers.AutoFeatureExtractor, ckpt, revision, any_rate=True)
    cls = getattr(transformers, family.models[config.model_type])
    model = pretrained.load_model(NAME, cls, ckpt, family.encoder, revision)
    config = getattr(model, "config", config)
    masks = bool(family.mask) and (not family.by_file or _file_says(ckpt, revision, extractor, config))
    return Encoder(ckpt, model, config, extractor, family, masks)


def _file_says(ckpt: str, revision: str | None, extractor: Any, config: Any) -> bool:
    """Tell whether padding is masked, of a family whose feature extractor's file says so."""
    said = pretrained.extractor_file(type(extractor), ckpt, revision).get("return_attention_mask")
    return said if isinstance(said, bool) else getattr(config, "feat_extract_norm", "") != "group"


def _load_unknown(ckpt: str, revision: str | None, config: Any) -> UnknownEncoder:
    import transformers

    what = f"{ckpt}, a model of type {config.model_type!r}, which nobody has tried here,"
    extractor = pretrained.load_extractor(transformers.AutoFeatureExtractor, ckpt, revision, any_rate=True)
    return UnknownEncoder(what, pretrained.load_model(NAME, transformers.AutoModel, ckpt, revision=revision), extractor)
