"""What the host misses here, supplied: parity with the real thing, errors, and whether it is still needed."""

from __future__ import annotations

import argparse
import ast
import io
import re
import shutil
import subprocess
import sys
import warnings
from importlib import util
from pathlib import Path

import numpy as np
import official_layouts
import pytest
import s3prl
import soundfile
import torch
import torchaudio
from tiny_models import wavs

from s3prl_fusion.errors import HostError, UserError
from s3prl_fusion.host import shims
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.recipes import _sv_data
from s3prl_fusion.host.shims import audio, checkpoints, huggingface, sox

CHAIN = _sv_data.EFFECTS
READS_ITSELF = hasattr(torchaudio, "_backend")
needs_reference = pytest.mark.skipif(not READS_ITSELF, reason="torchaudio 2.9 and later cannot read files themselves")
FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_32"),
    ("wav", "PCM_U8"),
    ("wav", "FLOAT"),
    ("wav", "DOUBLE"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
    ("ogg", "VORBIS"),
]


@pytest.fixture
def stock():
    """The packages without the shims, for one test."""
    shims.withdraw()
    yield
    shims.supply()


def sound(channels: int, seconds: float = 0.2, seed: int = 0) -> np.ndarray:
    """Noise, (T, channels) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (int(16000 * seconds), channels)).astype(np.float32)


def write(folder: Path, suffix: str, subtype: str, channels: int) -> Path:
    path = folder / f"sound.{suffix}"
    soundfile.write(path, sound(channels), 16000, subtype)
    return path


def quiet(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


# --- what is active, and for how long


@pytest.mark.parametrize("shim", shims.SHIMS, ids=lambda shim: shim.name)
def test_a_shim_is_active_only_where_its_package_lacks_it(shim, stock):
    """Where no supported release lacks it any more, all rows of `make matrix` skip, and the shim can go."""
    if not shim.missing():
        pytest.skip(f"{shim.name} is not missing here")
    shims.supply()
    assert shim in shims.active()


@pytest.mark.parametrize("shim", [shim for shim in shims.SHIMS if shim.used_by], ids=lambda shim: shim.name)
def test_a_shim_supplies_what_is_still_used(shim):
    roots = (Path(s3prl.__file__).parent, Path(shims.__file__).parents[2] / "upstreams")
    sources = (path.read_text(encoding="utf-8", errors="ignore") for root in roots for path in root.rglob("*.py"))
    assert any(shim.used_by in source for source in sources), f"nothing uses {shim.used_by!r}: drop {shim.name}"


def test_every_shim_says_why_and_where_it_was_announced():
    for shim in shims.SHIMS:
        assert shim.reason and shim.source.startswith("https://"), shim.name
    assert len({shim.name for shim in shims.SHIMS}) == len(shims.SHIMS)


def test_supply_and_withdraw_are_idempotent_and_leave_the_packages_as_they_were(stock):
    import huggingface_hub

    def state():
        modules = (torchaudio, getattr(torchaudio, "sox_effects", None), huggingface_hub)
        return [dict(vars(module)) for module in modules if module], set(torch.serialization.get_safe_globals())

    before = state()
    shims.supply()
    first = shims.active()
    shims.supply()
    assert shims.active() == first
    shims.withdraw()
    shims.withdraw()
    assert state() == before and shims.active() == ()


@pytest.mark.skipif(READS_ITSELF, reason="s3prl imports by itself beside torchaudio 2.8 and older")
def test_s3prl_needs_the_shims_here():
    done = subprocess.run([sys.executable, "-c", "import s3prl.hub"], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "set_audio_backend" in done.stderr


def test_a_package_that_does_not_import_is_a_host_error(stock, monkeypatch):
    broken = shims.Shim("x", "", "", "", lambda: (_ for _ in ()).throw(OSError("undefined symbol: x")), None)
    monkeypatch.setattr(shims, "SHIMS", (*shims.SHIMS, broken))
    with pytest.raises(HostError, match="undefined symbol: x. `s3prl-fusion doctor` says what to install"):
        shims.supply()
    assert not shims.supplied()


# --- torchaudio


@needs_reference
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix, subtype", FORMATS)
def test_load_is_torchaudios_own(suffix, subtype, channels, tmp_path):
    path = write(tmp_path, suffix, subtype, channels)
    for kwargs in ({}, {"frame_offset": 100}, {"num_frames": 50, "frame_offset": 3000}, {"num_frames": 9999}):
        expected, rate = quiet(torchaudio.load, path, backend="soundfile", **kwargs)
        got, got_rate = audio.load(path, **kwargs)
        assert got_rate == rate and got.dtype == expected.dtype and torch.equal(got, expected)


@needs_reference
@pytest.mark.parametrize("suffix, subtype", FORMATS)
def test_info_is_torchaudios_own(suffix, subtype, tmp_path):
    path = write(tmp_path, suffix, subtype, 2)
    expected, got = quiet(torchaudio.info, path, backend="soundfile"), audio.info(path)
    for name in ("sample_rate", "num_frames", "num_channels", "bits_per_sample", "encoding"):
        assert getattr(got, name) == getattr(expected, name), name


@pytest.mark.parametrize(
    "suffix, subtype, bits, encoding",
    [
        ("wav", "PCM_U8", 8, "PCM_U"),
        ("wav", "PCM_24", 24, "PCM_S"),
        ("wav", "FLOAT", 32, "PCM_F"),
        ("wav", "ULAW", 0, "UNKNOWN"),
        ("flac", "PCM_16", 16, "FLAC"),
        ("ogg", "VORBIS", 0, "VORBIS"),
    ],
)
def test_info_and_samples_are_the_files(suffix, subtype, bits, encoding, tmp_path):
    path = write(tmp_path, suffix, subtype, 2)
    assert audio.info(path) == audio.AudioMetaData(16000, 3200, 2, bits, encoding)
    expected, _ = soundfile.read(path, dtype="float32")
    assert torch.equal(audio.load(path)[0], torch.from_numpy(expected.T))
    assert torch.equal(audio.load(path, 100, 50)[0], torch.from_numpy(expected.T[:, 100:150]))


def test_open_files_are_read():
    wav, file = sound(2), io.BytesIO()
    soundfile.write(file, wav, 16000, "FLOAT", format="WAV")
    file.seek(0)
    assert torch.equal(audio.load(file)[0], torch.from_numpy(wav.T))


def test_a_file_that_is_no_sound_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    for function in (audio.load, audio.info):
        with pytest.raises((UserError, RuntimeError), match="a.wav"):
            function(tmp_path / "a.wav")


# --- SoX's effects


def test_svs_chain_trims(tmp_path):
    wav = np.concatenate([np.zeros(8000), sound(1)[:, 0], np.zeros(8000)]).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wav, 16000, "FLOAT")
    trimmed, rate = sox.apply_effects_file(tmp_path / "a.wav", CHAIN)
    start = int(np.flatnonzero(wav)[0])
    assert rate == 16000 and trimmed.dtype == torch.float32 and 3000 < trimmed.shape[1] < 3200 + sox.WINDOW
    lowered = torch.from_numpy(wav * 10 ** (-3.0 / 20))
    # It begins where the first window is loud, which is in noise of this loudness at once.
    assert torch.equal(trimmed[0, :3000], lowered[start : start + 3000])
    stereo = torch.from_numpy(np.stack([wav, wav]))
    assert torch.equal(sox.apply_effects_tensor(stereo, 16000, CHAIN)[0], trimmed)


def test_effects_are_applied_in_the_order_given():
    stereo = torch.from_numpy(sound(2).T.copy())
    mixed, _ = sox.apply_effects_tensor(stereo, 16000, CHAIN[:2])
    torch.testing.assert_close(mixed, stereo.mean(dim=0, keepdim=True), rtol=0, atol=0)
    lowered, rate = sox.apply_effects_tensor(stereo, 8000, [["gain", "-3.0"]])
    assert rate == 8000 and lowered.shape == stereo.shape
    torch.testing.assert_close(lowered, stereo * 10 ** (-3.0 / 20))
    speech_commands = [*CHAIN[:2], ["gain", "-3.0"]]  # s3prl/downstream/speech_commands/dataset.py:22
    torch.testing.assert_close(sox.apply_effects_tensor(stereo, 16000, speech_commands)[0], lowered.mean(0, True))
    with pytest.raises(UserError, match="'silence' needs libsox for 2 channels of 16000 Hz; put channels 1"):
        sox.apply_effects_tensor(stereo, 16000, [CHAIN[3], CHAIN[0]])


def recording(number: int) -> np.ndarray:
    row = official_layouts.recordings()[number]
    return soundfile.read(official_layouts.DEMO / row["path"])[0]


def noise(loudness: float) -> np.ndarray:
    return loudness * np.random.default_rng(0).standard_normal(20000)


HUM = noise(0.0004)  # what a microphone hears where nobody speaks
CLIPS = {
    **{f"speech {number}": lambda number=number: recording(number) for number in range(0, 200, 20)},
    "stereo": lambda: np.stack([recording(0), np.roll(recording(0), 500)], axis=1),
    "noise": lambda: noise(0.1),
    "zeros at both ends": lambda: np.concatenate([np.zeros(9000), recording(0), np.zeros(9000)]),
    "hum at both ends": lambda: np.concatenate([HUM, recording(0), HUM]),
    "zeros": lambda: np.zeros(20000),
    "hum": lambda: HUM,
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sox") is None, reason="needs the sox program")
@pytest.mark.parametrize("kind", CLIPS)
def test_svs_chain_is_what_the_real_sox_does(tmp_path, kind):
    soundfile.write(tmp_path / "in.wav", CLIPS[kind](), 16000, "PCM_16")
    effects = [word for effect in CHAIN for word in effect]
    command = ["sox", tmp_path / "in.wav", "-e", "float", "-b", "32", tmp_path / "out.wav", *effects]
    subprocess.run(command, check=True, capture_output=True)
    expected, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    trimmed, _ = sox.apply_effects_file(tmp_path / "in.wav", CHAIN)
    assert (len(expected) == 0) == (kind in ("zeros", "hum"))
    assert trimmed.shape == (1, len(expected))
    np.testing.assert_allclose(trimmed[0], expected, atol=1e-6)


def test_svs_chain_is_the_one_in_s3prl():
    # Read, not imported: the module imports sox, which is not installed.
    source = Path(util.find_spec("s3prl.downstream.sv_voxceleb1.dataset").origin).read_text(encoding="utf-8")
    (value,) = re.findall(r"^EFFECTS = (\[.*?^\])", source, flags=re.DOTALL | re.MULTILINE)
    assert ast.literal_eval(value) == CHAIN


@pytest.mark.parametrize(
    "effects, rate, message",
    [
        ([*CHAIN[:2], ["norm"]], 16000, "the effect 'norm' needs libsox"),
        ([*CHAIN[:2], ["gain", "-6.0"], CHAIN[3]], 16000, "the effect 'gain -6.0' needs libsox"),
        (
            [["channels", "2"]],
            16000,
            r"'channels 2' needs libsox with torchaudio 2.8 or older; without it .*: channels 1, ",
        ),
        ([CHAIN[0], CHAIN[3]], 8000, "the effect 'silence' needs libsox for 1 channels of 8000 Hz"),
    ],
)
def test_other_effects_are_refused_by_name(effects, rate, message):
    with pytest.raises(ValueError, match=message):
        sox.apply_effects_tensor(torch.zeros(1, 100), rate, effects)


def test_the_sv_recipes_own_import_works_here():
    from torchaudio.sox_effects import apply_effects_file

    assert callable(apply_effects_file)


# --- huggingface_hub


def test_tokens_go_through_todays_functions(monkeypatch):
    import huggingface_hub

    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert huggingface.HfFolder.get_token() == "hf_mine"
    calls = []
    monkeypatch.setattr(huggingface_hub, "login", lambda **kwargs: calls.append(kwargs))
    monkeypatch.setattr(huggingface_hub, "logout", lambda: calls.append("logout"))
    huggingface.HfFolder.save_token("hf_new")
    huggingface.HfFolder.delete_token()
    assert calls == [{"token": "hf_new"}, "logout"]


def test_a_repository_says_what_to_do_instead():
    with pytest.raises(HostError, match="hf upload USER/NAME EXPDIR"):
        huggingface.Repository(local_dir="x", clone_from="y")


# --- transformers


@pytest.mark.parametrize("entry", ["hf_hubert_custom", "hf_wav2vec2_custom"])
@torch.no_grad()
def test_the_last_hidden_state_is_the_models_output(entry, tiny_hubert, tiny_wav2vec2):
    """As s3prl's own HuBERT and wav2vec 2.0 have it, and transformers 4."""
    from s3prl import hub

    member = getattr(hub, entry)({"hf_hubert_custom": tiny_hubert, "hf_wav2vec2_custom": tiny_wav2vec2}[entry]).eval()
    batch = wavs(16000, 9000)
    states, out = member(batch)["hidden_states"], last_hidden_state(member, batch)
    torch.testing.assert_close(states[-1], out, rtol=0, atol=0)
    assert len(states) == member.model.config.num_hidden_layers + 1


