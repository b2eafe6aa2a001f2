"""A score is shown, compared and submitted only where it still follows from what lies on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from test_superb_compare import texts_of, write_run
from test_superb_pipeline import Fake
from tiny_corpora import official

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora.base import Source
from s3prl_fusion.errors import UsageError
from s3prl_fusion.host import recipes
from s3prl_fusion.metrics import ScoreError
from s3prl_fusion.superb.layout import RunFolder
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.runs.pipeline import run_all
from s3prl_fusion.superb.scores import kept
from s3prl_fusion.superb.scores.scoring import names_digest
from s3prl_fusion.superb.tasks import TASKS

FOLDS = {"er": "fold1"}
AFTER_NAME = re.compile("[ ,]")


@pytest.fixture(params=[name for name, task in TASKS.items() if task.read is None])
def run(request, tmp_path) -> tuple[Path, Path, Path]:
    """A scored run of each task: its folder, its hypotheses, its references."""
    task, fold = request.param, FOLDS.get(request.param)
    hypotheses, references = texts_of(task, np.random.default_rng(0))
    kept_too = {"utterances": len(references), "test_set": names_digest(references)}
    folder = write_run(tmp_path / "exp" / "up" / task, task, hypotheses, references, fold=fold, **kept_too)
    files = RunFolder(folder)
    return folder, files.hypothesis(TASKS[task], fold), files.reference(TASKS[task], fold)


def replace_all(hypothesis: Path, reference: Path) -> None:
    text = "0.5" if "sv" in hypothesis.parts else "X"
    lines = hypothesis.read_text().splitlines()
    names = [AFTER_NAME.split(line)[0] for line in lines]
    hypothesis.write_text("".join(f"{name}{line[len(name)]}{text}\n" for name, line in zip(names, lines)))


def drop_lines(hypothesis: Path, reference: Path) -> None:
    hypothesis.write_text("".join(hypothesis.read_text().splitlines(keepends=True)[:-3]))


def drop_lines_of_both(hypothesis: Path, reference: Path) -> None:
    drop_lines(hypothesis, reference)
    names = {AFTER_NAME.split(line)[0] for line in hypothesis.read_text().splitlines()}
    lines = reference.read_text().splitlines(keepends=True)
    lines = [line for line in lines if AFTER_NAME.split(line)[0] in names]
    reference.write_text("".join(lines))


def rename_all(hypothesis: Path, reference: Path) -> None:
    for path in (hypothesis, reference):
        path.write_text("".join(f"other-{line}" for line in path.read_text().splitlines(keepends=True)))


def remove_references(hypothesis: Path, reference: Path) -> None:
    reference.unlink()


def damage(hypothesis: Path, reference: Path) -> None:
    hypothesis.write_bytes(b"\xff\xfe" + hypothesis.read_bytes())


@pytest.mark.fault(
    "hypotheses that were replaced, cut, renamed or removed after the score",
    "refused by `results`, `--compare` and `submit`: the file and its difference",
)
@pytest.mark.parametrize(
    "change, told",
    [
        (replace_all, "{hypothesis} gives .* %, and .*score.json says .* %; evaluate this run again"),
        (drop_lines, "{hypothesis}: hypotheses and references differ: 3 missing .*evaluate this run again"),
        (drop_lines_of_both, "{reference} has 37 utterances that are not the 40 of .*score.json; evaluate this run"),
        (rename_all, "{reference} has 40 utterances that are not the 40 of .*score.json; evaluate this run again"),
        (remove_references, "{reference} is gone, from which .*score.json was made; evaluate this run again"),
        (damage, "{hypothesis}: {hypothesis}: no text in UTF-8"),
    ],
)
def test_a_score_that_its_files_do_not_give_any_more_is_refused(run, change, told, capsys):
    folder, hypothesis, reference = run
    assert main(["results", "--compare", str(folder), str(folder), "--resamples", "10"]) == 0
    capsys.readouterr()
    change(hypothesis, reference)
    with pytest.raises(ScoreError, match=told.format(hypothesis=hypothesis, reference=reference)) as raised:
        kept.read(RunFolder(folder))
    for words in ([str(folder.parents[1])], ["--compare", str(folder), str(folder)]):
        assert main(["results", *words]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err == f"s3prl-fusion results: error: {raised.value}\n"


@pytest.mark.parametrize("content", ["", "[]", "null", '{"score": 5}', '{"score": nul'])
def test_a_damaged_score_file(content, tmp_path):
    texts = {"a": "x", "b": "y"}
    folder = write_run(tmp_path / "run", "sid", texts, texts)
    (folder / "score.json").write_text(content)
    with pytest.raises(UsageError, match=r"score\.json is damaged: .*; score the run again"):
        kept.read(RunFolder(folder))


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path)


@pytest.mark.fault(
    "predictions, a score.json or a checkpoint that changed after a run of `superb`",
    "the same `superb` evaluates, or scores, that run again",
)
@pytest.mark.parametrize(
    "name, again",
    [
        ("test_predict.txt", ["evaluate"]),
        ("test_truth.txt", ["evaluate"]),
        ("dev-best.ckpt", ["evaluate"]),
        ("score.json", []),
    ],
)
def test_the_same_command_makes_anew_what_has_changed(fake, name, again):
    (experiment,) = fake.experiments("up")
    assert run_all([experiment], jobs=1) == {}
    path = experiment.folder.path / name
    whole = kept.read(experiment.folder)
    if name.endswith(".ckpt"):
        states = torch.load(path, weights_only=False)
        torch.save({**states, "Downstream": {**states["Downstream"], "linear.weight": torch.ones(3, 4)}}, path)
    elif name.endswith(".json"):
        path.write_text(json.dumps({**whole, "score": 99.0}))
    else:
        path.write_text(path.read_text().splitlines(keepends=True)[0])
    assert run_all([experiment], jobs=1) == {}
    assert [call[1] for call in fake.calls()] == ["train", "evaluate", *again]
    times = ("train_seconds", "evaluate_seconds")
    found = kept.read(experiment.folder)
    assert {k: v for k, v in found.items() if k not in times} == {k: v for k, v in whole.items() if k not in times}


@pytest.mark.fault(
    "an evaluation that leaves out utterances of the test set",
    "an error in scoring: how many are missing of how many, and which",
)
@pytest.mark.parametrize(
    "listed, told",
    [
        (
            "3 a.wav\n3 b.wav\n3 c.wav\n1 d.wav\n",
            r"on 2 utterances, and the test set has 3: 1 missing \['c'\], 0 extra",
        ),
        ("3 a.wav\n2 b.wav\n", r"on 2 utterances, and the test set has 1: 0 missing \[\], 1 extra \['b'\]"),
        (
            None,
            r"iden_split.txt is gone, which lists the utterances of the test set: .*give the `superb` command",
        ),
    ],
)
def test_completeness_is_checked_against_the_prepared_table(fake, listed, told, capsys):
    (experiment,) = fake.experiments("up")
    if listed is None:
        (fake.folder / "data" / "iden_split.txt").unlink()
    else:
        fake.list_clips(listed)
    (error,) = run_all([experiment], jobs=1).values()
    with pytest.raises(ScoreError, match=told):
        raise error.__cause__
    assert error.stage == "score" and not experiment.folder.result.exists()
    capsys.readouterr()
    assert main(["score", str(experiment.folder.path)]) == 2
    assert str(error) in capsys.readouterr().err


def test_every_recipe_lists_its_test_set(tmp_path):
    """Read once more from the official files, without the package."""
    roots = official(tmp_path / "corpora")
    libri, vox, iemocap = (roots[name] for name in ("librispeech", "voxceleb1", "iemocap"))
    spoken = [line.split()[0] for table in (libri / "test-clean").rglob("*.txt") for line in table.open()]
    clips = [line.split()[1] for line in (vox / "iden_split.txt").open() if line.startswith("3 ")]
    trials = [line.split()[1:] for line in (vox / "veri_test.txt").open()]
    labelled = [line.split("\t") for table in iemocap.glob("Session2/dialog/*/*.txt") for line in table.open()]
    commands = roots["fluent-commands"] / "data" / "test_data.csv"
    kept_labels = {"neu", "hap", "exc", "ang", "sad"}
    expected = {
        "asr": spoken,
        "pr": spoken,
        "sid": [clip.replace("/", "-").removesuffix(".wav") for clip in clips],
        "sv": ["_".join(clip.replace("/", "-").removesuffix(".wav") for clip in pair) for pair in trials],
        "sd": [line.split()[0] for line in (roots["librimix-sd"] / "test" / "wav.scp").open()],
        "qbe": [f"quesst14_eval_{word:04d}" for word in (1, 2, 4)],
        "er": [row[1] for row in labelled if row[0].startswith("[") and row[2] in kept_labels],
        "ks": [f"{clip.parent.name}-{clip.name}" for clip in roots["speech-commands-test"].rglob("*.wav")],
        "ic": [Path(row.split(",")[1]).stem for row in commands.read_text().splitlines()[1:]],
        "sf": [clip.stem for clip in (roots["snips"] / "test").iterdir()],
    }
    for name, task in TASKS.items():
        prepared = prepare([task], {task.corpus.name: Source(roots[task.corpus.name])}, tmp_path / "data")
        config = yaml.safe_load((downstream_configs_dir() / task.config).read_text(encoding="utf-8"))
        values = {key: prepared.value(task.corpus, product) for key, product in task.paths.items()}
        for key, value in {**values, **({task.fold_key: "fold2"} if task.fold_key else {})}.items():
            *sections, last = key.split(".")
            node = config
            for section in sections:
                node = node[section]
            node[last] = value
        recipe = recipes.find(task.downstream, config)
        assert recipe is not None and recipe.listed is not None
        assert sorted(recipe.listed(config, task.eval_split)) == sorted(expected[name]), name
