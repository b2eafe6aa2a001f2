"""Folders in s3prl's layout, as public repositories have them, unedited: wherever a hub entry's name can stand."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionConfig, load_experiment, permissions
from s3prl_fusion.cli import main
from s3prl_fusion.config import MemberConfig
from s3prl_fusion.errors import MissingFileError, UsageError
from s3prl_fusion.host import confined, folders
from s3prl_fusion.host.members import check
from s3prl_fusion.identity import describe, digest
from s3prl_fusion.names import absolute, label, resolve
from s3prl_fusion.upstreams.references import parse

# A subclass of s3prl's UpstreamBase, whose hidden states come from hooks.
HOOKED = {
    "expert.py": """
from collections import OrderedDict
import torch
from torch.nn.utils.rnn import pad_sequence
from ..interfaces import UpstreamBase
from .model import Encoder


class UpstreamExpert(UpstreamBase):
    def __init__(self, ckpt=None, model_config=None, **kwargs):
        super().__init__(**kwargs)
        self._model = Encoder()
        if ckpt is not None:
            self._model.load_state_dict(torch.load(ckpt, map_location="cpu", weights_only=False)["model"])
        if len(self.hooks) == 0:
            for i in range(len(self._model.layers)):
                self.add_hook(f"self._model.layers[{i}]", lambda input, output: input[0])
            self.add_hook("self._model.layers[-1]", lambda input, output: output[0], unique_identifier="last")

            def postprocess(xs):
                return [(name, hidden[:, :-1]) for name, hidden in xs]

            self.hook_postprocess = postprocess

    def get_downsample_rates(self, key):
        return 320

    def forward(self, wavs):
        self._model(pad_sequence(wavs, batch_first=True))
""",
    "model.py": """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x), None


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(1, 6, 320, stride=320)
        self.layers = nn.ModuleList([Layer(), Layer()])
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters()):
                parameter.copy_(torch.linspace(-0.2, 0.3 + i, parameter.numel()).view_as(parameter))

    def forward(self, wavs):
        x = self.front(wavs.unsqueeze(1)).transpose(1, 2)
        for layer in self.layers:
            x, _ = layer(x)
""",
    "__init__.py": "",
}
# A plain module, made from a YAML, with what lies beside it imported in both ways.
PLAIN = {
    "expert.py": """
import yaml
from torch import nn
from .net import Net
import helpers


class UpstreamExpert(nn.Module):
    def __init__(self, ckpt: str = None, model_config: str = None, **kwargs):
        super().__init__()
        with open(model_config) as file:
            self.net = Net(**yaml.safe_load(file))

    def get_downsample_rates(self, key: str) -> int:
        return 160

    def forward(self, wavs):
        hidden = self.net(helpers.pad(wavs))
        return {"hidden_states": hidden, "last_hidden_state": hidden[-1]}
""",
    "net.py": """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer("matrix", torch.linspace(-1, 1, 160 * dim).view(160, dim))

    def forward(self, x):
        frames = x.unfold(1, 160, 160) @ self.matrix
        return [frames, frames.relu()]
""",
    "helpers.py": """
from torch.nn.utils.rnn import pad_sequence


def pad(wavs):
    return pad_sequence(wavs, batch_first=True)
""",
}
# Several names of one expert.
NAMED = {
    "expert.py": """
import torch
from torch import nn


class UpstreamExpert(nn.Module):
    def __init__(self, ckpt, scale=1.0, model_config=None):
        super().__init__()
        self.scale = nn.Parameter(torch.load(ckpt)["scale"] * scale)

    def get_downsample_rates(self, key):
        return 320

    def forward(self, wavs):
        frames = nn.utils.rnn.pad_sequence(wavs, batch_first=True).unfold(1, 320, 320)
        return {"hidden_states": [frames[..., :4] * self.scale]}
""",
    "hubconf.py": """
import os
from pathlib import Path
from .expert import UpstreamExpert as _UpstreamExpert


def named_local(ckpt, *args, **kwargs):
    assert os.path.isfile(ckpt)
    return _UpstreamExpert(ckpt, *args, **kwargs)


def named_double(refresh=False, *args, **kwargs):
    kwargs["ckpt"] = str(Path(__file__).with_name("own.pt"))
    return named_local(scale=2.0, *args, **kwargs)


def named_scaled(ckpt, scale):
    return _UpstreamExpert(ckpt, scale)
