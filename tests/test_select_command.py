"""`s3prl-fusion select`: mistakes are told at once, before anything is written; what would run is told too."""

from __future__ import annotations

import pytest
import yaml
from official_layouts import official_iemocap

from s3prl_fusion.cli import main


@pytest.fixture
def iemocap(tmp_path):
    return official_iemocap(tmp_path / "IEMOCAP")


def refused(capsys, folder, *words: object) -> list[str]:
    before = sorted(folder.rglob("*"))
    assert main(["select", *map(str, words)]) == 2
    assert sorted(folder.rglob("*")) == before
    return capsys.readouterr().err.removeprefix("s3prl-fusion select: error: ").splitlines()


def test_mistakes_are_told_together(tmp_path, capsys):
    told = refused(
        *(capsys, tmp_path, "-u", "fbank", "-t", "asr,nothing", "-o", tmp_path / "exp", "--interfaces", "hconf"),
        *("--seeds", "1,2", "--hours", "0", "--max-members", "0", "--steps", "0", "--lr", "1e-3,1e-4"),
    )
    for part in (
        "-t/--tasks: got 'nothing'",
        "-u: got 'fbank'; name two members or more",
        "--interfaces: unknown interface 'hconf'",
        "--seeds: got '1,2'; give 3 or more: from fewer, a gain cannot be told from luck",
        "--hours: got 0; give hours of speech for each task, more than 0",
        "--max-members: got 0; give a number of members, at least 1",
        "--steps: got 0; give a number of steps",
        "--lr: got '1e-3,1e-4'; select takes one learning rate",
    ):
        assert any(part in line for line in told), part
    assert len(told) == 8


def test_what_superb_refuses_is_refused_here(tmp_path, capsys):
    told = refused(
        *(capsys, tmp_path, "-u", "fbank,nowhere,mfcc", "-t", "er", "-o", tmp_path / "exp"),
        *("--", "-o", "config.runner.eval_step=1e9"),
    )
    assert any(line.startswith("--iemocap is missing (needed by er)") for line in told)
    assert any("-u nowhere: " in line and "unknown upstream 'nowhere'" in line for line in told)
    assert any("runner.eval_step" in line for line in told)
    told = refused(capsys, tmp_path, "-u", "fbank,mfcc", "-t", "er", "-o", tmp_path / "exp", "--", "--seed", "3")
    assert told == ["after --: --seed is what `superb` itself says; see its own options with -h"]


def test_a_fusion_of_several_is_no_member(tmp_path, capsys):
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"members": ["fbank", "mfcc"]}))
    (told,) = refused(capsys, tmp_path, "-u", f"{tmp_path / 'two.yaml'},linear", "-t", "er", "-o", tmp_path / "exp")
    assert "it fuses fbank + mfcc, and which of them to fuse is what select finds out" in told
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"members": ["fbank"]}))
    (told,) = refused(capsys, tmp_path, "-u", f"{tmp_path / 'one.yaml'},fbank", "-t", "er", "-o", tmp_path / "exp")
    assert told == "-u: one and fbank are one and the same; leave one out"


def test_dry_run_tells_what_would_run_and_does_nothing(tmp_path, iemocap, capsys):
    before = sorted(tmp_path.rglob("*"))
    words = [
        "-u",
        "wavlm,mfcc",
        "-t",
        "er",
        "-o",
        tmp_path / "exp",
        "--iemocap",
        iemocap,
        "--hours",
        "0.5",
        "--dry-run",
    ]
    assert main(["select", *map(str, words), "--interfaces", "hconv", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"prepare er --corpus {iemocap} -o {tmp_path / 'exp' / 'data'}" in lines[0]
    assert lines[1] == f"# then a sample of 0.5 h of train and dev in {tmp_path / 'exp' / 'sample'}, and on it:"
    assert lines[2:4] == [
        "#   wavlm_hconv er: 12 runs of 300 steps (seeds 1337, 1, 2; fold2, fold3, fold4, fold5)",
        "#   mfcc_hconv er: 12 runs of 300 steps (seeds 1337, 1, 2; fold2, fold3, fold4, fold5)",
    ]
    assert lines[4] == "# then, for each task and interface: at most 1 sets of 2 members, around the best"
    assert sorted(tmp_path.rglob("*")) == before
