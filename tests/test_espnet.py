"""ESPnet's S3prlFrontend on a fused upstream: always the calls that it makes, and its real class where it is installed.

For the real class, without the rest of ESPnet's dependencies:
pip install --no-deps espnet humanfriendly typeguard torch_complex pytorch_wpe
and for its trainer, in an environment of its own: ``pip install espnet`` with what it asks for, or the same way
configargparse kaldiio sentencepiece opt_einsum espnet_tts_frontend jamo jaconv g2p_en inflect nltk unidecode distance
einops hydra-core antlr4-python3-runtime==4.9.3 ci_sdr fast_bss_eval asteroid_filterbanks, and typeguard below 3
"""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys

import pytest
import soundfile
import torch
import yaml
from official_layouts import recordings
from tiny_models import wavs
from torch import nn

from s3prl_fusion.assets import demo_dir

LENGTHS = (16000, 9000)
CONF = {"upstream": "fused_demo"}


class Restated(nn.Module):
    """What espnet2/asr/frontend/s3prl.py (202511) does with s3prl, call by call."""

    def __init__(self, frontend_conf: dict, multilayer_feature: bool = False, layer: int = -1) -> None:
        from s3prl.nn import Featurizer, S3PRLUpstream

        super().__init__()
        name = frontend_conf["upstream"]
        assert name in S3PRLUpstream.available_names()
        options = {key: frontend_conf.get(key) for key in ("path_or_url", "extra_conf")}
        self.upstream = S3PRLUpstream(name, normalize=frontend_conf.get("normalize", False), **options).eval()
        self.featurizer = Featurizer(self.upstream, layer_selections=None if layer == -1 else [layer])
        self.multilayer_feature = multilayer_feature
        self.hop_length = self.featurizer.downsample_rate
        self.pretrained_params = copy.deepcopy(self.upstream.state_dict())

    def output_size(self) -> int:
        return self.featurizer.output_size

    def forward(self, speech, lengths):
        states, frames = self.upstream(speech, lengths)
        first = 0 if self.multilayer_feature else -1
        return self.featurizer(states[first:], frames[first:])


def real(*args, **kwargs):
    """ESPnet's own class."""
    try:
        from espnet2.asr.frontend.s3prl import S3prlFrontend
    except ImportError as error:
        pytest.skip(f"ESPnet is not installed: {error}")
    return S3prlFrontend(16000, *args, **kwargs)


@pytest.fixture(params=[Restated, pytest.param(real, marks=pytest.mark.slow)], ids=["restated", "real"])
def frontend(request, registered):
    if not (demo_dir() / "upstreams" / "hubert").is_dir():
        pytest.skip("this checkout has no trained demo upstreams")
    return request.param


def freeze(model: nn.Module, prefixes: list[str]) -> None:
    """ESPnet's freeze_param."""
    for name, parameter in model.named_parameters():
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes):
            parameter.requires_grad = False


def batch():
    return nn.utils.rnn.pad_sequence(wavs(*LENGTHS), batch_first=True), torch.tensor(LENGTHS)


def test_only_the_fusion_trains_when_the_upstream_is_frozen(frontend):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.ModuleDict({"frontend": frontend(CONF, multilayer_feature=True)}).train()
    freeze(model, ["frontend.upstream"])
    before = copy.deepcopy(model.state_dict())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {id(parameter) for parameter in trained} == {id(p) for p in model["frontend"].featurizer.parameters()}
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    model["frontend"](*batch())[0].pow(2).mean().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("frontend.featurizer.") for name in changed)


@torch.no_grad()
def test_lengths_are_true_and_features_those_of_the_plain_upstream(frontend):
    module = frontend(CONF, multilayer_feature=True).eval()
    features, lengths = module(*batch())
    assert lengths.tolist() == [50, 29] and features.shape == (2, 50, module.output_size())
    assert module.hop_length == 320
    states = module.upstream.upstream(wavs(*LENGTHS))["hidden_states"]
    expected = module.featurizer.fuse(states)
    torch.testing.assert_close(features[1, :28], expected[1, :28], rtol=1e-5, atol=1e-6)


def test_a_weighted_sums_weights_can_be_plotted(frontend):
    assert frontend({"upstream": "fused_demo_weighted_sum"}, multilayer_feature=True).featurizer.weights.shape == (19,)


