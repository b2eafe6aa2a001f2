"""What is added from outside the package, with no edit in it: an interface, an upstream, a task, a corpus.

The files are those that docs/own-corpus.md and docs/own-model.md tell the user to write.
"""

from __future__ import annotations

import json
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from official_layouts import clip, official_iemocap
from test_docs import FILES

import s3prl_fusion
from s3prl_fusion.cli import main
from s3prl_fusion.superb import tasks
from s3prl_fusion.upstreams.entries import ENTRIES, Entry, Size

STEPS = "total_steps=2 eval_step=2 save_step=2 log_step=2 gradient_accumulate_steps=1".split()
TINY = [
    "--",
    "-o",
    ",,".join([*map("config.runner.{}".format, STEPS), "config.downstream_expert.datarc.num_workers=0"]),
]
CORPUS_NAME = '="moods",\n    folder'  # as it stands in my_corpus.py
FUSION = {"members": ["fbank", "mfcc"], "interface": {"name": "gated:Gated", "output_dim": 16, "bias": False}}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """A current folder with the user's files, and tasks as they were before."""
    monkeypatch.chdir(tmp_path)
    before = dict(tasks.TASKS)
    for name in ("gated.py", "my_task.py", "my_corpus.py", "moods.yaml"):
        (tmp_path / name).write_text(FILES[name])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(FUSION))
    yield tmp_path
    tasks.TASKS.clear()
    tasks.TASKS.update(before)


@pytest.fixture
def moods(tmp_path) -> Path:
    """The user's corpus: two labels, more of one than of the other."""
    for part in ("train", "test"):
        for label, count in (("glad", 4), ("low", 2)):
            for i in range(count):
                clip(tmp_path / "moods" / part / label / f"{label}{i}.wav", 10 * len(label) + i)
    return tmp_path / "moods"


def edited(path: Path, *pairs: tuple[str, str]) -> str:
    """Edits a file of the user's, under another name, since a process loads a file once; returns that name."""
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    copy = path.with_name(f"other_{path.name}")
    copy.write_text(text)
    return copy.name


def refused(capsys, *words: str) -> str:
    before = sorted(Path().rglob("*.json"))
    assert main(list(words)) == 2
    assert sorted(Path().rglob("*.json")) == before
    return capsys.readouterr().err


def test_an_upstream_is_a_row(monkeypatch, tiny_wav2vec2, recipe_configs, capsys):
    """Known to short names, to `list` with its size, and to runs, which load it through another entry."""
    row = Entry("tiny_mine", "mine", size=Size(3, 24, 320, 1), via="hf_wav2vec2_custom", ckpt=tiny_wav2vec2)
    monkeypatch.setitem(ENTRIES, row.name, row)
    assert main(["list", "-v", "fused_mine_fbank"]) == 0
    assert "tiny_mine 3 x 24 @ 320 + fbank 1 x 240 @ 160" in capsys.readouterr().out
    assert main(["list"]) == 0 and ", mine" in capsys.readouterr().out
    assert main(["list", "fused_mine_large"]) == 2
    train("fused_mine_fbank_weighted_sum", recipe_configs)
    assert json.loads(Path("exp/run.json").read_text())["fusion"]["members"][0] == {"name": "tiny_mine"}


def test_an_upstream_of_another_kind_is_a_file_and_a_row(monkeypatch, recipe_configs, tmp_path):
    (tmp_path / "energy.py").write_text(FILES["s3prl_fusion/upstreams/energy.py"])
    row = Entry("frame_energy", size=Size(1, 2, 320, 0), factory=f"{tmp_path / 'energy.py'}:Energy")
    monkeypatch.setitem(ENTRIES, row.name, row)
    train("fused__frame_energy__mfcc", recipe_configs)
    energy = s3prl_fusion.FusedUpstream(s3prl_fusion.FusionConfig.from_name("fused__frame_energy"))
    (states,) = energy([torch.ones(3200), torch.ones(1601)])["hidden_states"]
    assert states.shape == (2, 10, 2)


def train(upstream: str, recipe_configs) -> None:
    config = ["-d", "emotion", "-c", str(recipe_configs["emotion"]), "-p", "exp", "--device", "cpu"]
    try:
        assert main(["run", "-m", "train", "-u", upstream, *config]) == 0
    finally:
        s3prl_fusion.unregister()
    assert Path("exp/states-2.ckpt").is_file()


