"""The benchmark's corpora as their owners hand them out, in miniature."""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
TRANSCRIPTS = {
    "train-clean-100": ["HELLO WORLD", "GOOD DAY", "GOOD", "HELLO DAY WORLD"],
    "dev-clean": ["DAY", "WORLD GOOD"],
    "test-clean": ["HELLO", "GOOD WORLD"],
}
CHAPTERS = {
    "train-clean-100": ("19/198", "26/495"),
    "dev-clean": ("84/121123",),
    "test-clean": ("61/70968",),
}
DEV_SPEAKERS, TEST_SPEAKERS = ("id10001", "id10002", "id10003", "id10004"), ("id10270", "id10271")
CLIPS = {"1zcIwhmdeo4/00001.wav": 1, "1zcIwhmdeo4/00002.wav": 1, "7gWzIy6yIIk/00001.wav": 2, "8YfW04nYxZ4/00001.wav": 3}
TURNS = {  # of IEMOCAP's dialogs
    "F_impro01": {"F000": "neu", "M000": "exc", "F001": "fru", "M001": "ang", "F002": "sad"},
    "M_script01_1": {"M000": "hap", "F000": "xxx", "M001": "neu", "F001": "ang", "M002": "sad"},
}
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SPEAKERS_BY_HASH = {"train": "10000000", "dev": "10005ccd", "test": "1000b99a"}
INTENTS = [
    ("activate", "lights", "none"),
    ("change language", "none", "none"),
    ("activate", "lights", "kitchen"),
    ("increase", "heat", "none"),
]
VOICES = {"train": ("Ivy", "Joanna", "Joey"), "valid": ("Aditi", "Amy"), "test": ("Brian", "Emma", "Raveena")}
REQUESTS = [
    ("PLAY ABBA NOW", "O artist O"),
    ("BOOK A TABLE FOR TWO", "O O O O party_size"),
]
DEMO = Path(__file__).parent.parent / "demo" / "corpus"


def clip(path: Path, seed: int, seconds: float = 1.0) -> int:
    """Writes noise around a tone and returns its number of samples."""
    generator = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    tone = np.sin(2 * np.pi * (100 + 40 * (seed % 7)) * np.arange(samples) / RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * tone + 0.05 * generator.standard_normal(samples), RATE)
    return samples


@functools.lru_cache
def recordings() -> list[dict[str, str]]:
    """The demo's recordings of 1 to 2.5 s, rows of its manifest."""
    with (DEMO / "manifest.csv").open(encoding="utf-8", newline="") as table:
        return [row for row in csv.DictReader(table) if 1 <= float(row["seconds"]) <= 2.5]


def speech(path: Path, seed: int, seconds: float = 1.0) -> None:
    """Joins recordings until they last `seconds`; speaker `seed // 10`, and those above 4 are voices played slower."""
    speaker, number = divmod(seed, 10)
    voice = sorted({row["voice"] for row in recordings()})[speaker % 5]
    files = [DEMO / row["path"] for row in recordings() if row["voice"] == voice]
    wav = np.zeros(0)
    while len(wav) < seconds * RATE:
        wav = np.concatenate([wav, soundfile.read(files[3 * number % len(files)])[0]])
        number += 7
    moments = np.arange(0, len(wav) - 1, 0.9 if speaker > 4 else 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.interp(moments, np.arange(len(wav)), wav), RATE)


def as_wav(file: Path) -> Path:
    """Puts a .wav in a .flac file's place."""
    wav = file.with_suffix(".wav")
    soundfile.write(wav, *soundfile.read(file))
    file.unlink()
    return wav


