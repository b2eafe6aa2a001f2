"""predict.zip: the leaderboard's layout, and nothing incomplete in it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from s3prl_fusion.cli import main
from s3prl_fusion.superb.tasks import TASKS

# The layout as the leaderboard has it: its name -> the recipe's file below EXP/<upstream>.
LAYOUT = {
    "predict/pr_public/predict.ark": "pr/test-hyp.ark",
    "predict/asr_public/predict.ark": "asr/test-clean-noLM-hyp.ark",
    "predict/sid_public/predict.txt": "sid/test_predict.txt",
    "predict/sv_public/predict.txt": "sv/test_predict.txt",
    **{f"predict/er_fold{k}_public/predict.txt": f"er/fold{k}/test_fold{k}_predict.txt" for k in range(1, 6)},
}


@pytest.fixture
def upstream(tmp_path) -> Path:
    """An experiment folder with all five tasks done, as far as submitting goes."""
    root = tmp_path / "exp" / "fused_demo"
    for task in TASKS.values():
        for fold in task.folds:
            folder = root / task.name / (fold or "")
            folder.mkdir(parents=True)
            for kind in (task.hypothesis, task.reference):
                (folder / task.file(kind, fold)).write_text(f"a {task.name} {kind}\nb \nc 0.5\n")
            (folder / "score.json").write_text("{}")
    return root


def submit(exp: Path, *more: object) -> int:
    return main(["submit", str(exp), "-o", str(exp.parent / "predict.zip"), *map(str, more)])


def test_the_layout(upstream, capsys):
    assert submit(upstream.parent) == 0
    with zipfile.ZipFile(upstream.parents[1] / "predict.zip") as archive:
        assert archive.testzip() is None
        content = {name: archive.read(name) for name in archive.namelist()}
    assert content == {name: (upstream / path).read_bytes() for name, path in LAYOUT.items()}
    printed = capsys.readouterr().out
    assert all(name in printed for name in LAYOUT)


def test_the_same_files_give_the_same_bytes(upstream):
    package = upstream.parents[1] / "predict.zip"
    packed = [(submit(upstream.parent), package.read_bytes()) for _ in range(2)]
    assert packed[0] == packed[1]


def test_some_of_the_tasks_are_enough(upstream):
    for name in ("asr", "pr", "sv", "er"):
        (upstream / name).rename(upstream / f"{name}.old1")
    assert submit(upstream.parent) == 0
    with zipfile.ZipFile(upstream.parents[1] / "predict.zip") as archive:
        assert archive.namelist() == ["predict/sid_public/predict.txt"]


@pytest.mark.parametrize(
    ("path", "content", "match"),
    [
        ("sid/test_predict.txt", "a x\nb x\n", "sid/test_predict.txt: .* 1 missing .'c'., 0 extra"),
        ("sid/test_predict.txt", "a x\nb x\nc x\nd x\n", "0 missing .., 1 extra .'d'."),
        ("asr/test-clean-noLM-hyp.ark", "a x\nb x\nc x\na x\n", "utterance 'a' is there twice"),
        ("pr/test-hyp.ark", "", "no lines"),
        ("er/fold4/test_fold4_predict.txt", None, "test_fold4_predict.txt does not exist: er fold4 is not done"),
        ("sv/score.json", None, "score.json does not exist: sv is not done"),
    ],
)
def test_what_is_incomplete_is_refused(upstream, path, content, match, capsys):
    (upstream / path).unlink()
    if content is not None:
        (upstream / path).write_text(content)
    assert submit(upstream.parent) == 2
    assert re.search(match, capsys.readouterr().err)
    assert not (upstream.parents[1] / "predict.zip").exists()


def test_several_upstreams_need_a_name(upstream, capsys):
    other = upstream.with_name("hubert")
    (other / "sid").mkdir(parents=True)
    assert submit(upstream.parent) == 2
    assert "-u is missing: " in (error := capsys.readouterr().err)
    assert "has fused_demo, hubert; name one" in error
    assert submit(upstream.parent, "-u", "fused_demo") == 0
    assert submit(upstream.parent, "-u", "wavlm") == 2
    assert "-u wavlm: " in capsys.readouterr().err


def test_a_folder_without_experiments(tmp_path, capsys):
    assert submit(tmp_path / "nothing") == 2
    assert "has no EXP/<upstream>/<task> folders" in capsys.readouterr().err
