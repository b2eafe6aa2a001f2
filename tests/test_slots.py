"""SF: slots' scores against s3prl's own, the data set, and a run through s3prl's runner whose head finds nothing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import official_layouts
import pytest
import soundfile
import torch
import yaml
from test_superb_compare import slots
from tiny_corpora import OPTIMIZER, RUNNER

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora.base import ROOT, Source
from s3prl_fusion.corpora.snips import SPEAKERS
from s3prl_fusion.corpora.snips_texts import spell
from s3prl_fusion.errors import CorpusError, HostError, UserError
from s3prl_fusion.host import recipes
from s3prl_fusion.host.ckpt import read_ckpt
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.metrics import SLOT_CER, SLOT_F1, ScoreError, slots_in
from s3prl_fusion.superb.layout import RunFolder
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.runs.experiment import read_recipe
from s3prl_fusion.superb.scores.score import score
from s3prl_fusion.superb.tasks import TASKS

TASK = TASKS["sf"]


def test_slots_of_a_text():
    text = "PLAY B-artist THE  B-x BAND E-x E-artist OR B-artist ABBA E-artist B-open NEVER E-closed"
    assert slots_in(text) == {"artist": ["THE BAND", "ABBA"]}
    assert slots_in("PLAY IT") == {}


@pytest.mark.parametrize(
    ("hypothesis", "reference", "f1", "cer"),
    [
        ("PLAY B-a ABBA E-a", "PLAY B-a ABBA E-a", 100.0, 0.0),
        ("PLAY ABBA", "PLAY B-a ABBA E-a", 0.0, 100.0),
        ("PLAY B-b ABBA E-b", "PLAY B-a ABBA E-a", 0.0, 100.0),
        ("B-a ABB E-a B-a XY E-a", "B-a ABBA E-a", 100.0, 25.0),  # the likest of two
        ("B-a ABBA E-a B-b XY E-b", "B-a ABBA E-a", 100 * 2 / 3, 0.0),
        ("B-a AB E-a", "B-a AB E-a AND B-c CDEF E-c", 100 * 2 / 3, 100 * 4 / 6),
    ],
)
def test_hand_worked_scores(hypothesis, reference, f1, cer):
    assert SLOT_F1.score({"u": hypothesis}, {"u": reference}) == pytest.approx(f1)
    assert SLOT_CER.score({"u": hypothesis}, {"u": reference}) == pytest.approx(cer)


def test_texts_without_slots():
    assert SLOT_F1.score({"u": "PLAY", "v": "B-a A E-a"}, {"u": "GO", "v": "GO"}) == 50.0
    assert SLOT_F1.chance({"u": "GO", "v": "B-a A E-a"}) == 50.0
    with pytest.raises(ScoreError, match="the references hold no slots"):
        SLOT_CER.score({"u": "PLAY"}, {"u": "GO"})


def babble(rng: np.random.Generator) -> str:
    """What a head may say that has hardly learnt: letters and marks in any order, as s3prl's text encoder has them."""
    pieces = ["A", "B", " ", "  ", "AB", *(f"B-{kind} " for kind in ("x", "y", "xy")), *(f" E-{k}" for k in ("x", "y"))]
    return "".join(rng.choice(pieces, size=rng.integers(0, 16)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("say", [slots, babble])
def test_scores_are_s3prls(say, seed, registered):
    import s3prl.downstream.ctc.metric as of_the_recipe
    import s3prl.metric.slot_filling as of_the_package

    rng = np.random.default_rng(seed)
    said, true = {f"u{i}": say(rng) for i in range(400)}, {f"u{i}": slots(rng) for i in range(400)}
    lists = [said[key] for key in sorted(true)], [true[key] for key in sorted(true)]
    for theirs in (of_the_recipe, of_the_package):
        assert SLOT_F1.score(said, true) == pytest.approx(100 * theirs.slot_type_f1(*lists))
        assert SLOT_CER.score(said, true) == pytest.approx(100 * theirs.slot_value_cer(*lists))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return official_layouts.official_snips(tmp_path_factory.mktemp("corpora") / "SNIPS")


@pytest.fixture(scope="module")
def config(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sf")
    prepared = prepare([TASK], {"snips": Source(corpus)}, folder / "data")
    config = yaml.safe_load((downstream_configs_dir() / TASK.config).read_text())
    config["runner"].update(RUNNER)
    del config["specaug"]
    config["optimizer"] = OPTIMIZER
    expert = config["downstream_expert"]
    expert["corpus"].update(path=prepared.value(TASK.corpus, ROOT), num_workers=0, batch_size=4)
    names = {"vocab_file": "character.txt", "slots_file": "slots"}
    expert["text"].update({key: prepared.value(TASK.corpus, name) for key, name in names.items()})
    expert["model"].update(project_dim=8)
    expert["model"]["RNNs"].update(dim=[8], dropout=[0], layer_norm=[False], proj=[False], sample_rate=[1])
    path = folder / "sf.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_head_that_finds_no_slot_has_a_best_checkpoint_and_scores(config, corpus, tmp_path, monkeypatch):
    expdir = tmp_path / "exp"
    words = ["-u", "fused__fbank__mfcc", "-d", "ctc", "-c", str(config), "-p", str(expdir), "--device", "cpu"]
    try:
        assert main(["run", "-m", "train", *words]) == 0
        with (expdir / "evaluate.log").open("w") as log, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", log)
            ckpt = str(expdir / TASK.best_ckpt)
            assert main(["run", "-m", "evaluate", "-t", "test", "-e", ckpt, "--device", "cpu"]) == 0
        found = score(RunFolder(expdir))
    finally:
        s3prl_fusion.unregister()
    assert (found["task"], found["metric"], found["utterances"]) == ("sf", "F1", 3)
    assert found["score"] == found["dev_score"] == 0.0 and found["more"] == {"CER": 100.0}
    references = (expdir / TASK.reference).read_text().splitlines()
    assert "Brian-snips-test-0 PLAY B-artist ABBA E-artist NOW" in references
    log = expdir / "evaluate.log"
    log.write_text(log.read_text().replace("slot_value_cer: 1.0", "slot_value_cer: 0.5"))
    with pytest.raises(ScoreError, match="the files give 100.0000 %, but the recipe logged 50.0000 %"):
        score(RunFolder(expdir))
    states = read_ckpt(expdir / TASK.best_ckpt)
    states["Config"]["downstream_expert"]["corpus"]["path"] = "/gone"
    states["Config"]["downstream_expert"]["text"].update(slots_file="/gone/slots.txt")
    torch.save(states, tmp_path / "moved.ckpt")
    experiment = s3prl_fusion.load_experiment(tmp_path / "moved.ckpt")
    del states["Config"]["downstream_expert"]["slots"]  # as s3prl alone would have it
    torch.save(states, tmp_path / "stock.ckpt")
    with pytest.raises(UserError, match=r"text\.slots_file is '/gone/slots.txt', which does not exist"):
        s3prl_fusion.load_experiment(tmp_path / "stock.ckpt")
    assert experiment.downstream.tokenizer.slots == ["B-artist", "E-artist", "B-party_size", "E-party_size"]
    assert isinstance(experiment.predict([torch.randn(16000)])[0], str)


def test_the_corpus_is_checked_for_the_voices_that_superb_reads():
    corpus = yaml.safe_load((downstream_configs_dir() / TASK.config).read_text())["downstream_expert"]["corpus"]
    assert {split: tuple(corpus[f"{split}_speakers"]) for split in SPEAKERS} == dict(SPEAKERS)


def test_the_voices_of_a_split_are_the_configs(config, registered):
    from s3prl.downstream.ctc.text import load_text_encoder

    from s3prl_fusion.host.recipes._snips import SnipsDataset

    expert = yaml.safe_load(config.read_text())["downstream_expert"]
    tokenizer = load_text_encoder(**expert["text"])
    items = SnipsDataset(
        ["train"], tokenizer, 1, **{**expert["corpus"], "train_speakers": ["Joey", "Ivy", "Salli"]}
    ).items
    assert sorted(file.stem for file, _ in items) == ["Ivy-snips-train-0", "Joey-snips-train-2"]
    assert [tokenizer.decode(ids) for _, ids in items] == ["PLAY B-artist ABBA E-artist NOW"] * 2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text.replace("\tO O artist O", "\tO O artist"), r"txt:1: got .* a label a word"),
        (lambda text: text.replace("ABBA", "Abba"), r"txt:1: 'PLAY Abba NOW' has small letters"),
        (lambda text: text + text.splitlines()[0] + "\n", "Ivy-snips-train-0 is there twice"),
        (lambda text: "".join(text.splitlines(keepends=True)[1:]), "1 clips have no text .*Ivy-snips-train-0.mp3"),
    ],
)
@pytest.mark.fault("Audio SNIPS' texts with a damaged, missing or repeated line", "refused: the line or clip is named")
def test_texts_that_cannot_be_used_are_named(change, match, tmp_path):
    root = official_layouts.official_snips(tmp_path / "SNIPS")
    texts = root / "all.iob.snips.txt"
    texts.write_text(change(texts.read_text()))
    with pytest.raises((CorpusError, UserError), match=match):
        prepare([TASK], {"snips": Source(root)}, tmp_path / "data")