def test_without_all_layers_it_says_what_to_set(frontend):
    with pytest.raises(ValueError, match=r"got 1 .*ESPnet, set multilayer_feature: true"):
        frontend(CONF)(*batch())


def test_one_layer_of_a_fused_upstream_is_refused(frontend):
    with pytest.raises(ValueError, match="no common layers"):
        frontend(CONF, layer=3)


def test_any_fusion_comes_from_a_yaml(frontend, tmp_path):
    (tmp_path / "fusion.yaml").write_text("members: [demo_hubert, fbank]\ninterface: {name: chconv, output_dim: 80}\n")
    conf = {"upstream": "fused", "extra_conf": {"model_config": str(tmp_path / "fusion.yaml")}}
    assert frontend(conf, multilayer_feature=True).output_size() == 80


RECIPE = {
    "frontend": "s3prl",
    "frontend_conf": {"frontend_conf": CONF, "download_dir": "hub", "multilayer_feature": True},
    "freeze_param": ["frontend.upstream"],
    "encoder_conf": {"output_size": 32, "attention_heads": 2, "linear_units": 64, "num_blocks": 1},
    "encoder": "transformer",
    "decoder_conf": {"attention_heads": 2, "linear_units": 64, "num_blocks": 1},
    "decoder": "transformer",
    "optim": "adam",
    "optim_conf": {"lr": 0.002},
    "batch_type": "unsorted",
    "batch_size": 4,
    "max_epoch": 2,
    "num_workers": 0,
}


@pytest.mark.slow
def test_the_real_trainer_trains_the_interface_alone_and_decodes(tmp_path):
    if importlib.util.find_spec("espnet2") is None or importlib.util.find_spec("configargparse") is None:
        pytest.skip("ESPnet's trainer is not installed, see above")
    rows = [row for row in recordings() if row["split"] == "train-clean-100"][:12]
    for split, taken in (("train", rows), ("valid", rows[:4])):
        (tmp_path / split).mkdir()
        names = {f"{split}{number:02}": row for number, row in enumerate(taken)}
        for name, row in names.items():
            soundfile.write(tmp_path / split / f"{name}.wav", *soundfile.read(demo_dir() / "corpus" / row["path"]))
        lines = {
            "wav.scp": "".join(f"{name} {tmp_path / split / name}.wav\n" for name in names),
            "text": "".join(f"{name} {row['transcript']}\n" for name, row in names.items()),
            "shape": "".join(f"{name} 16000\n" for name in names),
        }
        for file, content in lines.items():
            (tmp_path / split / file).write_text(content)
    letters = sorted({letter for row in rows for letter in row["transcript"]} - {" "})
    (tmp_path / "tokens.txt").write_text("\n".join(["<blank>", "<unk>", "<space>", *letters, "<sos/eos>"]) + "\n")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(RECIPE))

    def espnet(program: str, *words: str) -> None:
        code = f"import s3prl_fusion; s3prl_fusion.register(); from espnet2.bin.{program} import main; main()"
        command = [sys.executable, "-c", code, "--ngpu", "0", *words]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    data = [
        word
        for split in ("train", "valid")
        for file, of in (("wav.scp", "speech,sound"), ("text", "text,text"))
        for word in (f"--{split}_data_path_and_name_and_type", f"{split}/{file},{of}")
    ]
    shapes = ["--train_shape_file", "train/shape", "--valid_shape_file", "valid/shape"]
    tokens = ["--token_type", "char", "--token_list", "tokens.txt"]
    espnet("asr_train", "--config", "train.yaml", "--output_dir", "exp", *tokens, *data, *shapes)
    first, last = (torch.load(tmp_path / "exp" / f"{epoch}epoch.pth", weights_only=True) for epoch in (1, 2))
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert any(name.startswith("frontend.featurizer.") for name in changed)
    assert not any(name.startswith("frontend.upstream.") for name in changed)
    model = ["--asr_train_config", "exp/config.yaml", "--asr_model_file", "exp/2epoch.pth"]
    speech = ["--data_path_and_name_and_type", "valid/wav.scp,speech,sound"]
    espnet("asr_inference", *model, *speech, "--output_dir", "decoded", "--beam_size", "1", "--maxlenratio", "-5")
    said = (tmp_path / "decoded" / "1best_recog" / "text").read_text().splitlines()
    assert [line.split()[0] for line in said] == [f"valid{number:02}" for number in range(4)]
