"""The demo's layouts: readable by s3prl's dataset classes, reproducible, made whole or not at all."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_fusion.corpora import demo, iemocap, librispeech, voxceleb1
from s3prl_fusion.corpora import demo_effects as effects
from s3prl_fusion.errors import CorpusError

VOICES = ("en_a", "es_b", "fr_c", "it_d", "ru_e")
SPLITS = ("train-clean-100", "train-clean-100", "dev-clean", "test-clean")
SPEAKER_SPLITS = ("train", "dev", "test", "test")


def hum(seed: int, samples: int = 8000) -> np.ndarray:
    """A voice-like sound: a buzz of harmonics and some noise, (T,) float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16000
    buzz = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
    return (0.1 * buzz + 0.01 * rng.standard_normal(samples)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """Let librosa load its parts once here, not in every worker process."""
    effects.act(hum(0), effects.STYLES["neu"], np.random.default_rng(0))


def write_corpus(root: Path) -> Path:
    """Four prompts by each voice; the first voice is the English one with transcripts."""
    rows = [list(demo.COLUMNS)]
    for number, voice in enumerate(VOICES):
        (root / voice).mkdir(parents=True)
        for index in range(4):
            soundfile.write(root / voice / f"p{index}.wav", hum(10 * number + index), 16000)
            split, text = (SPLITS[index], "HELLO WORLD") if number == 0 else ("", "")
            path = f"{voice}/p{index}.wav"
            rows.append([path, voice, voice[:2], f"p{index}", "0.5", split, SPEAKER_SPLITS[index], text])
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows(rows)
    return root


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return demo.prepare(write_corpus(folder / "corpus"), folder / "data")


def test_librispeech(found):
    from s3prl.downstream.asr.dataset import SequenceDataset
    from s3prl.downstream.asr.dictionary import Dictionary

    dictionary = Dictionary.load(found.value(librispeech.CORPUS, "char.dict"))
    paths = (found.value(librispeech.CORPUS, "root"), found.value(librispeech.CORPUS, "buckets"))
    dataset = SequenceDataset("train", 2, dictionary, *paths, train=["train-clean-100"])
    assert sum(map(len, dataset.X)) == SPLITS.count("train-clean-100")
    wavs, labels, names = dataset[0]
    assert dictionary.string(labels[0][:-1]) == "H E L L O | W O R L D |"
    assert names[0].startswith("1001-1-")
    assert len(wavs[0]) == 8000
    assert (
        Path(found.value(librispeech.CORPUS, "lexicons")[0]).read_text(encoding="utf-8")
        == "HELLO HH AH0 L OW1\nWORLD W ER1 L D\n"
    )


def test_training_clips_come_slower_and_faster_too(found):
    from s3prl.downstream.asr.dataset import SequenceDataset
    from s3prl.downstream.asr.dictionary import Dictionary

    dictionary = Dictionary.load(found.value(librispeech.CORPUS, "char.dict"))
    root, tables = found.value(librispeech.CORPUS, "root"), found.value(librispeech.CORPUS, "buckets")
    dataset = SequenceDataset("train", 1, dictionary, root, tables, train=["train-speeds"])
    texts = {dictionary.string(labels[0][:-1]) for _, labels, _ in dataset}
    assert texts == {"H E L L O | W O R L D |"} and all(name[0].startswith("1001-4-") for _, _, name in dataset)
    assert sorted(len(wavs[0]) for wavs, _, _ in dataset) == [7273, 7273, 8889, 8889]
    slow = soundfile.read(Path(root) / "train-speeds/1001/4/1001-4-0000.flac")[0]
    spectrum = np.abs(np.fft.rfft(slow))[20:1000]  # hum's pitch is 120 Hz
    assert (20 + spectrum.argmax()) * 16000 / len(slow) == pytest.approx(0.9 * 120, abs=2)


def test_voxceleb1(found, tmp_path, monkeypatch):
    from s3prl.downstream.voxceleb1 import dataset

    monkeypatch.setattr(dataset, "CACHE_PATH", str(tmp_path / "cache"))
    read = {
        split: dataset.SpeakerClassifiDataset(
            split, found.roots["voxceleb1"], found.value(voxceleb1.CORPUS, "speaker_list")
        )
        for split in ("train", "dev", "test")
    }
    assert {split: len(clips) for split, clips in read.items()} == {"train": 5, "dev": 5, "test": 10}
    assert Counter(read["test"].label) == {label: 2 for label in range(5)}
    names = [read["test"][index][2] for index in range(10)]
    assert len(set(names)) == 10  # a recipe's prediction file goes by name


def test_iemocap(found):
    from s3prl.downstream.emotion.dataset import IEMOCAPDataset

    for number in range(1, 6):
        folder = Path(found.value(iemocap.CORPUS, "emotions")) / f"Session{number}"
        test = IEMOCAPDataset(found.value(iemocap.CORPUS, "root"), folder / "test_meta_data.json")
        train = IEMOCAPDataset(found.value(iemocap.CORPUS, "root"), folder / "train_meta_data.json", pre_load=False)
        assert (len(test), len(train)) == (8, 32)
        names = [test[index][2] for index in range(8)]
        assert len(set(names)) == 8
    styles = Counter(row["label"] for row in test.meta_data)
    assert set(styles) == {"neu", "hap", "ang", "sad"}
    assert set(styles.values()) == {2}


def test_the_same_files_every_time(corpus, found, tmp_path):
    demo.prepare(corpus, tmp_path / "again")
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*.*")) if path.is_file()}
        for root in (found.folder, tmp_path / "again")
    )
    assert first == second
    assert len(first) > 60


