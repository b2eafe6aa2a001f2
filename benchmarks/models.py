"""Members of the real sizes with random weights, which cost as much as pretrained ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s3prl_fusion import FusedUpstream, FusionConfig
from s3prl_fusion.host.hub import hub


def hubert_base(folder: Path, seed: int = 0) -> dict[str, Any]:
    """HuBERT Base, 13 hidden states x 768, through s3prl's own code: what a fusion YAML would say of it."""
    hub()
    from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig

    task = {"label_rate": 50.0, "sample_rate": 16000, "normalize": False}
    model = {"label_rate": 50.0, "final_dim": 256}
    symbols = [["a", "b"]]
    torch.manual_seed(seed)
    weights = HubertModel(HubertConfig(**model), HubertPretrainingConfig(**task), symbols).state_dict()
    path = folder / f"hubert{seed}.pt"
    states = {"task_cfg": task, "model_cfg": model, "model_weight": weights, "dictionaries_symbols": symbols}
    torch.save(states, path)
    return {"name": "hubert_local", "ckpt": str(path)}


def wavlm_base(folder: Path) -> dict[str, Any]:
    """WavLM Base, 13 hidden states x 768, through s3prl's own code."""
    hub()
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    # Where the class's defaults are not the Base model.
    config = {**vars(WavLMConfig()), "relative_position_embedding": True, "gru_rel_pos": True, "max_distance": 800}
    torch.manual_seed(0)
    torch.save({"cfg": config, "model": WavLM(WavLMConfig(config)).state_dict()}, folder / "wavlm.pt")
    return {"name": "wavlm_local", "ckpt": str(folder / "wavlm.pt")}


def whisper_small(folder: Path) -> dict[str, Any]:
    """Whisper small's encoder, 13 hidden states x 768, padded to 30 s."""
    import transformers

    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=8,
        d_model=768,
        encoder_layers=12,
        encoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_layers=1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
    )
    transformers.WhisperModel(config).save_pretrained(folder / "whisper")
    transformers.WhisperFeatureExtractor().save_pretrained(folder / "whisper")
    return {"name": "hf_whisper_custom", "ckpt": str(folder / "whisper")}


def fused(*members: str | dict[str, Any], device: str = "cpu") -> FusedUpstream:
    """A fused upstream in evaluation mode."""
    return FusedUpstream(FusionConfig.from_dict({"members": list(members)})).to(device).eval()


def noise(seconds: float, batch: int = 1, device: str = "cpu") -> list[Tensor]:
    """Utterances of noise of one length, 16 kHz; always the same."""
    generator = torch.Generator().manual_seed(0)
    return [(0.1 * torch.randn(round(seconds * 16000), generator=generator)).to(device) for _ in range(batch)]
