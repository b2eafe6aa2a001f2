"""`s3prl-fusion list`, and the sizes that it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch

from s3prl_fusion import FusionConfig, list_interfaces
from s3prl_fusion.cli import main
from s3prl_fusion.grammar import presets
from s3prl_fusion.host.members import added_entries, entries
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.upstreams.entries import ENTRIES, aliases

BASE = {
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
}
NAMES = {entry.alias: entry.name for entry in ENTRIES.values() if entry.alias}
NAMED = {name for entry in aliases().values() for name in (entry.name, entry.large) if name}
SIZES = {entry.name: entry.size for entry in ENTRIES.values() if entry.size}
WHISPER = {entry.name: entry.ckpt for entry in ENTRIES.values() if (entry.ckpt or "").startswith("openai/")}
LARGE_MODEL = {
    "encoder_layers": 24,
    "encoder_embed_dim": 1024,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "layer_norm_first": True,
    "extractor_mode": "layer_norm",
}


def num_params(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def listed(capsys, *argv: str) -> str:
    assert main(["list", *argv]) == 0
    return capsys.readouterr().out


def test_list_shows_every_interface_alias_and_set_of_members(capsys):
    words = set(re.split(r"[\s,;]+", listed(capsys)))
    plain = {name for name in presets() if not name.endswith(tuple(list_interfaces()))}
    assert {*list_interfaces(), *aliases(), *plain} <= words


def test_list_v_shows_sizes_of_every_preset(capsys):
    lines = listed(capsys, "-v").splitlines()
    assert {line.split()[0] for line in lines[1:]} == set(presets())
    (line,) = [line for line in lines if line.startswith("fused_wavlm_hubert_chconv ")]
    assert "wavlm_base_plus 13 x 768 @ 320 + hubert_base 13 x 768 @ 320" in line
    assert line.split()[-3:] == ["chconv", "17,697,024", "189,079,536"]


def test_list_json_holds_what_v_shows(capsys):
    whole = json.loads(listed(capsys, "--json"))
    assert whole["interfaces"] == list_interfaces() and whole["aliases"] == {
        alias: entry.name for alias, entry in aliases().items()
    }
    assert [upstream["name"] for upstream in whole["upstreams"]] == presets()
    (demo,) = [upstream for upstream in whole["upstreams"] if upstream["name"] == "fused_demo_hconv"]
    assert demo["frozen_parameters"] == sum(member["parameters"] for member in demo["members"]) == 6_706_944
    assert demo["trainable_parameters"] == 142_133 and demo["interface"] == "hconv"


def test_a_name_alone_is_described_and_what_is_not_known_is_said(capsys):
    line = listed(capsys, "-v", "fused__npc__fbank").splitlines()[1]
    assert "npc ? x ? @ ? + fbank 1 x 240 @ 160" in line and line.split()[-3:] == [DEFAULT_INTERFACE, "?", "?"]
    (npc,) = json.loads(listed(capsys, "--json", "fused__npc"))["upstreams"]
    assert npc["trainable_parameters"] is None and npc["members"][0]["layers"] is None


def test_a_wrong_name_is_refused(capsys):
    assert main(["list", "fused_wavlm_hubrt"]) == 2
    assert "did you mean 'hubert'" in capsys.readouterr().err


def test_every_member_of_a_preset_has_a_size_but_the_ones_without_published_settings():
    members = {member.name for name in presets() for member in FusionConfig.from_name(name).members}
    assert members <= set(SIZES) <= set(entries())
    assert set(WHISPER) <= set(SIZES)
    assert NAMED - set(SIZES) == {
        "unispeech_sat_base_plus",
        "unispeech_sat_large",
    }


@pytest.mark.parametrize("name", ["fbank", "mfcc", "demo_hubert", "demo_whisper", "demo_xvector"])
@torch.no_grad()
def test_sizes_of_what_loads_here_are_its_own(name):
    upstream = entries()[name]().eval()
    states = upstream([torch.zeros(16000) + 0.1])["hidden_states"]
    size = SIZES[name]
    assert {state.size(-1) for state in states} == {size.dim} and len(states) == size.layers
    assert upstream.get_downsample_rates("hidden_states") == size.downsample_rate
    assert num_params(upstream) == size.parameters


def hubert(settings, final_dim):
    from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
    from s3prl.upstream.utils import merge_with_parent

    task = merge_with_parent(HubertPretrainingConfig, {"label_rate": 50.0})
    config = merge_with_parent(HubertConfig, {**settings, "label_rate": 50.0, "final_dim": final_dim})
    return HubertModel(config, task, [[str(i) for i in range(504)]])


def wav2vec2(settings, final_dim):
    from s3prl.upstream.utils import merge_with_parent
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(
        merge_with_parent(Wav2Vec2Config, {**settings, "quantize_targets": True, "final_dim": final_dim})
    )


def data2vec(settings):
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioConfig, Data2VecAudioModel
    from s3prl.upstream.utils import merge_with_parent

    common = {"extractor_mode": "layer_norm", "conv_pos": 95, "pos_conv_depth": 5, "conv_pos_groups": 16}
    return Data2VecAudioModel(merge_with_parent(Data2VecAudioConfig, {**settings, **common}))


def distiller():
    from s3prl.upstream.distiller.model import DistillerConfig, DistillerModel

    return DistillerModel(DistillerConfig({"encoder_layers": 2, "n_tasks": 3, "pred_layer_id": [4, 8, 12]}))


ON_META = {
    "hubert_base": lambda: hubert(BASE, 256),
    "hubert_large_ll60k": lambda: hubert(LARGE_MODEL, 768),
    "wav2vec2_base_960": lambda: wav2vec2(BASE, 256),
    "wav2vec2_large_ll60k": lambda: wav2vec2({**LARGE_MODEL, "conv_bias": True}, 768),
    "data2vec_base_960": lambda: data2vec(BASE),
    "data2vec_large_ll60k": lambda: data2vec(LARGE_MODEL),
}


@pytest.mark.parametrize("name", ON_META)
def test_sizes_are_those_of_the_architecture_with_its_published_settings(name):
    with torch.device("meta"):
        model = ON_META[name]()
    assert num_params(model) == SIZES[name].parameters
    assert (len(model.encoder.layers) + 1, model.encoder.embedding_dim) == (SIZES[name].layers, SIZES[name].dim)


def test_distilhubert_has_its_features_two_layers_and_three_predictions():
    # Not on the meta device, which its weights' initialization reads from.
    model = distiller()
    assert num_params(model) == SIZES["distilhubert"].parameters
    assert SIZES["distilhubert"].layers == 1 + len(model.encoder.layers) + model.n_tasks


@pytest.mark.slow
@pytest.mark.parametrize("name, settings", [("wavlm_base_plus", BASE), ("wavlm_large", LARGE_MODEL)])
def test_wavlms_sizes_too(name, settings):
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    relative = {"relative_position_embedding": True, "num_buckets": 320, "max_distance": 800, "gru_rel_pos": True}
    assert num_params(WavLM(WavLMConfig({**settings, **relative}))) == SIZES[name].parameters


WHISPERS = {
    "tiny": (384, 4, 6, 80),
    "base": (512, 6, 8, 80),
    "small": (768, 12, 12, 80),
    "medium": (1024, 24, 16, 80),
    "large_v2": (1280, 32, 20, 80),
    "large_v3": (1280, 32, 20, 128),
}


@pytest.mark.parametrize("name", sorted(WHISPER))
def test_whispers_sizes_are_those_of_its_encoder(name):
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    dim, layers, heads, mels = WHISPERS[name.removeprefix("whisper_").removesuffix("_en")]
    config = WhisperConfig(
        d_model=dim, encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=4 * dim, num_mel_bins=mels
    )
    with torch.device("meta"):
        encoder = WhisperEncoder(config)
    size = SIZES[name]
    assert (num_params(encoder), layers + 1, dim) == (size.parameters, size.layers, size.dim)
    assert name in added_entries()


def test_reading_the_hub_does_not_advertise_espnet():
    code = "from s3prl_fusion.host.hub import hub; hub()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ESPnet" not in done.stdout + done.stderr
