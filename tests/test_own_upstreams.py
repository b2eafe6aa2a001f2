"""Upstreams of the user's own: a class or function in a file or module, wherever a hub entry's name can stand."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionConfig, imports, load_experiment, permissions
from s3prl_fusion.cache.key import fingerprint
from s3prl_fusion.cli import main
from s3prl_fusion.config import MemberConfig
from s3prl_fusion.errors import KindError, MissingFileError, UsageError
from s3prl_fusion.host.members import check
from s3prl_fusion.identity import describe, digest
from s3prl_fusion.names import absolute, is_fused_name, label, resolve
from s3prl_fusion.upstreams.references import parse

# A module beside it, options, a checkpoint; and what is none of the contract.
SOURCE = """
from pathlib import Path

import torch
from torch import nn
from parts import frames

Path(__file__).with_name("ran").touch()


class Strides(nn.Module):
    def __init__(self, ckpt=None, dim=8, frame=320):
        super().__init__()
        self.frame = frame
        self.maps = nn.ModuleList([nn.Linear(frame, dim), nn.Linear(dim, dim)])
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters()):
                parameter.copy_(torch.linspace(-0.1, 0.1 + i, parameter.numel()).view_as(parameter))
        if ckpt:
            self.load_state_dict(torch.load(ckpt))

    def get_downsample_rates(self, key):
        return self.frame

    def forward(self, wavs):
        first = self.maps[0](frames(wavs, self.frame))
        return {"hidden_states": [first, self.maps[1](first)]}


class NoRate(nn.Module):
    def forward(self, wavs):
        return {"hidden_states": [frames(wavs, 320)]}


class LikeS3prls(Strides):
    def __init__(self, ckpt=None, model_config=None, **kwargs):
        super().__init__(ckpt, dim=int(Path(model_config).read_text().partition(":")[2]) if model_config else 8)


def strides(dim, **more):
    return Strides(dim=dim, **more)


def swallowing(dim=8, **kwargs):
    return Strides(dim=dim)


def failing(ckpt=None):
    return {}["encoder"]


def numbers():
    return [1, 2]


VALUE = 1
"""
PARTS = """
from torch.nn.utils.rnn import pad_sequence


def frames(wavs, size):
    return pad_sequence(list(wavs), batch_first=True).unfold(1, size, size)
