"""SV: SoX's silence trimming, the data sets and the expert that stand in for s3prl's, and a run through its runner."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml
from official_layouts import DEV_SPEAKERS, official_voxceleb1
from tiny_corpora import OPTIMIZER, RUNNER

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora import voxceleb1
from s3prl_fusion.corpora.base import Prepared, Source
from s3prl_fusion.errors import CorpusError, UserError
from s3prl_fusion.host import recipes
from s3prl_fusion.host.ckpt import read_ckpt
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.recipes import _sv_data, sv_voxceleb1
from s3prl_fusion.host.shims import sox
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.scores.scoring import read_texts
from s3prl_fusion.superb.tasks import TASKS


def trim_silence(wav: np.ndarray) -> np.ndarray:
    """SV's chain on (T,) samples."""
    return sox.apply_effects_tensor(torch.from_numpy(wav).unsqueeze(0), 16000, _sv_data.EFFECTS)[0][0].numpy()


def bursts(seed: int) -> np.ndarray:
    """Noise in stretches of loudness on either side of SoX's threshold, on the grid of 16-bit files."""
    generator = np.random.default_rng(seed)
    loudness = [0, 0.0002, 0.0013, 0.0016, 0.01, 0.3]
    count = generator.integers(1, 14)
    parts = [generator.choice(loudness) * generator.standard_normal(generator.integers(50, 6000)) for _ in range(count)]
    return (np.round(np.concatenate(parts).clip(-1, 0.99) * 32768) / 32768).astype(np.float32)


@pytest.mark.skipif(shutil.which("sox") is None, reason="needs the sox program")
@pytest.mark.parametrize("seed", range(8))
def test_silence_is_trimmed_as_sox_does(tmp_path, seed):
    wav = bursts(seed)
    soundfile.write(tmp_path / "in.wav", wav, 16000, subtype="PCM_16")
    effects = [word for effect in _sv_data.EFFECTS for word in effect]
    command = ["sox", tmp_path / "in.wav", "-e", "float", "-b", "32", tmp_path / "out.wav", *effects]
    subprocess.run(command, check=True, capture_output=True)
    expected, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    got = trim_silence(wav)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_silence_between_sounds_goes_but_for_its_fringe():
    tone = 0.3 * np.sin(np.arange(8000))
    gap = np.zeros(4000)
    trimmed = trim_silence(np.concatenate([gap, tone, gap, tone, gap]))
    # A window of 320 samples stays loud until the tone has all but left it.
    assert 2 * 8000 < len(trimmed) <= 2 * (8000 + 320)
    assert len(trim_silence(np.zeros(16000))) == 0
    short = np.concatenate([tone, np.zeros(1000), tone])
    assert len(trim_silence(short)) == pytest.approx(len(short), abs=5)  # silence of less than 0.1 s stays


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("sv")
    return prepare([TASKS["sv"]], {"voxceleb1": Source(official_voxceleb1(root / "VoxCeleb1"))}, root / "data")