def write_chapter(folder: Path, texts: Sequence[str], seed: int = 0, takes: Sequence[Path] = ()) -> list[Path]:
    """A chapter of LibriSpeech, `.../<speaker>/<chapter>`, of recordings or noise; returns its sound files."""
    name = "-".join(folder.parts[-2:])
    files = [folder / f"{name}-{i:04d}.flac" for i in range(len(texts))]
    for i, file in enumerate(files):
        clip(file, seed + i, 1.0 + 0.1 * i)
        if takes:
            soundfile.write(file, *soundfile.read(takes[i]))
    (folder / f"{name}.trans.txt").write_text("".join(f"{f.stem} {text}\n" for f, text in zip(files, texts)))
    return files


def official_librispeech(root: Path, spoken: bool = False) -> Path:
    for split, chapters in CHAPTERS.items():
        rows = [row for row in recordings() if row["split"] == split] if spoken else []
        for c, chapter in enumerate(chapters):
            texts = TRANSCRIPTS[split]
            taken = rows[c * len(texts) : (c + 1) * len(texts)]
            takes = [DEMO / row["path"] for row in taken]
            write_chapter(root / split / chapter, [row["transcript"] for row in taken] or texts, 10 * c, takes)
    return root


def official_voxceleb1(root: Path, spoken: bool = False) -> Path:
    """With iden_split.txt and veri_test.txt; every clip has more than 2 s of sound."""
    split_list = []
    for s, speaker in enumerate(DEV_SPEAKERS + TEST_SPEAKERS):
        part = root / ("test" if speaker in TEST_SPEAKERS else "dev") / "wav"
        for c, (name, split) in enumerate(CLIPS.items()):
            (speech if spoken else clip)(part / speaker / name, 10 * s + c, 2.7 if spoken else 2.2)
            split_list.append(f"{split} {speaker}/{name}\n")
    first, *others = CLIPS
    a, b = TEST_SPEAKERS
    trials = [f"1 {who}/{first} {who}/{other}\n" for who in (a, b) for other in others]
    trials += [f"0 {a}/{name} {b}/{name}\n" for name in CLIPS]
    (root / "iden_split.txt").write_text("".join(split_list))
    (root / "veri_test.txt").write_text("".join(trials))
    return root


def official_iemocap(root: Path, spoken: bool = False) -> Path:
    for k in range(1, 6):
        session = root / f"Session{k}"
        labels = session / "dialog" / "EmoEvaluation"
        (labels / "Categorical").mkdir(parents=True)
        for d, (dialog, turns) in enumerate(TURNS.items()):
            name = f"Ses0{k}{dialog}"
            lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
            for n, (turn, label) in enumerate(turns.items()):
                speaker = 2 * (k - 1) + (turn[0] == "M")
                wav = session / "sentences" / "wav" / name / f"{name}_{turn}.wav"
                (speech if spoken else clip)(wav, 10 * speaker + 5 * d + n, 1.0)
                lines.append(f"[{2 * n + 6}.2901 - {2 * n + 8}.2357]\t{name}_{turn}\t{label}\t[2.5000, 2.5000, 2.5000]")
                lines += [f"C-E{e}:\tNeutral;\t()" for e in (2, 3, 4)] + [f"C-{turn[0]}1:\tNeutral; Sadness;\t()"]
                lines += [f"A-E{e}:\tval 3; act 2; dom  2;\t(mildly aggravated)" for e in (3, 4)] + [""]
            (labels / f"{name}.txt").write_text("\n".join(lines) + "\n")
            (labels / "Categorical" / f"{name}_e2_cat.txt").write_text(f"{name}_{turn} :Neutral state; ()\n")
    return root


def official_speech_commands(root: Path, spoken: bool = False) -> dict[str, Path]:
    """Both archives: speakers that the corpus's hash puts into train, dev and test, and a test set of its own."""
    train, test = root / "speech_commands_v0.01", root / "speech_commands_test_set_v0.01"
    make = speech if spoken else clip
    words = (*WORDS, "bed")
    for w, word in enumerate(words):
        for s, speaker in enumerate(SPEAKERS_BY_HASH.values()):
            make(train / word / f"{speaker}_nohash_0.wav", 10 * s + w, 1.0)
    clip(train / "_background_noise_" / "white_noise.wav", 7, 2.0)
    (train / "testing_list.txt").write_text(f"bed/{SPEAKERS_BY_HASH['test']}_nohash_0.wav\n")
    for w, word in enumerate((*WORDS, "_unknown_", "_silence_")):
        make(test / word / f"{SPEAKERS_BY_HASH['test']}_nohash_0.wav", 30 + w, 1.0)
    return {"speech-commands": train, "speech-commands-test": test}