"""


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Another folder than the model's, with nothing allowed and nothing named before."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(permissions.VARIABLE, "")
    imports._module_at.cache_clear()
    yield
    imports._module_at.cache_clear()
    s3prl_fusion.unregister()


@pytest.fixture
def folder(tmp_path):
    """A folder with `mine.py`, what it imports, and two settings."""
    where = tmp_path / "models"
    where.mkdir()
    (where / "mine.py").write_text(SOURCE)
    (where / "parts.py").write_text(PARTS)
    (where / "wide.yaml").write_text("dim: 12\n")
    return where


@pytest.fixture
def wav(tmp_path):
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech" / "a.wav", wavs(16000)[0].numpy(), 16000)
    return tmp_path / "speech" / "a.wav"


def fusion(path: Path, *members: object, **more: object) -> FusionConfig:
    path.write_text(yaml.safe_dump({"members": list(members), **more}), encoding="utf-8")
    return FusionConfig.from_yaml(path)


def stock(name: object, **given: object) -> FusionConfig:
    return FusionConfig((MemberConfig(str(name), **given),))


def own_states(upstream: FusedUpstream, batch: list[torch.Tensor]) -> list[torch.Tensor]:
    with torch.no_grad():
        return upstream.eval()(batch)["hidden_states"]


class TestNames:
    """What a name means, told from its text."""

    @pytest.mark.parametrize(
        "name, called",
        [
            ("a/my_model.py:MyModel", "my_model_MyModel"),
            ("my model.py:MyModel", "my-model_MyModel"),
            ("fused_model.py:MyModel", "fused_model_MyModel"),
            ("package.module:MyModel", "module_MyModel"),
            ("model__large.py:MyModel", "model_large_MyModel"),
        ],
    )
    def test_own(self, name, called):
        assert parse(name) is not None and not is_fused_name(name)
        assert label(name) == called and resolve(name).stock

    @pytest.mark.parametrize("name", ["fbank", "fused__fbank__mfcc", "a.yaml", "a.yaml:my_model_MyModel", "x:y-z"])
    def test_others(self, name):
        assert parse(name) is None

    def test_a_path_is_made_absolute(self, tmp_path):
        assert absolute("../a.py:B") == f"{tmp_path}/a.py:B" and absolute("a.b:C") == "a.b:C"

    def test_a_yaml_names_one_of_two(self, folder):
        fusion(folder / "two.yaml", "mine.py:Strides", {"name": "mine.py:Strides", "layers": [0]}, "fbank")
        whole = resolve(str(folder / "two.yaml"))
        assert whole.member_names == ["mine_Strides.0", "mine_Strides.1", "fbank"]
        assert resolve(f"{folder}/two.yaml:mine_Strides.1__hconv").members == whole.members[1:2]


class TestLoad:
    """A member is what the class gives when it is called as run_downstream would."""

    def direct(self, folder, monkeypatch, **options):
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        import mine

        model = mine.Strides(**options)
        for name in ("mine", "parts"):
            del sys.modules[name]
        return model

    @pytest.mark.parametrize(
        "member, dim",
        [
            ("mine.py:Strides", 8),
            ({"name": "mine.py:Strides", "model_config": {"dim": 12}}, 12),
            ({"name": "mine.py:Strides", "model_config": "wide.yaml"}, 12),
            ({"name": "mine:strides", "model_config": {"dim": 6}}, 6),
            ({"name": "mine.py:swallowing", "model_config": {"dim": 6}}, 6),
            ({"name": "mine.py:LikeS3prls", "model_config": "wide.yaml"}, 12),
            ({"name": "mine.py:LikeS3prls", "model_config": {"dim": 12}}, 12),
        ],
    )
    def test_options(self, member, dim, folder, monkeypatch):
        batch = wavs(9000, 16000)
        states = own_states(FusedUpstream(fusion(folder / "f.yaml", member)), batch)
        with torch.no_grad():
            expected = self.direct(folder, monkeypatch, dim=dim)(batch)["hidden_states"]
        assert all(map(torch.equal, states, expected)) and len(states) == 2 and states[0].shape == (2, 50, dim)

    def test_a_checkpoint(self, folder, monkeypatch):
        state = self.direct(folder, monkeypatch).state_dict()
        torch.save({key: value + 1 for key, value in state.items()}, folder / "mine.pt")
        config = fusion(folder / "f.yaml", {"name": "mine.py:Strides", "ckpt": "mine.pt"})
        (member,) = FusedUpstream(config).members
        assert all(torch.equal(value, state[key] + 1) for key, value in member.state_dict().items())

    def test_an_installed_module(self, folder, monkeypatch):
        monkeypatch.syspath_prepend(str(folder))
        upstream = FusedUpstream(stock("mine:Strides"))
        assert own_states(upstream, wavs(16000))[0].shape == (1, 50, 8)

    def test_it_needs_no_rate_in_a_fusion(self, folder):
        assert FusedUpstream(fusion(folder / "f.yaml", "mine.py:NoRate", "fbank")).get_downsample_rates() == 160

    def test_what_it_imports_is_its_own(self, folder, tmp_path):
        other = shutil.copytree(folder, tmp_path / "other")
        (other / "parts.py").write_text(PARTS.replace("(1, size, size)", "(1, size, size) * 2"))
        before = set(sys.path), "parts" in sys.modules
        one, two = (FusedUpstream(stock(f"{where}/mine.py:NoRate")) for where in (folder, other))
        assert torch.equal(2 * own_states(one, wavs(3200))[0], own_states(two, wavs(3200))[0])
        assert (set(sys.path), "parts" in sys.modules) == before


class TestRefused:
    """Mistakes, before the user's code runs wherever that can be."""

    @pytest.mark.fault("an upstream of the user's own that is not there, or not of that name", "refused: what there is")
    @pytest.mark.parametrize(
        "name, given, error, told",
        [
            ("gone.py:Strides", {}, MissingFileError, r"there is no file .*gone\.py"),
            ("mine.py:Stridse", {}, UsageError, r"unknown class or function 'Stridse'.*did you mean 'Strides'"),
            ("mine.py", {}, UsageError, r"say which class or function of it, .*mine\.py:NAME; it has Strides, NoRate"),
            ("mine.py:Strides", {"model_config": {"dimm": 4}}, UsageError, r"unknown key 'dimm'.*'dim'"),
            ("mine.py:swallowing", {"model_config": {"dimm": 4}}, UsageError, r"unknown key 'dimm'"),
            ("mine.py:strides", {}, UsageError, r"model_config has no dim"),
            ("mine.py:swallowing", {"model_config": "gone.yaml"}, MissingFileError, r"gone\.yaml.* does not exist"),
            ("mine.py:Strides", {"ckpt": "gone.pt"}, MissingFileError, r"ckpt 'gone\.pt' .* does not exist"),
            ("mine.py:numbers", {"ckpt": "name"}, UsageError, r"ckpt 'name': .*mine\.py:numbers' takes none"),
        ],
    )
    def test_before_it_runs(self, name, given, error, told, folder):
        with pytest.raises(error, match=told):
            check(stock(folder / name, **given))
        assert not (folder / "ran").exists()

    def test_modules(self):
        with pytest.raises(UsageError, match=r"there is no module 'no_such\.module'; give the file's path"):
            check(stock("no_such.module:Model"))
        with pytest.raises(UsageError, match="unknown class or function 'Modle'.*'Module'"):
            check(stock("torch.nn.modules.module:Modle"))

    @pytest.mark.fault("an upstream of the user's own that is no Python, or whose code fails", "refused: file and line")
    def test_what_is_no_python(self, folder):
        (folder / "mine.py").write_text("class Strides(:\n")
        with pytest.raises(UsageError, match=r"mine\.py is not Python: .*line 1"):
            check(stock(folder / "mine.py:Strides"))

    @pytest.mark.parametrize(
        "name, error, told",
        [
            ("failing", UsageError, r"raises KeyError where it is made: 'encoder' \(.*mine\.py, line \d+\)"),
            ("numbers", KindError, r"must be or return a torch\.nn\.Module.*got list"),
            ("VALUE", KindError, "must be a class or a function; got 1"),
        ],
    )
    def test_when_it_runs(self, name, error, told, folder):
        with pytest.raises(error, match=told):
            FusedUpstream(stock(f"{folder}/mine.py:{name}"))

    def test_an_import_that_fails(self, folder):
        (folder / "parts.py").write_text("import nothing_like_it\n")
        with pytest.raises(UsageError, match=r"cannot be imported \(No module named 'nothing_like_it'\)"):
            FusedUpstream(stock(folder / "mine.py:Strides"))

    @pytest.mark.fault(
        "a fusion YAML with somebody's upstream elsewhere, or a checkpoint with one", "refused: its code"
    )
    def test_code_of_others(self, folder, tmp_path):
        with pytest.raises(UsageError, match=r"upstream '.*mine\.py:Strides' is outside the YAML's own folder"):
            fusion(Path("f.yaml").absolute(), str(folder / "mine.py:Strides"))
        with pytest.raises(UsageError, match=r"stands in a checkpoint, so its code does not run unless you allow it"):
            FusionConfig.from_record(stock(folder / "mine.py:Strides").to_dict())
        with pytest.raises(UsageError, match="stands in a checkpoint"):
            resolve(str(folder / "mine.py:Strides"), named=False)
        assert not (folder / "ran").exists()

    def test_code_that_was_named_before_is_known_until_it_changes(self, folder, capsys):
        name = str(folder / "mine.py:Strides")
        FusedUpstream(stock(name))
        assert f"runs the code of {folder}/mine.py" in capsys.readouterr().err
        assert resolve(name, named=False) == resolve(name)
        (folder / "parts.py").write_text(f"{PARTS}\n# otherwise\n")
        with pytest.raises(UsageError, match="stands in a checkpoint"):
            resolve(name, named=False)


