"""Real corpora: what is made from official layouts, read back by s3prl's own dataset classes, and every refusal."""

from __future__ import annotations

import csv
import json
import wave
from pathlib import Path

import pytest
import soundfile
from official_layouts import DEV_SPEAKERS, TEST_SPEAKERS, TRANSCRIPTS, as_wav, clip
from tiny_corpora import official

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.corpora import iemocap, librispeech, voxceleb1
from s3prl_fusion.corpora.base import Source, warn_count
from s3prl_fusion.errors import CorpusError
from s3prl_fusion.superb.prepare import check_sources, prepare
from s3prl_fusion.superb.tasks import TASKS, parse_tasks


@pytest.fixture
def corpora(tmp_path):
    return official(tmp_path / "corpora")


@pytest.fixture
def libri(corpora):
    return corpora["librispeech"]


@pytest.fixture
def voxceleb(corpora):
    return corpora["voxceleb1"]


@pytest.fixture
def emotions(corpora):
    return corpora["iemocap"]


@pytest.mark.parametrize("converted", [(), ("test-clean",), tuple(librispeech.SPLITS)])
def test_buckets_equal_an_independent_count(libri, tmp_path, converted):
    for split in converted:
        for file in (libri / split).rglob("*.flac"):
            as_wav(file)
    librispeech.write_buckets(libri, tmp_path / "buckets")
    for split in TRANSCRIPTS:
        with (tmp_path / "buckets" / f"{split}.csv").open(encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        lengths = [int(row["length"]) for row in rows]
        assert lengths == sorted(lengths, reverse=True)
        for row in rows:
            assert len(soundfile.read(libri / row["file_path"])[0]) == int(row["length"])
            assert row["label"] == ""
        suffix = ".wav" if split in converted else ".flac"
        names = [str(path.relative_to(libri)) for path in (libri / split).rglob("*") if path.suffix == suffix]
        assert sorted(row["file_path"] for row in rows) == sorted(names)


def test_buckets_follow_the_files(libri, tmp_path):
    target = tmp_path / "buckets" / "dev-clean.csv"
    librispeech.write_buckets(libri, target.parent)
    before = target.read_bytes()
    librispeech.write_buckets(libri, target.parent)
    assert target.read_bytes() == before
    clip(libri / "dev-clean" / "84" / "121123" / "84-121123-0009.flac", 0)
    clip(libri / "dev-clean" / "84" / "121123" / "84-121123-0000.flac", 0, seconds=2.0)
    librispeech.write_buckets(libri, target.parent)
    text = target.read_text(encoding="utf-8")
    assert "84-121123-0009.flac,16000" in text and "84-121123-0000.flac,32000" in text


@pytest.mark.parametrize("converted", [False, True])
def test_buckets_are_read_by_the_asr_recipe(libri, tmp_path, converted):
    from s3prl.downstream.asr.dataset import SequenceDataset
    from s3prl.downstream.asr.dictionary import Dictionary

    for file in libri.rglob("*.flac") if converted else ():
        as_wav(file)
    found = prepare(parse_tasks("asr"), {"librispeech": Source(libri)}, tmp_path / "data")
    paths = [found.value(librispeech.CORPUS, name) for name in ("root", "buckets")]
    dictionary = Dictionary.load(found.value(librispeech.CORPUS, "char.dict"))
    splits = {"train": ["train-clean-100"]}
    dataset = SequenceDataset("train", 4, dictionary, *paths, **splits)
    assert [len(batch) for batch in dataset.X] == [2, 2, 2, 2]  # the recipe halves batches of four
    wavs, labels, names = dataset[0]
    assert sorted(names) == ["19-198-0003", "26-495-0003"]
    (file,) = libri.rglob(f"{names[0]}.*")
    assert wavs[0] == pytest.approx(soundfile.read(file)[0])
    assert dictionary.string(labels[0][:-1]) == "H E L L O | D A Y | W O R L D |"


def test_a_name_in_two_chapters_is_refused(libri):
    chapter = libri / "train-clean-100" / "19"
    (chapter / "198").rename(chapter / "199")
    clip(chapter / "198" / "19-198-0002.flac", 0)
    (chapter / "198" / "19-198.trans.txt").write_text("19-198-0002 GOOD\n")
    with pytest.raises(CorpusError, match=r"198/19-198-0002\.flac and .*199/19-198-0002\.flac have one name"):
        librispeech.read_split(libri, "train-clean-100")


@pytest.mark.parametrize("got", [11, 5, 1251, 2000])
def test_counts_that_differ_are_told(capsys, got):
    warn_count("VoxCeleb1", got, 1251, "speakers")
    told = capsys.readouterr().err
    if got == 1251:
        assert told == ""
    elif got < 1251:
        assert f"VoxCeleb1 has {got} speakers, {1251 - got:,} fewer than the official 1,251" in told
    else:
        assert "VoxCeleb1 has 2,000 speakers, 749 more than the official 1,251" in told


def test_missing_splits_say_where_to_get_them(tmp_path):
    with pytest.raises(CorpusError, match=r"no \.flac or \.wav files under .*dev-clean.*openslr\.org/12"):
        librispeech.read_split(tmp_path, "dev-clean")


def test_lexicon_has_the_first_pronunciation_of_the_words_needed(libri, tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text(
        "HELLO\tHH AH0 L OW1\nHELLO\tHH EH0 L OW1\nunused\tAA1\nWORLD  W ER1 L D\nDAY D EY1\nGOOD G UH1 D\n\n"
    )
    found = prepare(parse_tasks("pr"), {"librispeech": Source(libri, {"lexicon": [path]})}, tmp_path / "data")
    assert Path(found.value(librispeech.CORPUS, "lexicons")[0]).read_text(encoding="utf-8") == (
        "DAY D EY1\nGOOD G UH1 D\nHELLO HH AH0 L OW1\nWORLD W ER1 L D\n"
    )


def test_words_without_pronunciation_are_listed(libri, tmp_path):
    transcript = libri / "test-clean" / "61" / "70968" / "61-70968.trans.txt"
    transcript.write_text("61-70968-0000 HELLO BRZLGRMPF QWXZ\n61-70968-0001 DAY\n", encoding="utf-8")
    message = (
        r"2 words .* CMUdict: BRZLGRMPF, QWXZ; BRZLGRMPF is said in .*61-70968\.trans\.txt:1; pass lexicon files with"
    )
    with pytest.raises(CorpusError, match=message):
        prepare(parse_tasks("pr"), {"librispeech": Source(libri)}, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_lexicon_refusals(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("GOOD G UH1 D\nHELLO HH @ L OW\n", encoding="utf-8")
    symbols = set((downstream_configs_dir() / "phoneme.txt").read_text(encoding="utf-8").split())
    with pytest.raises(CorpusError, match=r"lexicon\.txt:2: HELLO uses '@'"):
        librispeech.read_lexicon([path], symbols, "phoneme.txt")
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist"):
        librispeech.read_lexicon([tmp_path / "none.txt"], symbols, "phoneme.txt")


def test_speaker_list_is_read_by_the_sid_recipe(voxceleb, tmp_path, monkeypatch):
    from s3prl.downstream.voxceleb1 import dataset

    monkeypatch.setattr(dataset, "CACHE_PATH", str(tmp_path / "cache"))
    found = prepare(parse_tasks("sid"), {"voxceleb1": Source(voxceleb)}, tmp_path / "data")
    read = {
        split: dataset.SpeakerClassifiDataset(split, voxceleb, found.value(voxceleb1.CORPUS, "speaker_list"))
        for split in ("train", "dev", "test")
    }
    assert {split: len(clips) for split, clips in read.items()} == {"train": 12, "dev": 6, "test": 6}
    wav, label, name = read["test"][2]
    assert (len(wav), label, name) == (35200, 2, "id10003-8YfW04nYxZ4-00001")
    speakers = [int(speaker[2:]) - 10001 for speaker in DEV_SPEAKERS + TEST_SPEAKERS]
    assert all(sorted(set(clips.label)) == speakers for clips in read.values())


def test_speaker_list_refusals(voxceleb, tmp_path):
    (voxceleb / "iden_split.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"iden_split\.txt.*--voxceleb1-list"):
        voxceleb1.find_speaker_list(voxceleb, tmp_path / "iden_split.txt")
    given = tmp_path / "list.txt"
    given.write_text("1 id10001/1zcIwhmdeo4/00001.wav\n1 id10001/1zcIwhmdeo4/00009.wav\n", encoding="utf-8")
    assert voxceleb1.find_speaker_list(voxceleb, given) == given
    with pytest.raises(CorpusError, match=r"1 of 2 clips .*id10001/1zcIwhmdeo4/00009\.wav"):
        voxceleb1.find_listed(voxceleb, given)
    given.write_text("1,id10001/a/00001.wav\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"list\.txt:1: got '1,id10001/a/00001\.wav', expected"):
        voxceleb1.find_listed(voxceleb, given)
    with pytest.raises(CorpusError, match=r"\*/wav folders"):
        voxceleb1.find_listed(tmp_path, given)


def test_folds_are_read_by_the_emotion_recipe(emotions, tmp_path):
    from s3prl.downstream.emotion.dataset import IEMOCAPDataset

    labels = emotions / "Session2" / "dialog" / "EmoEvaluation"
    (labels / "._Ses02F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")  # what unpacking on a Mac leaves
    found = prepare(parse_tasks("er"), {"iemocap": Source(emotions)}, tmp_path / "data")
    for number in range(1, 6):
        folder = Path(found.value(iemocap.CORPUS, "emotions")) / f"Session{number}"
        test = IEMOCAPDataset(found.value(iemocap.CORPUS, "root"), folder / "test_meta_data.json")
        train = IEMOCAPDataset(found.value(iemocap.CORPUS, "root"), folder / "train_meta_data.json", pre_load=False)
        assert (len(test), len(train)) == (8, 32)  # frustration and unclear ones are left out
        assert [test[index][1] for index in range(8)] == [0, 1, 2, 3, 1, 0, 2, 3]  # excited counts as happy
        assert {row["speaker"] for row in test.meta_data} == {f"Ses0{number}F", f"Ses0{number}M"}
        assert not {row["path"] for row in test.meta_data} & {row["path"] for row in train.meta_data}
    with wave.open(str(emotions / test.meta_data[0]["path"])) as clip:
        assert len(test[0][0]) == clip.getnframes()


def test_iemocap_refusals(emotions, tmp_path):
    (emotions / "Session3" / "sentences" / "wav" / "Ses03F_impro01" / "Ses03F_impro01_M001.wav").unlink()
    with pytest.raises(CorpusError, match=r"labels Ses03F_impro01_M001, but .* does not exist"):
        prepare(parse_tasks("er"), {"iemocap": Source(emotions)}, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    with pytest.raises(CorpusError, match="no folder .*EmoEvaluation.*--iemocap"):
        iemocap.read_session(tmp_path, "Session1")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("\tsad\t", "\tsaad\t", r"Ses02F_impro01\.txt:35: Ses02F_impro01_F002 has the label 'saad', which IEMOCAP"),
        (
            "\tSes02F_impro01_F001\t",
            " Ses02F_impro01_F001 ",
            r"impro01\.txt:19: got '\[10\.2901 .*expected '\[TIME - TIME",
        ),
        ("_M001\t", "_F001\t", r"Ses02F_impro01\.txt:27: Ses02F_impro01_F001 has a label twice"),
    ],
)
def test_unusable_labels_name_the_line(emotions, old, new, match):
    table = emotions / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    with pytest.raises(CorpusError, match=match):
        iemocap.read_session(emotions, "Session2")


def test_one_error_lists_every_missing_corpus(tmp_path):
    with pytest.raises(CorpusError) as error:
        check_sources(list(TASKS.values()), {"iemocap": Source(tmp_path / "nowhere")})
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "--librispeech is missing (needed by asr, pr)",
        "--voxceleb1 is missing (needed by sid, sv)",
        "--iemocap",
        "--speech-commands is missing (needed by ks)",
        "--fluent-commands is missing (needed by ic)",
        "--snips is missing (needed by sf)",
        "--librimix-sd is missing (needed by sd)",
        "--quesst14 is missing (needed by qbe)",
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
    rows = {session: [{"path": f"{session}/a.wav", "label": "neu", "speaker": session}] for session in iemocap.SESSIONS}
    iemocap.write_folds(rows, tmp_path)
    content = json.loads((tmp_path / "Session2" / "train_meta_data.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
    assert [row["path"] for row in content["meta_data"]] == [f"Session{k}/a.wav" for k in (1, 3, 4, 5)]
