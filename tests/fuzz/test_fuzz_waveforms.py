"""Waveforms of any length, level and company: finite states, as many frames as there must be, alone as in a batch; and
files of any kind: features of just that many frames, or a line that names the file."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
import soundfile
import tiny_models
import torch
from hypothesis import strategies as st
from laws import command, folder, property_of, refusals

from s3prl_fusion import FusedUpstream, FusionConfig, MemberConfig

# Samples a frame, and samples that the first frame takes: kaldi's and HuBERT's begin with a whole window, the others
# are centred on samples 0, 160, ...
FRAMES = {
    "fbank": (160, 400),
    "fbank_no_cmvn": (160, 400),
    "mfcc": (160, 400),
    "mel": (160, 0),
    "linear": (160, 0),
    "spectrogram": (160, 400),
    "hf_hubert_custom": (320, 400),
}
KINDS = ("noise", "silence", "faint", "loud", "silence at the end", "silence first", "constant", "click", "full scale")


def frames(members: tuple[str, ...], samples: int) -> int:
    """The law: the fastest member's frames; of a waveform that is too short for two, as if silence followed."""
    rate, first = min(FRAMES[name] for name in members)
    return (max(samples, first + rate, 2 * rate) - first) // rate + 1


def waveform(kind: str, samples: int, seed: int) -> torch.Tensor:
    wav = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    middle = samples // 2
    if kind == "silence":
        wav.zero_()
    elif kind == "faint":
        wav *= 1e-6
    elif kind == "loud":
        wav *= 1e3
    elif kind == "silence at the end":
        wav[middle:] = 0
    elif kind == "silence first":
        wav[:middle] = 0
    elif kind == "constant":
        wav[:] = 0.5
    elif kind == "click":
        wav[:], wav[middle] = 0, 1
    elif kind == "full scale":
        wav = wav.sign()
    return wav


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """Upstreams by their members' names, each made once."""
    hubert = tiny_models.save_hf_wav2vec(tmp_path_factory.mktemp("hubert"))

    @functools.cache
    def make(*names: str) -> FusedUpstream:
        from s3prl_fusion.host.upstream import FusedUpstream

        members = [MemberConfig(name, hubert if name.endswith("_custom") else None) for name in names]
        return FusedUpstream(FusionConfig(tuple(members))).eval()

    return make


MEMBERS = st.lists(st.sampled_from(sorted(FRAMES)), min_size=1, max_size=3, unique=True).map(tuple)
LENGTHS = st.one_of(
    st.integers(1, 1000), st.integers(1, 8000), st.sampled_from([159, 160, 161, 399, 400, 401, 720, 1600])
)
BATCHES = st.lists(st.tuples(st.sampled_from(KINDS), LENGTHS), min_size=1, max_size=4)


@property_of(
    "waveforms of any length, level and silence, alone and in a batch, fused", 150, members=MEMBERS, batch=BATCHES
)
def test_waveforms_are_fused_alone_as_in_a_batch(fused, members, batch):
    upstream = fused(*members)
    wavs = [waveform(kind, samples, seed) for seed, (kind, samples) in enumerate(batch)]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        together = upstream(wavs)["hidden_states"]
        assert {state.size(1) for state in together} == {frames(members, max(map(len, wavs)))}
        assert all(state.isfinite().all() for state in together), "not finite"
        for i, wav in enumerate(wavs):
            alone, count = upstream([wav])["hidden_states"], frames(members, len(wav))
            for layer, (state, padded) in enumerate(zip(alone, together)):
                assert state.size(1) == count, f"{state.size(1)} frames, and {count} in law"
                difference = (state[0] - padded[i, :count]).abs().max() / state.abs().max().clamp(min=1)
                assert difference < 1e-3, f"state {layer} of utterance {i} in the batch is another: {difference}"