class TestIdentity:
    """Its code counts by content, with what it imports; where it lies does not."""

    def identities(self, folder):
        config = stock(f"{folder}/mine.py:Strides")
        member = FusedUpstream(config).members[0]
        imports._module_at.cache_clear()
        return digest(describe(config)), fingerprint(member, config.members[0], "float32")

    def test_it_may_move(self, folder, tmp_path):
        before = self.identities(folder)
        assert self.identities(shutil.copytree(folder, tmp_path / "moved")) == before

    @pytest.mark.parametrize("file", ["mine.py", "parts.py"])
    def test_it_may_not_change(self, file, folder):
        before = self.identities(folder)
        (folder / file).write_text(f"{(folder / file).read_text()}\n# otherwise\n")
        assert all(one != other for one, other in zip(self.identities(folder), before))


def test_s3prl_nn_runs_it(folder, registered):
    from s3prl.nn import S3PRLUpstream

    upstream = S3PRLUpstream(f"{folder}/mine.py:Strides", extra_conf={"dim": 12}).eval()
    states, lengths = upstream(torch.stack(wavs(16000, 16000)), torch.tensor([16000, 9600]))
    assert [state.shape for state in states] == [(2, 50, 12)] * 2 and lengths[0].tolist() == [50, 30]
    with pytest.raises(AttributeError, match="did you mean 'Strides'"):
        S3PRLUpstream(f"{folder}/mine.py:Stride")


