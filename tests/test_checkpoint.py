"""What a checkpoint remembers of its fusion, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import ToyUpstream

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer, __version__, checkpoint
from s3prl_fusion.identity import describe

CONFIG = {
    "members": [{"name": "a", "layers": [0, 2]}, {"name": "b", "ckpt": "/here/b.pt"}],
    "interface": {"name": "chconv", "projection": True},
}


def config(**changes) -> FusionConfig:
    return FusionConfig.from_dict({**copy.deepcopy(CONFIG), **changes})


def featurizer(fusion: FusionConfig, **options) -> FusionFeaturizer:
    members = [ToyUpstream(seed=i) for i in range(len(fusion.members))]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FusionFeaturizer(FusedUpstream(fusion, members), **options)


def as_of_0_1(remembered: dict, normalize: bool) -> dict:
    """A record as that release wrote it: of `normalize` only where it is on."""
    changed = {"version": "0.1.0", "fusion": dict(remembered["fusion"]), "made_of": dict(remembered["made_of"])}
    for part in ("fusion", "made_of"):
        changed[part].pop("normalize")
        changed[part].update({"normalize": True} if normalize else {})
    return {**remembered, **changed}


@pytest.fixture
def saved(tmp_path):
    """A featurizer's state, through a file that is read as the runner's are."""
    torch.save({"Featurizer": featurizer(config()).state_dict()}, tmp_path / "x.ckpt")
    return torch.load(tmp_path / "x.ckpt", weights_only=True)["Featurizer"]


def test_a_state_dict_remembers_version_fusion_and_sizes(saved):
    assert checkpoint.read(saved) == {
        "version": __version__,
        "fusion": config().to_dict(),
        "made_of": describe(config()),
        "layers": [2, 3],
        "dims": [8, 8],
    }


def test_the_weights_are_the_same_without_it(saved):
    assert not any("s3prl_fusion" in key for key in saved)
    featurizer(config()).load_state_dict(dict(saved), strict=True)


def test_the_same_fusion_loads(saved):
    other = featurizer(config())
    other.load_state_dict(saved, strict=True)
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), saved.values()))


def test_normalizing_by_the_run_downstreams_option_is_remembered_as_in_the_config():
    by_option = featurizer(config(normalize=False), normalize=True).state_dict()
    assert checkpoint.read(by_option) == checkpoint.read(featurizer(config(normalize=True)).state_dict())
    assert not checkpoint.read(featurizer(config(normalize=False)).state_dict())["fusion"]["normalize"]


@pytest.mark.parametrize(
    "changes, difference",
    [
        ({"interface": "chconv"}, r"interface\.projection was True, is False"),
        ({"interface": "hconv"}, r"interface\.name was 'chconv', is 'hconv'"),
        ({"normalize": False}, r"normalize was True, is not given"),
        ({"members": ["a"]}, r"members was a \+ b, is a"),
        (
            {"members": [{"name": "a", "layers": [0, 1]}, CONFIG["members"][1]]},
            r"members\[0\]\.layers was \[0, 2\], is",
        ),
        (
            {"members": [CONFIG["members"][0], {**CONFIG["members"][1], "precision": "bf16"}]},
            r"members\[1\]\.precision was not given, is 'bf16'",
        ),
        ({"members": CONFIG["members"][::-1]}, r"members\[0\]\.name was 'a', is 'b'"),
        (
            {"members": [CONFIG["members"][0], {"name": "b", "ckpt": "/here/c.pt"}]},
            r"ckpt was 'b\.pt', is 'c\.pt'",
        ),
    ],
)
def test_another_fusion_is_refused_by_naming_the_difference(saved, changes, difference):
    with pytest.raises(ValueError, match=f"trained with another fusion: .*{difference}.*-u, -g"):
        featurizer(config(**changes)).load_state_dict(saved)


def test_saying_a_default_aloud_is_no_difference():
    quiet, aloud = config(interface="hconv"), config(interface={"name": "hconv", "match_dim": "project"})
    featurizer(aloud).load_state_dict(featurizer(quiet).state_dict())


def test_files_may_have_moved(saved):
    moved = [CONFIG["members"][0], {"name": "b", "ckpt": "/there/b.pt"}]
    featurizer(config(members=moved)).load_state_dict(saved)


def test_members_may_run_on_other_devices(saved):
    elsewhere = [{**member, "device": "cpu"} for member in CONFIG["members"]]
    state = featurizer(config(members=elsewhere)).state_dict()
    assert checkpoint.read(state) == checkpoint.read(saved)
    featurizer(config(members=elsewhere)).load_state_dict(saved)


@pytest.mark.parametrize("version, fits", [("0.2.7", True), ("0.3.0", False), ("1.1.0", False)])
def test_releases_that_may_compute_otherwise_are_refused(saved, monkeypatch, version, fits):
    monkeypatch.setattr(checkpoint, "__version__", version)
    if fits:
        return checkpoint.check(checkpoint.read(saved), config(), describe(config()))
    with pytest.raises(ValueError, match=rf"from s3prl_fusion {__version__}, and this is {version}, which may"):
        checkpoint.check(checkpoint.read(saved), config(), describe(config()))


@pytest.mark.parametrize("made_of", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_weights_of_0_1_load_as_what_they_were(saved, normalize, made_of):
    remembered = as_of_0_1(checkpoint.read(saved), normalize)
    remembered.pop("made_of") if not made_of else None
    for now in (True, False):
        fusion = checkpoint.with_old_defaults(config(normalize=now), remembered)
        assert fusion == config(normalize=normalize)
        checkpoint.check(remembered, fusion, describe(fusion))
    with pytest.raises(
        ValueError, match=f"normalize was {'True, is not given' if normalize else 'not given, is True'}"
    ):
        checkpoint.check(remembered, other := config(normalize=not normalize), describe(other))


def test_the_default_interface_of_0_1_was_hconv(saved):
    remembered = as_of_0_1(checkpoint.read(saved), normalize=False)
    for now, then in (("lowrank", "hconv"), ("hconv", "hconv"), ("gumbel", "gumbel")):
        assert checkpoint.with_old_defaults(config(interface=now), remembered).interface.name == then


def test_weights_of_this_release_are_what_the_fusion_says(saved):
    assert checkpoint.with_old_defaults(config(normalize=False), checkpoint.read(saved)) == config(normalize=False)
    assert checkpoint.with_old_defaults(config(), None) == config()


def test_from_1_0_on_the_major_version_counts(saved, monkeypatch):
    checkpoint.read(saved)["version"] = "1.4.0"
    monkeypatch.setattr(checkpoint, "__version__", "1.9.2")
    checkpoint.check(checkpoint.read(saved), config(), describe(config()))


def test_weights_of_s3prls_own_featurizer_are_accepted():
    checkpoint.check(checkpoint.read({"weights": torch.zeros(3)}), config(), describe(config()))
