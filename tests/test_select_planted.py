"""`select` from corpus to report, with upstreams of four kinds on speech in which the answer was planted.

A speaker is known by two tones, a low and a high one, of two pitches each. One upstream hears low tones only, and one
high ones: each has half of the answer. One is the first with a little noise on it, and one is noise.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.slow
# Python imports it as it starts, in every process.
ROWS = """
from s3prl_fusion.upstreams.entries import ENTRIES, Entry

LOW, HIGH = [100, 1000], [2000, 4000]
OPTIONS = {"low": {"band": LOW}, "high": {"band": HIGH}, "noise": {"noise": 1.0}, "copy": {"band": LOW, "noise": 0.01}}
for name, options in OPTIONS.items():
    ENTRIES[name] = Entry(name, factory=f"{__file__.replace('sitecustomize', 'hearing')}:Hearing", options=options)
"""
HEARING = """
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

DIM = 12


class Hearing(nn.Module):
    '''Log energies of the bands that it hears, with noise that the samples decide; without a band, noise alone.'''

    def __init__(self, ckpt=None, band=None, noise=0.0):
        super().__init__()
        self.band, self.noise = band, noise

    def get_downsample_rates(self, key=None):
        return 320

    def forward(self, wavs):
        frames = pad_sequence(list(wavs), batch_first=True).unfold(1, 640, 320)
        states = torch.zeros(*frames.shape[:2], DIM)
        if self.band:
            energies = torch.fft.rfft(frames * torch.hann_window(640)).abs().square()
            low, high = (round(hertz / 25) for hertz in self.band)
            bands = energies[..., low:high].unfold(-1, (high - low) // DIM, (high - low) // DIM)[..., :DIM, :]
            states = bands.sum(-1).clamp_min(1e-6).log()
        # Sines of large multiples of the samples look like noise, and are the same for the same samples.
        hidden = torch.sin(1e4 * frames[..., :DIM] + torch.arange(DIM))
        return {"hidden_states": [states + self.noise * hidden, states + self.noise * hidden.flip(-1)]}
"""
PITCHES = ((250, 500), (2400, 3200))
STEPS = ["--steps", "60", "--lr", "5e-3", "--interfaces", "hconv"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """VoxCeleb1's layout, four speakers with 12 clips to train on, 12 of dev and one of test."""
    root, rng, lines = tmp_path_factory.mktemp("tones") / "VoxCeleb1", np.random.default_rng(0), []
    moments = np.arange(9600) / 16000
    for speaker in range(4):
        tones = [pitches[speaker >> bit & 1] for bit, pitches in enumerate(PITCHES)]
        for i in range(25):
            name = f"id{10001 + speaker}/video/{i:05d}.wav"
            wav = sum(0.1 * np.sin(2 * np.pi * (hertz * moments + rng.uniform())) for hertz in tones)
            path = root / "dev" / "wav" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wav + 0.05 * rng.standard_normal(len(moments)), 16000)
            lines.append(f"{1 if i < 12 else 2 if i < 24 else 3} {name}\n")
    (root / "iden_split.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def found(tmp_path_factory, corpus) -> tuple[list[object], Path, str]:
    """The command, the folder of its report and what it said."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "sitecustomize.py").write_text(ROWS)
    (folder / "hearing.py").write_text(HEARING)
    command = ["-u", "noise,low,copy,high", "-t", "sid", "--voxceleb1", corpus, "-o", folder / "exp", "--device", "cpu"]
    return [*command, *STEPS], folder, select(folder, *command, *STEPS)


def select(folder: Path, *words: object) -> str:
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    command = [sys.executable, "-m", "s3prl_fusion", "select", *map(str, words)]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def without_times(report: str) -> str:
    """Interfaces are timed for each report."""
    return re.sub(r"\| [\d.e-]+ \|$", "|", report, flags=re.MULTILINE)


def test_the_planted_answer_is_recommended(found):
    _, folder, said = found
    told = json.loads((folder / "exp" / "select.json").read_text())
    members = set(told["recommended"]["sid"].rpartition("_")[0].split("+"))
    assert members in ({"low", "high"}, {"copy", "high"})
    assert said.startswith("fuse ") and "for sid (+" in said
    assert "superb -t sid" in said


def test_noise_is_never_chosen_and_a_copy_is_redundant(found):
    _, folder, _ = found
    told = json.loads((folder / "exp" / "select.json").read_text())
    r2 = {("+".join(row["from"]), row["to"]): row["R2"] for row in told["redundancy"]}
    assert r2["low", "copy"] > 0.95 and r2["copy", "low"] > 0.95
    assert r2["low", "noise"] < 0.1 and r2["low", "high"] < 0.5
    left = [row for row in told["trials"] if row["why_not"]]
    assert left and all({"low", "copy"} <= set(row["members"].split(" + ")) for row in left)
    with_noise = [row for row in told["trials"] if "noise" in row["members"] and row["score"] is not None]
    assert all(row["label"] not in told["recommended"].values() for row in with_noise)


def test_given_again_it_makes_the_same_report_from_disk(found):
    command, folder, said = found
    runs = {path: path.stat().st_mtime_ns for path in (folder / "exp").rglob("train.log")}
    assert without_times(select(folder, *command)) == without_times(said)
    assert {path: path.stat().st_mtime_ns for path in (folder / "exp").rglob("train.log")} == runs
