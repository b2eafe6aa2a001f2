"""Tiny upstreams: a toy whose frames are known, and real architectures with a few thousand random weights."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV_LAYERS = "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2"


def wavs(*lengths: int, seed: int = 0) -> list[Tensor]:
    """Noise of the given lengths, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


class ToyUpstream(nn.Module):
    """Frame j of layer l is a linear map of samples [j * rate, j * rate + first): nothing else reaches it.

    Args:
        form: what ``hidden_states`` is: a list, a tuple, a dict, or (one layer only) a tensor.
    """

    def __init__(
        self, rate: int = 320, first: int = 400, layers: int = 3, dim: int = 8, seed: int = 0, form: str = "list"
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.kernels = nn.Parameter(torch.randn(layers, dim, 1, first, generator=generator) / first**0.5)
        self.rate, self.form = rate, form

    def get_downsample_rates(self, key: str) -> int:
        return self.rate

    def forward(self, batch: list[Tensor]) -> dict:
        padded = nn.utils.rnn.pad_sequence(list(batch), batch_first=True).unsqueeze(1)
        states = [F.conv1d(padded, kernel, stride=self.rate).transpose(1, 2) for kernel in self.kernels]
        forms = {"list": list, "tuple": tuple, "dict": lambda s: {str(i): x for i, x in enumerate(s)}}
        return {"hidden_states": states[0] if self.form == "tensor" else forms[self.form](states)}


def save_hf_wav2vec(folder: Path, kind: str = "hubert", dim: int = 32, layers: int = 3) -> str:
    """A transformers HuBERT or wav2vec 2.0; layer norm in its convolutions, so that padding cannot reach a frame."""
    import transformers

    config_class, model_class = {
        "hubert": (transformers.HubertConfig, transformers.HubertModel),
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
    }[kind]
    config = config_class(
        vocab_size=8,
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * dim,
        conv_dim=(16,) * 7,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        layerdrop=0.0,
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    return _save(folder, lambda: model_class(config), extractor)


def save_hf_whisper(folder: Path, dim: int = 32, layers: int = 2) -> str:
    """A transformers Whisper with the usual 30 s window."""
    import transformers

    config = transformers.WhisperConfig(
        vocab_size=32,
        d_model=dim,
        encoder_layers=layers,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=2 * dim,
        decoder_ffn_dim=2 * dim,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
        dropout=0.0,
    )
    return _save(folder, lambda: transformers.WhisperModel(config), transformers.WhisperFeatureExtractor())


def _save(folder: Path, build, extractor) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build()
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return str(folder)


def save_wavlm(path: Path, dim: int = 32, layers: int = 2) -> str:
    """A stock-architecture WavLM in the format that ``wavlm_local`` reads."""
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    cfg = {
        "extractor_mode": "default",
        "conv_feature_layers": CONV_LAYERS,
        "encoder_layers": layers,
        "encoder_embed_dim": dim,
        "encoder_ffn_embed_dim": 2 * dim,
        "encoder_attention_heads": 2,
        "conv_pos": 8,
        "conv_pos_groups": 2,
        "normalize": False,
        "relative_position_embedding": True,
        "num_buckets": 16,
        "max_distance": 32,
        "gru_rel_pos": True,
    }
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = WavLM(WavLMConfig(cfg))
    torch.save({"cfg": cfg, "model": model.state_dict()}, path)
    return str(path)


def save_hubert(path: Path, dim: int = 24, layers: int = 3) -> str:
    """A stock-architecture HuBERT in the format that ``hubert_local`` reads."""
    from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
    from s3prl.upstream.utils import merge_with_parent

    task = {"label_rate": 50.0, "sample_rate": 16000, "normalize": False}
    cfg = {
        "label_rate": 50.0,
        "extractor_mode": "default",
        "encoder_layers": layers,
        "encoder_embed_dim": dim,
        "encoder_ffn_embed_dim": 2 * dim,
        "encoder_attention_heads": 2,
        "conv_feature_layers": CONV_LAYERS,
        "conv_pos": 8,
        "conv_pos_groups": 2,
        "final_dim": 8,
    }
    symbols = [["a", "b"]]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = HubertModel(
            merge_with_parent(HubertConfig, cfg), merge_with_parent(HubertPretrainingConfig, task), symbols
        )
    state = {"task_cfg": task, "model_cfg": cfg, "model_weight": model.state_dict(), "dictionaries_symbols": symbols}
    torch.save(state, path)
    return str(path)
