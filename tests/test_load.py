"""Trained experiments loaded for inference: what they say is what the recipe's own evaluation says."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch
import yaml
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion import checkpoint, imports, load_experiment
from s3prl_fusion.cli import main
from s3prl_fusion.costs import count_parameters
from s3prl_fusion.errors import UsageError
from s3prl_fusion.host.ckpt import find_ckpt, read_ckpt
from s3prl_fusion.host.load import head_parameters
from s3prl_fusion.host.recipes.ctc import decoded
from s3prl_fusion.host.recipes.emotion import emotions
from s3prl_fusion.host.recipes.voxceleb1 import speakers
from s3prl_fusion.select.capacity import head_of

RECIPES = ("asr", "ctc", "voxceleb1", "emotion")
SPLIT = {"asr": "test-clean", "ctc": "test", "voxceleb1": "test", "emotion": "test"}
FUSED = "fused__fbank__mfcc"


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
    s3prl_fusion.unregister()


def train(upstream: str, recipe: str, config: Path, expdir: Path, *more: object) -> Path:
    args = ["-m", "train", "-u", upstream, "-d", recipe, "-c", config, "-p", expdir, "--device", "cpu", *more]
    try:
        assert main(["run", *map(str, args)]) == 0
    finally:
        s3prl_fusion.unregister()
    return expdir


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recipe_configs):
    """Two steps of a recipe on a fused upstream, trained when first asked for."""
    folder, expdirs = tmp_path_factory.mktemp("trained"), {}

    def get(recipe: str) -> Path:
        if recipe not in expdirs:
            expdirs[recipe] = train(FUSED, recipe, recipe_configs[recipe], folder / recipe)
        return expdirs[recipe]

    return get


def talkative(expdir: Path, folder: Path) -> Path:
    """A copy of an expdir's checkpoint, whose head says more than the blanks that two steps of training leave it at."""
    states = read_ckpt(find_ckpt(expdir))
    generator = torch.Generator().manual_seed(0)
    for tensor in states["Downstream"].values():
        tensor += 0.5 * torch.randn(tensor.shape, generator=generator)
    folder.mkdir()
    torch.save(states, folder / "dev-best.ckpt")
    return folder / "dev-best.ckpt"


def infer(ckpt: Path, wav: Path, copy: Path) -> str:
    """What ``-m inference`` writes for a sound file."""
    shutil.copytree(ckpt.parent, copy)
    override = f"args.expdir={copy}"
    try:
        assert main(["run", "-m", "inference", "-t", str(wav), "-e", str(copy / ckpt.name), "-o", override]) == 0
    finally:
        s3prl_fusion.unregister()
    (written,) = [*copy.glob("inference.*")]
    return written.read_text().strip().partition(" ")[2]


@pytest.mark.parametrize("recipe", RECIPES)
def test_predictions_are_those_of_the_launchers_inference(recipe, trained, tmp_path):
    (wav,) = wavs(20000)
    soundfile.write(tmp_path / "speech.wav", wav.numpy(), 16000, subtype="FLOAT")
    ckpt = talkative(trained(recipe), tmp_path / "exp")
    (prediction,) = load_experiment(ckpt).predict([wav])
    assert len(prediction) > 2 and prediction == infer(ckpt, tmp_path / "speech.wav", tmp_path / "copy")


@pytest.mark.parametrize("recipe", RECIPES)
def test_how_large_the_head_would_be_for_other_features(recipe, trained):
    experiment = load_experiment(trained(recipe))
    rate = experiment.featurizer.downsample_rate
    head = head_of(trained(recipe), rate)
    assert head(experiment.featurizer.output_dim) == count_parameters(experiment.downstream)
    assert [head(200)] == head_parameters(trained(recipe), rate, [200])