def last_hidden_state(member, batch):
    inputs = member.extracter(
        [wav.numpy() for wav in batch],
        return_tensors="pt",
        padding=True,
        return_attention_mask=True,
        sampling_rate=16000,
    )
    return member.model(**inputs).last_hidden_state


@torch.no_grad()
def test_transformers_alone_gives_another(stock, tiny_hubert):
    """Where it gives the same one again, the shim can go."""
    import transformers

    if int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("transformers 4 gives the model's output")
    model = transformers.HubertModel.from_pretrained(tiny_hubert).eval()
    out = model(wavs(16000)[0].unsqueeze(0), output_hidden_states=True)
    assert not torch.allclose(out.hidden_states[-1], out.last_hidden_state, atol=1e-3)


# --- torch.load

strict = pytest.mark.skipif(not torch.__version__ >= (2, 6), reason="torch 2.5 loads everything")


def settings():
    """What fairseq and s3prl keep beside weights."""
    from omegaconf import OmegaConf

    nested = {"lr": 1.5, "layers": [1, 2], "name": None, "path": Path("/x"), "task": {"rate": "${lr}", "on": True}}
    return {
        "cfg": OmegaConf.create(nested),
        "Args": argparse.Namespace(expdir="x"),
        "best": np.float64(0.5),
        "mean": np.arange(3, dtype=np.float32),
    }


