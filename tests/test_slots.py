"""SF: slots' scores against s3prl's own, the data set, and a run through s3prl's runner whose head finds nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import official_layouts
import pytest
import torch
import yaml
from test_superb_compare import slots
from tiny_corpora import OPTIMIZER, RUNNER

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora.base import Source
from s3prl_fusion.errors import CorpusError, UserError
from s3prl_fusion.host.ckpt import read_ckpt
from s3prl_fusion.metrics import SLOT_CER, SLOT_F1, ScoreError, slots_in
from s3prl_fusion.superb.layout import RunFolder
from s3prl_fusion.superb.prepare import prepare
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


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_s3prls(seed, registered):
    from s3prl.downstream.ctc.metric import slot_type_f1, slot_value_cer

    rng = np.random.default_rng(seed)
    said, true = ({f"u{i}": slots(rng) for i in range(60)} for _ in range(2))
    lists = [said[key] for key in sorted(true)], [true[key] for key in sorted(true)]
    assert SLOT_F1.score(said, true) == pytest.approx(100 * slot_type_f1(*lists))
    assert SLOT_CER.score(said, true) == pytest.approx(100 * slot_value_cer(*lists))


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
    expert["corpus"].update(path=prepared.value(TASK.corpus, "clips"), num_workers=0, batch_size=4)
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
    states = read_ckpt(expdir / TASK.best_ckpt)
    states["Config"]["downstream_expert"]["corpus"]["path"] = "/gone"
    states["Config"]["downstream_expert"]["text"].update(slots_file="/gone/slots.txt")
    torch.save(states, tmp_path / "moved.ckpt")
    experiment = s3prl_fusion.load_experiment(tmp_path / "moved.ckpt")
    assert experiment.downstream.tokenizer.slots == ["B-artist", "E-artist", "B-party_size", "E-party_size"]
    assert isinstance(experiment.predict([torch.randn(16000)])[0], str)


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