""",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A folder of our own, with nothing allowed and nothing named before."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(permissions.VARIABLE, "")
    yield
    folders._module.cache_clear()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    s3prl_fusion.unregister()


@pytest.fixture
def hooked(tmp_path):
    return write(tmp_path / "models" / "hooked", HOOKED)


@pytest.fixture
def plain(tmp_path):
    folder = write(tmp_path / "models" / "plain", PLAIN)
    (folder / "config.yaml").write_text("dim: 5\n")
    return folder


@pytest.fixture
def named(tmp_path):
    folder = write(tmp_path / "models" / "named", NAMED)
    torch.save({"scale": torch.arange(4.0)}, folder / "own.pt")
    return folder


def stock(name: object, **given: object) -> FusionConfig:
    return FusionConfig((MemberConfig(str(name), **given),))


def states(config: FusionConfig, *lengths: int) -> list[torch.Tensor]:
    with torch.no_grad():
        return FusedUpstream(config).eval()(wavs(*lengths))["hidden_states"]


@pytest.mark.parametrize(
    "name, called",
    [
        ("../models/hooked", "hooked"),
        ("../models/hooked/", "hooked"),
        ("../models/hooked/expert.py:UpstreamExpert", "hooked"),
        ("../models/named:named_local", "named_local"),
        ("../models/named/hubconf.py:named_local", "named_local"),
        ("../models/named:other", "named_other"),
        (".", "here"),
    ],
)
def test_names(name, called, hooked, named):
    assert parse(name).is_folder and label(name) == label(absolute(name)) == called
    assert resolve(name).stock and parse(absolute(name)).path.is_absolute()


def test_a_folder_here_is_a_name_only_with_a_separator(hooked, monkeypatch):
    monkeypatch.chdir(hooked.parent)
    assert parse("hooked") is None and parse("./hooked").is_folder and parse("hooked:name").is_folder
    with pytest.raises(UsageError, match=r"unknown upstream 'hooked'; of the folder here say \./hooked"):
        check(resolve("hooked"))


class TestLoad:
    """Each layout gives what its code says, computed here in another way."""

    def test_hooks(self, hooked):
        first, second, last = states(stock(hooked), 6400, 4800)
        assert first.shape == (2, 19, 6)
        layer = torch.linspace
        weight, bias = (layer(-0.2, 0.3 + i, n) for i, n in ((2, 36), (3, 6)))
        assert torch.allclose(second, first @ weight.view(6, 6).T + bias, atol=1e-4)
        assert last.shape == second.shape and not torch.equal(last, second)

    def test_a_config_and_both_ways_to_import(self, plain):
        (wav,) = wavs(1600)
        matrix = torch.linspace(-1, 1, 800).view(160, 5)
        for config in (str(plain / "config.yaml"), {"dim": 5}):
            frames, positive = states(stock(plain, model_config=config), 1600)
            assert torch.allclose(frames[0], wav.view(10, 160) @ matrix) and torch.equal(positive, frames.relu())

    def test_names_of_its_hubconf(self, named):
        (wav,) = wavs(3200)
        expected = wav.view(10, 320)[:, :4] * torch.arange(4.0)
        ckpt = str(named / "own.pt")
        assert torch.equal(states(stock(f"{named}:named_local", ckpt=ckpt), 3200)[0][0], expected)
        assert torch.equal(states(stock(f"{named}:named_double"), 3200)[0][0], 2 * expected)
        given = {"ckpt": ckpt, "model_config": {"scale": 3.0}}
        assert torch.allclose(states(stock(f"{named}:named_scaled", **given), 3200)[0][0], 3 * expected)
        assert torch.equal(states(stock(named, ckpt=ckpt), 3200)[0][0], expected)

    def test_its_code_is_not_confined_and_s3prls_is(self, hooked):
        from s3prl.upstream import interfaces

        torch.save({"model": FusedUpstream(stock(hooked)).members[0]._model.state_dict(), "by": Path("a")}, "a.pt")
        FusedUpstream(stock(hooked, ckpt=str(Path("a.pt").absolute())))
        assert isinstance(vars(interfaces)["eval"], confined._Eval)

    def test_two_folders_of_one_layout(self, plain, tmp_path):
        other = shutil.copytree(plain, tmp_path / "other" / "plain")
        (other / "helpers.py").write_text(PLAIN["helpers.py"].replace("(wavs,", "([2 * wav for wav in wavs],"))
        one, two = (states(stock(folder, model_config={"dim": 3}), 1600) for folder in (plain, other))
        assert torch.allclose(2 * one[0], two[0]) and "helpers" not in sys.modules


class TestRefused:
    """Mistakes, before code runs."""

    @pytest.mark.fault("a folder that is not in s3prl's layout, or has no such name", "refused: what is missing")
    @pytest.mark.parametrize(
        "name, given, error, told",
        [
            ("gone", {}, MissingFileError, "gone does not exist; give a folder in s3prl's layout"),
            ("named/own.pt", {}, MissingFileError, r"own\.pt is a file, and no Python file"),
            ("empty", {}, MissingFileError, r"empty has no expert\.py with a class UpstreamExpert"),
            ("empty:name", {}, MissingFileError, r"empty has no hubconf\.py, in which name would be"),
            ("named:named_locl", {}, UsageError, r"hubconf\.py: unknown class or function 'named_locl'.*'named_local'"),
            ("named:named_local", {}, UsageError, "needs a ckpt"),
            ("named", {}, UsageError, "needs a ckpt"),
            ("named:named_scaled", {"ckpt": "x", "model_config": {"scal": 1}}, UsageError, "model_config has no scale"),
        ],
    )
    def test_before_it_runs(self, name, given, error, told, named):
        (named.parent / "empty").mkdir()
        with pytest.raises(error, match=told):
            check(stock(named.parent / name, **given))

    def test_another_name_of_the_class(self, plain):
        (plain / "expert.py").write_text("class Expert:\n    pass\n")
        with pytest.raises(UsageError, match=r"expert\.py: unknown class or function 'UpstreamExpert'.*Expert"):
            check(stock(plain))

    @pytest.mark.fault("an upstream's folder whose code needs a package that is not there", "refused: the command")
    def test_a_package_that_it_needs(self, plain):
        (plain / "net.py").write_text("import no_such_package\n")
        (plain / "requirements.txt").write_text("no_such_package\n")
        told = r"raises ModuleNotFoundError .*'no_such_package' \(.*net\.py, line 1\); pip install -r .*requirements"
        for _ in range(2):  # nothing half imported stays
            with pytest.raises(UsageError, match=told):
                FusedUpstream(stock(plain, model_config={"dim": 3}))

    def test_code_of_others(self, plain, tmp_path):
        Path("f.yaml").write_text(yaml.safe_dump({"members": [{"name": str(plain)}]}))
        with pytest.raises(UsageError, match="outside the YAML's own folder"):
            resolve("f.yaml")
        with pytest.raises(UsageError, match=f"stands in a checkpoint.*--allow-code {plain}"):
            resolve(str(plain), named=False)
        FusedUpstream(stock(plain, model_config={"dim": 3}))
        assert resolve(str(plain), named=False)


def test_beside_a_yaml_by_relative_paths(named, plain):
    config = {
        "members": [{"name": "./plain", "model_config": "plain/config.yaml"}, "named:named_double"],
        "interface": "weighted_sum",
    }
    (named.parent / "f.yaml").write_text(yaml.safe_dump(config))
    fusion = resolve(str(named.parent / "f.yaml"))
    assert fusion.member_names == ["plain", "named_double"]
    assert [state.shape[-1] for state in states(fusion, 3200)] == [5, 5, 4]


def test_its_content_counts_and_not_its_place(plain, tmp_path):
    before = digest(describe(stock(plain)))
    moved = shutil.copytree(plain, tmp_path / "moved")
    assert digest(describe(stock(moved))) == before
    (moved / "net.py").write_text(f"{PLAIN['net.py']}\n# otherwise\n")
    assert digest(describe(stock(moved))) != before


def test_a_training_on_it_goes_on_and_loads(hooked, recipe_configs, tmp_path, monkeypatch):
    exp, given = tmp_path / "exp", ["-d", "emotion", "-c", str(recipe_configs["emotion"]), "--device", "cpu"]
    assert main(["run", "-m", "train", "-u", "../models/hooked", "-p", str(exp), *given]) == 0
    s3prl_fusion.unregister()
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", "evaluate", "-t", "test", "-e", str(exp), "--device", "cpu"]) == 0
    s3prl_fusion.unregister()
    experiment = load_experiment(exp)
    assert experiment.features(wavs(16000))[0].shape == (49, 6) and experiment.predict(wavs(16000))


@pytest.mark.parametrize("command", ["extract {wav} -u {own} -o out", "profile -u {own}", "check {own} --quick"])
def test_commands(command, hooked, tmp_path, capsys):
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech" / "a.wav", wavs(16000)[0].numpy(), 16000)
    assert main(command.format(wav=tmp_path / "speech", own=hooked).split()) == 0


def test_s3prl_nn_runs_it(hooked, registered):
    from s3prl.nn import S3PRLUpstream

    upstream = S3PRLUpstream(str(hooked)).eval()
    hidden, lengths = upstream(torch.stack(wavs(16000, 16000)), torch.tensor([16000, 9600]))
    assert [state.shape for state in hidden] == [(2, 50, 6)] * 3 and lengths[0].tolist() == [50, 30]
