"""`s3prl-fusion prepare`: corpora spoilt one way at a time, one error each, nothing written."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_corpora
from test_verification import voxceleb

from s3prl_fusion import files
from s3prl_fusion.cli import main

CHAPTER = Path("train-clean-100") / "1" / "7"


@pytest.fixture
def librispeech(tmp_path):
    return tiny_corpora.librispeech(tmp_path)["root"]


@pytest.fixture
def voxceleb1(tmp_path):
    root = voxceleb(tmp_path / "VoxCeleb1")
    tiny_corpora.voxceleb1(tmp_path)
    (tmp_path / "iden_split.txt").rename(root / "iden_split.txt")
    return root


@pytest.fixture
def iemocap(tmp_path):
    root = tmp_path / "IEMOCAP"
    for k in range(1, 6):
        dialogue = f"Ses0{k}F_impro01"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
        for n, label in enumerate(("neu", "exc", "fru", "ang", "sad")):
            name = f"{dialogue}_F{n:03d}"
            tiny_corpora.clip(root / f"Session{k}" / "sentences" / "wav" / dialogue / f"{name}.wav", 10 * k + n)
            lines.append(f"[{n}.0 - {n}.9]\t{name}\t{label}\t[2.5, 2.5, 2.5]\n")
        table = root / f"Session{k}" / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
        table.parent.mkdir(parents=True)
        table.write_text("".join(lines))
    return root


def prepare(task: str, corpus: Path, output: Path, *more: object) -> int:
    return main(["prepare", task, "--corpus", str(corpus), "-o", str(output), *map(str, more)])


def refused(capsys, task: str, corpus: Path, output: Path, *more: object) -> str:
    before = sorted(output.parent.iterdir())
    assert prepare(task, corpus, output, *more) == 2
    assert sorted(output.parent.iterdir()) == before
    return capsys.readouterr().err


@pytest.mark.parametrize("task", ["asr", "pr", "sid", "er", "sv"])
def test_a_whole_corpus_is_prepared_once(task, request, tmp_path, capsys):
    corpus = request.getfixturevalue({"er": "iemocap", "sid": "voxceleb1", "sv": "voxceleb1"}.get(task, "librispeech"))
    output = tmp_path / "out" / "data"
    assert prepare(task, corpus, output) == 0
    assert str(output) in capsys.readouterr().out
    made = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert made
    assert prepare(task, corpus, output) == 0
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == made
    assert list(output.parent.iterdir()) == [output]


def test_a_missing_transcript(librispeech, tmp_path, capsys):
    table = librispeech / CHAPTER / "1-7.trans.txt"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[1:]))
    assert "have no transcript, first" in (text := refused(capsys, "asr", librispeech, tmp_path / "data"))
    assert "1-7-0000.flac" in text


def test_a_transcript_that_is_there_twice(librispeech, tmp_path, capsys):
    table = librispeech / CHAPTER / "1-7.trans.txt"
    table.write_text(table.read_text() + "1-7-0000 HELLO\n")
    text = refused(capsys, "pr", librispeech, tmp_path / "data")
    assert "1-7.trans.txt: 1-7-0000 has a transcript twice" in text


def test_a_word_without_pronunciation(librispeech, tmp_path, capsys):
    lexicon = tmp_path / "short.txt"
    lexicon.write_text("HELLO HH AH0 L OW1\n")
    text = refused(capsys, "pr", librispeech, tmp_path / "data", "--lexicon", lexicon)
    assert f"3 words have no pronunciation in {lexicon}: DAY, GOOD, WORLD" in text


def empty(path: Path) -> None:
    path.write_bytes(b"")


def telephone(path: Path) -> None:
    soundfile.write(path, 0.1 * np.ones(8000), 8000)


def stereo(path: Path) -> None:
    soundfile.write(path, 0.1 * np.ones((16000, 2)), 16000)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (empty, "not readable as audio"),
        (telephone, "8000 Hz; the recipes need mono speech at 16000 Hz"),
        (stereo, "2 channel"),
        (truncated, "fetch or unpack it again"),
    ],
)
@pytest.mark.parametrize("task", ["asr", "sid", "er", "sv"])
def test_spoilt_audio_is_named(task, spoil, fault, request, tmp_path, capsys):
    fixture, name = {
        "asr": ("librispeech", CHAPTER / "1-7-0002.flac"),
        "sid": ("voxceleb1", "dev/wav/id10001/video2/00001.wav"),
        "sv": ("voxceleb1", "test/wav/id10006/video/00001.wav"),
        "er": ("iemocap", "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_F003.wav"),
    }[task]
    corpus = request.getfixturevalue(fixture)
    spoil(corpus / name)
    text = refused(capsys, task, corpus, tmp_path / "data")
    assert f"{corpus / name}: " in text
    assert fault in text


def test_a_clip_that_is_listed_twice(voxceleb1, tmp_path, capsys):
    table = voxceleb1 / "iden_split.txt"
    table.write_text(table.read_text() + table.read_text().splitlines()[0] + "\n")
    assert "iden_split.txt:7: id10001/video1/00001.wav is there twice" in refused(
        capsys, "sid", voxceleb1, tmp_path / "data"
    )


def test_a_label_that_is_none_of_iemocaps(iemocap, tmp_path, capsys):
    table = iemocap / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt"
    table.write_text(table.read_text().replace("\tsad\t", "\tsaad\t"))
    text = refused(capsys, "er", iemocap, tmp_path / "data")
    assert "Ses02F_impro01.txt: Ses02F_impro01_F004 has the label 'saad'" in text


@pytest.mark.parametrize("task", ["er", "sv"])
def test_a_full_disk_leaves_nothing(task, request, tmp_path, capsys, monkeypatch):
    corpus = request.getfixturevalue({"er": "iemocap", "sv": "voxceleb1"}[task])
    write_bytes, left = Path.write_bytes, [2]

    def fills_up(self: Path, content: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write_bytes(self, content)

    monkeypatch.setattr(files.Path, "write_bytes", fills_up)
    assert "No space left on device" in refused(capsys, task, corpus, tmp_path / "data")


def test_options_of_other_tasks_are_refused(librispeech, tmp_path, capsys):
    text = refused(capsys, "asr", librispeech, tmp_path / "data", "--list", "iden_split.txt")
    assert "--list is for sid and sv; leave it out for asr" in text
