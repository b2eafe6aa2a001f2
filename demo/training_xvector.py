"""The demo's x-vector network as it is trained: to tell voices apart, through channels that change."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from build_corpus import SAMPLE_RATE, VOICES
from torch import Tensor, nn
from training_speech import Utterance, held_out, real_speech, sentences
from training_voices import pieces, recorded, synthetic

from s3prl_fusion.corpora.demo_effects import Channel, transmit
from s3prl_fusion.upstreams.xvector_model import XVector, XVectorConfig, mean

SEED = 20
EMBEDDING = 128
CROP = 2 * SAMPLE_RATE
SPEEDS = (1.0, 0.88, 1.12)  # each makes another voice of a recorded one
# Wide, so that no channel is a voice's own: some recordings are of telephones.
ANY_CHANNEL = Channel(highpass=(30.0, 300.0), lowpass=(2800.0, 7800.0), snr=(8.0, 40.0))
WATCHED = 4  # pieces a voice, kept out of the training


class Xvector(nn.Module):
    """An x-vector network with what is thrown away: statistics pooling, an embedding, a direction for each voice."""

    peak_lr = 2e-3
    budget = 48 * CROP  # of the pieces that crops are cut from
    scale, margin = 30.0, 0.2  # of the additive angular margin
    margin_from = 0.15  # share of the time without it: a margin from the start keeps directions from being found
    real_share = 0.75

    def __init__(self) -> None:
        super().__init__()
        self.model = XVector(XVectorConfig())
        self.extractor = None  # it makes its spectrogram itself
        self.embed = nn.Linear(2 * self.model.config.dim, EMBEDDING)
        self.targets: list[Tensor] = []
        self.applied = 0.0  # the margin so far

    def load_speech(self, root: Path, manifest: Path) -> None:
        """Read and synthesise all voices; of each, `WATCHED` pieces are kept to watch the training."""
        held, rng = held_out(root, manifest), random.Random(SEED)
        prompts = real_speech(root, list(VOICES), held, (0.5, 40.0))
        real = recorded(root, rng)
        for prompt in prompts:
            real.setdefault(f"asterisk/{prompt.name.partition('/')[0]}", []).append(prompt.samples)
        texts = sentences(sorted({prompt.transcript for prompt in prompts} - {""}), held, 1500, rng)
        self.speech: list[Utterance] = []
        self.watch: list[Utterance] = []
        for voices, is_real in ((real, True), (synthetic(texts, rng), False)):
            for voice, clips in voices.items():
                cut = list(pieces(voice, rng.sample(clips, len(clips)), is_real))
                few = min(WATCHED, len(cut) // 4)
                self.watch += cut[:few]
                self.speech += cut[few:]
        self.voices = sorted({u.name for u in self.speech})
        self.directions = nn.Parameter(torch.randn(len(SPEEDS) * len(self.voices), EMBEDDING))
        counts = {voice: sum(u.name == voice for u in self.speech) for voice in self.voices}
        weights = np.array([counts[u.name] ** -0.5 for u in self.speech])
        is_real = np.array([u.real for u in self.speech])
        share = np.where(is_real, self.real_share, 1 - self.real_share)
        self.weights = share * weights / np.where(is_real, weights[is_real].sum(), weights[~is_real].sum())

    def advance(self, progress: float) -> None:
        """Let the margin grow after a while without one."""
        self.applied = self.margin * min(1.0, max(0.0, progress / self.margin_from - 1))

    def cosines(self, wavs: list[np.ndarray]) -> Tensor:
        """Compare utterances with each voice's direction: (B, voices at each speed)."""
        with torch.autocast("cpu", torch.bfloat16):
            states, valid = self.model([torch.from_numpy(wav) for wav in wavs])
        last = states[-1].float()
        average = mean(last, valid)
        spread = (mean((last - average) ** 2, valid) + 1e-6).sqrt()
        embedding = self.embed(torch.cat([average, spread], dim=-1)[:, 0])
        return F.normalize(embedding) @ F.normalize(self.directions).T

    def loss(self, indices: list[int], rng: np.random.Generator) -> Tensor:
        """Additive angular margin softmax of crops, each at a speed and through a channel of its own."""
        wavs, labels = [], []
        for u in (self.speech[i] for i in indices):
            speed = int(rng.integers(len(SPEEDS))) if u.real else 0
            wavs.append(_through_any_channel(_crop(u, SPEEDS[speed], rng), rng))
            labels.append(len(SPEEDS) * self.voices.index(u.name) + speed)
        target = torch.tensor(labels)
        cosines = self.cosines(wavs)
        own = F.one_hot(target, cosines.size(1)).bool()
        angle = cosines.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        return F.cross_entropy(self.scale * torch.where(own, (angle + self.applied).cos(), cosines), target)

    @torch.no_grad()
    def report(self) -> str:
        """How many pieces of recorded voices that were kept out are taken for their own voice's, of all there are."""
        self.eval()
        rng, found = np.random.default_rng(SEED), {}
        watch = sorted((u for u in self.watch if u.real), key=lambda u: len(u.samples))
        own = torch.tensor([len(SPEEDS) * self.voices.index(u.name) for u in watch])
        for what in ("as recorded", "through a channel"):
            guesses = []
            for begin in range(0, len(watch), 32):
                wavs = [u.samples.astype(np.float32) / 32768 for u in watch[begin : begin + 32]]
                if what != "as recorded":
                    wavs = [transmit(wav, ANY_CHANNEL, rng) for wav in wavs]
                guesses.append(self.cosines(wavs)[:, :: len(SPEEDS)].argmax(1))
            found[what] = 100 * (len(SPEEDS) * torch.cat(guesses) == own).float().mean().item()
        self.train()
        kept = ", ".join(f"{what} {share:.1f} %" for what, share in found.items())
        return f"kept out {kept} right of {len(watch)} pieces, {len(self.voices)} voices"


def _crop(u: Utterance, speed: float, rng: np.random.Generator) -> np.ndarray:
    """Cut a piece at random, and play it faster or slower: (at most `CROP`,) float32."""
    wanted = min(int(CROP * speed), len(u.samples))
    start = rng.integers(len(u.samples) - wanted + 1)
    samples = u.samples[start : start + wanted].astype(np.float32) / 32768
    if speed == 1.0:
        return samples
    return np.interp(np.arange(0, wanted - 1, speed), np.arange(wanted), samples).astype(np.float32)


def _through_any_channel(wav: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wav = transmit(wav, ANY_CHANNEL, rng) if rng.random() < 0.85 else wav
    return wav * np.float32(10 ** (rng.uniform(-15, 3) / 20))