def as_handed_out(root: Path) -> Path:
    """Audio SNIPS as its owners hand it out: MP3s by voice, and annotations, with numbers."""
    pytest.importorskip("num2words")
    requests = {
        "play café & 2nd abba now": "O PlayMusic/artist PlayMusic/artist PlayMusic/artist PlayMusic/artist O",
        "book  a table at 7pm": "O O O O O BookRestaurant/timeRange",  # an empty word has a label too
    }
    for split, voices in official_layouts.VOICES.items():
        table = root / "annotations" / "data" / "nlu_annotation" / split
        table.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"snips-{split}-{i}\t{text}\t{tags}\tIntent\n" for i, (text, tags) in enumerate(requests.items())]
        table.write_text("u_id\tutterance\tslot-labels\tintent\n" + "".join(lines))
        for v, voice in enumerate(voices):
            for i in range(len(requests)):
                clip = root / "audio_slu" / f"audio_{voice}" / "snips" / f"snips-{split}-{i}.mp3"
                clip.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(clip, 0.1 * np.sin(np.arange(22050) / (20 + v + i)), 22050)
    return root


def test_a_corpus_as_its_owners_hand_it_out_is_spelt_out_and_converted(tmp_path, capsys):
    root, data = as_handed_out(tmp_path / "raw"), tmp_path / "data"
    prepared = prepare([TASK], {"snips": Source(root)}, data)
    assert "is spelt out by this package's rules" in capsys.readouterr().err
    made = Path(prepared.value(TASK.corpus, ROOT))
    assert made == data / "snips"
    assert (data / "slots.txt").read_text() == "O\nartist\ntimeRange"
    texts = (made / "all.iob.snips.txt").read_text().splitlines()
    assert "Ivy-snips-train-0 BOS PLAY CAFE AND SECOND ABBA NOW EOS\tO O artist artist artist artist O Intent" in texts
    assert "Emma-snips-test-1 BOS BOOK A TABLE AT SEVEN PM EOS\tO O O O O timeRange timeRange Intent" in texts
    clips = {clip: (clip.resolve(), clip.resolve().stat()) for clip in made.rglob("*.wav")}
    assert len(clips) == len(texts) == 16
    assert {(info.samplerate, info.channels) for info in map(soundfile.info, clips)} == {(16000, 1)}
    prepare([TASK], {"snips": Source(root)}, data)
    assert all(clip.is_symlink() and (clip.resolve(), clip.resolve().stat()) == of for clip, of in clips.items())
    # With the texts that SUPERB has prepared, these count.
    capsys.readouterr()
    (root / "all.iob.snips.txt").write_text("".join(f"{line}\n" for line in texts).replace("SEVEN PM", "NINE PM"))
    prepare([TASK], {"snips": Source(root)}, data)
    assert "spelt out" not in capsys.readouterr().err
    assert "AT NINE PM EOS" in (made / "all.iob.snips.txt").read_text()


