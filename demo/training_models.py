"""The demo's two upstreams as they are trained: model, speech, targets and loss of each.

Both have the attributes ``model``, ``extractor``, ``speech``, ``weights`` (how likely each utterance is drawn),
``targets``, ``budget`` (most samples of a batch) and ``peak_lr``, and the methods ``load_speech``, ``advance``,
``loss`` and ``report``.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import NamedTuple

import editdistance
import librosa
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from build_corpus import SAMPLE_RATE, VOICES
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from tqdm import tqdm
from training_speech import Utterance, augment, held_out, real_speech, sentences, synthesise, with_sounds
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from s3prl_fusion.upstreams.whisper_encoder import call_layer

SEED = 20
LETTERS = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SOUNDS = "abdefhijklmnoprstuvwxyzæðøŋœɐɑɒɔɕəɚɛɜɡɪɭɲɵɹɾʁʃʊʌʎʑʒʝβθᵻ"  # espeak-ng's in the five languages


class Stage(NamedTuple):
    """How hard the Whisper-style encoder's training is, up to a share of its time."""

    until: float
    shares: tuple[float, float, float]  # of real English, other real speech and synthesis among those drawn
    dropout: float
    masks: int  # SpecAugment's, on each axis
    mel_width: int  # widest mask, in mel bins
    frame_width: int  # widest mask, in 10 ms frames


