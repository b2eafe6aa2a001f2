"""A user's own task: what it gets wrong is told before anything is prepared, and never as a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s3prl_fusion.cli import main
from s3prl_fusion.superb.tasks import TASKS

OWN = """
from dataclasses import replace
from pathlib import Path

from s3prl_fusion.corpora.base import Corpus, Option
from s3prl_fusion.superb.tasks import TASKS

ER = TASKS["er"]
MOODS = Corpus(
    name="moods",
    folder="folder with moods",
    help="record some",
    products={"tables": "moods"},
    prepare=lambda source, products, folder: (folder / "moods").write_text(str(source.file("moods-list"))),
    options={"moods-list": Option("which of them")},
)
PATHS = dict(zip(ER.paths, ("root", "tables")))
TASK = replace(ER, name="mood", title="Mood", corpus=MOODS, paths=PATHS, options=("moods-list",))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the user's file, with something replaced, and forgets its task afterwards."""
    monkeypatch.chdir(tmp_path)
    before = dict(TASKS)

    def write(old: str = "", new: str = "") -> str:
        assert old in OWN
        (tmp_path / "own.py").write_text(OWN.replace(old, new) if old else OWN)
        return "own.py:TASK"

    yield write
    TASKS.clear()
    TASKS.update(before)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('name="mood"', 'name="mood_seed2"', "does not end as a run's folder does"),
        ('("root", "tables")', '("root", "table")', "'moods': unknown path 'table'; choose from .*mean 'tables'"),
        ('("root", "tables")', '("root", "word.dict")', "'moods': unknown path 'word.dict'; choose from char.dict, "),
        ('options=("moods-list",)', 'options=("list",)', "'moods': unknown option 'list'; choose from moods-list"),
        ('name="moods"', 'name="jobs"', "corpus 'jobs': --jobs is an option already"),
        ('"moods-list"', '"device"', "corpus 'moods': --device is an option already"),
    ],
)
def test_a_task_that_cannot_be(old, new, match, own, capsys):
    assert main(["superb", "-u", "fbank", "-o", "exp", "-t", own(old, new)]) == 2
    assert re.search(match, capsys.readouterr().err)
    assert not Path("exp").exists()


def test_an_option_that_prepare_has_already(own, capsys):
    task = own('"moods-list"', '"list"')
    assert main(["prepare", task, "--corpus", ".", "-o", "data"]) == 2
    assert "corpus 'moods': --list is an option already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["TASK --output=data --moods-list a", "--output=data TASK --moods-list a", "-o data --moods-list=a TASK"]
)
def test_the_task_may_stand_anywhere(words, own, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "a").touch()
    assert main(["prepare", "--corpus", "corpus", *words.replace("TASK", own()).split()]) == 0
    assert (tmp_path / "data" / "moods").read_text() == "a"


def test_prepare_takes_one_task(tmp_path, capsys):
    assert main(["prepare", "asr,pr", "--corpus", str(tmp_path), "-o", str(tmp_path / "data")]) == 2
    assert "prepare takes one task at a time; got 'asr,pr'" in capsys.readouterr().err
