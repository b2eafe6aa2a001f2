"""What a task reads of its corpus: what is replaced under its name is seen, what is merely copied is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from official_layouts import clip
from test_prepare import empty, refused, run, stereo, telephone, text, truncated
from test_superb_pipeline import Fake, upstream_of
from tiny_corpora import official

from s3prl_fusion import audio, source
from s3prl_fusion.corpora.base import Prepared, Source
from s3prl_fusion.corpora.inventory import Inventory, content_of, read_known
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.runs.experiment import Experiment, Settings
from s3prl_fusion.superb.tasks import TASKS

# Of each task a file of its training set, and one of its test set.
FILES = {
    "asr": ("train-clean-100/26/495/26-495-0001.flac", "test-clean/61/70968/61-70968-0001.flac"),
    "pr": ("dev-clean/84/121123/84-121123-0000.flac", "test-clean/61/70968/61-70968-0001.flac"),
    "sid": ("dev/wav/id10001/1zcIwhmdeo4/00001.wav", "dev/wav/id10001/8YfW04nYxZ4/00001.wav"),
    "sv": ("dev/wav/id10004/1zcIwhmdeo4/00002.wav", "test/wav/id10270/8YfW04nYxZ4/00001.wav"),
    "er": tuple(f"Session{k}/sentences/wav/Ses0{k}F_impro01/Ses0{k}F_impro01_F002.wav" for k in (1, 3)),
}
CASES = [(task, file) for task, files in FILES.items() for file in files]


@pytest.fixture
def corpora(tmp_path):
    return official(tmp_path / "corpora")


def made_of(task: str, corpora: dict[str, Path], folder: Path) -> dict:
    """What a run on the corpus is made of, once it is prepared."""
    row = TASKS[task]
    prepared = prepare([row], {row.corpus.name: Source(corpora[row.corpus.name])}, folder)
    return experiment_of(task, prepared).made_of()["corpus"]


def experiment_of(task: str, prepared: Prepared) -> Experiment:
    from s3prl_fusion.assets import downstream_configs_dir

    settings = Settings(exp=prepared.folder.parent / "exp", configs=downstream_configs_dir())
    row = TASKS[task]
    return Experiment(upstream_of("up"), row, row.folds[0], settings, prepared)


@pytest.mark.fault(
    "a sound file that is replaced, under its name, by an unusable one after `prepare`",
    "the second `prepare`, and `superb`, refuse it by name",
)
@pytest.mark.parametrize(
    "task, spoil, fault",
    [
        ("asr", empty, "no samples"),
        ("pr", stereo, "2 channel"),
        ("sid", telephone, "1 channel(s), 8000 Hz"),
        ("sv", truncated, "the end is missing"),
        ("er", text, "not readable"),
    ],
)
def test_a_file_that_was_spoilt_since_is_refused(task, spoil, fault, corpora, tmp_path, capsys):
    path = corpora[TASKS[task].corpus.name] / FILES[task][1]
    assert run(task, corpora, tmp_path / "data") == 0
    _in_its_format(path, spoil)
    told = refused(capsys, task, corpora, tmp_path / "data")
    assert "1 of " in told and f"{path}: {fault}" in told


def _in_its_format(path: Path, spoil: Callable[[Path], None]) -> None:
    wav = path.with_suffix(".wav")
    if path != wav:
        soundfile.write(wav, *soundfile.read(path))
    spoil(wav)
    if path != wav:
        wav.replace(path)


@pytest.mark.fault(
    "a sound file that is replaced, under its name, by another one after `prepare`",
    "said by name; the runs that it was part of are set aside and made anew",
)
@pytest.mark.parametrize("task, name", CASES)
def test_a_file_that_was_replaced_since_makes_another_run(task, name, corpora, tmp_path, capsys):
    path = corpora[TASKS[task].corpus.name] / name
    before = made_of(task, corpora, tmp_path / "data")
    assert made_of(task, corpora, tmp_path / "data") == before
    capsys.readouterr()
    clip(path, 77, seconds=soundfile.info(path).duration)
    after = made_of(task, corpora, tmp_path / "data")
    assert f"1 file has other contents in --{TASKS[task].corpus.name} than before: {name};" in capsys.readouterr().err
    assert {key for key in before if before[key] != after[key]} == {"files"}
    assert made_of(task, corpora, tmp_path / "data") == after
    assert "other contents" not in capsys.readouterr().err


@pytest.mark.parametrize("task", list(TASKS))
def test_what_only_lies_elsewhere_is_the_same(task, corpora, tmp_path, capsys):
    """A copy has other times, and another place."""
    before = made_of(task, corpora, tmp_path / "data")
    moved = {name: tmp_path / "copy" / root.name for name, root in corpora.items()}
    name = TASKS[task].corpus.name
    for part in (part for part in corpora if part.startswith(name)):  # KS has two folders, side by side
        shutil.copytree(corpora[part], moved[part], copy_function=shutil.copyfile)
    for folder in ("data", "other data"):
        assert made_of(task, moved, tmp_path / folder) == before
    assert "other contents" not in capsys.readouterr().err


@pytest.mark.fault(
    "a transcript that is edited after `prepare`, or after a run", "the runs that it was part of are set aside"
)
@pytest.mark.parametrize("task", ["asr", "pr"])
@pytest.mark.parametrize("name", ["train-clean-100/26/495/26-495.trans.txt", "test-clean/61/70968/61-70968.trans.txt"])
def test_a_transcript_that_was_edited_since_makes_another_run(task, name, corpora, tmp_path):
    before = made_of(task, corpora, tmp_path / "data")
    path = corpora["librispeech"] / name
    path.write_text(path.read_text().replace("GOOD", "DAY"))
    after = made_of(task, corpora, tmp_path / "data")
    assert before["files"] != after["files"]


@pytest.mark.fault("a label of IEMOCAP that is edited after a run", "the runs that it was part of are set aside")
def test_a_label_that_was_edited_since_makes_another_run(corpora, tmp_path):
    before = made_of("er", corpora, tmp_path / "data")
    path = corpora["iemocap"] / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    path.write_text(path.read_text().replace("\tsad\t", "\tang\t"))
    assert made_of("er", corpora, tmp_path / "data")["meta_data"] != before["meta_data"]


def test_an_unused_file_decides_nothing(corpora, tmp_path):
    before = made_of("sid", corpora, tmp_path / "data")
    clip(corpora["voxceleb1"] / "dev" / "wav" / "id10009" / "unlisted" / "00001.wav", 5)
    made_of("sv", corpora, tmp_path / "data")  # which reads all there are
    assert made_of("sid", corpora, tmp_path / "data") == before


def test_only_what_moved_is_read_through(corpora, tmp_path, monkeypatch):
    looked_at: list[Path] = []
    read: list[Path] = []
    look, digest = audio._samples_or_fault, source.content_digest
    monkeypatch.setattr(audio, "_samples_or_fault", lambda path: looked_at.append(path) or look(path))
    monkeypatch.setattr("s3prl_fusion.corpora.inventory.content_digest", lambda path: read.append(path) or digest(path))
    made_of("asr", corpora, tmp_path / "data")
    assert len(looked_at) == len(read) == 12
    for task in ("asr", "pr"):
        made_of(task, corpora, tmp_path / "data")
    path = corpora["librispeech"] / FILES["asr"][0]
    os.utime(path)
    made_of("pr", corpora, tmp_path / "data")
    assert looked_at[12:] == read[12:] == [path]


def test_a_damaged_inventory_tells_nothing(tmp_path):
    files = [tmp_path / f"{i}, odd.wav" for i in range(2)]
    for i, file in enumerate(files):
        clip(file, i)
    table = tmp_path / "table.csv"
    inventory = Inventory(tmp_path)
    assert inventory.count_samples(files, "sounds") == [16000, 16000]
    assert inventory.write(table) == []
    known = read_known([table])
    assert list(known) == [file.name for file in files] and known["1, odd.wav"].samples == 16000
    assert str(content_of(table)).startswith("sha256:")
    whole = table.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    for content in (b"", whole[:-10], whole.replace(b",16000,", b",many,"), b"\xff" + whole, flipped):
        table.write_bytes(content)
        assert read_known([table]) == {}
    assert content_of(tmp_path / "none.csv") is None


@pytest.mark.fault("a bit flipped in the table of what was read of a corpus", "the files are looked at anew")
def test_a_flipped_bit_of_an_inventory_tells_no_other_length_and_no_other_content(tmp_path):
    file, table = tmp_path / "a.wav", tmp_path / "asr.csv"
    clip(file, 1)
    inventory = Inventory(tmp_path)
    inventory.count_samples([file], "")
    inventory.write(table)
    whole, known = table.read_bytes(), read_known([table])["a.wav"]
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        table.write_bytes(damaged)
        assert all(entry[2:] == known[2:] for name, entry in read_known([table]).items() if name == "a.wav")
        assert isinstance(content_of(table), str)


def test_a_run_on_another_corpus_is_set_aside_by_name(tmp_path):
    fake = Fake(tmp_path)
    (experiment,) = fake.experiments("up")
    table = experiment.corpora.inventory(experiment.task.corpus, "sid")
    table.parent.mkdir(parents=True)
    table.write_text("sha256:a\n")
    experiment.folder.path.mkdir(parents=True)
    experiment.stamp("train").write("another", "done", 0.0, made_of=experiment.made_of())
    table.write_text("sha256:b\n")
    assert experiment.changes() == ["the content of corpus.files has changed"]
