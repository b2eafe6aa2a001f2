"""The sampled corpora: the recipes' layouts, all of it from train and dev, the same at every call."""

from __future__ import annotations

import shutil

import pytest
from official_layouts import CHAPTERS, CLIPS, DEV_SPEAKERS, official

from s3prl_fusion import FusionConfig, MemberConfig
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.corpora.base import Prepared, Source
from s3prl_fusion.errors import CorpusError, UsageError
from s3prl_fusion.files import read_mapping
from s3prl_fusion.host import recipes
from s3prl_fusion.select import sample
from s3prl_fusion.select.layout import Wanted
from s3prl_fusion.select.recipes import shorten
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.runs.experiment import Experiment, Settings, Upstream
from s3prl_fusion.superb.tasks import TASKS

ALL = [TASKS[name] for name in ("asr", "pr", "sid", "er", "sv")]
HOUR = Wanted(3600)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    """Small official corpora, prepared; with so many speakers in VoxCeleb1 that SV's dev trials have five."""
    root = tmp_path_factory.mktemp("corpora")
    roots = official(root)
    for i in range(16):
        shutil.copytree(
            roots["voxceleb1"] / "dev" / "wav" / DEV_SPEAKERS[i % 4], roots["voxceleb1"] / f"dev/wav/id{10101 + i}"
        )
    return prepare(ALL, {name: Source(path) for name, path in roots.items()}, root / "data")


@pytest.fixture(scope="module")
def made(prepared, tmp_path_factory) -> Prepared:
    return sample.make(prepared, ALL, tmp_path_factory.mktemp("exp"), HOUR)


def sources(made: Prepared, corpus: str) -> dict[str, str]:
    """Where each file of a sample really is, below its corpus."""
    root = made.roots[corpus]
    files = [path for path in root.rglob("*") if path.suffix in (".wav", ".flac")]
    return {path.relative_to(root).as_posix(): path.resolve().as_posix() for path in files}


def test_no_file_of_a_test_set_is_laid_out(made):
    libri, vox, iemocap = (sources(made, name) for name in ("librispeech", "voxceleb1", "iemocap"))
    assert libri and not any(CHAPTERS["test-clean"][0] in path for path in libri.values())
    third = next(name for name, split in CLIPS.items() if split == 3)
    sid = {path: source for path, source in vox.items() if path.startswith("sid/")}
    assert sid and not any(source.endswith(third) for source in sid.values())
    sv = set(vox) - set(sid)
    assert sv and not any("/VoxCeleb1/test/wav/" in vox[path] for path in sv)
    assert iemocap and not any("/Session1/" in path for path in iemocap.values())
    tables = [
        path.read_text(encoding="utf-8") for path in made.folder.rglob("*") if path.suffix in (".txt", ".csv", ".json")
    ]
    assert not any(part in text for part in (*CHAPTERS["test-clean"], "Session1/") for text in tables)


def test_of_dev_one_part_chooses_and_the_other_gives_the_score(made):
    libri = sources(made, "librispeech")
    assert {path.split("/")[0] for path in libri} == {"train-clean-100", "dev-clean", "test-clean"}
    assert all(("dev-clean" in source) == (not path.startswith("train")) for path, source in libri.items())
    assert len(set(libri.values())) == len(libri)
    trials = {
        part: {
            word.split("/")[0] for word in (made.folder / f"sv_{part}_trials.txt").read_text().split() if "/" in word
        }
        for part in ("dev", "test")
    }
    assert trials["dev"] and trials["test"] and not trials["dev"] & trials["test"]
    assert not (trials["dev"] | trials["test"]) & set((made.folder / "sv_train_speakers.txt").read_text().split())


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_the_recipes_find_what_they_read(task, made, tmp_path):
    """The config that a run gets names a test set, and its files are there with their texts."""
    whole = downstream_configs_dir() / task.config
    (tmp_path / task.config).write_text(whole.read_text())
    upstream = Upstream("fbank", FusionConfig((MemberConfig("fbank"),)), {})
    fold = sample.folds(task)[0]
    config = Experiment(upstream, task, fold, Settings(tmp_path, tmp_path), made).recipe()
    listed = recipes.find(task.downstream, config).listed
    assert listed(config, task.eval_split)
    assert listed(config, task.best_ckpt.partition("-best")[0]) if task.name in ("asr", "pr", "sid", "sv") else True
    recipes.check_texts(task.downstream, config, [task.eval_split])


