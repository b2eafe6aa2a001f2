"""Repositories of the Hugging Face hub, and local copies, as upstreams: s3prl's layout, and transformers' models."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from test_own_folders import surroundings, write  # noqa: F401
from tiny_models import save_hf_wav2vec, wavs

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionConfig, load_experiment, permissions
from s3prl_fusion.cli import main
from s3prl_fusion.config import MemberConfig
from s3prl_fusion.errors import MissingFileError, UsageError
from s3prl_fusion.host.ckpt import find_ckpt, read_ckpt
from s3prl_fusion.host.members import check
from s3prl_fusion.identity import describe, digest
from s3prl_fusion.names import absolute, label, resolve
from s3prl_fusion.upstreams.repositories import _commit, fetch, parse
from s3prl_fusion.upstreams.transformers import TransformersUpstream

# The layout of SUPERB's hidden set.
FILES = {
    "expert.py": """
import torch
from torch import nn
from model import Scale


class UpstreamExpert(nn.Module):
    def __init__(self, ckpt: str = "./model.pt", **kwargs):
        super().__init__()
        self.model = Scale(torch.load(ckpt)["scale"])

    def get_downsample_rates(self, key: str) -> int:
        return 320

    def forward(self, wavs):
        hidden = self.model(nn.utils.rnn.pad_sequence(wavs, batch_first=True))
        return {"hidden_states": [hidden], "PR": [hidden], "SID": [hidden]}
""",
    "model.py": """
from torch import nn


class Scale(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, wavs):
        return wavs.unfold(1, 320, 320)[..., :4] * self.scale