@strict
def test_checkpoints_with_settings_load(tmp_path):
    torch.save({"model": torch.ones(2), **settings()}, tmp_path / "a.ckpt")
    states = torch.load(tmp_path / "a.ckpt")
    assert states["cfg"] == settings()["cfg"] and states["cfg"].task.rate == 1.5
    assert states["best"] == 0.5 and states["mean"].tolist() == [0, 1, 2] and states["Args"].expdir == "x"


@strict
@pytest.mark.parametrize("key", ["cfg", "Args", "best", "mean"])
def test_torch_alone_still_refuses_them(key, stock, tmp_path):
    torch.save({key: settings()[key]}, tmp_path / "a.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "a.ckpt")


@strict
def test_numpy_numbers_of_older_checkpoints_load(tmp_path):
    torch.save({"best": np.float64(0.5)}, tmp_path / "a.ckpt", _use_new_zipfile_serialization=False)
    old = (tmp_path / "a.ckpt").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "a.ckpt").write_bytes(old)
    assert torch.load(tmp_path / "a.ckpt") == {"best": 0.5}


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


@strict
def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    torch.save({"model": Evil()}, tmp_path / "a.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "a.ckpt")


def test_what_the_user_has_allowed_stays_allowed():
    class Mine:
        pass

    torch.serialization.add_safe_globals([Mine])
    patches = Patches()
    try:
        checkpoints.allow(patches, [Mine, argparse.Namespace])
        patches.undo()
        assert Mine in torch.serialization.get_safe_globals()
    finally:
        kept = [item for item in torch.serialization.get_safe_globals() if item is not Mine]
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(kept)
