"""`select` on a table of one's own: samples of train and dev in the recipes' layouts, and a member of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tables
from official_layouts import clip
from test_docs import FILES

import s3prl_fusion
from s3prl_fusion import FusionConfig, MemberConfig
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora.base import Source
from s3prl_fusion.corpora.table import Table
from s3prl_fusion.errors import CorpusError
from s3prl_fusion.files import read_json, read_mapping
from s3prl_fusion.host import recipes
from s3prl_fusion.select import sample
from s3prl_fusion.select.layout import Wanted
from s3prl_fusion.select.recipes import shorten
from s3prl_fusion.superb import table_tasks
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.runs.experiment import Experiment, Settings, Upstream
from s3prl_fusion.superb.tasks import TASKS

KINDS = list(table_tasks.KINDS)
HOUR = Wanted(3600)


@pytest.fixture(autouse=True)
def known():
    """Forgets the tasks on tables again."""
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


@pytest.fixture
def rows(tmp_path) -> list[dict[str, str]]:
    """Four speakers of dev with three rows each, so that some choose and others give the score."""
    found = tables.rows(tmp_path)
    model = next(row for row in found if row["split"] == "dev")
    for i in range(12):
        path = f"wavs/more{i}.wav"
        clip(tmp_path / path, i, 0.4)
        found.append({**model, "path": path, "speaker": f"d{i % 4}", "label": ("glad", "very low")[i % 2]})
    for row in [row for row in found if row["split"] == "test"]:
        path = row["path"].replace("test", "test-again")
        clip(tmp_path / path, len(found), 0.4)
        found.append({**row, "path": path})
    return found


def made_of(kind: str, rows: list[dict[str, str]], folder: Path, wanted: Wanted = HOUR):
    table = Table(tables.write(folder / "czech.csv", rows), "czech")
    task = table_tasks.make(kind, table)
    prepared = prepare([task], {task.corpus.name: Source(table.path)}, folder / "data")
    return task, sample.make(prepared, [task], folder / "exp", wanted)


def sources(made) -> dict[str, str]:
    """Where each file of a sample really is."""
    (root,) = made.roots.values()
    return {path.relative_to(root).as_posix(): path.resolve().name for path in root.rglob("*.wav")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipes_find_what_they_read_and_no_file_of_test(kind, rows, tmp_path):
    task, made = made_of(kind, rows, tmp_path)
    found = sources(made)
    assert found and not any(name.startswith("test") for name in found.values())
    assert len(set(found.values())) == len(found)
    whole = read_mapping(downstream_configs_dir() / task.config)
    (tmp_path / "configs" / "table").mkdir(parents=True)
    (tmp_path / "configs" / task.config).write_text(json.dumps(shorten(whole, task)))
    upstream = Upstream("fbank", FusionConfig((MemberConfig("fbank"),)), {})
    settings = Settings(tmp_path / "exp", tmp_path / "configs")
    config = Experiment(upstream, task, sample.folds(task)[0], settings, made).recipe()
    listed = recipes.find(task.downstream, config).listed
    assert listed(config, task.eval_split)
    recipes.check_texts(task.downstream, config, [task.eval_split])
    if kind in ("asr", "pr"):
        assert {path.split("/")[0] for path in found} == {"train", "dev", "test"}
        assert all(name.startswith("train") == path.startswith("train") for path, name in found.items())


def test_labels_keep_dev_for_the_checkpoint_and_for_the_score(rows, tmp_path):
    task, made = made_of("classify", rows, tmp_path)
    folder = made.folder / task.corpus.paths("labels")[0] / "Session1"
    train, test = (read_json(folder / f"{part}_meta_data.json") for part in ("train", "test"))
    names = [[row["path"] for row in table["meta_data"]] for table in (train, test)]
    choose = names[0][-train["dev"] :]
    assert not set(names[0]) & set(names[1]) and len(choose) == 5 and len(names[1]) == 9
    assert not any("train" in name for name in [*choose, *names[1]])


@pytest.mark.parametrize("folds", [2, 3])
def test_of_folds_the_first_ones_test_set_stays_shut(folds, rows, tmp_path):
    for i, row in enumerate(rows):
        row.pop("split")
        row["fold"] = f"part{i % folds}"
    task, made = made_of("classify", rows, tmp_path)
    shut = {Path(row["path"]).name for row in rows if row["fold"] == "part0"}
    assert len(task.folds) == folds and not shut & set(sources(made).values())
    for fold in sample.folds(task):
        folder = made.folder / task.corpus.paths("labels")[0] / fold.replace("fold", "Session")
        train, test = (
            {row["path"] for row in read_json(folder / f"{part}_meta_data.json")["meta_data"]}
            for part in ("train", "test")
        )
        assert train and test and not train & test


def test_too_little_is_refused(rows, tmp_path):
    with pytest.raises(CorpusError, match="the sample of czech ASR has no clip to train or choose or score"):
        made_of("asr", rows, tmp_path, Wanted(0.1))
    few = [row for row in rows if "more" not in row["path"]]
    few += [{**row, "path": row["path"].replace("dev", "more")} for row in few if "dev" in row["path"]]
    with pytest.raises(CorpusError, match="czech SV: dev needs four speakers or more"):
        made_of("verify", few, tmp_path)


@pytest.mark.slow
def test_from_a_table_and_a_class_of_ones_own_to_a_recommendation(rows, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my_model.py").write_text(FILES["my_model.py"])
    tables.write(Path("czech.csv"), rows)
    words = ["-u", "my_model.py:MyModel,mfcc", "-t", "classify", "--table", "czech.csv", "-o", "exp", "--steps", "10"]
    try:
        assert main(["select", *words, "--device", "cpu"]) == 0
    finally:
        s3prl_fusion.unregister()
    out = capsys.readouterr().out
    assert "my_model_MyModel + mfcc" in out and "for classify@czech use " in out
    (command,) = [line for line in out.splitlines() if line.strip("` ").startswith("s3prl-fusion superb")]
    assert "-t classify " in command and f"--table {tmp_path / 'czech.csv'} --table-name czech" in command
