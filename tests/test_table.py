"""A user's own corpus: every form of a table gives the same rows, and what is wrong with one is told by its line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tables
from official_layouts import clip

from s3prl_fusion.audio import load
from s3prl_fusion.cli import main
from s3prl_fusion.corpora.speech import to_speech
from s3prl_fusion.corpora.table import Table, read
from s3prl_fusion.errors import UserError
from s3prl_fusion.spelling import characters, in_capitals
from s3prl_fusion.superb.tasks import TASKS


@pytest.fixture(autouse=True)
def known():
    """Forgets the tasks on tables again."""
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


@pytest.fixture
def rows(tmp_path, monkeypatch) -> list[dict[str, str]]:
    monkeypatch.chdir(tmp_path)
    return tables.rows(tmp_path)


def prepare(kind: str, path: Path, *more: object) -> int:
    return main(["prepare", kind, "--table", str(path), "-o", "data", *map(str, more)])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ""])
def test_every_form_gives_the_same_rows(suffix, rows, tmp_path):
    absolute = [{**row, "path": str(tmp_path / row["path"])} for row in rows]
    path = tables.write(tmp_path / f"my{suffix}", rows) if suffix else tables.write_kaldi(tmp_path / "my", absolute)
    found = read(Table(path, "my"), "text")
    assert [(u.name, u.split, u.value) for u in found] == [
        (Path(row["path"]).stem, row["split"], row["text"]) for row in rows
    ]
    assert [u.file for u in found] == [tmp_path / row["path"] for row in rows]
    line = {".csv": "my.csv:2", ".tsv": "my.tsv:2", ".jsonl": "my.jsonl:1", "": "my/train/wav.scp:1"}[suffix]
    assert found[0].where == str(tmp_path / line)


def test_a_row_is_told_by_its_line_whatever_stands_before_it(rows, tmp_path):
    rows[0]["text"], rows[3]["text"] = 'two\nlines, "quoted"', ""
    with pytest.raises(UserError, match=r"1 rows: has no text: .*my\.csv:6; fill it in"):
        read(Table(tables.write(tmp_path / "my.csv", rows), "my"), "text")


def test_files_may_be_called_anything(rows, tmp_path):
    for i, name in enumerate(["नमस्ते दुनिया", "-x", "a,b;c", "ünï 1"]):
        clip(tmp_path / f"{name}.wav", i)
        rows[i]["path"] = f"{name}.wav"
    assert prepare("classify", tables.write(tmp_path / "my.csv", rows)) == 0
    made = {path.stem for path in Path("data/classify@my/speech").glob("*.wav")}
    assert made >= {"नमस्ते_दुनिया", "x", "a,b;c", "ünï_1"}


def test_files_of_one_name_are_told_apart_by_their_folders_and_pieces_by_their_times(rows, tmp_path):
    for folder in ("a", "b"):
        clip(tmp_path / folder / "one clip.wav", 3)
    rows += [{**rows[0], "path": f"{folder}/one clip.wav"} for folder in ("a", "b")]
    rows += [{**rows[0], "path": "a/one clip.wav", "start": "0.1", "end": "0.2"}]
    found = read(Table(tables.write(tmp_path / "my.csv", rows), "my"), "label")
    assert [u.name for u in found][-3:] == ["a_one_clip", "b_one_clip", "a_one_clip-0.1-0.2"]
    assert [u.name for u in found][:1] == ["wavs_train0"]


SPOILT = [  # what is put into the fourth row, and what is said of it
    ({"split": "evaluation"}, r"my\.csv:5: unknown split 'evaluation'; choose from dev, test, train"),
    ({"label": ""}, r"1 rows: has no label: .*my\.csv:5; fill it in, or remove the rows"),
    ({"path": "wavs/gone.wav"}, r"1 of 8 sound files do not exist:\n.*my\.csv:5: .*wavs/gone\.wav"),
    ({"path": "wavs/test0.wav"}, r"my\.csv:5 and .*my\.csv:8 are the same sound, .*test0\.wav; remove one"),
    ({"end": "soon"}, r"my\.csv:5: end must be seconds within the file, 0 or more; got 'soon'"),
    ({"start": "0.3", "end": "0.2"}, r"my\.csv:5: end must be after start, in seconds; got 0\.3 and 0\.2"),
    ({"end": "9"}, r"my\.csv:5: .*train3\.wav has 0\.40 s, and the row ends at 9; times are seconds"),
    ({"id": "a b"}, r"my\.csv:5: the id 'a b' must have no white space"),
]


@pytest.mark.fault("a table with a row that lacks something, or contradicts another", "refused: the file and the line")
@pytest.mark.parametrize("cells, match", SPOILT)
def test_a_row_that_cannot_be_used(cells, match, rows, tmp_path, capsys):
    rows[3].update(cells)
    assert prepare("classify", tables.write(tmp_path / "my.csv", rows)) == 2
    assert re.search(match, capsys.readouterr().err)
    assert not Path("data").exists()


TEXTS = [
    ("a.csv", "path,split,lable\nx,train,a\n", r"no column 'label'; rename .*choose from lable, path, split \(did you"),
    ("a.csv", "path;split;label\nx;train;a\n", r"a\.csv:1: the columns are separated by ';'; separate them by a comma"),
    ("a.csv", "path,split,label\nx,train,a,b\n", r"a\.csv:2: 4 cells, and the first line has 3 columns; put a cell"),
    ("a.csv", 'path,split,label\nx,train,"a\n', r"a\.csv:2: unexpected end of data; correct the quotes"),
    ("a.csv", "path,split,path\n", r"a\.csv:1: the column 'path' is there twice"),
    ("a.csv", "path,split,label\n", r"a\.csv has no rows"),
    ("a.jsonl", '{"path": "x"', r"a\.jsonl:1: not JSON"),
    ("a.jsonl", '["x"]', r"a\.jsonl:1: got '\[\"x\"\]', expected an object"),
    ("a.jsonl", '{"path": {"x": 1}}', r"a\.jsonl:1: path must be a text or a number"),
    ("a.xlsx", "", r"a\.xlsx must be a \.csv, \.tsv, \.jsonl or \.parquet file, a Kaldi-style"),
]


@pytest.mark.fault("a table of another form", "refused: what was found, and what is expected")
@pytest.mark.parametrize("name, text, match", TEXTS)
def test_a_table_of_another_form(name, text, match, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    assert prepare("classify", Path(name)) == 2
    assert re.search(match, capsys.readouterr().err)


KALDI = [
    ("wav.scp", "train0 sox a.wav -t wav - |\n", r"wav\.scp:1: a command is not run here; make sound files"),
    ("segments", "u1 other 0 1\n", r"segments:1: got 'other 0 1', expected 'RECORDING START END'"),
    ("utt2label", "nobody glad\n", r"utt2label:1: of no utterance of .*wav\.scp"),
    ("text", "train0 a\ntrain0 b\n", r"text:2: train0 is there twice, the first at .*text:1"),
]


@pytest.mark.fault("a Kaldi-style folder with commands, or with files that do not fit together", "refused by line")
@pytest.mark.parametrize("file, text, match", KALDI)
def test_a_kaldi_folder_that_cannot_be_used(file, text, match, rows, tmp_path, capsys):
    folder = tables.write_kaldi(tmp_path / "my", [{**row, "path": str(tmp_path / row["path"])} for row in rows])
    (folder / "train" / file).write_text(text)
    assert prepare("classify", folder) == 2
    assert re.search(match, capsys.readouterr().err)


def test_segments_of_a_kaldi_folder_are_cut(rows, tmp_path):
    folder = tables.write_kaldi(tmp_path / "my", [{**row, "path": str(tmp_path / row["path"])} for row in rows])
    (folder / "dev" / "segments").write_text("dev0 dev0 0.1 0.3\ndev1 dev1 0.0 0.2\n")
    assert prepare("classify", folder) == 0
    made = load("data/classify@my/speech/dev0.wav").numpy()
    assert np.array_equal(made, load("wavs/dev0.wav").numpy()[1600:4800])


def test_a_split_that_is_needed_and_empty(rows, tmp_path, capsys):
    rows = [row for row in rows if row["split"] != "dev"]
    path = tables.write(tmp_path / "my.csv", rows)
    assert prepare("classify", path) == 0  # the recipe draws its own
    for kind in ("asr", "pr", "verify"):
        assert prepare(kind, path) == 2
        assert "no row has the split 'dev'" in capsys.readouterr().err


@pytest.mark.fault("a table's sound in another form than mono at 16 kHz", "refused, or with --convert made so once")
@pytest.mark.parametrize("rate, channels, suffix", [(44100, 2, ".wav"), (8000, 1, ".flac"), (22050, 1, ".mp3")])
def test_sound_in_another_form(rate, channels, suffix, rows, tmp_path, capsys):
    seconds = np.arange(2 * rate) / rate
    tone = np.repeat(0.5 * np.sin(2 * np.pi * 440 * seconds)[:, None], channels, axis=1)
    soundfile.write(tmp_path / f"tone{suffix}", tone, rate)
    rows[0].update(path=f"tone{suffix}")
    rows.append({**rows[1], "path": f"tone{suffix}", "start": "0.5", "end": "1.5"})
    path = tables.write(tmp_path / "my.csv", rows)
    assert prepare("classify", path) == 2
    told = capsys.readouterr().err
    assert re.search(rf"1 of 8 .*/tone{suffix}: {channels} channel.*give --convert", told)
    assert prepare("classify", path, "--convert") == 0
    piece = load("data/classify@my/speech/tone-0.5-1.5.wav").numpy()
    assert len(piece) == 16000
    spectrum = np.abs(np.fft.rfft(piece))
    assert spectrum.argmax() == 440 and np.abs(piece[1000:-1000]).max() == pytest.approx(0.5, abs=0.02)
    before = {file: file.stat().st_mtime_ns for file in Path("data/speech").iterdir()}
    assert prepare("classify", path, "--convert") == 0
    assert {file: file.stat().st_mtime_ns for file in Path("data/speech").iterdir()} == before and len(before) == 2


def test_what_16_khz_cannot_hold_is_filtered_out():
    seconds = np.arange(44100) / 44100
    for hertz, level in ((1000, 0.5), (12000, 0.0)):
        made = to_speech(0.5 * np.sin(2 * np.pi * hertz * seconds)[:, None], 44100)
        assert len(made) == 16000 and np.abs(made[1000:-1000]).max() == pytest.approx(level, abs=1e-3)


def test_channels_are_averaged_and_16_khz_left_as_it_is():
    wav = np.random.default_rng(0).uniform(-1, 1, (100, 2)).astype("float32")
    assert np.array_equal(to_speech(wav, 16000), wav.mean(axis=1))


def test_what_lies_in_data_follows_the_table(rows, tmp_path):
    path = tables.write(tmp_path / "my.csv", rows)
    assert prepare("classify", path) == 0
    files = sorted(file.name for file in Path("data/classify@my/speech").glob("*.wav"))
    assert files == sorted(Path(row["path"]).name for row in rows)
    tables.write(path, rows[1:])
    assert prepare("classify", path) == 0
    assert not Path("data/classify@my/speech/train0.wav").exists() and Path("wavs/train0.wav").exists()


def read_part(session: str, part: str) -> dict:
    return json.loads(Path(f"data/classify@my/meta_data/{session}/{part}_meta_data.json").read_text())


def test_labels_and_dev_rows_of_classify(rows, tmp_path, capsys):
    rows[-1]["label"] = "new"
    assert prepare("classify", tables.write(tmp_path / "my.csv", rows)) == 0
    assert re.search(r"1 labels of test are not in train.*'new' \(.*my\.csv:9\)", capsys.readouterr().err)
    train, test = (read_part("Session1", part) for part in ("train", "test"))
    assert train["labels"] == test["labels"] == {"glad": 0, "new": 1, "very low": 2}
    assert [row["path"] for row in train["meta_data"]][-train["dev"] :] == ["dev0.wav", "dev1.wav"]
    assert [row["label"] for row in test["meta_data"]] == ["glad", "new"]


@pytest.mark.fault("emotion's table of training rows with a wrong number of dev rows", "refused before training")
@pytest.mark.parametrize("dev", [0, 6, "2"])
def test_a_number_of_dev_rows_that_cannot_be(dev, rows, tmp_path):
    from s3prl_fusion.host.recipes.emotion import check_meta_data

    assert prepare("classify", tables.write(tmp_path / "my.csv", rows)) == 0
    path = Path("data/classify@my/meta_data/Session1/train_meta_data.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "dev": dev}))
    with pytest.raises(UserError, match=rf"dev must be how many of the 6 rows, .* got {dev!r}"):
        check_meta_data(path, path.with_name("test_meta_data.json"))


def test_folds_by_a_column(rows, tmp_path):
    folds = [{**row, "fold": "xyz"[i % 3], "split": ""} for i, row in enumerate(rows)]
    assert prepare("classify", tables.write(tmp_path / "my.csv", folds)) == 0
    for number, value in enumerate("xyz", start=1):
        train, test = (read_part(f"Session{number}", part)["meta_data"] for part in ("train", "test"))
        assert {row["path"] for row in test} == {Path(r["path"]).name for r in folds if r["fold"] == value}
        assert len(train) + len(test) == len(rows)


SCRIPTS = [
    ("Příliš žluťoučký kůň", "PŘÍLIŠ ŽLUŤOUČKÝ KŮŇ"),
    ("Pr\u030ci\u0301lis\u030c", "PŘÍLIŠ"),  # decomposed
    ("مرحبا  بالعالم", "مرحبا بالعالم"),
    ("你好，world 世界", "你 好 ， WORLD 世 界".replace(" ， ", " ，")),
    ("こんにちは", "こ ん に ち は"),
    ("straße", "STRASSE"),
]


@pytest.mark.parametrize("given, said", SCRIPTS)
def test_texts_of_any_script(given, said):
    assert in_capitals(given).split() == said.split() or given.startswith("你好")
    assert in_capitals(in_capitals(given)) == in_capitals(given) == in_capitals(given).upper()


def test_characters_that_are_words_have_no_spaces_in_the_error_rate():
    assert characters(in_capitals("你好 world, 世界")) == "你好WORLD,世界"
    assert characters("TO BE  OR") == "TO BE OR"


def test_the_dictionary_is_that_of_the_texts_and_new_letters_are_told(rows, tmp_path, capsys):
    from s3prl.downstream.asr.dictionary import Dictionary

    rows[-1]["text"] = "kůň xlip"
    assert prepare("asr", tables.write(tmp_path / "my.csv", rows)) == 0
    told = capsys.readouterr().err
    assert re.search(r"1 letters of test are not in train.*'X' \(.*my\.csv:9\); they count as mistakes in 1 ut", told)
    letters = Dictionary.load("data/asr@my/char.dict").symbols[4:]
    assert letters[0] == "|" and set(letters[1:]) == set("".join(row["text"].upper() for row in rows)) - {" "}
    texts = Path("data/asr@my/speech/train/train.trans.txt").read_text(encoding="utf-8").splitlines()
    assert texts[0] == "train0 PŘÍLIŠ ŽLUŤOUČKÝ KŮŇ"


def test_a_dictionary_of_the_users(rows, tmp_path, capsys):
    from s3prl_fusion.assets import downstream_configs_dir

    path = tables.write(tmp_path / "my.csv", rows)
    (tmp_path / "c" / "table").mkdir(parents=True)
    config = (downstream_configs_dir() / "table" / "asr.yaml").read_text()
    (tmp_path / "c" / "table" / "asr.yaml").write_text(config.replace("/path/to/char.dict", "my.dict"))
    assert prepare("asr", path, "--configs", "c") == 2
    assert "dict_path is 'my.dict', which is neither below" in capsys.readouterr().err
    (tmp_path / "c" / "table" / "my.dict").write_text("| 1\nA 1\n")
    assert prepare("asr", path, "--configs", "c") == 2
    assert re.search(r"transcripts have letters that .*my\.dict lacks: .*my\.csv:2: 'P'", capsys.readouterr().err)
    own = "| 1\n" + "".join(f"{letter} 1\n" for letter in sorted(set("".join(tables.TEXTS).upper()) - {" "})) + "Q 1\n"
    (tmp_path / "c" / "table" / "my.dict").write_text(own)
    assert prepare("asr", path, "--configs", "c") == 0
    assert Path("data/asr@my/char.dict").read_text() == own


@pytest.mark.fault("a table's texts with '|', or without spaces between words", "refused: the line, what to do")
@pytest.mark.parametrize("text, match", [("a|b", r"my\.csv:2: 'A\|B' has a '\|'"), ("x" * 2000, "put spaces between")])
def test_texts_that_the_recipe_could_not_say(text, match, rows, tmp_path, capsys):
    rows[0]["text"] = text
    assert prepare("asr", tables.write(tmp_path / "my.csv", rows)) == 2
    assert re.search(match, capsys.readouterr().err)


def said_phonemes(split: str) -> list[list[str]]:
    """What the recipe reads, by its own class."""
    from s3prl.downstream.ctc.text import load_text_encoder

    from s3prl_fusion.host.recipes._libriphone import LibriPhoneDataset

    tokenizer = load_text_encoder("word", "data/pr@my/phoneme.txt")
    data = LibriPhoneDataset([split], tokenizer, 1, "data/pr@my/speech", ["data/pr@my/lexicon.txt"])
    return sorted(tokenizer.decode(ids).split() for _, ids in data.items)


def test_phonemes_of_a_column_as_the_recipe_reads_them(rows, tmp_path):
    assert prepare("pr", tables.write(tmp_path / "my.csv", rows)) == 0
    assert said_phonemes("dev") == [["S", "o"], ["s", "S", "a"]]
    assert Path("data/pr@my/phoneme.txt").read_text().split() == ["S", "a", "o", "s"]


def test_phonemes_of_a_text_and_a_lexicon(rows, tmp_path, capsys):
    table = [{key: row[key] for key in ("path", "split", "text")} for row in rows]
    path = tables.write(tmp_path / "my.csv", table)
    assert prepare("pr", path) == 2
    assert "has no column 'phonemes'; add it, or give its words' with --lexicon FILE" in capsys.readouterr().err
    (tmp_path / "cs.txt").write_text("příliš p S i\nžluťoučký Z l u\nkůň k u J\n", encoding="utf-8")
    assert prepare("pr", path, "--lexicon", "cs.txt") == 2
    assert re.search(r"3 words have no .*: ÚPĚL, ĎÁBELSKÉ, ÓDY; ÚPĚL is said in .*my\.csv:3", capsys.readouterr().err)
    with (tmp_path / "cs.txt").open("a", encoding="utf-8") as lexicon:
        lexicon.write("úpěl u\nďábelské d\nódy o\n")
    assert prepare("pr", path, "--lexicon", "cs.txt") == 0
    assert said_phonemes("test") == ["p S i Z l u k u J".split(), "u d o".split()]


def test_speakers_and_trials(rows, tmp_path, capsys):
    rows += [{**row, "path": f"wavs/more{i}.wav"} for i, row in enumerate(rows)]
    for row in rows[8:]:
        clip(tmp_path / row["path"], 7)
    rows[0]["speaker"] = rows[8]["speaker"] = "a"
    path = tables.write(tmp_path / "my.csv", rows)
    assert prepare("verify", path) == 0
    told = capsys.readouterr().err
    assert "1 speakers are in train and in test: a; strangers would be told worse" in told
    from s3prl_fusion.corpora.voxceleb1 import read_trials
    from s3prl_fusion.host.recipes._sv_data import TrainingClips

    trials = read_trials(Path("data/verify@my/test_trials.txt"))
    speaker = {Path(row["path"]).stem: row["speaker"] for row in rows}
    assert all((label == "1") == (speaker[Path(a).stem] == speaker[Path(b).stem]) for label, a, b in trials)
    made = Path("data/verify@my")
    clips = TrainingClips({"min_sec": 0}, [], [made / "speech" / "dev" / "wav"], str(made / "train_speakers.txt"))
    assert {Path(clip).stem for clip in clips.dataset} == {n for n in speaker if n.startswith(("train", "more"))} - {
        f"more{i}" for i in (4, 5, 6, 7)
    }


TRIALS = [
    ("1 test0\n", r"trials\.txt:1: got '1 test0', expected lines of '1 ID ID'"),
    ("1 test0 train0\n", r"trials\.txt:1: 'train0' is the id of no test row"),
    ("1 test0 test1\n", r"trials\.txt:1: test0 is a in the table, and test1 is b"),
    ("0 test0 test1\n", r"an equal error rate needs trials of both labels"),
]


@pytest.mark.fault("trials that contradict the table, or are of others than its test rows", "refused by line")
@pytest.mark.parametrize("text, match", TRIALS)
def test_trials_that_do_not_fit_the_table(text, match, rows, tmp_path, capsys):
    rows.append({**rows[-1], "path": "wavs/more.wav"})
    rows += [{**row, "path": f"wavs/again{i}.wav"} for i, row in enumerate(rows[:6])]
    for row in rows[8:]:
        clip(tmp_path / row["path"], 7)
    Path("trials.txt").write_text(text)
    assert prepare("verify", tables.write(tmp_path / "my.csv", rows), "--trials", "trials.txt") == 2
    assert re.search(match, capsys.readouterr().err)


@pytest.mark.parametrize(
    "words, match",
    [
        (["-t", "classify"], "-t classify: of which speech? Name your own with --table FILE"),
        (["-t", "classify", "--table", "gone.csv"], "--table: "),
        (["-t", "er", "--table", "my.csv"], "--table is for asr, pr, classify, verify; got -t er"),
        (["--table", "my.csv"], "-t is missing: what to do with the table? Choose from asr"),
        (["-t", "asr", "--convert"], "--convert is for a table of your own; name it with --table FILE"),
        (["-t", "asr", "--table", "my.csv", "--table-name", "a/b"], "would be called 'a/b'; give --table-name"),
        (["-t", "asr", "--table", "my.csv", "--table-name", "a_seed2"], "not ending as a run's folder does"),
        (["-t", "asr", "--table", "my.csv,x/my.csv"], "two tables are called 'my'"),
        (["-t", "asr", "--table", "my.csv", "--demo"], "--demo has its own speech; leave it or --table out"),
    ],
)
def test_command_lines_that_do_not_fit_together(words, match, rows, tmp_path, capsys):
    tables.write(tmp_path / "my.csv", rows)
    assert main(["superb", "-u", "fbank", "-o", "exp", *words, "--dry-run"]) == 2
    assert match in capsys.readouterr().err
