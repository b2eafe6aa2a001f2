"""Voices for the demo's x-vector network: recordings of many people from Debian packages, and synthesisers' voices."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path

import build_corpus
import librosa
import numpy as np
import soundfile
from build_corpus import SAMPLE_RATE
from tqdm import tqdm
from training_speech import ESPEAK_VARIANTS, ESPEAK_VOICES, FLITE_VOICES, Espeak, Utterance, flite

# Beside Asterisk's own: what is free, and says who speaks or in which language. demo/upstreams/xvector/README.md has
# the licences.
PACKAGES = (
    "klettres-data",
    "ktuberling-data",
    "tuxpaint-stamps-default",
    "gcin-voice",
    "asterisk-prompt-it-menardi-wav",
)
# Which files of a package are spoken, and the part of the path that tells voices apart.
SPOKEN = {
    "klettres": r"usr/share/klettres/(\w+)/\w+/.*\.ogg",
    "ktuberling": r"usr/share/ktuberling/sounds/(\w+)/.*\.(?:ogg|wav)",
    "tuxpaint": r"usr/share/tuxpaint/stamps/.*_desc_(\w+)\.ogg",
    "gcin": r"usr/share/gcin-voice/ogg/.*/(\d)\.ogg",
    "menardi": r"usr/share/asterisk/sounds/(it_IT_f_Menardi)/.*\.wav",
}
MOST_SECONDS = 600  # of a voice
SHORTEST, LONGEST = 2 * SAMPLE_RATE, 4 * SAMPLE_RATE  # of what is trained on
SYNTHETIC = 64  # voices of espeak-ng
SENTENCES = 30  # a synthetic voice says


def package_names() -> list[str]:
    """Names of the Debian packages with voices."""
    return [*build_corpus.package_names(), *PACKAGES]


def recorded(root: Path, rng: random.Random) -> dict[str, list[np.ndarray]]:
    """Read the clips of each voice in `SPOKEN`'s packages: (T,) int16 at 16 kHz, silence at the ends taken off."""
    paths: dict[str, list[Path]] = {}
    for path in sorted(path for path in (root / "usr/share").rglob("*") if path.suffix in (".ogg", ".wav")):
        for package, pattern in SPOKEN.items():
            match = re.fullmatch(pattern, path.relative_to(root).as_posix())
            if match and not path.is_symlink():
                paths.setdefault(f"{package}/{match[1]}", []).append(path)
    voices: dict[str, list[np.ndarray]] = {}
    for voice, files in tqdm(paths.items(), desc="read", unit="voice", mininterval=5):
        left = MOST_SECONDS * SAMPLE_RATE
        for path in rng.sample(files, len(files)):
            clip = _read(path) if left > 0 else np.empty(0, np.int16)
            if len(clip) > 0.1 * SAMPLE_RATE:
                voices.setdefault(voice, []).append(clip)
                left -= len(clip)
    return voices


def _read(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = _resampled(samples.mean(1), rate)
    return int16(librosa.effects.trim(samples, top_db=40)[0]) if len(samples) else int16(samples)


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    return librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_mq")


def int16(samples: np.ndarray) -> np.ndarray:
    """Turn (T,) samples in [-1, 1] to 16 bits, with a peak of at most half of full scale."""
    return np.round(samples / max(1.0, 2 * float(np.abs(samples).max(initial=0.0))) * 32767).astype(np.int16)


def synthetic(texts: list[str], rng: random.Random) -> dict[str, list[np.ndarray]]:
    """Let synthesisers speak ``texts`` in many voices, each with a pitch of its own: clips as of `recorded`."""
    espeak, voices = Espeak(), {}
    pairs = rng.sample(sorted(itertools.product(ESPEAK_VOICES, ESPEAK_VARIANTS)), SYNTHETIC)
    for base, variant in tqdm(pairs, desc="espeak-ng", unit="voice", mininterval=5):
        pitch, clips = rng.randint(20, 80), []
        for text in rng.sample(texts, SENTENCES):
            samples = espeak(text.lower(), base + variant, pitch, rng.randint(120, 190))
            clips.append(
                librosa.resample(samples, orig_sr=espeak.sample_rate, target_sr=SAMPLE_RATE, res_type="soxr_mq")
            )
        voices[f"espeak/{base}{variant}"] = [int16(clip) for clip in clips]
    for voice, pitch in tqdm(
        itertools.product(FLITE_VOICES, (90, 130, 190)), desc="flite", unit="voice", mininterval=5
    ):
        spoken = [flite(text.lower(), voice, pitch, rng.uniform(0.8, 1.3)) for text in rng.sample(texts, SENTENCES)]
        voices[f"flite/{voice}-{pitch}"] = [int16(clip) for clip in spoken]
    return voices


def pieces(voice: str, clips: list[np.ndarray], real: bool) -> Iterator[Utterance]:
    """Join a voice's clips until there are `SHORTEST` samples, and cut these to pieces of at most `LONGEST`."""
    joined: list[np.ndarray] = []
    for clip in clips:
        joined.append(clip)
        if sum(map(len, joined)) < SHORTEST:
            continue
        whole, joined = np.concatenate(joined), []
        for piece in np.array_split(whole, -(-len(whole) // LONGEST)):
            yield Utterance(piece, "", real, voice)