def official_fluent_commands(root: Path, spoken: bool = False) -> Path:
    """The tables have a first column of numbers, as the real ones."""
    for s, split in enumerate(("train", "valid", "test")):
        lines = [",path,speakerId,transcription,action,object,location\n"]
        for i, (action, thing, place) in enumerate(INTENTS if split == "train" else INTENTS[:2]):
            name = f"wavs/speakers/speaker{s}/{split}-{i}.wav"
            (speech if spoken else clip)(root / name, 10 * s + i, 1.0)
            lines.append(f'{i},{name},speaker{s},"Please, {action} it",{action},{thing},{place}\n')
        (root / "data").mkdir(exist_ok=True)
        (root / "data" / f"{split}_data.csv").write_text("".join(lines))
    return root


def official_snips(root: Path, spoken: bool = False) -> Path:
    """A request of each voice, every other one as MP3 at 22.05 kHz, and texts of more than there are clips of."""
    texts = []
    for s, (split, voices) in enumerate(VOICES.items()):
        for v, voice in enumerate(voices):
            words, labels = REQUESTS[v % len(REQUESTS)]
            name = f"{voice}-snips-{split}-{v}"
            texts.append(f"{name} BOS {words} EOS\tO {labels} Intent\n")
            wav = root / split / f"{name}.wav"
            (speech if spoken else clip)(wav, 10 * s + v, 1.2)
            if v % 2:
                continue
            samples, _ = soundfile.read(wav)
            wav.unlink()
            moments = np.arange(0, len(samples) - 1, RATE / 22050)
            soundfile.write(wav.with_suffix(".mp3"), np.interp(moments, np.arange(len(samples)), samples), 22050)
    (root / "all.iob.snips.txt").write_text(
        "".join([*texts, f"Joey-snips-valid-7 BOS {words} EOS\tO {labels} Intent\n"])
    )
    return root


def telephone(path: Path, seconds: Sequence[float], frequencies: Sequence[int], seed: int) -> None:
    """Writes tones, one after the other, in noise, at 8 kHz."""
    generator, rate = np.random.default_rng(seed), 8000
    tones = [np.sin(2 * np.pi * f * np.arange(round(s * rate)) / rate) for s, f in zip(seconds, frequencies)]
    wav = 0.2 * np.concatenate(tones)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav + 0.02 * generator.standard_normal(len(wav)), rate)