def test_nothing_is_done_twice_and_a_new_manifest_is_followed(corpus, tmp_path):
    demo.prepare(corpus, tmp_path / "data")
    stamp = tmp_path / "data" / demo.STAMP
    before = stamp.stat().st_mtime_ns
    demo.prepare(corpus, tmp_path / "data")
    assert stamp.stat().st_mtime_ns == before
    manifest = (corpus / "manifest.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (corpus / "manifest.csv").write_text("".join(manifest[:-1]), encoding="utf-8")
    demo.prepare(corpus, tmp_path / "data")
    meta = json.loads((tmp_path / "data/meta_data/Session5/test_meta_data.json").read_text(encoding="utf-8"))
    assert len(meta["meta_data"]) == 6


@pytest.mark.fault("a clip of the demo that is replaced or removed in EXP/data", "the demo's corpora are laid out anew")
@pytest.mark.parametrize("change", [Path.unlink, lambda path: soundfile.write(path, hum(99), 16000)])
def test_what_was_changed_is_made_anew(change, corpus, tmp_path):
    clip = demo.prepare(corpus, tmp_path / "data").folder / "VoxCeleb1" / "dev" / "wav" / "id10001" / "demo-test"
    clip = clip / "00001.wav"
    whole = clip.read_bytes()
    change(clip)
    demo.prepare(corpus, tmp_path / "data")
    assert clip.read_bytes() == whole


def test_a_failure_leaves_nothing_behind(corpus, tmp_path):
    (corpus / "ru_e" / "p3.wav").write_bytes(b"not audio")
    with pytest.raises(Exception, match=r"p3\.wav"):
        demo.prepare(corpus, tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]


def test_write_false_only_tells(corpus, tmp_path):
    told = demo.prepare(corpus, tmp_path / "data", write=False)
    assert not (tmp_path / "data").exists()
    assert told == demo.prepare(corpus, tmp_path / "data")


def test_refusals(corpus, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match="mine holds files that the demo did not make"):
        demo.prepare(corpus, mine)
    assert (mine / "thesis.tex").exists()
    (corpus / "fr_c" / "p0.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 files that do not exist, first .*fr_c/p0\.wav"):
        demo.prepare(corpus, tmp_path / "data")
    with pytest.raises(FileNotFoundError, match=r"manifest\.csv; use a complete checkout"):
        demo.prepare(tmp_path / "nowhere", tmp_path / "data")


def centroid(wav: np.ndarray) -> float:
    """Mean frequency of the power spectrum, Hz."""
    power = np.abs(np.fft.rfft(wav)) ** 2
    return float((np.fft.rfftfreq(len(wav), 1 / 16000) * power).sum() / power.sum())


def test_styles_do_what_they_say():
    wav = hum(1, samples=32000)
    exact = {name: effects.Style(s.pitch, s.tempo, s.gain, s.tilt, (0, 0, 0, 0)) for name, s in effects.STYLES.items()}
    acted = {name: effects.act(wav, style, np.random.default_rng(0)) for name, style in exact.items()}
    for name, style in exact.items():
        assert len(acted[name]) == pytest.approx(len(wav) / style.tempo, rel=0.02)
        assert np.isfinite(acted[name]).all()
        assert np.abs(acted[name]).max() < 1
    assert centroid(acted["ang"]) > centroid(acted["neu"]) > centroid(acted["sad"])
    spectrum = {name: np.abs(np.fft.rfft(acted[name])) for name in ("neu", "hap")}
    peaks = {
        name: 16000 * (60 + np.argmax(values[60:])) / len(acted[name])
        for name, values in ((name, values[: 250 * len(acted[name]) // 16000]) for name, values in spectrum.items())
    }
    assert peaks["hap"] / peaks["neu"] == pytest.approx(2 ** (exact["hap"].pitch / 12), rel=0.03)


def test_channels_limit_the_band_and_keep_the_length():
    wav = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 0.1
    channel = effects.CHANNELS["telephone"]
    clean = effects.Channel(channel.highpass, channel.lowpass, (100.0, 100.0))
    out = effects.transmit(wav, clean, np.random.default_rng(0))
    power, frequencies = np.abs(np.fft.rfft(out)) ** 2, np.fft.rfftfreq(len(out), 1 / 16000)
    inside = (frequencies > channel.highpass[1]) & (frequencies < channel.lowpass[0])
    outside = (frequencies < channel.highpass[0] / 3) | (frequencies > 1.3 * channel.lowpass[1])
    assert out.shape == wav.shape
    assert power[inside].mean() > 20 * power[outside].mean()
    noisy = effects.transmit(
        wav, effects.Channel(channel.highpass, channel.lowpass, (0.0, 0.0)), np.random.default_rng(0)
    )
    assert np.mean(noisy**2) == pytest.approx(2 * np.mean(out**2), rel=0.1)