@pytest.mark.parametrize(
    "command, told",
    [
        ("extract {wav} -u {own} -o out", "1 written below out"),
        ("profile -u {own}", "mine_Strides"),
        ("cache fill -u {own} --corpus {wav} -o states", "1 utterances are in .*states"),
    ],
)
def test_commands(command, told, folder, wav, capsys):
    argv = command.format(wav=wav.parent, own=folder / "mine.py:Strides").split()
    assert main(argv) == 0
    assert re.search(told, capsys.readouterr().out)


def test_a_training_on_it_goes_on_and_loads(folder, recipe_configs, tmp_path, capsys, monkeypatch):
    (folder / "wide.yaml").rename(tmp_path / "wide.yaml")
    monkeypatch.chdir(folder)
    config, exp = recipe_configs["emotion"], tmp_path / "exp"
    words = ["-d", "emotion", "-c", config, "-p", exp, "--device", "cpu"]
    assert main(["run", "-m", "train", "-u", "mine.py:Strides", "-g", "../wide.yaml", *map(str, words)]) == 0
    s3prl_fusion.unregister()
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", "evaluate", "-t", "test", "-e", str(exp), "--device", "cpu"]) == 0
    s3prl_fusion.unregister()
    experiment = load_experiment(exp)
    with torch.no_grad():
        states = FusedUpstream(stock(folder / "mine.py:Strides", model_config={"dim": 12}))(wavs(16000))
        weights = experiment.featurizer.weights.softmax(dim=0)
        expected = sum(weight * state[0] for weight, state in zip(weights, states["hidden_states"]))
    assert torch.allclose(experiment.features(wavs(16000))[0], expected, atol=1e-6)
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"there is no file .*mine\.py; name what it was trained with, where it is"):
        load_experiment(exp)
    found = load_experiment(exp, upstream=moved / "mine.py:Strides").features(wavs(16000))[0]
    assert torch.equal(found, experiment.features(wavs(16000))[0])
    imports._module_at.cache_clear()
    (moved / "mine.py").write_text(SOURCE.replace("0.1 + i", "0.2 + i"))
    with pytest.raises(UsageError, match="the source code of members"):
        load_experiment(exp, upstream=moved / "mine.py:Strides")
