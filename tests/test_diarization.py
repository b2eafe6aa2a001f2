"""SD: turns and their error rate against other scorers, the corpus's tables, and a run through s3prl's runner."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import official_layouts
import pytest
import torch
import yaml
from tiny_corpora import OPTIMIZER, RUNNER

import s3prl_fusion
from s3prl_fusion import diarization
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora.base import Source
from s3prl_fusion.diarization import Turn
from s3prl_fusion.errors import CorpusError, UserError
from s3prl_fusion.metrics import DER, ScoreError
from s3prl_fusion.superb.layout import RunFolder
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.scores.score import score
from s3prl_fusion.superb.tasks import TASKS

TASK = TASKS["sd"]
h5py = pytest.importorskip("h5py")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ([Turn("0", 0, 2), Turn("1", 1, 3)], 0.0),
        ([Turn("1", 0, 2), Turn("0", 1, 3)], 0.0),  # whoever is called what
        ([], 4.0),  # missed
        ([Turn("0", 0, 2), Turn("1", 1, 4)], 1.0),  # a false alarm
        ([Turn("0", 0, 2), Turn("0", 2, 3)], 2.0),  # a second missed, another somebody else's
        ([Turn("0", 0, 1.5), Turn("0", 1, 2), Turn("1", 1, 3)], 0.0),  # one's own overlap counts once
    ],
)
def test_hand_worked_errors(said, wrong):
    assert diarization.errors(said, [Turn("a", 0, 2), Turn("b", 1, 3)]) == (pytest.approx(wrong), 4.0)


def random_turns(rng: np.random.Generator) -> list[Turn]:
    starts = rng.uniform(0, 20, size=rng.integers(1, 9)).round(2)
    return [Turn(str(rng.choice(["x", "y"])), start, start + round(rng.uniform(0.1, 6), 2)) for start in starts]


@pytest.mark.parametrize("seed", range(8))
def test_errors_are_pyannotes(seed):
    core, metrics = pytest.importorskip("pyannote.core"), pytest.importorskip("pyannote.metrics.diarization")
    rng = np.random.default_rng(seed)
    said, true = random_turns(rng), random_turns(rng)

    def annotation(turns: list[Turn]):
        found = core.Annotation(uri="u")
        for number, turn in enumerate(turns):
            found[core.Segment(turn.start, turn.end), number] = turn.speaker
        support = core.Annotation(uri="u")  # one's own overlaps count once
        for speaker in found.labels():
            for number, segment in enumerate(found.label_timeline(speaker).support()):
                support[segment, f"{speaker}{number}"] = speaker
        return support

    metric = metrics.DiarizationErrorRate(collar=0.0, skip_overlap=False)
    part = metric(annotation(true), annotation(said), detailed=True, uem=core.Timeline([core.Segment(0, 40)]))
    expected = part["missed detection"] + part["false alarm"] + part["confusion"]
    assert diarization.errors(said, true) == (pytest.approx(expected), pytest.approx(part["total"]))


def write_predictions(folder: Path, probabilities: dict[str, np.ndarray], shift: int = 320) -> dict[str, str]:
    predictions = folder / "scoring" / "predictions"
    predictions.mkdir(parents=True)
    (folder / "frame_shift").write_text(f"{shift}\n")
    for name, values in probabilities.items():
        with h5py.File(predictions / f"{name}.h5", "w") as file:
            file["T_hat"] = values
    return diarization.read_predictions(predictions)


def random_probabilities(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"r{index}": rng.beta(0.5, 0.5, size=(rng.integers(90, 400), 2)).repeat(3, axis=0) for index in range(3)}


@pytest.mark.parametrize(("threshold", "median"), [(0.3, 1), (0.6, 11)])
def test_turns_are_those_of_s3prls_script(threshold, median, tmp_path):
    from s3prl.downstream.diarization import __file__ as package

    probabilities = random_probabilities(1)
    files = write_predictions(tmp_path, probabilities)
    (tmp_path / "list").write_text("".join(f"{file}\n" for file in files.values()))
    options = [f"--threshold={threshold}", f"--median={median}", "--frame_shift=320"]
    script = Path(package).with_name("make_rttm.py")
    subprocess.run([sys.executable, script, *options, tmp_path / "list", tmp_path / "rttm"], check=True)
    expected = [line.split() for line in (tmp_path / "rttm").read_text().splitlines()]
    found = [
        (name, f"{turn.start:.2f}", f"{turn.end - turn.start:.2f}", f"{name}_{turn.speaker}")
        for name, values in probabilities.items()
        for turn in diarization.turns_of(values, 320, threshold, median)
    ]
    assert found == [(fields[1], fields[3], fields[4], fields[7]) for fields in expected]


def test_the_best_setting_is_one_for_all_recordings(tmp_path):
    probabilities = random_probabilities(2)
    files = write_predictions(tmp_path, probabilities)
    true = {name: random_turns(np.random.default_rng(index)) for index, name in enumerate(files)}
    diarization.write_turns(tmp_path / "truth", true)
    lines = (tmp_path / "truth").read_text().splitlines()
    references = {line.split(" ")[0]: line.partition(" ")[2] for line in lines}
    rates = []
    for median in (1, 11):
        for threshold in (0.3, 0.4, 0.5, 0.6, 0.7):
            parts = [
                diarization.errors(diarization.turns_of(probabilities[name], 320, threshold, median), true[name])
                for name in files
            ]
            rates.append(100 * sum(wrong for wrong, _ in parts) / sum(speech for _, speech in parts))
    assert DER.score(files, references) == pytest.approx(min(rates))
    once = DER.resampled(files, references)(np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))
    assert once[0] == pytest.approx(once[1])
    Path(files["r1"]).write_bytes(b"damaged")
    with pytest.raises(ScoreError, match=r"r1.h5: .*evaluate again"):
        DER.score(files, references)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return official_layouts.official_librimix(tmp_path_factory.mktemp("corpora") / "librimix_sd")


def test_trained_and_evaluated_it_scores_by_its_files_and_needs_no_corpus_afterwards(corpus, tmp_path, monkeypatch):
    prepared = prepare([TASK], {"librimix-sd": Source(corpus)}, tmp_path / "data")
    config = yaml.safe_load((downstream_configs_dir() / TASK.config).read_text())
    config["runner"].update(RUNNER)
    config["optimizer"] = {**OPTIMIZER, "lr": 0.02}
    expert = config["downstream_expert"]
    expert["loaderrc"].update(num_workers=0, train_batchsize=2)
    expert["datarc"]["chunk_size"] = 60
    expert["modelrc"]["hidden_size"] = 4
    for key, product in TASK.paths.items():
        expert["loaderrc"][key.rpartition(".")[2]] = prepared.value(TASK.corpus, product)
    (tmp_path / "sd.yaml").write_text(yaml.safe_dump(config))
    expdir = tmp_path / "exp"
    words = ["-u", "fused__fbank__mfcc", "-d", "diarization", "-c", str(tmp_path / "sd.yaml"), "-p", str(expdir)]
    evaluate = ["run", "-m", "evaluate", "-t", "test", "-e", str(expdir / "dev-best.ckpt"), "--device", "cpu"]
    try:
        assert main(["run", "-m", "train", *words, "--device", "cpu"]) == 0
        (expdir / "scoring" / "predictions" / "of-another-time.h5").write_bytes(b"")
        with (expdir / "evaluate.log").open("w") as log, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", log)
            assert main(evaluate) == 0
        found = score(RunFolder(expdir))
    finally:
        s3prl_fusion.unregister()
    assert (found["task"], found["metric"], found["utterances"]) == ("sd", "DER", 2)
    assert 0 < found["score"] <= 200 and 0 < found["dev_score"] <= 100 and found["chance"] == 100.0
    assert (expdir / "frame_shift").read_text() == "160\n"
    files = diarization.read_predictions(expdir / "scoring" / "predictions")
    assert sorted(files) == ["test-mix0", "test-mix1"]
    # Chunks of 60 frames, the last one padded.
    assert all(diarization.read_probabilities(Path(file)).shape == (240, 2) for file in files.values())
    assert (expdir / "test_truth.txt").read_text().startswith("test-mix0 a0 0.000 1.500 b0 1.000 2.000\n")
    before = {path: path.stat().st_mtime_ns for path in expdir.rglob("*")}
    (tmp_path / "data").rename(tmp_path / "gone")
    said = s3prl_fusion.load_experiment(expdir).predict([torch.randn(16000)])
    assert all(turn.speaker in ("0", "1") for turn in diarization.read_turns(said[0]))
    assert {path for path in expdir.rglob("*")} == before.keys()


def change(table: str, old: str, new: str):
    def edit(root: Path) -> None:
        path = root / "test" / table
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return edit


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda root: (root / "dev" / "segments").unlink(), "no .*dev/segments; make Libri2Mix"),
        (lambda root: (root / "dev" / "spk2utt").unlink(), "no .*dev/spk2utt; make Libri2Mix"),
        (change("wav.scp", "wav/test-mix0.wav", "sox x.wav -t wav - |"), r"wav.scp:1: a command is not run here"),
        (change("wav.scp", "wav/test-mix0.wav", "wav/none.wav"), "test-mix0 is .*none.wav, which does not exist"),
        (change("reco2dur", "test-mix1", "other"), "reco2dur lacks test-mix1"),
        (change("segments", "0.0 1.5", "1.5 0.0"), r"segments:1: got 1.5 to 0.0, expected seconds"),
        (change("utt2spk", "a0-test-mix0 a0", "c-test-mix0 a0"), "a0-test-mix0 of test-mix0 is not in .*utt2spk"),
        (change("segments", "1.0 2.0", "1.0 2.2"), r"segments:2: ends at 2.2, but the sound of test-mix0 lasts 2.00 s"),
        (
            change("utt2spk", "b0-test-mix0 b0", "a0-test-mix0 b0"),
            "a0-test-mix0 is in utt2spk 2 times and in segments 1",
        ),
        (change("rttm", "0.00    1.50", "zero    1.50"), r"rttm:1: got .*expected 'SPEAKER RECORDING"),
        (change("rttm", "0.00    1.50", " nan    1.50"), r"rttm:1: got .*expected 'SPEAKER RECORDING"),
        (
            change("rttm", "1.00    1.00", "1.00    1.20"),
            "rttm: test-mix0 has speech until 2.20 s, but .* lasts 2.00 s",
        ),
        (lambda root: (root / "test" / "rttm").write_text(""), "no turn of test-mix0, as of 2"),
    ],
)
@pytest.mark.fault("diarization's Kaldi folders with a table, line or file missing or wrong", "refused: file and line")
def test_tables_that_cannot_be_used_are_named(edit, match, tmp_path):
    root = official_layouts.official_librimix(tmp_path / "librimix_sd")
    edit(root)
    with pytest.raises((CorpusError, UserError), match=match):
        prepare([TASK], {"librimix-sd": Source(root)}, tmp_path / "data")


@pytest.mark.parametrize("told", ["1.000", "4.000", "nan", "two"])
@pytest.mark.fault("a reco2dur of another length than the sound, as of Libri2Mix's 'min'", "refused: file and line")
def test_durations_are_those_of_the_sound(told, tmp_path):
    root = official_layouts.official_librimix(tmp_path / "librimix_sd")
    change("reco2dur", "2.000", told)(root)
    with pytest.raises(CorpusError, match=rf"reco2dur:1: got {told}, but the sound of test-mix0 lasts 2.00 s"):
        prepare([TASK], {"librimix-sd": Source(root)}, tmp_path / "data")


@pytest.mark.fault("two people's utterances of one name, as Libri2Mix's train has once", "told; as s3prl reads it")
def test_two_peoples_utterances_of_one_name_are_as_s3prl_reads_them(tmp_path, capsys):
    from s3prl.downstream.diarization.dataset import KaldiData

    root = official_layouts.official_librimix(tmp_path / "librimix_sd")
    name = "train-mix0_000000_001500"
    for table in ("segments", "utt2spk"):
        path = root / "train" / table
        path.write_text(path.read_text().replace("a0-train-mix0", name).replace("b0-train-mix0", name))
    prepared = prepare([TASK], {"librimix-sd": Source(root)}, tmp_path / "data")
    assert f"segments: {name} is there 2 times; s3prl takes all for b0's" in capsys.readouterr().err
    data = KaldiData(str(prepared.value(TASK.corpus, "train")))
    assert [segment["utt"] for segment in data.segments["train-mix0"]] == [name, name]
    assert data.utt2spk[name] == "b0"


@pytest.mark.fault("a test folder that was not prepared here, without rttm", "refused before a model loads")
def test_kaldi_folders_that_were_not_prepared_are_scored_by_their_rttm(corpus, tmp_path):
    from s3prl_fusion.host.patches import Patches
    from s3prl_fusion.host.recipes import diarization as recipe

    test = tmp_path / "test"
    shutil.copytree(corpus / "test", test)
    with (test / "rttm").open("a") as file:
        file.write("SPKR-INFO test-mix0 1 <NA> <NA> <NA> unknown a0 <NA>\n")
    silence = {f"test-mix{index}": np.zeros((200, 2)) for index in range(2)}
    write_predictions(tmp_path / "exp", silence, shift=160)
    recipe._score(tmp_path / "exp", test)
    assert (tmp_path / "exp" / "test_truth.txt").read_text().startswith("test-mix0 a0 0.000 1.500 b0 1.000 2.000\n")
    (test / "rttm").unlink()
    config = yaml.safe_load((downstream_configs_dir() / TASK.config).read_text())
    folders = {"train_dir": str(corpus / "train"), "dev_dir": str(corpus / "dev"), "test_dir": str(test)}
    config["downstream_expert"]["loaderrc"].update(root=str(corpus), **folders)
    with pytest.raises(UserError, match="no .*test/rttm; make Libri2Mix"):
        recipe.mend(config, Patches())


def test_without_h5py_the_first_line_says_what_to_install(monkeypatch):
    from s3prl_fusion.host.recipes import diarization as recipe

    monkeypatch.setattr(recipe.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"SD writes its predictions with h5py: pip install 's3prl-fusion\[sd\]'"):
        recipe.mend({}, None)