@pytest.mark.fault("SV's kept lengths of clips that are cut off or have lost bits since", "counted anew")
def test_damaged_lengths_are_counted_anew(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = prepared.roots["voxceleb1"] / "dev" / "wav"
    clips = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.wav"))
    lengths = _sv_data.trimmed_lengths(root, clips)
    (kept,) = tmp_path.rglob("*.json")
    whole = kept.read_text()
    for damaged in (whole[:10], whole.replace(str(lengths[0]), str(lengths[0] - 20000), 1), "[]", ""):
        kept.write_text(damaged)
        assert _sv_data.trimmed_lengths(root, clips) == lengths and kept.read_text() == whole


def test_dev_speakers_are_held_out(prepared):
    training = (prepared.folder / "sv_train_speakers.txt").read_text().split()
    trials = [line.split() for line in (prepared.folder / "sv_dev_trials.txt").read_text().splitlines()]
    held_out = {path.split("/")[0] for _, *paths in trials for path in paths}
    assert held_out.isdisjoint(training)
    assert held_out | set(training) == set(DEV_SPEAKERS)
    assert {label: first.split("/")[0] == second.split("/")[0] for label, first, second in trials} == {
        "0": False,
        "1": True,
    }
    assert all(first != second for _, first, second in trials)
    assert voxceleb1.hold_out(prepared.roots["voxceleb1"]) == voxceleb1.hold_out(prepared.roots["voxceleb1"])


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("2 a/b/c.wav d/e/f.wav", r"veri_test\.txt:11: got '2 a/b/c\.wav"),
        ("1 id10270/x/00001.wav id10271/7gWzIy6yIIk/00001.wav", "1 of 9 clips .* first id10270/x/00001.wav"),
        (
            "0 id10270/1zcIwhmdeo4/00001.wav id10270/7gWzIy6yIIk/00001.wav",
            ":11: the trial .* is there with both labels",
        ),
    ],
)
def test_unusable_trials(tmp_path, line, match):
    root = official_voxceleb1(tmp_path)
    with (root / "veri_test.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CorpusError, match=match):
        voxceleb1.check_trials(root, root / "veri_test.txt")


def test_missing_trials_say_where_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no verification trials .*get https://.*veri_test\.txt"):
        voxceleb1.find_trials(tmp_path, None)


def sv_config(folder: Path, prepared: Prepared) -> Path:
    config = yaml.safe_load((downstream_configs_dir() / "sv.yaml").read_text())
    expert = config["downstream_expert"]
    for key, field in TASKS["sv"].paths.items():
        expert["datarc"][key.rpartition(".")[2]] = prepared.value(voxceleb1.CORPUS, field)
    expert["datarc"].update(num_workers=0, train_batch_size=3, eval_batch_size=2, max_timestep=16000)
    expert["modelrc"].update(
        input_dim=16, module_config={"XVector": {"agg_dim": 24, "dropout_p": 0.0, "batch_norm": False}}
    )
    config.update(runner={**RUNNER, "total_steps": 4, "eval_dataloaders": ["dev"]}, optimizer=OPTIMIZER)
    path = folder / "sv.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_train_and_evaluate_through_the_runner(tmp_path, prepared, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expdir, task = tmp_path / "exp", TASKS["sv"]
    config = sv_config(tmp_path, prepared)
    train = [
        "-m",
        "train",
        "-u",
        "fbank",
        "-d",
        "sv_voxceleb1",
        "-c",
        str(config),
        "-p",
        str(expdir),
        "--device",
        "cpu",
    ]
    assert main(["run", *train]) == 0
    assert (expdir / "dev-best.ckpt").is_file()
    assert main(["run", "-m", "evaluate", "-t", "test", "-e", str(expdir / "dev-best.ckpt"), "--device", "cpu"]) == 0
    hypotheses, references = read_texts(expdir / task.hypothesis), read_texts(expdir / task.reference)
    logged = float(re.findall(r"sv-voxceleb1/test-EER: (\S+)", capsys.readouterr().out)[-1])
    assert task.metric.score(hypotheses, references) == pytest.approx(100 * logged, abs=0.01)
    assert list(references)[0] == "id10270-1zcIwhmdeo4-00001_id10270-1zcIwhmdeo4-00002"
    assert sorted(references.values()) == ["0"] * 4 + ["1"] * 6
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 1  # nothing in s3prl's own folder
    assert_it_loads_without_its_corpus(expdir / "dev-best.ckpt", tmp_path / "moved.ckpt")


def assert_it_loads_without_its_corpus(ckpt: Path, moved: Path) -> None:
    states = read_ckpt(ckpt)
    paths = ("file_path", "train_meta_data", "dev_meta_data", "test_meta_data")
    states["Config"]["downstream_expert"]["datarc"].update(dict.fromkeys(paths, "/gone"))
    torch.save(states, moved)
    experiment = s3prl_fusion.load_experiment(moved)
    assert all(
        torch.equal(tensor, states["Downstream"][name]) for name, tensor in experiment.downstream.state_dict().items()
    )
    assert experiment.features([torch.randn(16000)])[0].shape[1] == 240
    with pytest.raises(
        UserError, match=r"'sv_voxceleb1' has no prediction here, only asr, ctc \(libriphone\), diarization, emotion"
    ):
        experiment.predict([torch.randn(16000)])


@pytest.mark.parametrize("mode", ["train", "test"])
def test_forward_is_stocks(registered, prepared, monkeypatch, tmp_path, mode):
    """Stock's own forward, with its hard-wired GPU taken for the CPU."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = yaml.safe_load(sv_config(tmp_path, prepared).read_text())
    patches = Patches()
    recipes.mend("sv_voxceleb1", config, patches)
    try:
        from s3prl.downstream.sv_voxceleb1.expert import DownstreamExpert

        torch.manual_seed(0)
        expert = DownstreamExpert(upstream_dim=8, downstream_expert=config["downstream_expert"], expdir=str(tmp_path))
        features = [torch.randn(length, 8) for length in (40, 30, 25)]
        ours = {"loss": []}
        result = expert(mode, features, ["a", "b", "c"], labels=[0, 1, 0], records=ours)
    finally:
        patches.undo()
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    stock = {"loss": []}
    expected = expert(mode, features, ["a", "b", "c"], labels=[0, 1, 0], records=stock)
    torch.testing.assert_close(result, expected)
    assert ours["loss"] == stock["loss"]
    assert ours.keys() == stock.keys()
    for name in ours.keys() - {"loss"}:
        torch.testing.assert_close(ours[name], stock[name])


def test_a_clip_that_is_too_short_is_named():
    expert = SimpleNamespace(modelrc={"module": "XVector"})
    with pytest.raises(ValueError, match="b has 14 frames or fewer"):
        sv_voxceleb1.forward(expert, "test", [torch.zeros(40, 8), torch.zeros(14, 8)], ["a", "b"], records={})


def test_missing_lists_are_named_before_anything_loads(tmp_path, prepared):
    config = yaml.safe_load(sv_config(tmp_path, prepared).read_text())
    config["downstream_expert"]["datarc"]["dev_meta_data"] = "/nowhere"
    with pytest.raises(FileNotFoundError, match=r"datarc\.dev_meta_data is '/nowhere', which does not exist"):
        recipes.mend("sv_voxceleb1", config, Patches())
