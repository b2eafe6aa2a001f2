"""A user's own corpus from one command to a scored table, read again by processes that know nothing of the table."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import tables
import yaml
from official_layouts import clip

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.metrics import ACCURACY, CER, MACRO_F1, PER, WER
from s3prl_fusion.superb.scores.scoring import read_texts
from s3prl_fusion.superb.tasks import TASKS

SMALL = {"asr": {"project_dim": 8}, "pr": {}, "classify": {}, "verify": {"input_dim": 8}}


@pytest.fixture(autouse=True)
def known():
    """Forgets the tasks on tables again."""
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """A table whose every row says the same letter, which is learned in no time, and the recipes made small. The sounds
    of dev and test are those of train."""
    monkeypatch.chdir(tmp_path)
    rows = tables.rows(tmp_path)
    for i, row in enumerate(rows):
        clip(tmp_path / row["path"], i % 2, 0.4)
    (tmp_path / "c" / "table").mkdir(parents=True)
    for kind in SMALL:
        config = yaml.safe_load((downstream_configs_dir() / "table" / f"{kind}.yaml").read_text())
        steps = 60 if kind == "asr" else 4
        config["runner"].update(total_steps=steps, eval_step=steps // 2, save_step=steps // 2, log_step=steps // 2)
        config["runner"]["gradient_accumulate_steps"] = 1
        config["optimizer"]["lr"] = 0.02
        expert = config["downstream_expert"]
        expert["corpus" if kind == "pr" else "datarc"]["num_workers"] = 0
        if kind == "asr":
            del config["specaug"]
            rnns = {"dim": [8], "dropout": [0], "layer_norm": [True], "proj": [False], "sample_rate": [1]}
            expert["modelrc"]["RNNs"].update(rnns)
        if kind == "verify":
            expert["datarc"]["vad_config"]["min_sec"] = 0
            expert["modelrc"]["module_config"]["XVector"]["agg_dim"] = 16
        (tmp_path / "c" / "table" / f"{kind}.yaml").write_text(yaml.safe_dump(config))
    return tables.write(tmp_path / "czech.csv", [{**row, "text": "ř"} for row in rows])


def superb(kinds: str, table: Path, *more: str) -> int:
    words = ["superb", "-u", "fbank", "-t", kinds, "--table", str(table), "-o", "exp", "--configs", "c"]
    try:
        return main([*words, "--device", "cpu", *more])
    finally:
        s3prl_fusion.unregister()


def read_score(run: str) -> dict:
    return json.loads(Path("exp/fbank", run, "score.json").read_text())


def test_classify_from_a_table_to_scores(table, capsys):
    assert superb("classify", table) == 0
    out = capsys.readouterr().out
    assert "czech label acc % ↑ | czech label macro F1 % ↑" in out and "| (chance) |  | 50.00 | 50.00 |" in out
    run = Path("exp/fbank/classify@czech/fold1")
    truth, said = read_texts(run / "test_fold1_truth.txt"), read_texts(run / "test_fold1_predict.txt")
    assert truth == {"test0": "glad", "test1": "very low"}
    assert set(read_texts(run / "dev_fold1_truth.txt")) == {"dev0", "dev1"}  # not drawn from train, as s3prl does
    kept = read_score("classify@czech/fold1")
    assert (kept["score"], kept["more"]) == (ACCURACY.score(said, truth), {"macro F1": MACRO_F1.score(said, truth)})
    assert kept["more_chance"] == {"macro F1": MACRO_F1.chance(truth)}
    assert (run / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert s3prl_fusion.load_experiment(run).predict(["wavs/test0.wav"])[0] in ("glad", "very low")

    stamps = {path: path.read_text() for path in Path("exp").rglob("stages/*.json")}
    assert superb("classify", table) == 0  # nothing is trained again
    assert {path: path.read_text() for path in Path("exp").rglob("stages/*.json")} == stamps
    forget()
    assert main(["results", "exp"]) == 0 and "| czech label acc % ↑ |" in capsys.readouterr().out
    forget()
    assert main(["results", "--compare", str(run), str(run), "--resamples", "20"]) == 0
    assert "| czech label macro F1 ↑ | no difference shown |" in capsys.readouterr().out


def forget() -> None:
    """Knows no more than another process."""
    for name in [name for name in TASKS if "@" in name]:
        del TASKS[name]


@pytest.mark.slow
def test_asr_from_a_table_to_scores(table, capsys):
    assert superb("asr", table) == 0
    assert "czech ASR WER % ↓ | czech ASR CER % ↓" in capsys.readouterr().out
    run = Path("exp/fbank/asr@czech")
    truth, said = (read_texts(run / f"test-clean-noLM-{part}.ark") for part in ("ref", "hyp"))
    assert truth == {"test0": "Ř", "test1": "Ř"}
    kept = read_score("asr@czech")
    assert (kept["score"], kept["more"]) == (WER.score(said, truth), {"CER": CER.score(said, truth)})
    assert set("".join(s3prl_fusion.load_experiment(run).predict(["wavs/test0.wav"]))) <= set("Ř ")


@pytest.mark.slow
def test_pr_and_verify_by_the_lines_of_a_dry_run(table, tmp_path, capsys):
    rows = tables.rows(tmp_path)
    for i, row in enumerate(list(rows)):
        clip(tmp_path / f"wavs/more{i}.wav", i)
        rows.append({**row, "path": f"wavs/more{i}.wav"})
    voices = tables.write(tmp_path / "voices.csv", rows)
    assert superb("pr,verify", voices, "--dry-run") == 0
    for line in capsys.readouterr().out.splitlines():
        assert subprocess.run(line, shell=True).returncode == 0, line
    run = Path("exp/fbank/pr@voices")
    truth, said = (read_texts(run / f"test-{part}.ark") for part in ("ref", "hyp"))
    assert (truth["test0"], truth["test1"]) == tables.PHONEMES
    assert read_score("pr@voices")["score"] == PER.score(said, truth)
    assert (read_score("verify@voices")["task"], read_score("pr@voices")["task"]) == ("verify@voices", "pr@voices")