def official_quesst14(root: Path, speech: bool = False) -> Path:
    """Queries of two tones; documents 0 and 1 have the first one's, 2 and 3 the second one's, 4 and 5 none. The fourth
    document, and a query of either split that is in it, are of another language."""
    words = {1: (400, 900), 2: (1500, 700), 3: (2200, 3000)}
    names = [f"quesst14_{i:05d}" for i in range(1, 8)]
    said = dict(zip(names, ((1,), (1,), (2,), (2,), (), (), (3,))))
    languages = {name: "albanian" if word == (3,) else "nnenglish" for name, word in said.items()}
    for seed, name in enumerate(names):
        tones = [3300, *(tone for word in said[name] for tone in words[word]), 200, 3300]
        telephone(root / "Audio" / f"{name}.wav", [0.15] * len(tones), tones, seed)
    lines = [f"quesst14Database/Audio/{name}.wav {languages[name]}\n" for name in names]
    scoring = root / "scoring"
    scoring.mkdir()
    (scoring / "language_key_utterances.lst").write_text("".join(lines))
    for split in ("dev", "eval"):
        queries = {f"quesst14_{split}_{word:04d}": word for word in (*words, 4)}  # no document has the fourth
        for seed, (query, word) in enumerate(queries.items()):
            folder = root / f"{split}_queries"
            telephone(folder / f"{query}.wav", [0.15, 0.15], words.get(word, (3100, 200)), 10 + seed + 5 * len(split))
        keys = [
            f"quesst14Database/{split}_queries/{query}.wav {'albanian' if word == 3 else 'nnenglish'}\n"
            for query, word in queries.items()
        ]
        (scoring / f"language_key_{split}.lst").write_text("".join(keys))
        truth = scoring / f"groundtruth_quesst14_{split}"
        truth.mkdir()
        terms = "".join(f'<term termid="{q}"><termtext>{q}</termtext></term>\n' for q in queries)
        (truth / f"quesst14_{split}.tlist.xml").write_text(f"<termlist>\n{terms}</termlist>\n")
        excerpts = "".join(f'<excerpt audio_filename="{n}.wav" channel="1" tbeg="0" dur="1"/>\n' for n in names)
        (truth / "quesst14.ecf.xml").write_text(f"<ecf>\n{excerpts}</ecf>\n")
        found = [(name, query) for query, word in queries.items() for name in names if word in said[name]]
        rows = [f"LEXEME {name} 1 0.00 1.00 {query} lex <NA> <NA> <NA>\n" for name, query in found]
        (truth / f"quesst14_{split}.rttm").write_text("".join([";; of the miniature\n", *rows]))
    return root


def official_librimix(root: Path, spoken: bool = False) -> Path:
    """Kaldi's folders: two people a recording, the second in the midst of the first; paths from the corpus's folder."""
    for s, split in enumerate(("train", "dev", "test")):
        folder, tables = (
            root / split,
            {name: "" for name in ("wav.scp", "segments", "utt2spk", "spk2utt", "reco2dur", "rttm")},
        )
        for r in range(4 if split == "train" else 2):
            name = f"{split}-mix{r}"
            file = Path("wav", f"{name}.wav")
            (speech if spoken else clip)(root / file, 10 * s + r, 2.0)
            seconds = soundfile.info(root / file).duration
            tables["wav.scp"] += f"{name} {file}\n"
            tables["reco2dur"] += f"{name} {seconds:.3f}\n"
            for speaker, start, end in (("a", 0.0, 1.5), ("b", 1.0, 2.0)):
                who = f"{speaker}{r}"
                tables["segments"] += f"{who}-{name} {name} {start} {end}\n"
                tables["utt2spk"] += f"{who}-{name} {who}\n"
                tables["spk2utt"] += f"{who} {who}-{name}\n"
                tables["rttm"] += f"SPEAKER {name} 1 {start:7.2f} {end - start:7.2f} <NA> <NA> {who} <NA>\n"
        folder.mkdir(parents=True)
        for table, lines in tables.items():
            (folder / table).write_text(lines)
    return root


def official(root: Path, speech: bool = False) -> dict[str, Path]:
    """All corpora as their owners hand them out, small: roots by the options of the command line, VoxCeleb1's lists
    inside its own.

    Args:
        root: they are made below it.
        speech: fill them from the demo's recordings, with their true transcripts; else with noise.
    """
    return {
        "librispeech": official_librispeech(root / "LibriSpeech", speech),
        "voxceleb1": official_voxceleb1(root / "VoxCeleb1", speech),
        "iemocap": official_iemocap(root / "IEMOCAP", speech),
        **official_speech_commands(root, speech),
        "librimix-sd": official_librimix(root / "librimix_sd", speech),
        "snips": official_snips(root / "SNIPS", speech),
        "quesst14": official_quesst14(root / "quesst14Database", speech),
        "fluent-commands": official_fluent_commands(root / "fluent_speech_commands_dataset", speech),
    }
