"""`s3prl-fusion prepare`: corpora spoilt one way at a time, one error each, nothing written."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from official_layouts import as_wav
from tiny_corpora import official

from s3prl_fusion import audio, files
from s3prl_fusion.cli import main
from s3prl_fusion.superb.tasks import TASKS

CHAPTER = "train-clean-100/19/198"


@pytest.fixture
def corpora(tmp_path):
    return official(tmp_path / "corpora")


def run(task: str, corpora: dict[str, Path], output: Path, *more: object) -> int:
    return main(
        ["prepare", task, "--corpus", str(corpora[TASKS[task].corpus.name]), "-o", str(output), *map(str, more)]
    )


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys, task: str, corpora: dict[str, Path], output: Path, *more: object) -> str:
    before = sorted(output.parent.iterdir()), contents(output)
    assert run(task, corpora, output, *more) == 2
    assert (sorted(output.parent.iterdir()), contents(output)) == before
    return capsys.readouterr().err


@pytest.mark.parametrize("task", list(TASKS))
def test_a_whole_corpus_is_prepared_once(task, corpora, tmp_path, capsys):
    output = tmp_path / "out" / "data"
    assert run(task, corpora, output) == 0
    where = output if TASKS[task].corpus.products else corpora[TASKS[task].corpus.name]
    assert str(where) in capsys.readouterr().out
    assert (made := contents(output))
    assert run(task, corpora, output) == 0
    assert contents(output) == made
    assert list(output.parent.iterdir()) == [output]


def test_speech_in_the_official_layouts_is_ready_for_every_task(tmp_path):
    from s3prl_fusion.host.recipes._sv_data import read_trimmed

    corpora = official(tmp_path / "corpora", speech=True)
    for task in TASKS:
        assert run(task, corpora, tmp_path / "data") == 0
    lexicon = (tmp_path / "data" / "lexicon.txt").read_text()
    assert "CONFERENCE K AA1 N F ER0 AH0 N S\n" in lexicon
    # What SV's config wants of a clip to train on (downstream_configs/sv.yaml, vad_config.min_sec).
    clips = corpora["voxceleb1"].rglob("*.wav")
    assert min(len(read_trimmed(clip)) for clip in clips) > 32000


@pytest.mark.parametrize(
    ("task", "warnings"),
    [
        ("asr", ["train-clean-100 has 8 utterances, 28,531 fewer", "dev-clean has 2", "test-clean has 2"]),
        ("pr", ["train-clean-100 has 8 utterances, 28,531 fewer", "dev-clean has 2", "test-clean has 2"]),
        ("sid", ["has 24 clips, 153,492 fewer than the official 153,516", "has 6 speakers, 1,245 fewer"]),
        ("sv", ["list of trials has 10 trials, 37,710 fewer", "has 24 clips, 153,492", "has 6 speakers, 1,245"]),
        ("er", ["IEMOCAP has 40 utterances, 5,491 fewer than the official 5,531"]),
        ("ks", ["train has 12 utterances, 51,082 fewer", "dev has 11", "test set has 12 utterances, 3,069 fewer"]),
        ("sd", ["train has 4 recordings, 13,896 fewer", "dev has 2", "test has 2 recordings, 2,998 fewer"]),
        ("sf", ["train has 3 utterances, 104,669 fewer", "valid has 2", "test has 3 utterances, 2,797 fewer"]),
        ("qbe", ["has 6 English documents, 2,432 fewer", "dev has 3 English queries, 135 fewer", "eval has 3 English"]),
        ("ic", ["train has 4 utterances, 23,128 fewer", "valid has 2", "test has 2 utterances, 3,791 fewer"]),
    ],
)
def test_a_small_corpus_is_told_apart_from_the_official_one(task, warnings, corpora, tmp_path, capsys):
    assert run(task, corpora, tmp_path / "data") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(told) == len(warnings)
    assert all(part in line for part, line in zip(warnings, told))


@pytest.mark.parametrize("task", ["asr", "pr"])
def test_transcripts(task, corpora, tmp_path, capsys):
    table = corpora["librispeech"] / CHAPTER / "19-198.trans.txt"
    text = table.read_text()
    table.write_text("".join(text.splitlines(keepends=True)[1:]))
    told = refused(capsys, task, corpora, tmp_path / "data")
    assert f"1 audio files have no transcript, first {table.with_name('19-198-0000.flac')}" in told
    table.write_text(text + "19-198-0000 HELLO\n")
    assert f"{table}:5: 19-198-0000 has a transcript twice" in refused(capsys, task, corpora, tmp_path / "data")


@pytest.mark.parametrize("task", ["asr", "pr"])
def test_an_utterance_as_flac_and_wav(task, corpora, tmp_path, capsys):
    file = corpora["librispeech"] / CHAPTER / "19-198-0003.flac"
    content = file.read_bytes()
    wav = as_wav(file)
    assert run(task, corpora, tmp_path / "data") == 0
    table = (tmp_path / "data" / "len_for_bucket" / "train-clean-100.csv").read_text()
    assert f"{CHAPTER}/19-198-0003.wav,20800" in table
    file.write_bytes(content)
    assert f"{file} and {wav} are the same utterance" in refused(capsys, task, corpora, tmp_path / "data")


def test_a_word_without_pronunciation(corpora, tmp_path, capsys):
    lexicon = tmp_path / "short.txt"
    lexicon.write_text("HELLO HH AH0 L OW1\n")
    text = refused(capsys, "pr", corpora, tmp_path / "data", "--lexicon", lexicon)
    assert f"3 words have no pronunciation in {lexicon}: DAY, GOOD, WORLD; DAY is said in " in text


def empty(path: Path) -> None:
    path.write_bytes(b"")


def telephone(path: Path) -> None:
    soundfile.write(path, 0.1 * np.ones(8000), 8000)


def stereo(path: Path) -> None:
    soundfile.write(path, 0.1 * np.ones((16000, 2)), 16000)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def text(path: Path) -> None:
    path.write_text("<html>404</html>")


@pytest.mark.fault("a corpus with a NaN in a sound file, under prepare", "refused: the file is named")
@pytest.mark.parametrize("task", list(TASKS))
def test_a_nan_is_named_before_any_training(task, corpora, tmp_path, capsys):
    sounds = (path for path in corpora[TASKS[task].corpus.name].rglob("*") if path.suffix in (".wav", ".flac"))
    path = min(sounds)
    path.unlink()
    soundfile.write(path.with_suffix(".wav"), [0.1, np.nan, 0.1] * 8000, 16000, subtype="FLOAT")
    for clip in corpora["snips"].rglob("*.mp3"):  # what is converted is kept
        clip.unlink()
    told = refused(capsys, task, corpora, tmp_path / "data")
    assert f"{path.with_suffix('.wav')}: NaN or infinite samples" in told


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (empty, "no samples; remove it, or fetch it again"),
        (telephone, "1 channel(s), 8000 Hz; needed is mono at 16000 Hz"),
        (stereo, "2 channel(s), 16000 Hz"),
        (truncated, "the end is missing; fetch or unpack it again"),
        (text, "not readable as audio"),
    ],
)
@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("asr", f"{CHAPTER}/19-198-0002.flac"),
        ("asr", f"{CHAPTER}/19-198-0002.wav"),
        ("pr", "test-clean/61/70968/61-70968-0001.flac"),
        ("pr", "test-clean/61/70968/61-70968-0001.wav"),
        ("sid", "dev/wav/id10001/7gWzIy6yIIk/00001.wav"),
        ("sv", "test/wav/id10270/8YfW04nYxZ4/00001.wav"),
        ("sv", "dev/wav/id10004/1zcIwhmdeo4/00002.wav"),
        ("er", "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_F002.wav"),
    ],
)
def test_spoilt_audio_is_named(task, name, spoil, fault, corpora, tmp_path, capsys):
    path = corpora[TASKS[task].corpus.name] / name
    if not path.exists():
        as_wav(path.with_suffix(".flac"))
    spoil(path)
    told = refused(capsys, task, corpora, tmp_path / "data")
    assert "1 of " in told and f"{path}: {fault}" in told


@pytest.mark.fault("a corpus with `._*` files of a Mac, `.DS_Store` and hidden folders", "prepared as if without them")
@pytest.mark.parametrize("task", list(TASKS))
def test_hidden_files_do_not_matter(task, corpora, tmp_path):
    assert run(task, corpora, tmp_path / "clean") == 0
    root = corpora[TASKS[task].corpus.name]
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"Mac OS X")
        path.with_name(".DS_Store").write_bytes(b"Mac OS X")
        (path.parent / ".Trashes").mkdir(exist_ok=True)
        (path.parent / ".Trashes" / path.name).write_bytes(b"Mac OS X")
    assert run(task, corpora, tmp_path / "data") == 0
    made = [contents(tmp_path / name) for name in ("clean", "data")]
    if task == "sf":  # whose clips are converted, at another time
        made = [{path: of for path, of in each.items() if path.suffix in (".wav", ".txt")} for each in made]
    assert [*made[0].values()] == [*made[1].values()]


@pytest.mark.fault("a corpus whose folders are symlinks to other disks", "prepared as any other")
@pytest.mark.parametrize(
    ("task", "linked"),
    [
        *((task, name) for task in ("asr", "pr") for name in ("train-clean-100/19", "dev-clean/84/121123")),
        ("asr", "test-clean"),
        *((task, name) for task in ("sid", "sv") for name in ("dev", "test/wav", "dev/wav/id10002")),
        *(("sv", name) for name in ("dev/wav/id10001/1zcIwhmdeo4", "test/wav/id10270/8YfW04nYxZ4")),
        *(("er", name) for name in ("Session2", "Session1/sentences/wav", "Session4/dialog")),
    ],
)
def test_links_are_followed(task, linked, corpora, tmp_path):
    assert run(task, corpora, tmp_path / "clean") == 0
    folder, disk = corpora[TASKS[task].corpus.name] / linked, tmp_path / "disk"
    folder.rename(disk)
    folder.symlink_to(disk)
    (disk / "back").symlink_to(disk.parent)
    assert run(task, corpora, tmp_path / "data") == 0
    made = [contents(tmp_path / name) for name in ("clean", "data")]
    if task == "sf":  # whose clips are converted, at another time
        made = [{path: of for path, of in each.items() if path.suffix in (".wav", ".txt")} for each in made]
    assert [*made[0].values()] == [*made[1].values()]


@pytest.mark.fault("LibriSpeech with utterances as mp3 or m4a", "refused: counted, and the first one named")
@pytest.mark.parametrize("task", ["asr", "pr"])
@pytest.mark.parametrize("suffix", [".mp3", ".m4a"])
def test_utterances_of_other_formats_are_named(task, suffix, corpora, tmp_path, capsys):
    path = corpora["librispeech"] / CHAPTER / "19-198-0002.flac"
    other = path.rename(path.with_suffix(suffix))
    told = refused(capsys, task, corpora, tmp_path / "data")
    assert (
        f"1 sound files below {corpora['librispeech']}/train-clean-100 are neither .flac nor .wav, first {other}"
        in told
    )


@pytest.mark.fault("VoxCeleb1 as the m4a of an official download", "refused, with the line that makes wavs of it")
@pytest.mark.parametrize("task", ["sid", "sv"])
@pytest.mark.parametrize("folder", ["wav", "aac"])
def test_voxceleb_as_m4a(task, folder, corpora, tmp_path, capsys):
    root = corpora["voxceleb1"]
    clean = contents(root)
    for path in root.rglob("*.wav"):
        path.rename(path.with_suffix(".m4a"))
    for part in ("dev", "test"):
        (root / part / "wav").rename(root / part / folder)
    told = refused(capsys, task, corpora, tmp_path / "data")
    assert "are m4a; make wavs of them: " in told
    ffmpeg = tmp_path / "bin" / "ffmpeg"
    ffmpeg.parent.mkdir()
    ffmpeg.write_text('#!/bin/sh\ncp "$3" "$8"\n')
    ffmpeg.chmod(0o755)
    line = told.partition("make wavs of them: ")[2]
    subprocess.run(line, shell=True, check=True, env={"PATH": f"{ffmpeg.parent}:{os.environ['PATH']}"})
    assert {path: content for path, content in contents(root).items() if path.suffix != ".m4a"} == clean
    assert run(task, corpora, tmp_path / "data") == 0


@pytest.mark.parametrize("tasks", ["asr,pr", "pr,asr", "sid,sv", "sid,sid", "sv,sv"])
def test_audio_is_looked_at_once(tasks, corpora, tmp_path, monkeypatch):
    looked_at, look = [], audio._samples_or_fault
    monkeypatch.setattr(audio, "_samples_or_fault", lambda path: looked_at.append(path) or look(path))
    first, second = tasks.split(",")
    assert run(first, corpora, tmp_path / "data") == 0
    assert len(looked_at) == len(set(looked_at)) > 0
    looked_at.clear()
    assert run(second, corpora, tmp_path / "data") == 0
    assert looked_at == []


def test_a_clip_that_is_listed_twice(corpora, tmp_path, capsys):
    table = corpora["voxceleb1"] / "iden_split.txt"
    table.write_text(table.read_text() + table.read_text().splitlines()[0] + "\n")
    told = refused(capsys, "sid", corpora, tmp_path / "data")
    assert f"{table}:25: id10001/1zcIwhmdeo4/00001.wav is there twice" in told


def test_a_label_that_is_none_of_iemocaps(corpora, tmp_path, capsys):
    table = corpora["iemocap"] / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt"
    table.write_text(table.read_text().replace("\tsad\t", "\tsaad\t"))
    told = refused(capsys, "er", corpora, tmp_path / "data")
    assert f"{table}:35: Ses02F_impro01_F002 has the label 'saad'" in told


@pytest.mark.parametrize(("task", "written"), [("asr", 1), ("pr", 1), ("pr", 3), ("sid", 0), ("er", 2), ("sv", 2)])
def test_a_full_disk_leaves_nothing(task, written, corpora, tmp_path, capsys, monkeypatch):
    write_bytes, left = Path.write_bytes, [written]

    def fills_up(self: Path, content: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            write_bytes(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write_bytes(self, content)

    monkeypatch.setattr(files.Path, "write_bytes", fills_up)
    assert "No space left on device" in refused(capsys, task, corpora, tmp_path / "data")


@pytest.mark.parametrize("task", list(TASKS))
def test_the_corpus_itself_is_never_written_to(task, corpora, capsys):
    output = corpora[TASKS[task].corpus.name]
    assert f"{output} is the corpus itself, which is only read" in refused(capsys, task, corpora, output)


def test_options_of_other_tasks_are_refused(corpora, tmp_path, capsys):
    told = refused(capsys, "asr", corpora, tmp_path / "data", "--list", "iden_split.txt")
    assert "--list is for sid and sv; leave it out for asr" in told


@pytest.mark.fault(
    "a wrong folder, or none, in `prepare --corpus`", "the next step names --corpus, not superb's option"
)
@pytest.mark.parametrize("words", [["--corpus", "."], []])
def test_prepare_names_its_own_option(words, tmp_path, capsys):
    assert main(["prepare", "asr", *words, "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "that holds these three with --corpus" in told and "--librispeech" not in told
