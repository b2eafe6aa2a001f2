"""x-vectors: frames that neither the batch nor training mode changes, and folders that are of something else."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
import torch.nn.functional as F
import torchaudio
from safetensors.torch import load_file, save_file
from tiny_models import wavs

from s3prl_fusion import FusedUpstream, FusionConfig
from s3prl_fusion.host import loading
from s3prl_fusion.host.members import added_entries, check
from s3prl_fusion.upstreams.xvector import XVectorUpstream
from s3prl_fusion.upstreams.xvector_model import Block, XVector, XVectorConfig

LENGTHS = (16000, 9001, 481, 1)
TINY = XVectorConfig(dim=12, inner=16, mels=20, dilations=(1, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two blocks of 12 in half precision, as the demo's is."""
    path = tmp_path_factory.mktemp("xvector")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        XVector(TINY).half().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def upstream(folder):
    return XVectorUpstream(folder).eval()


def fusion(folder):
    return FusionConfig.from_dict({"members": [{"name": "xvector_local", "ckpt": str(folder)}], "normalize": False})


def changed(folder, to, **config):
    shutil.copytree(folder, to)
    told = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**told, **config}))
    return to


@torch.no_grad()
def test_states_depend_neither_on_the_batch_nor_on_training_mode(upstream):
    together = upstream(wavs(*LENGTHS))["hidden_states"]
    for i, wav in enumerate(wavs(*LENGTHS)):
        alone, training = upstream.eval()([wav])["hidden_states"], upstream.train()([wav])["hidden_states"]
        upstream.eval()
        frames = math.ceil(len(wav) / 320)
        assert len(alone) == 3 and all(map(torch.equal, alone, training))
        for batched, state in zip(together, alone):
            assert state.shape == (1, frames, 12)
            torch.testing.assert_close(batched[i, :frames], state[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_spectrogram_is_torchaudios(upstream):
    (wav,) = wavs(3200)
    make = torchaudio.transforms.MelSpectrogram(
        16000, 512, hop_length=160, f_min=20.0, n_mels=20, pad_mode="constant", normalized="window"
    )
    expected = torch.log(make(wav).T + 1e-5)
    torch.testing.assert_close(upstream.model._log_mel([wav], 20)[0], expected[:20], rtol=0, atol=1e-4)


@torch.no_grad()
def test_loudness_does_not_matter(upstream):
    quiet = wavs(16000)[0]
    for a, b in zip(upstream([quiet])["hidden_states"], upstream([4 * quiet])["hidden_states"]):
        torch.testing.assert_close(a, b, rtol=0, atol=0.02)


@torch.no_grad()
def test_a_block_sees_three_frames_and_what_the_utterance_has_on_average():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        block, x = Block(TINY, dilation=3), torch.randn(1, 10, 12)
    normal = F.pad(F.layer_norm(x[0], (12,)), (0, 0, 3, 3))
    taps = block.conv.weight.unbind(-1)
    spliced = [sum(tap @ normal[t + 3 * i] for i, tap in enumerate(taps)) + block.conv.bias for t in range(10)]
    y = F.gelu(torch.stack(spliced))
    expected = x[0] + block.out(y * block.weigh(y.mean(0)))
    torch.testing.assert_close(block(x, torch.ones(1, 10, 1))[0], expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_as_a_member_it_is_itself_bit_for_bit(folder, upstream):
    fused = FusedUpstream(fusion(folder)).eval()
    ours, plain = (model(wavs(16000, 5000))["hidden_states"] for model in (fused, upstream))
    assert all(map(torch.equal, ours, plain))
    entry = added_entries()["xvector_local"](folder)
    assert entry.get_downsample_rates("hidden_states") == 320


def test_half_precision_is_computed_in_single(folder, upstream):
    stored = load_file(f"{folder}/model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert all(torch.equal(value, stored[key].float()) for key, value in upstream.model.state_dict().items())


def test_gradients_reach_all_of_it(folder):
    upstream = XVectorUpstream(folder).train()
    sum(state.pow(2).sum() for state in upstream(wavs(16000, 5000))["hidden_states"]).backward()
    assert all(p.grad is not None and p.grad.any() for p in upstream.parameters())


class TestFolder:
    def test_another_architectures_is_refused_before_anything_loads(self, tiny_hubert, folder, monkeypatch):
        monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("a member was loaded before the check"))
        with pytest.raises(ValueError, match=r"of type 'hubert'.*'xvector_local' loads 'xvector'; say 'hf_hubert_c"):
            check(fusion(tiny_hubert))
        config = FusionConfig.from_dict({"members": [{"name": "hf_hubert_custom", "ckpt": folder}]})
        with pytest.raises(ValueError, match=r"of type 'xvector'.*say 'xvector_local'"):
            check(config)

    def test_what_is_no_folder_is_refused(self, folder, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere' of 'xvector_local' does not exist"):
            check(fusion(tmp_path / "nowhere"))
        with pytest.raises(ValueError, match="is a file; give the folder"):
            check(fusion(f"{folder}/config.json"))
        with pytest.raises(FileNotFoundError, match="'a/b' of 'xvector_local' is no folder"):
            XVectorUpstream("a/b")

    @pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
    def test_a_file_that_is_missing_is_named(self, file, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "x")
        (tmp_path / "x" / file).unlink()
        with pytest.raises(FileNotFoundError, match=f"x has no .*{file}"):
            check(fusion(tmp_path / "x"))

    @pytest.mark.parametrize(
        "config, message",
        [
            ({"dilations": [1, 3, 5]}, r"blocks\.2\.conv\.bias, .* are missing, too many or of another size"),
            ({"dilations": [1]}, r"blocks\.1\.conv\.bias, .* are missing, too many or of another size"),
            ({"mels": 21}, r"stem\.weight are missing, too many"),
            ({"dilations": []}, "dilations must be a list of 1 or more, each a whole number of at least 1"),
            ({"dim": "wide"}, "dim must be a whole number"),
        ],
    )
    def test_weights_of_other_sizes_are_refused(self, config, message, folder, tmp_path):
        with pytest.raises(ValueError, match=message):
            XVectorUpstream(str(changed(folder, tmp_path / "x", **config)))

    def test_weights_that_are_cut_off_or_lack_one_are_refused(self, folder, tmp_path):
        weights = changed(folder, tmp_path / "x") / "model.safetensors"
        whole = load_file(f"{folder}/model.safetensors")
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged: .*fetch it again"):
            XVectorUpstream(str(tmp_path / "x"))
        del whole["norm.bias"]
        save_file(whole, weights)
        with pytest.raises(ValueError, match=r"norm\.bias are missing"):
            XVectorUpstream(str(tmp_path / "x"))
