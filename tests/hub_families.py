"""A member of every family of s3prl's hub that can be built without a download: tiny, of the family's own classes.

Each builder is given an empty folder, saves a checkpoint there if the family needs one, and returns what a fusion YAML
would say of the member beside its name.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import tiny_models
import torch
import yaml

AUDIO = {"feat_type": "fbank", "feat_dim": 20}
ENCODER = {
    "extractor_mode": "default",
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 2,
    "encoder_layerdrop": 0.5,
    "conv_feature_layers": tiny_models.CONV_LAYERS,
    "conv_pos": 8,
    "conv_pos_groups": 2,
}


def _save(folder: Path, states: dict[str, Any]) -> str:
    torch.save(states, folder / "model.ckpt")
    return str(folder / "model.ckpt")


def apc(folder: Path) -> dict:
    from s3prl.upstream.apc.apc import APC

    paras = {"hidden_size": 24, "num_layers": 3, "dropout": 0.1, "residual": True}
    states = {"config": {"data": {"audio": AUDIO}, "model": {"paras": paras}}, "model": APC(20, **paras).state_dict()}
    return {"ckpt": _save(folder, states)}


def vq_apc(folder: Path) -> dict:
    from s3prl.upstream.apc.apc import APC

    vq = {"codebook_size": [8], "code_dim": [24], "gumbel_temperature": 0.5}
    paras = {"hidden_size": 24, "num_layers": 3, "dropout": 0.1, "residual": True, "vq": vq}
    states = {"config": {"data": {"audio": AUDIO}, "model": {"paras": paras}}, "model": APC(20, **paras).state_dict()}
    return {"ckpt": _save(folder, states)}


def npc(folder: Path) -> dict:
    from s3prl.upstream.npc.npc import NPC

    paras = {
        "hidden_size": 16,
        "n_blocks": 2,
        "dropout": 0.1,
        "residual": True,
        "kernel_size": 15,
        "mask_size": 5,
    }
    states = {"config": {"data": {"audio": AUDIO}, "model": {"paras": paras}}, "model": NPC(20, **paras).state_dict()}
    return {"ckpt": _save(folder, states)}


def _transformer(share_layer: bool) -> Callable[[Path], dict]:
    def build(folder: Path) -> dict:
        from s3prl.upstream.mockingjay.model import TransformerConfig, TransformerModel

        transformer = {
            "input_dim": 80,
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "hidden_act": "gelu",
            "intermediate_size": 48,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-12,
            "share_layer": share_layer,
            "pre_layer_norm": False,
        }
        audio = {
            "kaldi": {"feat_type": "fbank", "fbank": {"frame_length": 25.0, "frame_shift": 10.0, "num_mel_bins": 80}},
            "delta": {"order": 0, "win_length": 5},
            "cmvn": {"use_cmvn": True},
        }
        states = {
            "Config": {"transformer": transformer, "audio": audio, "task": {"sequence_length": 0}},
            "Transformer": TransformerModel(TransformerConfig(transformer), 80).state_dict(),
        }
        return {"ckpt": _save(folder, states)}

    return build


def cpc(folder: Path) -> dict:
    from s3prl.upstream.cpc.cpc_default_config import get_default_cpc_config
    from s3prl.upstream.cpc.feature_loader import getAR, getEncoder
    from s3prl.upstream.cpc.model import CPCModel

    args = get_default_cpc_config()
    sizes = {"hiddenEncoder": 16, "hiddenGar": 16}
    vars(args).update(sizes)
    model = CPCModel(getEncoder(args), getAR(args))
    return {"ckpt": _save(folder, {"config": {**vars(args)}, "weights": model.state_dict()})}


def distiller(folder: Path) -> dict:
    from s3prl.upstream.distiller.model import DistillerConfig, DistillerModel

    config = {
        "extractor_conv_feature_layers": tiny_models.CONV_LAYERS,
        "conv_pos": 8,
        "conv_pos_groups": 2,
        "encoder_layers": 2,
        "encoder_embed_dim": 24,
        "encoder_ffn_embed_dim": 48,
        "encoder_attention_heads": 2,
        "final_dim": 24,
        "n_tasks": 3,
        "pred_layer_id": [4, 8, 12],
    }
    states = {"Config": {"distiller": config}, "Distiller": DistillerModel(DistillerConfig(config)).state_dict()}
    return {"ckpt": _save(folder, states)}


def wav2vec2(folder: Path) -> dict:
    from s3prl.upstream.utils import merge_with_parent
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model

    config = {**ENCODER, "quantize_targets": False, "final_dim": 8}
    model = Wav2Vec2Model(merge_with_parent(Wav2Vec2Config, config))
    states = {"task_cfg": {"normalize": False}, "model_cfg": config, "model_weight": model.state_dict()}
    return {"ckpt": _save(folder, states)}


def data2vec(folder: Path) -> dict:
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioConfig, Data2VecAudioModel
    from s3prl.upstream.utils import merge_with_parent

    config = {**ENCODER, "average_top_k_layers": 2}
    model = Data2VecAudioModel(merge_with_parent(Data2VecAudioConfig, config))
    model.remove_pretraining_modules()
    weight = {**model.state_dict(), "_ema": {}}
    states = {"task_cfg": {"normalize": True}, "model_cfg": config, "model_weight": weight}
    return {"ckpt": _save(folder, states)}


WAV2VEC = {
    "conv_feature_layers": "[(16,10,5),(16,8,4),(16,4,2),(16,4,2),(16,4,2)]",
    "conv_aggregator_layers": "[(16,2,1),(16,3,1)]",
    "infonce": True,
    "dropout_features": 0.1,
    "dropout_agg": 0.1,
}
VQ = {"vq_type": "gumbel", "vq_vars": 4, "vq_groups": 2, "vq_dim": 16, "vq_temp": (2.0, 0.5, 0.999)}


def _wav2vec(**more: Any) -> Callable[[Path], dict]:
    def build(folder: Path) -> dict:
        from s3prl.upstream.utils import merge_with_parent
        from s3prl.upstream.wav2vec.wav2vec_model import Wav2VecConfig, Wav2VecModel

        config = {**WAV2VEC, **more}
        weight = Wav2VecModel(merge_with_parent(Wav2VecConfig, config)).state_dict()
        states = {"task_cfg": {"normalize": False}, "model_cfg": config, "model_weight": weight}
        return {"ckpt": _save(folder, states)}

    return build


def lighthubert(folder: Path) -> dict:
    from s3prl.upstream.lighthubert.lighthubert import LightHuBERT, LightHuBERTConfig

    settings = {"_name": "hubert_pruner", "pruner_supernet": "small.yaml", "extractor_mode": "default"}
    config = LightHuBERTConfig(settings)
    config.supernet_type = "small"
    return {"ckpt": _save(folder, {"cfg": {"model": settings}, "model": LightHuBERT(config).state_dict()})}


def mae_ast(folder: Path) -> dict:
    from s3prl.upstream.mae_ast.mae_ast import MAE_AST

    patches = {f"ast_kernel_{what}_{axis}": 16 for what in ("size", "stride") for axis in ("chan", "time")}
    transformer = {
        f"{part}_{key}": value
        for part in ("encoder", "decoder")
        for key, value in {"layers": 2, "embed_dim": 32, "ffn_embed_dim": 64, "attention_heads": 2}.items()
    }
    dropouts = {f"{where}dropout": 0.1 for where in ("", "attention_", "activation_")}
    masks = {"mask_length": 1, "mask_min_space": 1, "mask_other": 0, "mask_selection": "static", "mask_prob": 0.75}
    model = {
        **patches,
        **transformer,
        **dropouts,
        **masks,
        "encoder_layerdrop": 0.5,
        "decoder_layerdrop": 0.0,
        "dropout_input": 0.1,
        "activation_fn": "gelu",
        "layer_norm_first": True,
        "enc_conv_pos": False,
        "enc_sine_pos": True,
        "dec_conv_pos": False,
        "dec_sine_pos": True,
        "conv_pos": 8,
        "conv_pos_groups": 2,
        "feature_grad_mult": 1.0,
        "max_positions": None,
        "max_token_length": 48000,
        "no_mask_overlap": False,
        "random_mask_prob": 0.75,
        "use_post_enc_proj": False,
        "checkpoint_activations": False,
        "required_seq_len_multiple": 1,
    }
    task = {
        "feature_dim": 128,
        "feature_type": "spectrogram",
        "mask_type": "chunk",
        "sample_rate": 16000,
        "feature_rate": 100,
    }
    weight = MAE_AST(SimpleNamespace(**model), SimpleNamespace(**task)).state_dict()
    return {"ckpt": _save(folder, {"cfg": {"model": model, "task": task}, "model": weight})}


def multires_hubert(folder: Path) -> dict:
    from s3prl.upstream.multires_hubert.hubert_model import (
        MultiresHubertConfig,
        MultiresHubertModel,
        MultiresHubertPretrainingConfig,
    )
    from s3prl.upstream.utils import merge_with_parent

    task = {"label_rate": 50.0, "label_rate_ratios": [1, 2], "sample_rate": 16000, "normalize": False}
    config = {**ENCODER, "label_rate": 50.0, "label_rate_ratios": [1, 2], "override_encoder_layers": "[1,1,1]"}
    symbols = [["a", "b"]] * 2
    model = MultiresHubertModel(
        merge_with_parent(MultiresHubertConfig, config),
        merge_with_parent(MultiresHubertPretrainingConfig, task),
        symbols,
    )
    states = {
        "task_cfg": task,
        "model_cfg": config,
        "model_weight": model.state_dict(),
        "dictionaries_symbols": symbols,
    }
    return {"ckpt": _save(folder, states)}


def decoar2(folder: Path) -> dict:
    from s3prl.upstream.decoar2.decoar2 import Decoar2

    return {"ckpt": _save(folder, {"model": Decoar2().state_dict()})}


def decoar(folder: Path) -> dict:
    from s3prl.upstream.decoar.decoar import Decoar

    return {"ckpt": _save(folder, {"model": Decoar().state_dict()})}


def stft_mag(folder: Path) -> dict:
    settings = {"n_fft": 400, "hop_length": 160, "win_length": 400, "window": "hann", "center": True, "log": True}
    (folder / "stft.yaml").write_text(yaml.safe_dump({"spectrogram": settings}))
    return {"model_config": str(folder / "stft.yaml")}


def _saved(save: Callable[[Path], str]) -> Callable[[Path], dict]:
    return lambda folder: {"ckpt": save(folder / "saved")}


def _as_it_is(folder: Path) -> dict:
    return {}


# By the entry's name; what follows a + tells two members of one entry apart.
FAMILIES: dict[str, Callable[[Path], dict]] = {
    **dict.fromkeys(("fbank", "fbank_no_cmvn", "mfcc", "mel", "linear", "spectrogram"), _as_it_is),
    "stft_mag": stft_mag,
    "apc_local": apc,
    "apc_local+vq": vq_apc,
    "npc_local": npc,
    "mockingjay_local": _transformer(share_layer=False),
    "tera_local": _transformer(share_layer=False),
    "audio_albert_local": _transformer(share_layer=True),
    "cpc_local": cpc,
    "wav2vec_local": _wav2vec(),
    "vq_wav2vec_custom": _wav2vec(**VQ),
    "wav2vec2_local": wav2vec2,
    "hubert_local": _saved(tiny_models.save_hubert),
    "multires_hubert_local": multires_hubert,
    "lighthubert_local": lighthubert,
    "mae_ast_local": mae_ast,
    "wavlm_local": _saved(tiny_models.save_wavlm),
    "unispeech_sat_local": _saved(tiny_models.save_wavlm),
    "data2vec_local": data2vec,
    "distiller_local": distiller,
    "decoar_local": decoar,
    "decoar_layers_local": decoar,
    "decoar2_local": decoar2,
    "hf_hubert_custom": _saved(tiny_models.save_hf_wav2vec),
    "hf_wav2vec2_custom": _saved(lambda path: tiny_models.save_hf_wav2vec(path, "wav2vec2")),
    "hf_whisper_custom": _saved(tiny_models.save_hf_whisper),
}
ENTRIES = {name.partition("+")[0] for name in FAMILIES}


def build(family: str, folder: Path) -> dict[str, Any]:
    """A member of a family, its checkpoint in an empty folder."""
    return {"name": family.partition("+")[0], **FAMILIES[family](folder)}