@pytest.mark.parametrize(
    ("word", "spelt"),
    [
        ("what's", "WHAT'S"),
        ("Zoë’s", "ZOE'S"),
        ("rock-n-roll!", "ROCK N ROLL"),
        ("2037", "TWENTY THIRTY SEVEN"),
        ("0930", "ZERO NINE THREE ZERO"),
        ("21st", "TWENTY FIRST"),
        ("7pm", "SEVEN PM"),
        ("300", "THREE HUNDRED"),
        ("…", ""),
    ],
)
def test_words_are_spelt_out(word, spelt):
    pytest.importorskip("num2words")
    assert spell(word) == spelt.split()


def test_numbers_need_a_package(monkeypatch):
    assert spell("Zoë’s") == ["ZOE'S"]
    monkeypatch.setitem(sys.modules, "num2words", None)
    with pytest.raises(HostError, match=r"numbers such as 2nd .* pip install num2words; or put SUPERB's all.iob"):
        spell("2nd")


@pytest.mark.fault("Audio SNIPS' annotations that lack a label, or a table", "refused: the line or file is named")
def test_annotations_that_cannot_be_used_are_named(tmp_path):
    root = as_handed_out(tmp_path / "raw")
    table = root / "annotations" / "data" / "nlu_annotation" / "valid"
    whole = table.read_text()
    for fewer in ("\tIntent", " \tIntent"):
        table.write_text(whole.replace(" O\tIntent", fewer))
        with pytest.raises(CorpusError, match=r"valid:2: got .* a slot a word"):
            prepare([TASK], {"snips": Source(root)}, tmp_path / "data")
    table.write_text(whole + whole.splitlines()[1])
    with pytest.raises(CorpusError, match=r"valid:4: snips-valid-0 is there twice"):
        prepare([TASK], {"snips": Source(root)}, tmp_path / "data")
    table.unlink()
    with pytest.raises(UserError, match="nlu_annotation/valid does not exist"):
        prepare([TASK], {"snips": Source(root)}, tmp_path / "data")