@pytest.mark.slow
def test_a_task_on_a_known_corpus_with_an_interface_and_a_metric_of_the_users(tmp_path, capsys):
    """From one command to a score; scored again in a process that knows nothing else; then tables of it."""
    corpus = official_iemocap(tmp_path / "IEMOCAP")
    one_fold = edited(tmp_path / "my_task.py", ('folds=("fold1", "fold2")', 'folds=("fold2",)')) + ":TASK"
    where = ["-o", "exp", "--iemocap", str(corpus), "--device", "cpu"]
    assert main(["superb", "-u", "mine.yaml", "-t", one_fold, *where, *TINY]) == 0
    out = capsys.readouterr().out
    assert "| mine | gated.py:Gated |" in out and "ER, classes alike UA % ↑" in out
    run = Path("exp/mine/er_ua/fold2")
    result = json.loads((run / "score.json").read_text())
    assert (result["task"], result["fold"], result["chance"]) == ("er_ua", "fold2", 25.0)
    assert result["score"] == pytest.approx(mean_recall(run))

    command = [sys.executable, "-m", "s3prl_fusion", "score", str(run), "-t", one_fold]
    (run / "score.json").unlink()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and f"UA {result['score']:.2f} % of" in done.stdout, done.stderr
    assert json.loads((run / "score.json").read_text()) == result

    assert main(["results", "exp", "-t", one_fold]) == 0
    assert "ER, classes alike fold2" in (tables := capsys.readouterr().out) and "SUPERB score" not in tables
    assert main(["results", "--compare", str(run), str(run), "--resamples", "20", "-t", one_fold]) == 0
    assert "no difference shown" in capsys.readouterr().out
    # The folder is there already: an edit of the file alone leads to a new score, and to no new training.
    trained = (run / "stages" / "train.json").read_text()
    (tmp_path / "other_my_task.py").write_text((tmp_path / "other_my_task.py").read_text() + "# edited\n")
    (run / "score.json").write_text(json.dumps({**result, "score": -1}))
    assert main(["superb", "-u", "mine.yaml", "-t", one_fold, *where, *TINY]) == 0
    assert json.loads((run / "score.json").read_text()) == result
    assert (run / "stages" / "train.json").read_text() == trained

    assert "has none of the leaderboard's asr, pr, sid, er, sv" in refused(capsys, "submit", "exp", "-u", "mine")
    tasks.TASKS.pop("er_ua")
    for words in (["results", "exp"], ["score", str(run)], ["results", "--compare", str(run), str(run)]):
        assert "is of the task 'er_ua', which is none of asr, pr" in refused(capsys, *words)


def mean_recall(run: Path) -> float:
    truth, said = (dict(map(str.split, (run / f"test_fold2_{n}.txt").open())) for n in ("truth", "predict"))
    labels = sorted(set(truth.values()))
    of = {label: [key for key in truth if truth[key] == label] for label in labels}
    return 100 * sum(sum(said[k] == label for k in of[label]) / len(of[label]) for label in labels) / len(labels)


def by_hand(line: str) -> None:
    """Runs a line as a shell does; without a shell where it only starts this program, to save time."""
    tasks.TASKS.pop("moods", None)
    program, words = [sys.executable, "-m", "s3prl_fusion"], shlex.split(line)
    assert words[:3] == program
    try:
        done = subprocess.run(line, shell=True).returncode if ">" in words else main(words[3:])
    finally:
        s3prl_fusion.unregister()
    assert done == 0


def test_a_corpus_of_the_users_by_the_lines_of_a_dry_run(moods, tmp_path, capsys, monkeypatch):
    words = ["superb", "-u", "fbank", "-t", "my_corpus.py:TASK", "-o", "exp", "--moods", str(moods), "--device", "cpu"]
    assert main([*words, "--dry-run", *TINY]) == 0
    assert not Path("exp").exists()
    lines = capsys.readouterr().out.splitlines()
    assert [shlex.split(line)[3] for line in lines] == ["prepare", "run", "run", "score", "results"]
    monkeypatch.chdir("/")
    for line in lines:
        by_hand(line)
    result = json.loads((tmp_path / "exp/fbank/moods/score.json").read_text())
    assert (result["task"], result["utterances"], result["chance"]) == ("moods", 6, 50.0)
    assert "| fbank |" in (tmp_path / "exp/results.md").read_text() and (tmp_path / "exp/results.png").is_file()