""",
    "requirements.txt": "torch\n",
}
COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture
def local(tmp_path):
    """A local copy."""
    folder = write(tmp_path / "models" / "copy", FILES)
    torch.save({"scale": torch.ones(4)}, folder / "model.pt")
    return folder


@pytest.fixture
def hub(local, tmp_path, monkeypatch):
    """A hub with one repository of one commit, which `newest` may change; what was asked of it is in `asked`."""

    class Hub:
        newest, asked = COMMITS[0], []

    def snapshot_download(repo_id, *, revision=None, allow_patterns=None, **options):
        Hub.asked.append((repo_id, revision, allow_patterns))
        if repo_id != "owner/repo":
            raise huggingface_hub.errors.HFValidationError(f"no repository {repo_id}")
        folder = tmp_path / "hub" / "snapshots" / (revision if revision in COMMITS else Hub.newest)
        folder.mkdir(parents=True, exist_ok=True)
        for file in local.iterdir():
            if allow_patterns is None or any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, folder)
        return str(folder)

    Hub.asked = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    for function in (fetch, _commit):
        function.cache_clear()
    yield Hub
    for function in (fetch, _commit):
        function.cache_clear()


def stock(name: object, **given: object) -> FusionConfig:
    return FusionConfig((MemberConfig(str(name), **given),))


def states(config: FusionConfig, *lengths: int) -> list[torch.Tensor]:
    with torch.no_grad():
        return FusedUpstream(config).eval()(wavs(*lengths))["hidden_states"]


@pytest.mark.parametrize(
    "name, target, revision, called",
    [
        ("hf:facebook/w2v-bert-2.0", "facebook/w2v-bert-2.0", None, "facebook-w2v-bert-2.0"),
        ("hf:gpt2", "gpt2", None, "gpt2"),
        ("hf:owner/name@v1.0", "owner/name", "v1.0", "owner-name-v1.0"),
        (f"hf-s3prl:owner/repo@{COMMITS[0]}", "owner/repo", COMMITS[0], "owner-repo-aaaaaaa"),
        ("hf-s3prl:./a@b/c", "./a@b/c", None, "c"),
        ("hf:/models/w2v/", "/models/w2v/", None, "w2v"),
    ],
)
def test_names(name, target, revision, called):
    found = parse(name)
    assert (found.target, found.revision, label(name)) == (target, revision, called) and str(found) == name


class TestLocalCopies:
    """``hf-s3prl:FOLDER``."""

    def test_it_is_given_its_model(self, local):
        (wav,) = wavs(3200)
        (hidden,) = states(stock(f"hf-s3prl:{local}"), 3200)
        assert torch.equal(hidden[0], wav.view(10, 320)[:, :4])

    def test_its_contents_count(self, local, tmp_path):
        before = digest(describe(stock(f"hf-s3prl:{local}")))
        moved = shutil.copytree(local, tmp_path / "moved")
        assert digest(describe(stock(f"hf-s3prl:{moved}"))) == before
        torch.save({"scale": torch.zeros(4)}, moved / "model.pt")
        assert digest(describe(stock(f"hf-s3prl:{moved}"))) != before

    @pytest.mark.fault("a copy of a hub's repository without model.pt, or with a ckpt beside it", "refused")
    def test_refused(self, local):
        with pytest.raises(UsageError, match="says its checkpoint itself; leave it out"):
            check(stock(f"hf-s3prl:{local}", ckpt="x.pt"))
        (local / "model.pt").unlink()
        with pytest.raises(MissingFileError, match=r"has no model\.pt"):
            check(stock(f"hf-s3prl:{local}"))
        with pytest.raises(MissingFileError, match=r"models has no expert\.py"):
            (local.parent / "model.pt").touch()
            check(stock(f"hf-s3prl:{local.parent}"))


class TestHub:
    """``hf-s3prl:owner/repo``: fetched, pinned, said."""

    def test_it_is_checked_by_its_code_alone(self, hub):
        check(stock("hf-s3prl:owner/repo"))
        assert all(patterns == ["*.py", "requirements.txt"] for _, _, patterns in hub.asked)

    def test_the_commit_is_what_it_is(self, hub):
        made_of = describe(stock("hf-s3prl:owner/repo"))["members"]
        assert made_of == [{"name": "hf-s3prl:owner/repo", "code": COMMITS[0]}]
        assert absolute("hf-s3prl:owner/repo@main") == f"hf-s3prl:owner/repo@{COMMITS[0]}"

    @pytest.mark.fault("a repository of the hub that is not there, or a hub out of reach", "refused: what else to do")
    def test_what_is_not_there(self, hub):
        told = r"hf-s3prl:owner/other cannot be fetched .*no repository owner/other.*hf-s3prl:FOLDER"
        with pytest.raises(MissingFileError, match=told):
            resolve("hf-s3prl:owner/other")

    def test_a_name_without_a_prefix(self):
        with pytest.raises(MissingFileError, match=r"or say hf:owner/repo or hf-s3prl:owner/repo of the Hugging Face"):
            check(stock("owner/repo"))

    def test_a_training_remembers_its_commit(self, hub, recipe_configs, tmp_path, capsys):
        exp, given = tmp_path / "exp", ["-d", "emotion", "-c", str(recipe_configs["emotion"]), "--device", "cpu"]
        assert main(["run", "-m", "train", "-u", "hf-s3prl:owner/repo", "-p", str(exp), *given]) == 0
        s3prl_fusion.unregister()
        pinned = f"hf-s3prl:owner/repo@{COMMITS[0]}"
        assert f"runs the code of {pinned} ({tmp_path}" in capsys.readouterr().err
        assert read_ckpt(find_ckpt(exp))["Args"].upstream == pinned
        assert json.loads((exp / "run.json").read_text())["made_of"]["members"][0]["code"] == COMMITS[0]
        hub.newest = COMMITS[1]
        assert load_experiment(exp).features(wavs(16000))[0].shape == (50, 4)
        shutil.rmtree(tmp_path / "cache")  # on another machine
        with pytest.raises(UsageError, match=r"is a repository of the hub.*--allow-code owner/repo"):
            load_experiment(exp)

    @pytest.mark.fault("a fusion YAML, or a checkpoint, that names a repository of the hub", "refused: how to allow it")
    def test_a_yaml_does_not_run_it(self, hub, monkeypatch):
        Path("f.yaml").write_text(yaml.safe_dump({"members": ["hf-s3prl:owner/repo"]}))
        with pytest.raises(UsageError, match="code runs only if you say so.*--allow-code owner/repo"):
            FusionConfig.from_yaml("f.yaml")
        assert not hub.asked
        monkeypatch.setenv(permissions.VARIABLE, "owner/repo")
        assert states(FusionConfig.from_yaml("f.yaml"), 3200)[0].shape == (1, 10, 4)
        assert permissions.take_option(["--allow-code", "hf-s3prl:owner/repo@main"]) == []


def test_run_downstreams_own_option(hub, recipe_configs, tmp_path):
    exp, given = tmp_path / "exp", ["-d", "emotion", "-c", str(recipe_configs["emotion"]), "--device", "cpu"]
    words = ["--hub", "huggingface", "-u", "owner/repo", "--upstream_revision", COMMITS[1], "--upstream_model_name"]
    assert main(["run", "-m", "train", *words, "model.pt", "-p", str(exp), *given]) == 0
    assert hub.asked == [("owner/repo", COMMITS[1], None)]
    assert read_ckpt(find_ckpt(exp))["Featurizer"] is not None


class Stand(torch.nn.Linear):
    """Remembers what it was given."""

    def __init__(self, ckpt, revision=None, **options):
        super().__init__(1, 1)
        self.given = (ckpt, revision, options)


class TestTransformers:
    """``hf:``, through `upstreams.transformers`."""

    def test_a_folder(self, tiny_hubert):
        batch = wavs(6400, 4800)
        with torch.no_grad():
            expected = TransformersUpstream(tiny_hubert).eval()(batch)["hidden_states"]
        assert all(map(torch.equal, states(stock(f"hf:{tiny_hubert}"), 6400, 4800), expected))

    def test_a_yaml_beside_it(self, tmp_path):
        save_hf_wav2vec(tmp_path / "tiny", dim=16, layers=1)
        (tmp_path / "f.yaml").write_text("members: ['hf:tiny', {name: 'hf:./tiny', layers: [0]}]")
        fusion = FusionConfig.from_yaml(tmp_path / "f.yaml")
        assert {member.name for member in fusion.members} == {f"hf:{tmp_path}/tiny"}
        before = digest(describe(fusion))
        (tmp_path / "tiny").rename(tmp_path / "other")
        (tmp_path / "f.yaml").write_text("members: ['hf:other', {name: 'hf:./other', layers: [0]}]")
        assert digest(describe(FusionConfig.from_yaml(tmp_path / "f.yaml"))) == before

    def test_a_revision_and_options_are_passed_on(self, hub, monkeypatch):
        from s3prl_fusion.upstreams import transformers

        monkeypatch.setattr(transformers, "TransformersUpstream", Stand)
        (member,) = FusedUpstream(stock("hf:owner/name@v2", model_config={"one_by_one": True})).members
        assert member.given == ("owner/name", "v2", {"one_by_one": True})

    def test_the_commit_of_a_branch_is_what_it_is(self, hub, monkeypatch):
        from s3prl_fusion.upstreams import transformers

        monkeypatch.setattr(transformers, "TransformersUpstream", Stand)
        for name in ("hf:owner/repo", "hf:owner/repo@main", f"hf:owner/repo@{COMMITS[0]}"):
            assert describe(stock(name))["members"] == [{"name": "hf", "ckpt": f"owner/repo@{COMMITS[0]}"}]
            (member,) = FusedUpstream(stock(name)).members
            assert member.given == ("owner/repo", COMMITS[0], {})
        assert absolute("hf:owner/repo") == f"hf:owner/repo@{COMMITS[0]}"
        assert {patterns[0] for _, _, patterns in hub.asked} == {"config.json"}

    def test_without_a_hub_it_is_what_its_name_says(self, hub, monkeypatch):
        from s3prl_fusion.upstreams import transformers

        monkeypatch.setattr(transformers, "TransformersUpstream", Stand)
        assert describe(stock("hf:owner/other"))["members"] == [{"name": "hf", "ckpt": "owner/other"}]
        (member,) = FusedUpstream(stock("hf:owner/other")).members
        assert member.given == ("owner/other", None, {})
        assert absolute("hf:owner/other") == "hf:owner/other" and len(hub.asked) == 1  # in vain, once

    @pytest.mark.parametrize(
        "name, given, error, told",
        [
            ("hf:/no/such", {}, MissingFileError, "is no folder, nor a hub id"),
            ("hf:{tiny}", {"model_config": {"one": 1}}, UsageError, "unknown key 'one'"),
            ("hf:{tiny}", {"ckpt": "x"}, UsageError, "says its checkpoint itself"),
        ],
    )
    def test_refused(self, name, given, error, told, tiny_hubert):
        with pytest.raises(error, match=told):
            check(stock(name.format(tiny=tiny_hubert), **given))
