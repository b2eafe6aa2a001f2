"""ESPnet's S3prlFrontend on a fused upstream: always the calls that it makes, and its real class where it is installed.

For the real class, without the rest of ESPnet's dependencies:
pip install --no-deps espnet humanfriendly typeguard torch_complex pytorch_wpe
"""

from __future__ import annotations

import copy

import pytest
import torch
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
