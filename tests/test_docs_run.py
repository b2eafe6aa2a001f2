"""Commands of the pages on models and corpora of one's own, run as they stand, with what ships alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_docs import FILES, PAGES, ROOT


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A current folder with the demo, and with the file that the user has written."""
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    (tmp_path / "my_model.py").write_text(FILES["my_model.py"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(page: str, heading: str) -> list[str]:
    """The commands of a section."""
    block = PAGES[page].split(f"{heading}\n")[1].split("```bash\n")[1].split("```")[0]
    return block.replace("\\\n", " ").splitlines()


def run(line: str) -> str:
    """Run a line of a shell, and return what it says."""
    command = line.replace("s3prl-fusion", f"{sys.executable} -m s3prl_fusion", 1)
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=where)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_speech_and_a_model_of_ones_own_to_a_scored_table(checkout):
    prepare, train, compare = lines("docs/own-corpus.md", "### Try it here")
    assert "30 letters: А Б В" in run(f"{prepare} 2>&1")
    assert "| my_model_MyModel | weighted_sum |" in run(train)
    for name in ("my_model_MyModel", "fbank"):
        kept = json.loads((checkout / "exp/russian" / name / "classify@russian/fold1/score.json").read_text())
        assert (kept["task"], kept["utterances"]) == ("classify@russian", 16) and 0 <= kept["score"] <= 100
    assert "| russian label acc ↑ |" in run(compare)


@pytest.mark.slow
def test_a_class_of_ones_own_is_checked_and_measured(checkout):
    check, profile, _ = lines("docs/own-model.md", "## An upstream of your own")
    assert "my_model_MyModel keeps to run_downstream's contract" in run(check)
    assert "38,016" in run(profile)
