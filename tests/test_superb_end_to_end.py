"""Corpora in their official layouts to scores, table and predict.zip, by one command; killed on the way, the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import official_layouts
import pytest
import yaml

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.superb.tasks import TASKS

pytestmark = pytest.mark.slow
RUN_SUPERB = Path(__file__).parents[1] / "run_superb.sh"
STEPS = {"asr": 160, "pr": 80, "sid": 12, "er": 12, "sv": 6, "ks": 12, "ic": 40, "sf": 6, "sd": 8}
# Of the leaderboard: its name of a task's predictions -> fields of a reference's line that are the utterance.
SUBMITTED = {
    "predict/asr_public/predict.ark",
    "predict/pr_public/predict.ark",
    "predict/sid_public/predict.txt",
    "predict/sv_public/predict.txt",
    "predict/ks_public/predict.txt",
    "predict/ic_public/predict.csv",
    "predict/sf_public/predict.ark",
    *(f"predict/sd_public/scoring/predictions/test-mix{mix}.h5" for mix in range(2)),
    "predict/sd_public/frame_shift",
    "predict/qbe_public/benchmark.stdlist.xml",
    *(f"predict/er_fold{k}_public/predict.txt" for k in range(1, 6)),
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> list[str]:
    """The command line's options for the corpora, of real speech."""
    found = official_layouts.official(tmp_path_factory.mktemp("corpora"), speech=True)
    # So few steps learn sentences by heart: those of train-clean-100 are read again for the other splits.
    rows = [row for row in official_layouts.recordings() if row["split"] == "train-clean-100"][:4]
    takes = [official_layouts.DEMO / row["path"] for row in rows]
    for split, chapter in (("train-clean-100", "19/198"), ("dev-clean", "84/121123"), ("test-clean", "61/70968")):
        folder = found["librispeech"] / split / chapter
        for file in folder.iterdir():
            file.unlink()
        official_layouts.write_chapter(folder, [row["transcript"] for row in rows], takes=takes)
    return [word for name, path in found.items() for word in (f"--{name}", str(path))]


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> Path:
    """The demo's settings, and SUPERB's own for what the demo has no corpus of, for fewer steps."""
    folder, shipped = tmp_path_factory.mktemp("configs"), downstream_configs_dir()
    for name, task in TASKS.items():
        source = shipped / "demo" / task.config if task.demo_folds else shipped / task.config
        config = yaml.safe_load(source.read_text(encoding="utf-8"))
        if task.trains:
            steps = STEPS[name]
            config["runner"].update(total_steps=steps, eval_step=steps // 2, save_step=steps // 2, log_step=steps // 2)
            config["runner"]["gradient_accumulate_steps"] = 1
        if name == "sf":
            expert = config["downstream_expert"]
            expert["corpus"].update(batch_size=4, num_workers=0)
            expert["model"].update(project_dim=32)
            expert["model"]["RNNs"].update(dim=[32], dropout=[0], layer_norm=[False], proj=[False], sample_rate=[1])
        elif name == "sd":
            config["downstream_expert"]["loaderrc"].update(num_workers=0, train_batchsize=2)
            config["downstream_expert"]["modelrc"]["hidden_size"] = 8
        elif not task.trains:
            config["downstream_expert"]["datarc"]["num_workers"] = 0
        elif not task.demo_folds:
            datarc = config["downstream_expert"]["datarc"]
            datarc.update({key: 4 for key in datarc if key.endswith("batch_size") and key[:4] != "eval"}, num_workers=0)
        if name == "asr":  # as SUPERB has it: the demo alone has clips at other speeds
            del config["scheduler"]
            config["downstream_expert"]["datarc"]["train"] = ["train-clean-100"]
            config["downstream_expert"]["modelrc"]["RNNs"]["total_rate"] = -1
        (folder / task.config).write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def command(corpora: list[str], configs: Path, exp: Path) -> list[str]:
    words = ["-u", "fused__fbank__mfcc", "-t", "all", "--configs", str(configs), "--device", "cpu"]
    return [str(RUN_SUPERB), *words, "--jobs", "2", "-o", str(exp), *corpora]


def run(line: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(line, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable})


@pytest.fixture(scope="module")
def exp(corpora, configs, tmp_path_factory) -> Path:
    """The experiment folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "exp"
    done = run(command(corpora, configs, folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| fused__fbank__mfcc | {DEFAULT_INTERFACE} |" in done.stdout
    return folder


def scores(exp: Path) -> dict[str, dict]:
    found = {path.parent.relative_to(exp).as_posix(): path for path in exp.glob("*/*/**/score.json")}
    rows = {name: json.loads(path.read_text()) for name, path in found.items() if not name.endswith("stages")}
    return {
        name: {key: row[key] for key in ("score", "dev_score", "utterances", "config_hash")}
        for name, row in rows.items()
    }


def test_all_tasks_have_scores_and_a_table_with_a_picture(exp):
    folds = [f"fused__fbank__mfcc/er/fold{k}" for k in range(1, 6)]
    assert set(scores(exp)) == {f"fused__fbank__mfcc/{name}" for name in TASKS if name != "er"} | set(folds)
    assert scores(exp)["fused__fbank__mfcc/asr"]["score"] < 100
    assert (exp / "results.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads((exp / "results.json").read_text())["table"]
    assert all(table[0][task.column] is not None for task in TASKS.values())


def expected_utterances(corpora: list[str]) -> dict[str, set[str]]:
    """What the official files list, read without the package."""
    roots = dict(zip(corpora[::2], map(Path, corpora[1::2])))
    libri, vox, iemocap = (roots[f"--{name}"] for name in ("librispeech", "voxceleb1", "iemocap"))
    asr = {line.split()[0] for table in (libri / "test-clean").rglob("*.txt") for line in table.open()}
    sid = {
        line.split()[1].replace("/", "-").removesuffix(".wav")
        for line in (vox / "iden_split.txt").open()
        if line.startswith("3 ")
    }
    trials = [line.split()[1:] for line in (vox / "veri_test.txt").open()]
    sv = {"_".join(clip.replace("/", "-").removesuffix(".wav") for clip in pair) for pair in trials}
    expected = {"asr_public": asr, "pr_public": asr, "sid_public": sid, "sv_public": sv}
    expected["ks_public"] = {
        f"{clip.parent.name}-{clip.name}" for clip in roots["--speech-commands-test"].rglob("*.wav")
    }
    expected["sf_public"] = {clip.stem for clip in (roots["--snips"] / "test").iterdir()}
    rows = (roots["--fluent-commands"] / "data" / "test_data.csv").read_text().splitlines()[1:]
    keys = (roots["--quesst14"] / "scoring" / "language_key_eval.lst").read_text().splitlines()
    expected["qbe_public"] = {Path(line.split()[0]).stem for line in keys if line.endswith(" nnenglish")}
    expected["ic_public"] = {Path(row.split(",")[1]).stem for row in rows}
    for k in range(1, 6):
        lines = [line for table in (iemocap / f"Session{k}").rglob("Ses*_*.txt") for line in table.open()]
        labelled = [line.split("\t") for line in lines if line.startswith("[")]
        kept = {"neu", "hap", "exc", "ang", "sad"}
        expected[f"er_fold{k}_public"] = {fields[1] for fields in labelled if fields[2] in kept}
    return expected


def test_predict_zip_is_what_the_leaderboard_reads(exp, corpora, tmp_path):
    package = tmp_path / "predict.zip"
    done = run([sys.executable, "-m", "s3prl_fusion", "submit", str(exp), "-o", str(package)])
    assert done.returncode == 0, done.stderr
    expected = expected_utterances(corpora)
    with zipfile.ZipFile(package) as archive:
        assert set(archive.namelist()) == SUBMITTED
        for name in archive.namelist():
            if name.startswith("predict/sd_public/"):  # a file a recording, and one of a number
                continue
            # The server splits each line at the first space, and IC's at the first comma; QbE's is another program's.
            keys = [
                line.split("," if name.endswith(".csv") else " ", 1)[0]
                for line in archive.read(name).decode().splitlines()
            ]
            if name.endswith(".xml"):
                keys = [found.get("termid") for found in ElementTree.fromstring(archive.read(name))]
            wanted = expected[name.split("/")[1]]
            assert sorted(keys) == sorted(wanted), name
    form = (tmp_path / "submission.md").read_text()
    assert "less constrained" in form and "MACs, total" in form


def test_killed_and_started_again_it_ends_with_the_same_numbers(exp, corpora, configs, tmp_path):
    line = command(corpora, configs, tmp_path / "exp")
    folder = tmp_path / "exp" / "fused__fbank__mfcc"
    # In the middle of a training: of ASR's, past its checkpoint, and of a later one's; and of QbE's search.
    search = folder / "qbe" / "states-dev" / "made_of"
    for reached in (folder / "asr" / "states-80.ckpt", folder / "er" / "fold2" / "states-6.ckpt", search):
        process = subprocess.Popen(
            line, start_new_session=True, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHON": sys.executable}
        )
        while not reached.is_file():
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.05)
        for pid in descendants(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
    done = run(line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert scores(tmp_path / "exp") == scores(exp)


def descendants(pid: int) -> list[int]:
    """A process and all below it, as they are at this moment; the children have sessions of their own."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = [int(child) for file in children for child in file.read_text().split()]
    return [pid, *(each for child in below for each in descendants(child))]