def test_options_of_the_users_corpus(moods, tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["superb", "-t", "my_corpus.py:TASK", "-h"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--moods DIR folder with train/ and test/ (moods)" in text
    assert "--moods-labels FILE the labels to keep, separated by spaces (moods)" in text
    Path("labels.txt").write_text("low glad")
    for out, more, labels in (("a", [], ["glad", "low"]), ("b", ["--moods-labels", "labels.txt"], ["low", "glad"])):
        assert main(["prepare", "-o", out, "my_corpus.py:TASK", "--corpus", str(moods), *more]) == 0
        assert f"downstream_expert.datarc.meta_data: {tmp_path / out / 'moods'}" in capsys.readouterr().out
        table = json.loads((tmp_path / out / "moods" / "Session1" / "test_meta_data.json").read_text())
        assert table["labels"] == {label: i for i, label in enumerate(labels)} and len(table["meta_data"]) == 6


def test_a_corpus_that_lacks_something(moods, tmp_path, capsys):
    words = ["superb", "-u", "fbank", "-o", "exp", "-t", "my_corpus.py:TASK"]
    text = refused(capsys, *words)
    assert "--moods is missing (needed by moods): record it, as DIR/train/<label>/*.wav" in text
    assert "is not a folder: record it" in refused(capsys, *words, "--moods", "nothing")
    assert "--corpus is missing: record it" in refused(capsys, "prepare", "my_corpus.py:TASK", "-o", "data")
    where = ["prepare", "my_corpus.py:TASK", "--corpus", str(moods), "-o", "data"]
    clip(moods / "train" / "low" / "glad0.wav", 1)
    assert "clips of train have the same name" in refused(capsys, *where)
    (moods / "train").rename(moods / "other")
    assert f"no {moods / 'train'}/<label>/*.wav; record it" in refused(capsys, *where)
    (tmp_path / "moods.yaml").unlink()
    text = refused(capsys, *words, "--moods", str(moods))
    assert f"has no moods.yaml; put your own beside {tmp_path / 'my_corpus.py'}:TASK" in text


@pytest.mark.parametrize(
    ("file", "pairs", "match"),
    [
        ("my_task.py", [('name="er_ua"', 'name="er"')], "is called 'er', as another is; give it a name of its own"),
        ("my_task.py", [('title="ER, classes alike", ', "")], "is entitled 'ER', as another is"),
        ("my_task.py", [('name="er_ua"', 'name="er/ua"')], "is called 'er/ua'; a name is of letters"),
        ("my_task.py", [("TASK = replace", "TASK = dict(a=1) or replace")], "must be a s3prl_fusion.superb.tasks.Task"),
        ("my_task.py", [("TASK = replace", "OTHER = replace")], "unknown name 'TASK'; choose from ER, OTHER"),
        ("my_corpus.py", [(CORPUS_NAME, '="iemocap",\n    folder')], "is called 'iemocap', as another is; rename"),
        ("my_corpus.py", [('"tables": "moods"', '"tables": "meta_data"')], "makes 'meta_data', as 'iemocap' does"),
        ("my_corpus.py", [(CORPUS_NAME, '="device",\n    folder')], "--device is an option already"),
        ("my_corpus.py", [("moods-labels", "lexicon")], "--lexicon is an option already; give it another name"),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(file, pairs, match, tmp_path, capsys):
    own = edited(tmp_path / file, *pairs) + ":TASK"
    assert match in refused(capsys, "superb", "-u", "fbank", "-o", "exp", "-t", own)


def test_a_file_that_is_not_there(capsys):
    assert "cannot be imported" in refused(capsys, "superb", "-u", "fbank", "-o", "exp", "-t", "nothing.py:TASK")
    assert "argument --corpus" not in refused(capsys, "prepare", "-o", "data", "asr")
    with pytest.raises(SystemExit):
        main(["superb", "-t"])
    assert "usage: s3prl-fusion superb" in capsys.readouterr().err


def test_two_files_tasks_of_one_name_are_told_apart_by_their_files(tmp_path, capsys):
    other = edited(tmp_path / "my_task.py")
    assert "is called 'er_ua', as another is" in refused(capsys, "results", "x", "-t", f"my_task.py:TASK,{other}:TASK")
    (again,) = tasks.parse_tasks(f"my_task.py:TASK,{tmp_path}/my_task.py:TASK")
    assert again.source == f"{tmp_path / 'my_task.py'}:TASK"


def test_another_process_unpickles_a_task_and_knows_it(tmp_path):
    """What a Slurm job does."""
    (task,) = tasks.parse_tasks("my_corpus.py:TASK")
    (tmp_path / "task.pkl").write_bytes(pickle.dumps(task))
    code = "import pickle, sys; from s3prl_fusion.superb import tasks; task = pickle.load(open(sys.argv[1], 'rb'));"
    code += "assert tasks.TASKS[task.name] is task; print(task.config, task.corpus.prepare.__name__)"
    done = subprocess.run([sys.executable, "-c", code, "task.pkl"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "moods.yaml"), "prepare"]


def test_a_task_whose_name_begins_with_anothers_is_not_its_variant(tmp_path):
    from s3prl_fusion.superb.layout import RunFolder, variant_folders

    (task,) = tasks.parse_tasks("my_task.py:TASK")
    er = tasks.TASKS["er"]
    runs = [RunFolder.of(tmp_path, "up", which, "fold1", 2, 1e-5) for which in (er, task)]
    for run in runs:
        run.path.mkdir(parents=True)
        assert run.upstream == tmp_path / "up"
    assert [variant_folders(tmp_path / "up", which) for which in (er, task)] == [[run.path.parent] for run in runs]
