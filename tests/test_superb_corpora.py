"""Real corpora: what is made from official layouts, read back by s3prl's own dataset classes, and every refusal."""

from __future__ import annotations

import csv
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_fusion.superb import corpora
from s3prl_fusion.superb.corpora import CorpusError
from s3prl_fusion.superb.prepare import Sources, check_sources, configured, prepare
from s3prl_fusion.superb.tasks import TASKS, parse_tasks

LENGTHS = {"train-clean-100": (16000, 24000, 8000, 24000), "dev-clean": (9000, 7000), "test-clean": (12000,)}


def write_noise(path: Path, samples: int, rate: int = 16000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(samples).standard_normal((samples, channels))
    soundfile.write(path, noise, rate)


@pytest.fixture
def librispeech(tmp_path):
    root = tmp_path / "LibriSpeech"
    for split, lengths in LENGTHS.items():
        folder = root / split / "19" / "198"
        lines = []
        for number, samples in enumerate(lengths):
            write_noise(folder / f"19-198-{number:04d}.flac", samples)
            lines.append(f"19-198-{number:04d} HELLO WORLD\n")
        (folder / "19-198.trans.txt").write_text("".join(lines), encoding="utf-8")
    return root


@pytest.fixture
def voxceleb1(tmp_path):
    root = tmp_path / "VoxCeleb1"
    lines = []
    for number, part in ((1, "dev"), (2, "dev"), (3, "test")):
        name = f"id1000{number}/1zcIwhmdeo4/00001.wav"
        write_noise(root / part / "wav" / name, 4000)
        lines.append(f"{number} {name}\n")
    (root / "iden_split.txt").write_text("".join(lines), encoding="utf-8")
    return root


@pytest.fixture
def iemocap(tmp_path):
    root = tmp_path / "IEMOCAP"
    for number in range(1, 6):
        dialog, session = f"Ses0{number}F_impro01", root / f"Session{number}"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"]
        for index, label in enumerate(("neu", "exc", "ang", "sad", "hap", "fru", "xxx")):
            utterance = f"{dialog}_F00{index}"
            lines.append(f"[6.2901 - 8.2357]\t{utterance}\t{label}\t[2.5, 2.5, 2.5]\nC-E2:\tNeutral;\t()\n\n")
            write_noise(session / "sentences" / "wav" / dialog / f"{utterance}.wav", 2000)
        labels = session / "dialog" / "EmoEvaluation"
        labels.mkdir(parents=True)
        (labels / f"{dialog}.txt").write_text("".join(lines), encoding="utf-8")
        (labels / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07")  # what unpacking on a Mac leaves
    return root


def test_buckets_equal_an_independent_count(librispeech, tmp_path):
    corpora.write_buckets(librispeech, tmp_path / "buckets")
    for split, lengths in LENGTHS.items():
        with (tmp_path / "buckets" / f"{split}.csv").open(encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        assert [int(row["length"]) for row in rows] == sorted(lengths, reverse=True)
        for row in rows:
            assert len(soundfile.read(librispeech / row["file_path"])[0]) == int(row["length"])
            assert row["label"] == ""
        assert {row["file_path"] for row in rows} == {
            f"{split}/19/198/19-198-{number:04d}.flac" for number in range(len(lengths))
        }


def test_buckets_are_kept_until_files_change(librispeech, tmp_path):
    target = tmp_path / "buckets" / "dev-clean.csv"
    corpora.write_buckets(librispeech, target.parent)
    before = target.stat().st_mtime_ns
    corpora.write_buckets(librispeech, target.parent)
    assert target.stat().st_mtime_ns == before
    write_noise(librispeech / "dev-clean" / "19" / "198" / "19-198-0009.flac", 5000)
    corpora.write_buckets(librispeech, target.parent)
    assert len(target.read_text(encoding="utf-8").splitlines()) == 1 + 3


def test_buckets_are_read_by_the_asr_recipe(librispeech, tmp_path):
    from s3prl.downstream.asr.dataset import SequenceDataset
    from s3prl.downstream.asr.dictionary import Dictionary

    found = prepare(parse_tasks("asr"), Sources(librispeech=librispeech), tmp_path / "data")
    dictionary = Dictionary.load(found.value("char_dict"))
    splits = {"train": ["train-clean-100"]}
    dataset = SequenceDataset("train", 4, dictionary, found.value("librispeech"), found.value("buckets"), **splits)
    assert [len(batch) for batch in dataset.X] == [2, 2]  # the recipe halves a batch of four
    wavs, labels, _ = dataset[0]
    assert [len(wav) for wav in wavs] == [24000, 24000]
    assert dictionary.string(labels[0][:-1]) == "H E L L O | W O R L D |"


@pytest.mark.parametrize(
    ("rate", "channels", "samples", "match"),
    [(8000, 1, 100, "8000 Hz"), (16000, 2, 100, r"2 channel\(s\)"), (16000, 1, 0, "not readable")],
)
def test_unusable_audio_names_the_file(librispeech, tmp_path, rate, channels, samples, match):
    bad = librispeech / "dev-clean" / "19" / "198" / "19-198-0001.flac"
    write_noise(bad, samples, rate, channels)
    with pytest.raises(CorpusError, match=rf"19-198-0001\.flac.*{match}"):
        corpora.write_buckets(librispeech, tmp_path / "buckets")
    assert not (tmp_path / "buckets" / "dev-clean.csv").exists()
    assert not list(tmp_path.glob("buckets/.*"))


def test_broken_audio_and_missing_transcripts_name_the_file(librispeech):
    bad = librispeech / "test-clean" / "19" / "198" / "19-198-0000.flac"
    (bad.parent / "19-198.trans.txt").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"1 audio files have no transcript, first .*19-198-0000\.flac"):
        corpora.read_transcripts(librispeech, "test-clean")
    bad.write_bytes(b"fLaC" + bytes(40))
    with pytest.raises(CorpusError, match=r"19-198-0000\.flac: not readable"):
        corpora.read_length(bad)


def test_missing_splits_say_where_to_get_them(tmp_path):
    with pytest.raises(CorpusError, match=r"no \.flac files under .*dev-clean.*openslr\.org/12"):
        corpora.find_flacs(tmp_path, "dev-clean")


def test_lexicon_takes_the_first_pronunciation_and_the_words_needed(librispeech, tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("HELLO\tHH AH0 L OW1\nHELLO\tHH EH0 L OW1\nunused\tAA1\nWORLD  W ER1 L D\n\n", encoding="utf-8")
    found = prepare(parse_tasks("pr"), Sources(librispeech=librispeech, lexicons=(path,)), tmp_path / "data")
    assert Path(found.value("lexicons")[0]).read_text(encoding="utf-8") == "HELLO HH AH0 L OW1\nWORLD W ER1 L D\n"


def test_words_without_pronunciation_are_listed(librispeech, tmp_path):
    transcript = librispeech / "test-clean" / "19" / "198" / "19-198.trans.txt"
    transcript.write_text("19-198-0000 HELLO BRZLGRMPF QWXZ\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"2 words .* CMUdict: BRZLGRMPF, QWXZ; pass lexicon files with --lexicon"):
        prepare(parse_tasks("pr"), Sources(librispeech=librispeech), tmp_path / "data")
    assert not (tmp_path / "data" / "lexicon.txt").exists()


def test_lexicon_refusals(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("GOOD G UH1 D\nHELLO HH @ L OW\n", encoding="utf-8")
    symbols = set(configured().phonemes.read_text(encoding="utf-8").split())
    with pytest.raises(CorpusError, match=r"lexicon\.txt:2: HELLO uses '@'"):
        corpora.read_lexicon([path], symbols)
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist"):
        corpora.read_lexicon([tmp_path / "none.txt"], symbols)


def test_speaker_list_is_read_by_the_sid_recipe(voxceleb1, tmp_path, monkeypatch):
    from s3prl.downstream.voxceleb1 import dataset

    monkeypatch.setattr(dataset, "CACHE_PATH", str(tmp_path / "cache"))
    found = prepare(parse_tasks("sid"), Sources(voxceleb1=voxceleb1), tmp_path / "data")
    test = dataset.SpeakerClassifiDataset("test", found.voxceleb1, found.value("speaker_list"))
    wav, label, name = test[0]
    assert (len(wav), label, name) == (4000, 2, "id10003-1zcIwhmdeo4-00001")


def test_speaker_list_refusals(voxceleb1, tmp_path):
    (voxceleb1 / "iden_split.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"iden_split\.txt.*--voxceleb1-list"):
        corpora.find_speaker_list(voxceleb1, tmp_path / "iden_split.txt")
    given = tmp_path / "list.txt"
    given.write_text("1 id10001/1zcIwhmdeo4/00001.wav\n1 id10001/1zcIwhmdeo4/00009.wav\n", encoding="utf-8")
    assert corpora.find_speaker_list(voxceleb1, given) == given
    with pytest.raises(CorpusError, match=r"1 of 2 clips .*id10001/1zcIwhmdeo4/00009\.wav"):
        corpora.check_speaker_list(voxceleb1, given)
    given.write_text("1,id10001/a/00001.wav\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"list\.txt:1: got '1,id10001/a/00001\.wav', expected"):
        corpora.check_speaker_list(voxceleb1, given)
    with pytest.raises(CorpusError, match=r"\*/wav folders"):
        corpora.check_speaker_list(tmp_path, given)


def test_folds_are_read_by_the_emotion_recipe(iemocap, tmp_path):
    from s3prl.downstream.emotion.dataset import IEMOCAPDataset

    found = prepare(parse_tasks("er"), Sources(iemocap=iemocap), tmp_path / "data")
    for number in range(1, 6):
        folder = Path(found.value("emotions")) / f"Session{number}"
        test = IEMOCAPDataset(found.value("iemocap"), folder / "test_meta_data.json")
        train = IEMOCAPDataset(found.value("iemocap"), folder / "train_meta_data.json", pre_load=False)
        assert (len(test), len(train)) == (5, 20)  # frustration and unclear ones are left out
        assert [test[index][1] for index in range(5)] == [0, 1, 2, 3, 1]  # excited counts as happy
        assert {row["speaker"] for row in test.meta_data} == {f"Ses0{number}F"}
        assert not {row["path"] for row in test.meta_data} & {row["path"] for row in train.meta_data}
    with wave.open(str(iemocap / test.meta_data[0]["path"])) as clip:
        assert len(test[0][0]) == clip.getnframes()


def test_iemocap_refusals(iemocap, tmp_path):
    (iemocap / "Session3" / "sentences" / "wav" / "Ses03F_impro01" / "Ses03F_impro01_F001.wav").unlink()
    with pytest.raises(CorpusError, match=r"labels Ses03F_impro01_F001, but .* does not exist"):
        prepare(parse_tasks("er"), Sources(iemocap=iemocap), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    with pytest.raises(CorpusError, match="no folder .*EmoEvaluation.*--iemocap"):
        corpora.read_session(tmp_path, "Session1")


def test_one_error_lists_every_missing_corpus(tmp_path):
    with pytest.raises(CorpusError) as error:
        check_sources(list(TASKS.values()), Sources(iemocap=tmp_path / "nowhere"))
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "--librispeech is missing (needed by asr, pr)",
        "--voxceleb1 is missing (needed by sid, sv)",
        "--iemocap",
    ]
    assert "nowhere is not a folder" in lines[2]


def test_writing_is_whole_or_not_at_all(tmp_path):
    from s3prl_fusion.files import write_with

    target = tmp_path / "table.csv"
    target.write_text("old", encoding="utf-8")

    def disk_full(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_with(target, disk_full)
    assert target.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_meta_data_has_the_recipe_form(tmp_path):
    rows = {session: [{"path": f"{session}/a.wav", "label": "neu", "speaker": session}] for session in corpora.SESSIONS}
    corpora.write_folds(rows, tmp_path)
    content = json.loads((tmp_path / "Session2" / "train_meta_data.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
    assert [row["path"] for row in content["meta_data"]] == [f"Session{k}/a.wav" for k in (1, 3, 4, 5)]