@property_of(
    "batches that are none: NaN, empty, integers, two channels",
    30,
    members=MEMBERS,
    odd=st.sampled_from(["nan", "inf", "empty", "integers", "channels", "no batch", "an array"]),
    place=st.integers(0, 1),
)
def test_batches_that_are_none_are_refused(fused, members, odd, place):
    wavs = [waveform("noise", 1000, 0), waveform("noise", 2000, 1)]
    if odd in ("nan", "inf"):
        wavs[place][500] = float(odd)
    else:
        others = {"empty": torch.zeros(0), "integers": torch.zeros(900, dtype=torch.int16)}
        others.update({"channels": torch.zeros(900, 2), "an array": np.zeros(900)})
        wavs = [] if odd == "no batch" else [others[odd] if i == place else wav for i, wav in enumerate(wavs)]
    with refusals() as said:
        fused(*members)(wavs)
    assert said, "taken"
    assert odd == "no batch" or f"utterance {place}" in said[0]
    return said[0]


FORMATS = {
    ".wav": ("PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM"),
    ".flac": ("PCM_16", "PCM_24", "PCM_S8"),
    ".ogg": ("VORBIS",),
    ".mp3": ("MPEG_LAYER_III",),
}
TYPES = st.sampled_from([(suffix, subtype) for suffix, types in FORMATS.items() for subtype in types])
FAULTS = st.sampled_from(["none"] * 6 + ["8 kHz", "44.1 kHz", "stereo", "cut", "no bytes", "text", "nan", "no samples"])
NAMES = st.sampled_from(["a", "a.b", "ä", "a b", "中", "a'b", "%s", "-a"])


@property_of(
    "sound files of any format, name and fault, under `extract`",
    25,
    files=st.lists(st.tuples(TYPES, FAULTS, LENGTHS, st.sampled_from(KINDS)), min_size=1, max_size=3),
    name=NAMES,
)
def test_sound_files_are_extracted_or_named(files, name):
    with folder() as here:
        expected, faulty = {}, []
        for number, ((suffix, subtype), fault, samples, kind) in enumerate(files):
            stem = f"{name}{number}"
            path = here / "sounds" / f"{stem}{suffix}"
            path.parent.mkdir(exist_ok=True)
            wav = waveform(kind, samples, number).clamp(-1, 1).numpy()
            if fault == "nan" and subtype in ("FLOAT", "DOUBLE"):
                wav[samples // 2] = np.nan
            if fault == "stereo":
                wav = np.stack([wav, wav], axis=1)
            rate = {"8 kHz": 8000, "44.1 kHz": 44100}.get(fault, 16000)
            soundfile.write(path, wav[:0] if fault == "no samples" else wav, rate, subtype=subtype)
            if fault == "cut":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            elif fault in ("no bytes", "text"):
                path.write_bytes(b"" if fault == "no bytes" else b"<html>404</html>")
            if fault == "none" or (fault == "nan" and subtype not in ("FLOAT", "DOUBLE")):
                expected[stem] = soundfile.read(path)[0]
            elif not (fault == "cut" and suffix == ".ogg"):  # a cut Ogg file cannot be told from a short one
                faulty.append(path)
        done = command("extract", "-u", "fused__fbank__mel", here / "sounds", "-o", here / "out")
        assert not faulty or done.status, f"taken: {faulty}"
        assert done.status == 0 or faulty or any(fault == "cut" for _, fault, _, _ in files), done.err
        assert all(path.name in done.err for path in faulty), f"not named: {done.err}"
        written = {path.name: np.load(path) for path in (here / "out").rglob("*.npy")}
        if done.status < 2:  # what can be done is done
            assert {f"{stem}.{member}.npy" for stem in expected for member in ("fbank", "mel")} <= set(written)
        for stem, wav in expected.items():
            for member in ("fbank", "mel"):
                states = written.get(f"{stem}.{member}.npy")
                count = frames(("fbank", "mel"), len(wav))
                assert states is None or states.shape[1] == count, f"{states.shape[1]} frames, and {count} in law"
        assert all(np.isfinite(states).all() for states in written.values())
        assert not [path for path in here.rglob("*.tmp")]
        return done.refusal