@pytest.mark.parametrize(
    "content, told",
    [
        (b"no sound", "not readable as audio"),
        ((2, 16000), r"2 channel\(s\), 16000 Hz; needed is mono at 16000 Hz"),
        ((1, 8000), r"1 channel\(s\), 8000 Hz; needed is mono at 16000 Hz"),
    ],
)
def test_inference_refuses_a_wrong_file_in_one_line(content, told, trained, tmp_path, capsys):
    wav = tmp_path / "speech.wav"
    if isinstance(content, bytes):
        wav.write_bytes(content)
    else:
        soundfile.write(wav, torch.zeros(8000, content[0]).numpy(), content[1])
    try:
        argv = ["run", "-m", "inference", "-t", wav, "-e", find_ckpt(trained(RECIPES[0])), "--device", "cpu"]
        assert main(list(map(str, argv))) == 2
    finally:
        s3prl_fusion.unregister()
    lines = capsys.readouterr().err.splitlines()
    assert any(re.search(f"speech.wav: {told}", line) for line in lines) and "Traceback" not in "".join(lines)


@pytest.mark.fault("run -m inference -e with somebody's checkpoint", "writes where the user is, not where it says")
def test_inference_writes_where_the_user_is(trained, tmp_path, monkeypatch):
    states, victim = read_ckpt(find_ckpt(trained("voxceleb1"))), tmp_path / "victim"
    states["Args"].expdir, states["Args"].cache_dir = str(victim), str(victim)
    for name in ("theirs", "here", "named"):
        (tmp_path / name).mkdir()
    torch.save(states, tmp_path / "theirs" / "a.ckpt")
    soundfile.write(tmp_path / "a.wav", wavs(20000)[0].numpy(), 16000)
    monkeypatch.chdir(tmp_path / "here")
    words = ["run", "-m", "inference", "-t", "../a.wav", "-e", "../theirs/a.ckpt", "--device", "cpu"]
    for folder, more in (("here", []), ("named", ["-p", str(tmp_path / "named")])):
        try:
            assert main([*words, *more]) == 0
        finally:
            s3prl_fusion.unregister()
        assert (tmp_path / folder / "inference.txt").is_file()
    assert not victim.exists() and [path.name for path in (tmp_path / "theirs").iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_features_are_those_of_the_checkpoints_own_weights(recipe, trained):
    experiment = load_experiment(trained(recipe))
    upstream = s3prl_fusion.FusedUpstream(s3prl_fusion.FusionConfig.from_name(FUSED)).eval()
    featurizer = s3prl_fusion.FusionFeaturizer(upstream)
    states = read_ckpt(find_ckpt(trained(recipe)))
    featurizer.load_state_dict(states["Featurizer"])
    batch = wavs(20000, 9000)
    with torch.no_grad():
        expected = featurizer.eval()(batch, upstream(batch))
    assert all(torch.equal(a, b) for a, b in zip(experiment.features(batch), expected))
    for name, tensor in experiment.downstream.state_dict().items():
        assert torch.equal(tensor, states["Downstream"][name])
    assert not any(module.training for module in (experiment.upstream, experiment.featurizer, experiment.downstream))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_prediction_does_not_depend_on_the_others_in_its_batch(recipe, trained, tmp_path):
    experiment = load_experiment(talkative(trained(recipe), tmp_path / "exp"))
    batch = wavs(20000, 9000, 30000)
    assert experiment.predict(batch) == [experiment.predict([wav])[0] for wav in batch]


@pytest.mark.parametrize("predict, device", [(decoded, "cpu"), (speakers, "meta"), (emotions, "meta")])
def test_lengths_are_on_the_device_where_the_recipes_own_forward_has_them(predict, device):
    seen = []

    def model(features, lengths):
        seen.append(lengths.device.type)
        return torch.zeros(1, 1, 1) if predict is decoded else torch.zeros(1, 1), None

    test_dataset = SimpleNamespace(label2speaker=list, idx2emotion=["neu"])
    tokenizer = SimpleNamespace(pad_idx=0, eos_idx=1, decode=str)
    expert = SimpleNamespace(projector=torch.nn.Identity(), model=model, test_dataset=test_dataset, tokenizer=tokenizer)
    predict(expert, [torch.zeros(5, 2, device="meta")])
    assert seen == [device]


def test_waveforms_of_double_precision_are_taken(trained, tmp_path):
    experiment = load_experiment(trained("asr"))
    (single,), (double,) = (experiment.features([wav]) for wav in (wavs(20000)[0], wavs(20000)[0].double()))
    assert torch.equal(single, double)


CORPUS = {
    "asr": ("datarc", "libri_root", "bucket_file"),
    "ctc": ("corpus", "path", "lexicon"),
    "voxceleb1": ("datarc", "file_path", "meta_data"),
    "emotion": ("datarc", "root"),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_neither_the_corpus_nor_the_expdirs_place_is_needed(recipe, trained, tmp_path):
    ckpt = talkative(trained(recipe), tmp_path / "exp")
    states = read_ckpt(ckpt)
    section, *keys = CORPUS[recipe]
    states["Config"]["downstream_expert"][section].update(dict.fromkeys(keys, "/gone"))
    states["Args"].expdir = "/gone"
    (tmp_path / "moved").mkdir()
    torch.save(states, tmp_path / "moved" / "dev-best.ckpt")
    batch = wavs(20000, 9000)
    assert load_experiment(tmp_path / "moved").predict(batch) == load_experiment(ckpt).predict(batch)


def test_er_without_the_names_of_its_emotions_says_what_is_missing(trained, tmp_path):
    states = read_ckpt(find_ckpt(trained("emotion")))
    states["Config"]["downstream_expert"]["datarc"]["meta_data"] = str(tmp_path / "gone")
    torch.save(states, tmp_path / "dev-best.ckpt")
    with pytest.raises(FileNotFoundError, match=r"gone has no Session\*/train_meta_data.json, .*\(the audio is not"):
        load_experiment(tmp_path)


def test_stock_upstreams_load_too(recipe_configs, tmp_path):
    experiment = load_experiment(train("fbank", "voxceleb1", recipe_configs["voxceleb1"], tmp_path / "exp"))
    assert type(experiment.featurizer).__module__ == "s3prl.upstream.interfaces"
    assert [label[:2] for label in experiment.predict(wavs(20000, 9000))] == ["id", "id"]


@pytest.mark.parametrize("keep_copy", [True, False])
def test_a_fusion_yaml_may_be_gone(keep_copy, recipe_configs, tmp_path):
    fusion = tmp_path / "fusion.yaml"
    fusion.write_text("members: [fbank, {name: mfcc, layers: [0]}]\ninterface: {name: chconv, projection: true}\n")
    config = s3prl_fusion.FusionConfig.from_yaml(fusion)
    expdir = train("fused", "asr", recipe_configs["asr"], tmp_path / "exp", "-g", fusion)
    before = load_experiment(expdir)
    fusion.unlink()
    if not keep_copy:
        for copy in expdir.glob("fusion_*.yaml"):
            copy.unlink()
    after = load_experiment(expdir)
    assert after.upstream.fusion == before.upstream.fusion == config
    assert all(torch.equal(a, b) for a, b in zip(after.features(wavs(20000)), before.features(wavs(20000))))


def test_a_fusion_yaml_and_the_interface_beside_it_may_have_moved(recipe_configs, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "own.py").write_text(
        "from s3prl_fusion.interfaces.weighted_sum import WeightedSum\n\n\nclass Own(WeightedSum):\n    pass\n"
    )
    (old / "a.yaml").write_text("members: [fbank, mfcc]\ninterface: own.py:Own\n", encoding="utf-8")
    expdir = train(old / "a.yaml", "asr", recipe_configs["asr"], tmp_path / "exp")
    before = load_experiment(expdir)
    old.rename(new)
    imports._module_at.cache_clear()  # as in a new process
    with pytest.raises(UsageError, match=r"old/a\.yaml is gone.*give where it is now"):
        load_experiment(expdir)
    with pytest.raises(UsageError, match=r"upstream='fbank' must be a fusion YAML"):
        load_experiment(expdir, upstream="fbank")
    (new / "b.yaml").write_text("members: [mfcc, fbank]\ninterface: own.py:Own\n", encoding="utf-8")
    with pytest.raises(UsageError, match="trained with another fusion"):
        load_experiment(expdir, upstream=new / "b.yaml")
    after = load_experiment(expdir, upstream=new / "a.yaml")
    assert all(torch.equal(a, b) for a, b in zip(after.features(wavs(20000)), before.features(wavs(20000))))


@pytest.mark.fault(
    "a member's weights that were replaced, under their name, after the training",
    "`extract -e`, `load_experiment` and `run -e` refuse the experiment: which member's have changed",
)
@pytest.mark.parametrize("upstream", ["hubert_local", "fused"])
def test_weights_that_were_replaced_since(upstream, hubert_ckpt, recipe_configs, tmp_path, capsys):
    ckpt = shutil.copy(hubert_ckpt, tmp_path / "hubert.pt")
    fusion = tmp_path / "fusion.yaml"
    fusion.write_text(yaml.safe_dump({"members": ["fbank", {"name": "hubert_local", "ckpt": str(ckpt)}]}))
    given = ("-g", fusion) if upstream == "fused" else ("-k", ckpt)
    expdir = train(upstream, "emotion", recipe_configs["emotion"], tmp_path / "exp", *given)
    load_experiment(expdir)
    content = torch.load(ckpt, weights_only=False)
    torch.save({**content, "extra": 1}, ckpt)
    (sound,) = wavs(16000)
    soundfile.write(tmp_path / "a.wav", sound.numpy(), 16000)
    capsys.readouterr()
    told = r"trained with another (upstream|fusion): the content of members\[[01]\]\.ckpt has changed"
    for words in (
        ["extract", "-e", expdir, tmp_path / "a.wav", "-o", tmp_path / "out"],
        ["run", "-e", expdir, "-m", "train"],
    ):
        try:
            assert main(list(map(str, words))) == 2
        finally:
            s3prl_fusion.unregister()
        assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("upstream", [FUSED, "fusion.yaml"])
def test_an_experiment_of_0_1_is_as_it_was_trained(upstream, recipe_configs, tmp_path):
    """Its checkpoint says nothing of `normalize` where it is off; its name and its YAML neither, nor of hconv."""
    fusion, (wav,) = tmp_path / "fusion.yaml", wavs(16000)
    fusion.write_text("members: [fbank, mfcc]\ninterface: hconv\nnormalize: false\n")
    ckpt = find_ckpt(train(str(fusion), "emotion", recipe_configs["emotion"], tmp_path / "exp"))
    (expected,) = load_experiment(ckpt).features([wav])
    states = read_ckpt(ckpt)
    remembered = checkpoint.read(states["Featurizer"])
    remembered["version"] = "0.1.0"
    del remembered["fusion"]["normalize"]
    states["Args"].upstream = FUSED if upstream == FUSED else str(fusion)
    torch.save(states, ckpt)
    fusion.write_text("members: [fbank, mfcc]\n")
    experiment = load_experiment(ckpt)
    assert not experiment.upstream.fusion.normalize and torch.equal(experiment.features([wav])[0], expected)
    for words in (["-m", "evaluate", "-t", "test", "-e", ckpt], ["-m", "train", "-e", ckpt]):
        try:
            assert main(["run", *map(str, words), "--device", "cpu"]) == 0
        finally:
            s3prl_fusion.unregister()


def test_finetuned_members_are_restored(tiny_hubert, recipe_configs, tmp_path):
    fusion = tmp_path / "fusion.yaml"
    fusion.write_text(yaml.safe_dump({"members": [{"name": "hf_hubert_custom", "ckpt": tiny_hubert}, "fbank"]}))
    expdir = train("fused", "asr", recipe_configs["asr"], tmp_path / "exp", "-g", fusion, "-f")
    experiment = load_experiment(expdir)
    states = read_ckpt(find_ckpt(expdir))["Upstream"]
    assert all(torch.equal(tensor, states[name]) for name, tensor in experiment.upstream.state_dict().items())
    fresh = s3prl_fusion.FusedUpstream(experiment.upstream.fusion)
    assert any(not torch.equal(tensor, states[name]) for name, tensor in fresh.state_dict().items())


def test_random_numbers_and_s3prl_stay_as_they_were(trained):
    from s3prl import hub

    expdir = trained("emotion")
    names, state = dict(vars(hub)), torch.random.get_rng_state()
    load_experiment(expdir)
    assert torch.equal(torch.random.get_rng_state(), state) and vars(hub) == names


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_registration_of_the_users_stays(recipe, trained, request):
    from s3prl import hub

    expdir = trained(recipe)  # which registers for itself, and takes it back
    request.getfixturevalue("registered")
    names = dict(vars(hub))
    assert load_experiment(expdir).predict(wavs(20000))
    assert vars(hub) == names and "fused_wavlm" in names


def test_the_best_checkpoint_comes_before_the_last_and_the_last_before_the_first(tmp_path):
    for name in ("states-100.ckpt", "states-90.ckpt"):
        (tmp_path / name).touch()
    assert find_ckpt(tmp_path).name == "states-100.ckpt"
    (tmp_path / "dev-clean-best.ckpt").touch()
    assert find_ckpt(tmp_path).name == "dev-clean-best.ckpt"
    assert find_ckpt(tmp_path / "states-90.ckpt").name == "states-90.ckpt"


class TestUserErrors:
    def test_no_checkpoint(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"has no dev\*best.ckpt and no states-\*.ckpt; give a checkpoint"):
            load_experiment(tmp_path)
        with pytest.raises(FileNotFoundError, match="nowhere does not exist; give a checkpoint"):
            load_experiment(tmp_path / "nowhere")

    def test_a_file_that_is_no_checkpoint(self, tmp_path):
        (tmp_path / "x.ckpt").write_text("x" * 100)
        with pytest.raises(ValueError, match="x.ckpt cannot be read as a checkpoint"):
            load_experiment(tmp_path / "x.ckpt")

    @pytest.mark.parametrize("content", [{"model": {}}, [1, 2], torch.zeros(3)])
    def test_a_checkpoint_of_something_else(self, content, tmp_path):
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(ValueError, match="no checkpoint of s3prl's run_downstream: it has no Args, Config"):
            load_experiment(tmp_path / "x.ckpt")

    def test_a_recipe_without_a_prediction(self, trained):
        experiment = load_experiment(trained("asr"))
        experiment.args.downstream = "mosei"
        with pytest.raises(ValueError, match=r"'mosei' has no prediction here, only asr.*\.features\(wavs\)"):
            experiment.predict(wavs(20000))

    def test_waveforms_that_no_upstream_can_use(self, trained):
        with pytest.raises(ValueError, match="utterance 1 is empty"):
            load_experiment(trained("asr")).predict([*wavs(20000), torch.zeros(0)])


def test_checkpoints_are_read_by_several_threads_at_once(tmp_path, monkeypatch):
    import time
    from concurrent.futures import ThreadPoolExecutor

    stock = torch.serialization.add_safe_globals

    def slow(allowed):  # so that the list is empty for a while when one thread takes back what it allowed
        time.sleep(0.005)
        stock(allowed)

    states = {"Args": argparse.Namespace(seed=1), "Config": {}, "Featurizer": {}, "Downstream": {"x": torch.ones(1)}}
    torch.save(states, tmp_path / "dev-best.ckpt")
    monkeypatch.setattr(torch.serialization, "add_safe_globals", slow)
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()  # what the shims allow, and a registration, is not there
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(read_ckpt, [tmp_path / "dev-best.ckpt"] * 20))
    stock(before)
    assert all(each["Args"].seed == 1 for each in read)
