"""Folders of the `datasets` library and Parquet files as tables: the rows and the sound that they are made of."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest
import soundfile
import tables

from s3prl_fusion.audio import load
from s3prl_fusion.cli import main
from s3prl_fusion.corpora.table import Table, read
from s3prl_fusion.errors import UserError
from s3prl_fusion.superb.tasks import TASKS

LABELS = ["glad", "very low"]


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


def columns(rows: list[dict[str, str]], folder: Path, embedded: bool = True) -> dict[str, list]:
    """What a data set has of rows: sound as bytes or as paths, labels as numbers, and other names of columns."""
    clips = [
        {"bytes": (folder / row["path"]).read_bytes() if embedded else None, "path": str(Path(row["path"]).name)}
        if embedded
        else {"bytes": None, "path": str(folder / row["path"])}
        for row in rows
    ]
    return {
        "audio": clips,
        "sentence": [row["text"] for row in rows],
        "label": [LABELS.index(row["label"]) for row in rows],
        "votes": [3] * len(rows),
        "words": [row["text"].split() for row in rows],
        "speaker": [row["speaker"] for row in rows],
    }


def arrow_table(rows: list[dict[str, str]], folder: Path, embedded: bool = True):
    import pyarrow

    sound = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    given = columns(rows, folder, embedded)
    made = pyarrow.table({**given, "audio": pyarrow.array(given["audio"], sound)})
    text = {"dtype": "string", "_type": "Value"}
    features = {
        **{name: text for name in ("sentence", "speaker")},
        "audio": {"_type": "Audio"},
        "label": {"names": LABELS, "_type": "ClassLabel"},
        "votes": {"dtype": "int64", "_type": "Value"},
        "words": [text],
    }
    noted = {"info": {"features": {name: features[name] for name in given}}}
    return made.replace_schema_metadata({"huggingface": json.dumps(noted)})


def write_parquet(rows: list[dict[str, str]], folder: Path, embedded: bool = True) -> Path:
    import pyarrow.parquet

    (folder / "set" / "data").mkdir(parents=True)
    for split, name in (("train", "train"), ("dev", "validation"), ("test", "test")):
        made = arrow_table([row for row in rows if row["split"] == split], folder, embedded)
        pyarrow.parquet.write_table(made, folder / "set" / "data" / f"{name}-00000-of-00001.parquet")
    return folder / "set"


def write_saved(rows: list[dict[str, str]], folder: Path) -> Path:
    """What `DatasetDict.save_to_disk` makes."""
    import pyarrow

    for split in tables.COUNTS:
        (folder / "set" / split).mkdir(parents=True)
        made = arrow_table([row for row in rows if row["split"] == split], folder)
        with pyarrow.OSFile(str(folder / "set" / split / "data-00000-of-00001.arrow"), "wb") as out:
            with pyarrow.ipc.new_stream(out, made.schema) as stream:
                stream.write_table(made)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (folder / "set" / split / "state.json").write_text(json.dumps(state))
    (folder / "set" / "dataset_dict.json").write_text(json.dumps({"splits": list(tables.COUNTS)}))
    return folder / "set"


def save_by_datasets(rows: list[dict[str, str]], folder: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    made = {}
    for split in tables.COUNTS:
        given = arrow_table([row for row in rows if row["split"] == split], folder)
        made[split] = datasets.Dataset(datasets.table.InMemoryTable(given), fingerprint=split)
    datasets.DatasetDict(made).save_to_disk(folder / "set")
    return folder / "set"


WRITERS = [write_parquet, write_saved, save_by_datasets]


@pytest.mark.parametrize("write", WRITERS)
def test_rows_and_sound_are_those_of_the_table(write, rows, tmp_path):
    pytest.importorskip("pyarrow")
    path = write(rows, tmp_path)
    found = read(Table(path, "set", columns=(("text", "sentence"),)), "text")
    assert sorted((u.name, u.split, u.value) for u in found) == sorted(
        (Path(row["path"]).stem, row["split"], row["text"]) for row in rows
    )
    words = ["--table", str(path), "--table-name", "czech", "-o", "data"]
    assert main(["prepare", "asr", *words, "--columns", "text=sentence"]) == 0
    assert main(["prepare", "classify", *words]) == 0
    for row in rows:
        name = Path(row["path"]).name
        made = [f"data/asr@czech/speech/{row['split']}/{name}", f"data/classify@czech/speech/{name}"]
        for file in made:
            assert (load(file) == load(row["path"])).all()
    meta = json.loads(Path("data/classify@czech/meta_data/Session1/train_meta_data.json").read_text())
    truth = {Path(row["path"]).name: row["label"] for row in rows if row["split"] != "test"}
    assert {row["path"]: row["label"] for row in meta["meta_data"]} == truth
    assert len(list(Path("data/speech/extracted").iterdir())) == len(rows)


def test_sound_that_is_only_named_stays_where_it_is(rows, tmp_path):
    pytest.importorskip("pyarrow")
    path = write_parquet(rows, tmp_path, embedded=False)
    assert {u.file for u in read(Table(path, "set"), "speaker")} == {tmp_path / row["path"] for row in rows}


def test_one_file_with_a_column_of_splits(rows, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    made = arrow_table(rows, tmp_path).append_column("split", [[row["split"] for row in rows]])
    parquet.write_table(made, tmp_path / "all.parquet")
    found = read(Table(tmp_path / "all.parquet", "all"), "label")
    assert [(u.split, u.value) for u in found] == [(row["split"], row["label"]) for row in rows]
    assert found[2].where == f"{tmp_path / 'all.parquet'}:3"


@pytest.mark.fault(
    "a data set on the disk that is damaged, lacks a file or a column, or whose reader is not installed",
    "refused, with the file, the columns that there are, or the line of pip",
)
class TestRefused:
    def test_damaged(self, rows, tmp_path):
        pytest.importorskip("pyarrow")
        path = write_parquet(rows, tmp_path)
        (path / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 but no more")
        with pytest.raises(UserError, match=r"test-00000-of-00001\.parquet: damaged \(.*\); fetch or save it again"):
            read(Table(path, "set"), "label")

    def test_a_file_that_is_gone(self, rows, tmp_path):
        pytest.importorskip("pyarrow")
        path = write_saved(rows, tmp_path)
        (path / "dev" / "data-00000-of-00001.arrow").unlink()
        with pytest.raises(UserError, match=r"state\.json names data-00000-of-00001\.arrow, which is not there"):
            read(Table(path, "set"), "label")

    def test_other_columns(self, rows, tmp_path):
        path = tables.write(tmp_path / "my.csv", rows)
        with pytest.raises(UserError, match=r"has no column 'sentence'; rename .*or say --columns sentence=NAME"):
            read(Table(path, "my"), "sentence")
        with pytest.raises(UserError, match=r"--columns: .*my\.csv: unknown column 'txt'.*did you mean 'text'"):
            read(Table(path, "my", columns=(("text", "txt"),)), "text")

    @pytest.mark.parametrize(
        "given, told",
        [
            ("text", "--columns: got 'text', expected NAME=COLUMN"),
            ("txt=sentence", "--columns: unknown column 'txt'"),
        ],
    )
    def test_on_the_command_line(self, given, told, rows, tmp_path, capsys):
        path = tables.write(tmp_path / "my.csv", rows)
        assert main(["prepare", "asr", "--table", str(path), "-o", "data", "--columns", given]) == 2
        assert told in capsys.readouterr().err

    def test_without_pyarrow(self, tmp_path, monkeypatch):
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.startswith("pyarrow"):
                raise ImportError("No module named 'pyarrow'")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        (tmp_path / "all.parquet").touch()
        with pytest.raises(UserError, match=r"read with pyarrow: pip install 's3prl-fusion\[datasets\]'"):
            read(Table(tmp_path / "all.parquet", "all"), "label")


def test_columns_of_any_table_can_be_named(rows, tmp_path):
    path = tables.write(tmp_path / "my.csv", rows)
    found = read(Table(path, "my", columns=(("label", "speaker"),)), "label")
    assert [u.value for u in found] == [row["speaker"] for row in rows]
    assert soundfile.info(found[0].file).samplerate == 16000