class Whisper(nn.Module):
    """A Whisper-style encoder with CTC heads that are thrown away: letters on top, sounds one layer below.

    Letters are learned from English speech, sounds (IPA) from all five languages.
    """

    # Lightly at first: hard from the start, so small a model does not find the alignment in the time there is.
    stages = (Stage(0.35, (0.3, 0.35, 0.35), 0.0, 1, 8, 12), Stage(1.0, (0.2, 0.35, 0.45), 0.1, 2, 16, 25))
    peak_lr = 1.5e-3
    budget = 14 * SAMPLE_RATE

    def __init__(self) -> None:
        super().__init__()
        self.config = WhisperConfig(
            num_mel_bins=80, d_model=208, encoder_layers=4, encoder_attention_heads=4, encoder_ffn_dim=832,
            dropout=0.1, decoder_layers=0, decoder_attention_heads=4, decoder_ffn_dim=16, max_target_positions=4,
            vocab_size=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )  # fmt: skip
        self.extractor = WhisperFeatureExtractor(feature_size=80)
        self.model = WhisperModel._from_config(self.config, attn_implementation="eager")
        self.head = nn.Linear(self.config.d_model, len(LETTERS) + 1)
        self.stage: Stage | None = None
        self.sound_head = nn.Linear(self.config.d_model, len(SOUNDS) + 1)
        self.targets: list[Tensor] = []

    def load_speech(self, root: Path, manifest: Path) -> None:
        """Decode five voices and synthesise English; 30 prompts of the demo's training clips watch the training.

        Those clips are left out: where the encoder knew them, its states would be cleaner than on new speech, and a
        head that is trained on them would not get used to its mistakes.
        """
        held, rng = held_out(root, manifest), random.Random(SEED)
        table = pd.read_csv(manifest, keep_default_na=False)
        kept = set(table.loc[table["split"] == "train-clean-100", "transcript"])
        prompts = with_sounds(real_speech(root, list(VOICES), held, (0.3, 14.0)), root)
        self.watch = rng.sample([u for u in prompts if u.transcript in kept and " " in u.transcript], 30)
        watched = {u.transcript for u in self.watch}
        texts = sorted({u.transcript for u in prompts} - watched - {""})
        made = [text for text in sentences(texts, held, 7000, rng) if text not in watched]
        real = [u for u in prompts if u.transcript not in kept]
        self.speech = real + with_sounds(synthesise(made, 0.6, rng), root)
        self.advance(0.0)

    def features(self, wavs: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Log-mel (B, 80, M) padded to the longest, and the encoder's frames (B,) of each utterance."""
        out = self.extractor(wavs, sampling_rate=SAMPLE_RATE, padding="longest", return_tensors="pt")
        mel = out["input_features"]
        return mel, torch.tensor([min((len(wav) // 160 + 1) // 2, (mel.shape[2] + 1) // 2) for wav in wavs])

    def encode(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's own layers on (B, 80, M) log-mels of any length: last but one and last, (B, M / 2, D)."""
        encoder = self.model.encoder
        hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        states = [hidden]
        for layer in encoder.layers:
            states.append(call_layer(layer, states[-1], None))
        return F.layer_norm(states[-2], states[-2].shape[-1:]), encoder.layer_norm(states[-1])

    def loss(self, indices: list[int], rng: np.random.Generator) -> Tensor:
        """CTC over letters, of English, plus CTC over sounds of augmented, masked utterances."""
        batch = [self.speech[i] for i in indices]
        mel, frames = self.features([augment(_float(u), rng, speed=True) for u in batch])
        for row in mel:
            for axis, width in enumerate((self.stage.mel_width, self.stage.frame_width)):
                for _ in range(self.stage.masks):
                    start, size = rng.integers(row.shape[axis]), rng.integers(width)
                    row.narrow(axis, start, min(size, row.shape[axis] - start)).zero_()
        with torch.autocast("cpu", torch.bfloat16):
            below, top = self.encode(mel)
            letters, sounds = self.head(top).float(), self.sound_head(below).float()
        loss = _ctc(sounds, frames, [[SOUNDS.index(sound) + 1 for sound in u.sounds if sound in SOUNDS] for u in batch])
        english = [row for row, u in enumerate(batch) if u.transcript]
        if not english:
            return loss
        spelt = [[LETTERS.index(letter) + 1 for letter in batch[row].transcript] for row in english]
        return loss + len(english) / len(batch) * _ctc(letters[english], frames[english], spelt)

    @torch.no_grad()
    def report(self) -> str:
        """Greedy letter and word error rates on the watched real prompts."""
        self.eval()
        errors = np.zeros(4)
        for u in self.watch:
            mel, _ = self.features([_float(u)])
            best = torch.unique_consecutive(self.head(self.encode(mel)[1])[0].argmax(-1))
            text = "".join(LETTERS[i - 1] for i in best.tolist() if i).strip()
            errors += editdistance.eval(text, u.transcript), len(u.transcript), 0, 0
            errors += 0, 0, editdistance.eval(text.split(), u.transcript.split()), len(u.transcript.split())
        self.train()
        return f"watched LER {100 * errors[0] / errors[1]:.1f} %, WER {100 * errors[2] / errors[3]:.1f} %"

    def advance(self, progress: float) -> None:
        """Set the stage that training has come to."""
        stage = next(stage for stage in self.stages if progress <= stage.until)
        if stage is not self.stage:
            self.stage = stage
            kinds = np.array([0 if u.real and u.transcript else 1 if u.real else 2 for u in self.speech])
            self.weights = np.array(stage.shares)[kinds] / np.bincount(kinds, minlength=3)[kinds]
            for layer in self.model.encoder.layers:
                layer.dropout = stage.dropout


class Hubert(nn.Module):
    """HuBERT with a cluster-prediction head; targets: clusters of MFCCs, later of its own layer."""

    peak_lr = 1.5e-3
    budget = 24 * SAMPLE_RATE
    clusters = 100
    unmasked_weight = 0.5
    second_at = 0.5  # share of the time after which the targets are re-made
    second_layer = 4

    def __init__(self) -> None:
        super().__init__()
        self.config = HubertConfig(
            vocab_size=32, hidden_size=192, num_hidden_layers=6, num_attention_heads=4, intermediate_size=768,
            conv_dim=(32, 48, 64, 96, 128, 128, 160), conv_bias=True, feat_extract_norm="layer",
            do_stable_layer_norm=True, feat_extract_activation="relu", hidden_act="relu",
            num_conv_pos_embeddings=64, mask_time_prob=0.08, mask_time_length=10, hidden_dropout=0.05,
            attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0, layerdrop=0.0,
        )  # fmt: skip
        self.extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
        self.model = HubertModel._from_config(self.config, attn_implementation="eager")
        self.head = nn.Linear(self.config.hidden_size, self.clusters)
        self.register_buffer("second", torch.tensor(False))
        self.targets: list[Tensor] = []
        self.accuracies: list[float] = []

    def load_speech(self, root: Path, manifest: Path) -> None:
        """Decode all five voices and synthesise some English."""
        held, rng = held_out(root, manifest), random.Random(SEED)
        real = real_speech(root, list(VOICES), held, (0.4, 40.0))
        texts = sorted({u.transcript for u in real} - {""})
        made = synthesise(sentences(texts, held, 2500, rng), 0.4, rng)
        self.speech = [piece for u in real for piece in _pieces(u)] + made
        self.weights = _weights(self.speech, real_share=0.8)

    def advance(self, progress: float) -> None:
        """Make the targets: from MFCCs at the start, later from the model's own layer, with a fresh head."""
        if not self.targets:
            self._cluster([_mfcc(u) for u in tqdm(self.speech, desc="mfcc", mininterval=5)])
        elif progress > self.second_at and not self.second:
            self.second.fill_(True)
            self.eval()
            self._cluster(self._layer())
            self.train()
            self.head.reset_parameters()

    def _cluster(self, rows: list[np.ndarray]) -> None:
        """Give every frame of ``speech`` a cluster; ``rows`` describes each utterance, (T, D)."""
        fit = np.concatenate(rows)
        fit = fit[np.random.default_rng(SEED).permutation(len(fit))[:150_000]]
        mean, deviation = fit.mean(0), fit.std(0) + 1e-6
        kmeans = MiniBatchKMeans(self.clusters, batch_size=10_000, n_init=3, random_state=SEED)
        kmeans.fit((fit - mean) / deviation)
        self.targets = [torch.from_numpy(kmeans.predict((row - mean) / deviation)).long() for row in rows]
        counts = torch.bincount(torch.cat(self.targets), minlength=self.clusters)
        print(f"{self.clusters} clusters, largest {100 * counts.max() / counts.sum():.1f} % of frames")

    @torch.no_grad()
    def _layer(self) -> list[np.ndarray]:
        """States of layer ``second_layer`` for each utterance of ``speech``: (T, D)."""
        rows: list[np.ndarray] = [None] * len(self.speech)
        order = sorted(range(len(rows)), key=lambda i: len(self.speech[i].samples))
        for begin in tqdm(range(0, len(order), 8), desc="describe", unit="batch", mininterval=5):
            indices = order[begin : begin + 8]
            wavs = [_float(self.speech[i]) for i in indices]
            inputs = self.extractor(wavs, sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16):
                states = self.model(**inputs, output_hidden_states=True).hidden_states[self.second_layer]
            for i, wav, state in zip(indices, wavs, states):
                rows[i] = state[: (len(wav) - 400) // 320 + 1].float().numpy()
        return rows

    def loss(self, indices: list[int], rng: np.random.Generator) -> Tensor:
        """Cross-entropy on the frames' clusters, masked and not; the input is noisy, the targets are not."""
        wavs = [augment(_float(self.speech[i]), rng, speed=False) for i in indices]
        inputs = self.extractor(wavs, sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt")
        targets = nn.utils.rnn.pad_sequence([self.targets[i] for i in indices], batch_first=True, padding_value=-1)
        mask = torch.zeros(targets.shape, dtype=torch.bool)
        span = self.config.mask_time_length
        for row, i in zip(mask, indices):
            frames = len(self.targets[i])
            for start in rng.integers(-span // 2, frames, size=max(1, round(self.config.mask_time_prob * frames))):
                row[max(0, start) : min(frames, start + span)] = True
        with torch.autocast("cpu", torch.bfloat16):
            states = self.model(**inputs, mask_time_indices=mask).last_hidden_state
            logits = self.head(states).float()
        masked = F.cross_entropy(logits[mask], targets[mask])
        seen = F.cross_entropy(logits[~mask], targets[~mask], ignore_index=-1)
        self.accuracies.append((logits[mask].argmax(-1) == targets[mask]).float().mean().item())
        return masked + self.unmasked_weight * seen

    def report(self) -> str:
        """Accuracy on the masked frames since the last report, and which targets are in use."""
        accuracy, self.accuracies = 100 * float(np.mean(self.accuracies or [0.0])), []
        source = "its own layer" if self.second else "MFCCs"
        return f"accuracy {accuracy:.1f} % (chance {100 / self.clusters:.1f} %) on clusters of {source}"


def _ctc(logits: Tensor, frames: Tensor, targets: list[list[int]]) -> Tensor:
    """CTC loss a symbol of (B, T, C) logits; class 0 is the blank."""
    sizes = torch.tensor([len(target) for target in targets])
    joined = torch.tensor([symbol for target in targets for symbol in target])
    return F.ctc_loss(logits.log_softmax(-1).transpose(0, 1), joined, frames, sizes, zero_infinity=True)


def _mfcc(u: Utterance) -> np.ndarray:
    """MFCCs with two orders of differences, one row a HuBERT frame: (T, 39)."""
    samples = _float(u)
    samples = (samples - samples.mean()) / (samples.std() + 1e-7)
    mfcc = librosa.feature.mfcc(
        y=samples, sr=SAMPLE_RATE, n_mfcc=13, n_fft=400, hop_length=320, n_mels=40, center=False
    )
    deltas = [librosa.feature.delta(mfcc, width=5, order=order, mode="nearest") for order in (1, 2)]
    return np.concatenate([mfcc, *deltas]).T.astype(np.float32)


def _float(u: Utterance) -> np.ndarray:
    return u.samples.astype(np.float32) / 32768


def _pieces(u: Utterance, most: int = 6 * SAMPLE_RATE) -> list[Utterance]:
    """Cut a long utterance into equal pieces of at most ``most`` samples."""
    count = math.ceil(len(u.samples) / most)
    return [u._replace(samples=piece) for piece in np.array_split(u.samples, count)]


def _weights(speech: list[Utterance], real_share: float) -> np.ndarray:
    """Probability of each utterance such that real ones make up ``real_share`` of the draws."""
    real = np.array([u.real for u in speech])
    return np.where(real, real_share / real.sum(), (1 - real_share) / (~real).sum())