def test_a_corpus_that_recipes_can_read_stays_where_it_is(corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "SNIPS")
    for clip in root.rglob("*.mp3"):
        official_layouts.clip(clip.with_suffix(".wav"), 0)
        clip.unlink()
    prepared = prepare([TASK], {"snips": Source(root)}, tmp_path / "data")
    assert prepared.value(TASK.corpus, ROOT) == str(root)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["inventory", "slots.txt"]


def test_letters_that_the_head_lacks_are_told(tmp_path, capsys):
    root = official_layouts.official_snips(tmp_path / "SNIPS")
    texts = root / "all.iob.snips.txt"
    whole = texts.read_text()
    texts.write_text(whole.replace("Ivy-snips-train-0 BOS PLAY ABBA", "Ivy-snips-train-0 BOS PLAY ABBÉ"))
    prepare([TASK], {"snips": Source(root)}, tmp_path / "data")
    assert (
        "1 of 3 lines of train have what is no letter of the recipe's: É; it counts as <unk>" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("ABBA", "4BBA", r"txt:1: 2 of 3 lines of train have what is no letter .*: 4; write numbers out"),
        ("artist", "O", "no text of valid has a slot"),
    ],
)
@pytest.mark.fault("Audio SNIPS' texts in digits, or without any slot", "refused before anything trains")
def test_texts_that_teach_nothing_are_refused(old, new, match, tmp_path):
    root = official_layouts.official_snips(tmp_path / "SNIPS")
    texts = root / "all.iob.snips.txt"
    lines = [line for line in texts.read_text().splitlines(keepends=True) if "Amy" not in line]
    (root / "valid" / "Amy-snips-valid-1.wav").unlink()
    texts.write_text("".join(lines).replace(old, new))
    with pytest.raises(CorpusError, match=match):
        prepare([TASK], {"snips": Source(root)}, tmp_path / "data")


@pytest.mark.fault("a recipe of SF without the voices of a split", "refused: the missing key is named")
def test_a_split_without_voices_is_refused(config):
    broken = yaml.safe_load(config.read_text())
    del broken["downstream_expert"]["corpus"]["valid_speakers"]
    with pytest.raises(UserError, match="corpus has no valid_speakers, which must be a list of the voices"):
        recipes.check("ctc", broken)


@pytest.mark.fault("a recipe of SF whose test set is of other voices", "refused: the task's test set is named")
def test_another_test_set_is_refused(tmp_path):
    config = yaml.safe_load((downstream_configs_dir() / TASK.config).read_text())
    config["downstream_expert"]["corpus"]["test_speakers"][0] = "Ivy"
    (tmp_path / TASK.config).write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"corpus\.test_speakers must be \['Brian', .* test set; got \['Ivy'"):
        read_recipe(TASK, tmp_path / TASK.config, {}, [])


@pytest.mark.fault("SF's slots in another order than the head was trained with", "refused: its labels would be others")
def test_other_slots_than_the_heads_are_refused(config, tmp_path):
    made, patches = yaml.safe_load(config.read_text()), Patches()
    try:
        recipes.mend("ctc", made, patches)
        assert made["downstream_expert"]["slots"][:2] == ["B-artist", "E-artist"]
        (tmp_path / "slots.txt").write_text("O\nparty_size\nartist")
        made["downstream_expert"]["text"]["slots_file"] = str(tmp_path / "slots.txt")
        with pytest.raises(UserError, match="is not what the experiment was trained with"):
            recipes.mend("ctc", made, patches)
    finally:
        patches.undo()


def test_steps_without_a_slot_can_be_logged(config):
    from s3prl.downstream.ctc import expert

    patches = Patches()
    try:
        recipes.mend("ctc", yaml.safe_load(config.read_text()), patches)
        assert np.isnan(expert.slot_value_cer(hypothesis=["GO"], groundtruth=["GO"]))
        assert expert.slot_value_cer(hypothesis=["B-a X E-a"], groundtruth=["B-a Y E-a"]) == 1.0
    finally:
        patches.undo()
    with pytest.raises(ZeroDivisionError):  # else the mend is not needed any more
        expert.slot_value_cer(hypothesis=["GO"], groundtruth=["GO"])