def test_it_is_laid_out_once_and_anew_when_something_has_changed(prepared, tmp_path):
    tasks = [TASKS["pr"]]
    made = sample.make(prepared, tasks, tmp_path, HOUR)
    link = next(path for path in made.folder.rglob("*.flac"))
    before = link.lstat().st_mtime_ns
    assert sample.make(prepared, tasks, tmp_path, HOUR) == made
    assert link.lstat().st_mtime_ns == before
    link.unlink()
    sample.make(prepared, tasks, tmp_path, HOUR)
    assert link.is_file()
    inventory = made.inventory(TASKS["pr"].corpus, "pr").read_text()
    sample.make(prepared, tasks, tmp_path, Wanted(6))
    assert made.inventory(TASKS["pr"].corpus, "pr").read_text() != inventory
    assert sum(1 for _ in made.folder.rglob("*.flac")) < 8


def test_words_of_the_test_set_are_not_in_the_lexicon(made, prepared):
    said = " ".join(path.read_text() for path in made.roots["librispeech"].rglob("*.trans.txt"))
    for line in (made.folder / "lexicon.txt").read_text().splitlines():
        assert line.split()[0] in said


def test_too_little_is_refused(prepared, tmp_path):
    with pytest.raises(CorpusError, match=r"the sample of LibriSpeech has no clip to train or choose or score"):
        sample.make(prepared, [TASKS["asr"]], tmp_path, Wanted(0.5))
    assert not (tmp_path / "sample").exists()


def test_a_task_of_ones_own_is_refused():
    from dataclasses import replace

    with pytest.raises(UsageError, match=r"-t mine: select knows how to sample .* of asr, pr, sid, er, sv alone"):
        sample.check_tasks([TASKS["er"], replace(TASKS["er"], name="mine", source="mine.py:TASK")])
    with pytest.raises(UsageError, match=r"-t ks,sf: select knows"):
        sample.check_tasks([TASKS["ks"], TASKS["er"], TASKS["sf"]])


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_short_recipes_are_the_recipes_but_for_their_length(task):
    whole = read_mapping(downstream_configs_dir() / task.config)
    short = shorten(read_mapping(downstream_configs_dir() / task.config), task)
    runner = short["runner"]
    assert runner["total_steps"] == whole["runner"]["total_steps"] // 100
    assert runner["total_steps"] % runner["eval_step"] == 0 and runner["total_steps"] // runner["eval_step"] == 5
    assert runner["gradient_accumulate_steps"] == whole["runner"]["gradient_accumulate_steps"]
    head = "model" if task.name == "pr" else "modelrc"
    assert short["downstream_expert"][head] == whole["downstream_expert"][head]
    assert 1e-3 <= short["optimizer"]["lr"] <= 2e-3
    assert {**short["optimizer"], "lr": None} == {**whole["optimizer"], "lr": None}
    recipes.check(task.downstream, short)
    assert shorten(whole, task, steps=7, rate=0.5)["runner"]["eval_step"] == 1
    assert (whole["runner"]["total_steps"], whole["optimizer"]["lr"]) == (7, 0.5)


def test_what_the_demo_trains_on_beside_the_sample_is_left_out():
    short = shorten(read_mapping(downstream_configs_dir() / "demo" / "asr.yaml"), TASKS["asr"])
    assert short["downstream_expert"]["datarc"]["train"] == ["train-clean-100"]
    assert short["scheduler"]["num_warmup_steps"] == round(70 * 100 / 700)
    recipes.check("asr", short)
