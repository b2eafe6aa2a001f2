"""`prepare` on corpora with odd things in them: all files are in what it writes, or a line names what is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import experts
import made_corpora
import soundfile
import yaml
from hypothesis import strategies as st
from laws import Outcome, command, contents, folder, property_of
from made_corpora import Made

from s3prl_fusion.superb.tasks import TASKS

SAMPLES = st.integers(400, 4000)


def prepared(task: str, made: Made, output: Path) -> Outcome:
    """Prepare a task, and check what holds whatever the corpus: a refusal names one of the faults and leaves nothing
    behind; a corpus without a fault is taken."""
    corpus = contents(made.root)
    done = command("prepare", task, "--corpus", made.root, "-o", output)
    assert contents(made.root) == corpus, "the corpus was written to"
    if done.refusal:
        assert made.faults or made.unsure, f"refused for nothing: {done.err}"
        assert not made.faults or made.unsure or any(fault in done.err for fault in made.faults), done.err
        assert sorted(path.name for path in output.parent.iterdir() if path.name.startswith(("data", ".data"))) == []
    else:
        assert not made.faults, f"taken in spite of {made.faults}"
        again = contents(output)
        assert command("prepare", task, "--corpus", made.root, "-o", output).refusal is None
        assert contents(output) == again, "prepared a second time it is another"
    return done


@property_of(
    "LibriSpeech with odd names, tables, sounds and links, under `prepare asr` and `pr`",
    40,
    task=st.sampled_from(["asr", "pr"]),
    plan=made_corpora.LIBRISPEECH,
    samples=SAMPLES,
)
def test_librispeech(task, plan, samples):
    with folder() as here:
        made = made_corpora.write_librispeech(here / "LibriSpeech", plan, samples)
        done = prepared(task, made, here / "data")
        if done.refusal is None:
            for split in ("train-clean-100", "dev-clean", "test-clean"):
                with (here / "data" / "len_for_bucket" / f"{split}.csv").open(encoding="utf-8", newline="") as table:
                    lengths = {made.root / row["file_path"]: int(row["length"]) for row in csv.DictReader(table)}
                assert set(lengths) == made_corpora.sound_files(made.root / split), "a file was left out"
                assert all(soundfile.info(path).frames == length for path, length in lengths.items())
        return done.refusal


@property_of(
    "LibriSpeech with odd things, prepared and read by the recipes of ASR and PR",
    12,
    task=st.sampled_from(["asr", "pr"]),
    plan=made_corpora.LIBRISPEECH,
    samples=SAMPLES,
)
def test_recipes_read_all_of_what_was_prepared(recipe_configs, task, plan, samples):
    with folder() as here:
        made = made_corpora.write_librispeech(here / "LibriSpeech", plan, samples)
        done = prepared(task, made, here / "data")
        if done.refusal is None:
            name = TASKS[task].downstream
            config = yaml.safe_load(recipe_configs[name].read_text(encoding="utf-8"))["downstream_expert"]
            if task == "asr":
                config["datarc"].update(libri_root=str(made.root), bucket_file=str(here / "data" / "len_for_bucket"))
            else:
                config["corpus"].update(path=str(made.root), lexicon=[str(here / "data" / "lexicon.txt")])
            whole = {"runner": {}, "downstream_expert": config}
            with experts.expert_of(TASKS[task], whole, here) as expert:
                for split, folder_name in (("dev-clean", "dev-clean"), ("test-clean", "test-clean")):
                    loader = expert.get_dataloader(split if task == "asr" else split.split("-")[0])
                    read = {names[0]: (len(wavs[0]), said(expert, labels[0])) for wavs, labels, names in loader}
                    files = made_corpora.sound_files(made.root / folder_name)
                    assert set(read) == {path.stem for path in files}, "the recipe leaves a file out"
                    for path in files:
                        length, text = read[path.stem]
                        assert length == soundfile.info(path).frames
                        assert task == "pr" or text == " ".join(made.texts[path].split())
        return done.refusal


def said(expert: Any, labels: Any) -> str:
    """What ASR's labels spell."""
    symbols = getattr(expert, "dictionary", None)
    return (
        "".join(symbols.symbols[label] for label in labels).removesuffix("</s>").replace("|", " ").strip()
        if symbols
        else ""
    )


@property_of(
    "VoxCeleb1 with odd lists, sounds and links, under `prepare sid`", 20, plan=made_corpora.VOXCELEB1, samples=SAMPLES
)
def test_sid(plan, samples):
    with folder() as here:
        made = made_corpora.write_voxceleb1(here / "VoxCeleb1", plan, samples)
        done = prepared("sid", made, here / "data")
        if done.refusal is None:
            rows = (here / "data" / "iden_split.txt").read_text(encoding="utf-8").splitlines()
            assert sorted(row.split() for row in rows if row) == sorted(text.split() for text in made.texts.values())
        return done.refusal


@property_of(
    "VoxCeleb1 with odd lists, sounds and links, under `prepare sv`", 12, plan=made_corpora.VOXCELEB1, samples=SAMPLES
)
def test_sv(plan, samples):
    with folder() as here:
        made = made_corpora.write_voxceleb1(here / "VoxCeleb1", plan, samples)
        done = prepared("sv", made, here / "data")
        if done.refusal is None:
            trials = (here / "data" / "sv_test_trials.txt").read_text(encoding="utf-8").splitlines()
            assert len(trials) == 7 and all(len(trial.split()) == 3 and trial[0] in "01" for trial in trials)
            dev = (here / "data" / "sv_dev_trials.txt").read_text(encoding="utf-8").split()
            train = (here / "data" / "sv_train_speakers.txt").read_text(encoding="utf-8").split()
            held_out = {word.split("/")[0] for word in dev if "/" in word}
            assert sorted({*train, *held_out}) == made_corpora.DEV and not {*train} & held_out
            used = {word for word in dev if "/" in word}
            assert all((made.root / "dev" / "wav" / clip).is_file() and "._" not in clip for clip in used)
        return done.refusal


@property_of(
    "IEMOCAP with odd labels, sounds and links, under `prepare er`", 20, plan=made_corpora.IEMOCAP, samples=SAMPLES
)
def test_er(plan, samples):
    with folder() as here:
        made = made_corpora.write_iemocap(here / "IEMOCAP", plan, samples)
        done = prepared("er", made, here / "data")
        if done.refusal is None:
            for k in range(1, 6):
                tables = [
                    here / "data" / "meta_data" / f"Session{k}" / f"{part}_meta_data.json" for part in ("train", "test")
                ]
                train, test = (json.loads(table.read_text(encoding="utf-8"))["meta_data"] for table in tables)
                found = {made.root / row["path"]: row["label"] for row in (*train, *test)}
                assert found == made.texts and len(train) + len(test) == len(made.texts)
                assert all(row["path"].startswith(f"Session{k}/") for row in test)
        return done.refusal
