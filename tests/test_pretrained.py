"""Models saved by transformers as members: of their entry's architecture, whole, in float32, steady in training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import save_hf_wav2vec, wavs

from s3prl_fusion import FusedUpstream, FusionConfig
from s3prl_fusion.host import loading
from s3prl_fusion.host.members import check

HUBERT, WAV2VEC2, WHISPER = "hf_hubert_custom", "hf_wav2vec2_custom", "hf_whisper_custom"
SIZES = {
    "vocab_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def fusion(entry: str, ckpt: str | Path) -> FusionConfig:
    return FusionConfig.from_dict({"members": [{"name": entry, "ckpt": str(ckpt)}]})


def member(entry: str, ckpt: str | Path) -> torch.nn.Module:
    return FusedUpstream(fusion(entry, ckpt)).members[0]


@torch.no_grad()
def states(entry: str, ckpt: str | Path) -> list[torch.Tensor]:
    return FusedUpstream(fusion(entry, ckpt)).eval()(wavs(16000, 9000))["hidden_states"]


def save(folder: Path, kind: str) -> Path:
    """Another architecture of the same form, by its prefix in transformers."""
    config = getattr(transformers, f"{kind}Config")(**SIZES)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def changed(folder: str, target: Path, **config: object) -> Path:
    """A copy of a folder with other values in its config.json; None takes a key away."""
    shutil.copytree(folder, target)
    path = target / "config.json"
    found = {**json.loads(path.read_text()), **config}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    return target


class TestArchitecture:
    @pytest.mark.fault(
        "a WavLM, data2vec, SEW or UniSpeech folder in HuBERT's or wav2vec 2.0's entry",
        "refused before anything loads: both architectures are named",
    )
    @pytest.mark.parametrize("entry", [HUBERT, WAV2VEC2, WHISPER])
    @pytest.mark.parametrize("kind", ["wavlm", "data2vec-audio", "sew", "unispeech", "wav2vec2-conformer"])
    def test_another_is_refused_before_anything_loads(self, entry, kind, tmp_path, monkeypatch):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("a member was loaded before the check"))
        with pytest.raises(ValueError, match=rf"is a model of type '{kind}'.*'{entry}' loads .*none of"):
            FusedUpstream(fusion(entry, tmp_path))

    def test_the_entry_that_fits_is_said(self, tiny_hubert, tiny_whisper):
        with pytest.raises(
            ValueError, match=r"of type 'hubert'.*'hf_wav2vec2_custom' loads 'wav2vec2'; say 'hf_hubert_c"
        ):
            check(fusion(WAV2VEC2, tiny_hubert))
        with pytest.raises(ValueError, match=r"of type 'whisper'.*say 'hf_whisper_custom'"):
            check(fusion(HUBERT, tiny_whisper))

    @pytest.mark.parametrize(
        "kind, own", [("wavlm", "wavlm_base_plus, wavlm_large"), ("data2vec-audio", "data2vec_base_960, .*")]
    )
    def test_or_s3prls_own_models_of_it(self, kind, own, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(ValueError, match=f"s3prl's own models of it are {own}$"):
            check(fusion(HUBERT, tmp_path))

    @pytest.mark.fault(
        "an entry that there is not, as hf_wavlm_custom", "refused: what each entry for transformers' models loads"
    )
    def test_an_entry_that_there_is_not_suggests_no_other_architectures(self):
        with pytest.raises(
            ValueError, match=r"'hf_wavlm_custom'; .*hf_hubert_custom \(hubert\).*wavlm_base_plus"
        ) as error:
            check(fusion("hf_wavlm_custom", "x"))
        assert "did you mean" not in str(error.value)

    @pytest.mark.fault(
        "a config.json that does not say its architecture, with another one's weights", "refused: weights named"
    )
    @pytest.mark.parametrize(
        "kind, message",
        [
            ("WavLM", r"has beside the model's weights: encoder\.layers\.0\.attention\.gru_rel_pos.* and \d+ more"),
            ("Data2VecAudio", r"lacks weights: encoder\.pos_conv_embed\.conv\.bias"),
        ],
    )
    def test_weights_of_another_are_refused_by_name(self, kind, message, tmp_path):
        folder = changed(str(save(tmp_path / "a", kind)), tmp_path / "b", model_type=None)
        with pytest.raises(ValueError, match=message):
            member(HUBERT, folder)

    @pytest.mark.fault("a folder that lacks weights, or has more layers than its config.json", "refused: weights named")
    def test_weights_that_are_missing_or_too_many_are_refused(self, tiny_hubert, tiny_whisper, tmp_path):
        more = changed(tiny_hubert, tmp_path / "more", num_hidden_layers=5)
        with pytest.raises(ValueError, match=r"more lacks weights: encoder\.layers\.3\."):
            member(HUBERT, more)
        with pytest.raises(ValueError, match=r"fewer has beside the model's weights: encoder\.layers\.1\."):
            member(HUBERT, changed(tiny_hubert, tmp_path / "fewer", num_hidden_layers=1))
        with pytest.raises(ValueError, match=r"whisper lacks weights: encoder\.layers\.2\."):
            member(WHISPER, changed(tiny_whisper, tmp_path / "whisper", encoder_layers=3))

    def test_weights_of_another_size_are_refused(self, tiny_hubert, tmp_path):
        with pytest.raises(ValueError, match=r"wide: transformers cannot load it: "):
            member(HUBERT, changed(tiny_hubert, tmp_path / "wide", intermediate_size=48))

    def test_what_pretraining_and_heads_have_is_no_fault(self, tiny_hubert, tmp_path):
        config = transformers.HubertConfig.from_pretrained(tiny_hubert)
        ctc = transformers.HubertForCTC(config)
        ctc.hubert = transformers.HubertModel.from_pretrained(tiny_hubert)
        ctc.save_pretrained(tmp_path / "ctc")
        sizes = {"codevector_dim": 8, "proj_codevector_dim": 8, "num_codevectors_per_group": 4}
        pretraining = transformers.Wav2Vec2ForPreTraining(transformers.Wav2Vec2Config(**SIZES, **sizes))
        pretraining.save_pretrained(tmp_path / "pretraining")
        for folder in ("ctc", "pretraining"):
            transformers.AutoFeatureExtractor.from_pretrained(tiny_hubert).save_pretrained(tmp_path / folder)
        assert all(map(torch.equal, states(HUBERT, tmp_path / "ctc"), states(HUBERT, tiny_hubert)))
        assert len(states(WAV2VEC2, tmp_path / "pretraining")) == 3

    def test_neither_is_the_vector_that_masks_nor_an_older_name_of_weight_norm(self, tiny_hubert, tmp_path):
        shutil.copytree(tiny_hubert, tmp_path / "old")
        path, names = tmp_path / "old/model.safetensors", {"0": "weight_g", "1": "weight_v"}
        weights = {
            key.partition("parametrizations")[0] + names[key[-1]] if "parametrizations" in key else key: value
            for key, value in load_file(path).items()
        }
        del weights["masked_spec_embed"]
        assert any(key.endswith("weight_g") for key in weights)
        save_file(weights, path, {"format": "pt"})
        assert all(map(torch.equal, states(HUBERT, tmp_path / "old"), states(HUBERT, tiny_hubert)))


class TestFolder:
    @pytest.mark.fault(
        "a folder without preprocessor_config.json", "refused: the file is named, the network is not asked"
    )
    @pytest.mark.parametrize("entry, fixture", [(HUBERT, "tiny_hubert"), (WHISPER, "tiny_whisper")])
    @pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
    def test_a_file_that_is_missing_is_named(self, entry, fixture, file, request, tmp_path, monkeypatch):
        shutil.copytree(request.getfixturevalue(fixture), tmp_path / "x")
        (tmp_path / "x" / file).unlink()
        monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("a member was loaded before the check"))
        with pytest.raises(FileNotFoundError, match=f"members\\[0\\]: .*x has no .*{file}"):
            FusedUpstream(FusionConfig.from_dict({"members": [{"name": entry, "ckpt": str(tmp_path / "x")}, "fbank"]}))

    @pytest.mark.fault(
        "a path with a slip, or a file, where transformers' folder belongs", "refused: the path is named"
    )
    def test_what_is_no_folder_is_refused(self, tiny_hubert, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere' of 'hf_hubert_custom' is no folder, nor a hub id"):
            check(fusion(HUBERT, tmp_path / "nowhere"))
        with pytest.raises(ValueError, match=r"model\.safetensors' .*is a file; give the folder"):
            check(fusion(HUBERT, f"{tiny_hubert}/model.safetensors"))
        check(fusion(HUBERT, "facebook/hubert-base-ls960"))

    @pytest.mark.fault("weights or a config.json that are cut off", "refused: the folder or file is named")
    def test_what_cannot_be_read_is_refused_in_a_line(self, tiny_hubert, tmp_path):
        for file, message in (
            ("config.json", r"config\.json is damaged"),
            ("model.safetensors", "cannot load it"),
        ):
            folder = tmp_path / file
            shutil.copytree(tiny_hubert, folder)
            (folder / file).write_bytes((folder / file).read_bytes()[:200])
            with pytest.raises(ValueError, match=f"{file}.*{message}"):
                member(HUBERT, folder)

    @pytest.mark.fault(
        "a model of 8 kHz, or with another model's spectrogram settings", "refused: both sides are named"
    )
    def test_settings_of_other_audio_are_refused(self, tiny_hubert, tiny_whisper, tmp_path):
        shutil.copytree(tiny_hubert, tmp_path / "slow")
        transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(tmp_path / "slow")
        with pytest.raises(ValueError, match="slow is a model of 8000 Hz; speech is at 16000 Hz"):
            member(HUBERT, tmp_path / "slow")
        shutil.copytree(tiny_whisper, tmp_path / "bins")
        transformers.WhisperFeatureExtractor(feature_size=128).save_pretrained(tmp_path / "bins")
        with pytest.raises(ValueError, match="makes 128 mel bins, and config.json's model takes 80"):
            member(WHISPER, tmp_path / "bins")


class TestPrecision:
    @pytest.mark.fault("a model that was saved in half precision", "computes in float32")
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize(
        "entry, fixture, cls",
        [
            (HUBERT, "tiny_hubert", transformers.HubertModel),
            (WAV2VEC2, "tiny_wav2vec2", transformers.Wav2Vec2Model),
            (WHISPER, "tiny_whisper", transformers.WhisperModel),
        ],
    )
    def test_halves_are_computed_in_float32(self, entry, fixture, cls, dtype, request, tmp_path):
        folder = request.getfixturevalue(fixture)
        for name, model in (("half", cls.from_pretrained(folder).to(dtype)), ("float", None)):
            shutil.copytree(folder, tmp_path / name)
            (model or cls.from_pretrained(tmp_path / "half").float()).save_pretrained(tmp_path / name)
        ours = states(entry, tmp_path / "half")
        assert {state.dtype for state in ours} == {torch.float32}
        assert all(map(torch.equal, ours, states(entry, tmp_path / "float")))

    @pytest.mark.skipif(not torch.__version__ >= (2, 6), reason="transformers reads such files with torch 2.6 or later")
    def test_also_from_a_bin_file(self, tiny_hubert, tmp_path):
        shutil.copytree(tiny_hubert, tmp_path / "bin")
        weights = load_file(tmp_path / "bin/model.safetensors")
        (tmp_path / "bin/model.safetensors").unlink()
        torch.save({key: value.half() for key, value in weights.items()}, tmp_path / "bin/pytorch_model.bin")
        assert all(
            torch.allclose(ours, whole, atol=0.05)
            for ours, whole in zip(states(HUBERT, tmp_path / "bin"), states(HUBERT, tiny_hubert))
        )

    @pytest.mark.parametrize(
        "entry, fixture, key", [("wavlm_local", "wavlm_ckpt", "model"), ("hubert_local", "hubert_ckpt", "model_weight")]
    )
    def test_also_from_s3prls_own_checkpoints(self, entry, fixture, key, request, tmp_path):
        found = torch.load(request.getfixturevalue(fixture), weights_only=False)
        found[key] = {name: value.half() for name, value in found[key].items()}
        torch.save(found, tmp_path / "half.pt")
        halves = [
            parameter.half().float() for parameter in member(entry, request.getfixturevalue(fixture)).parameters()
        ]
        assert all(map(torch.equal, member(entry, tmp_path / "half.pt").parameters(), halves))


class TestTraining:
    @pytest.mark.fault("fine-tuning a model with transformers' layer drop and SpecAugment", "both are off, as in s3prl")
    @pytest.mark.parametrize("kind, entry", [("hubert", HUBERT), ("wav2vec2", WAV2VEC2)])
    @pytest.mark.parametrize("samples", [1700, 16000])
    def test_no_layer_is_dropped_and_no_frame_masked(self, kind, entry, samples, tmp_path):
        save_hf_wav2vec(tmp_path / "plain", kind)
        off = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
        folder = changed(
            str(tmp_path / "plain"),
            tmp_path / "drop",
            layerdrop=0.9,
            apply_spec_augment=True,
            mask_time_prob=0.9,
            **off,
        )
        upstream = FusedUpstream(fusion(entry, folder))
        with torch.no_grad():
            expected = upstream.eval()(wavs(samples))["hidden_states"]
        for _ in range(3):
            ours = upstream.train()(wavs(samples))["hidden_states"]
            assert len(ours) == len(expected)
            torch.testing.assert_close(ours[-1], expected[-1], rtol=0, atol=1e-5)

    def test_whisper_neither(self, tiny_whisper, tmp_path):
        folder = changed(tiny_whisper, tmp_path / "x", encoder_layerdrop=0.9, apply_spec_augment=True)
        encoder = member(WHISPER, folder).encoder
        assert encoder.layerdrop == 0.0 and encoder.config.apply_spec_augment is False


class TestOtherEntries:
    @pytest.mark.fault(
        "another architecture's checkpoint in one of s3prl's own entries", "refused: entry and file named"
    )
    @pytest.mark.parametrize(
        "entry, fixture, message",
        [
            (
                "hubert_local",
                "wavlm_ckpt",
                r"'hubert_local' cannot load .*wavlm\.pt: ValueError.*task_cfg is miss",
            ),
            ("wavlm_local", "hubert_ckpt", r"'wavlm_local' cannot load .*hubert\.pt: KeyError: 'cfg'"),
            ("wavlm_local", "tiny_hubert", r"'wavlm_local' cannot load .*AssertionError"),
        ],
    )
    def test_a_checkpoint_of_another_is_refused(self, entry, fixture, message, request):
        with pytest.raises(ValueError, match=message):
            member(entry, request.getfixturevalue(fixture))

    def test_also_where_s3prl_loads_what_fits_which_is_nothing(self, tmp_path):
        torch.save({"model": {"encoder.weight": torch.ones(2)}}, tmp_path / "other.pt")
        with pytest.raises(ValueError, match=r"'decoar2_local' finds \d+ of its \d+ weights nowhere in .*other\.pt"):
            member("decoar2_local", tmp_path / "other.pt")

    @pytest.mark.fault("a checkpoint that is cut off", "refused: entry and file named")
    def test_half_a_checkpoint_is_refused_in_a_line(self, wavlm_ckpt, tmp_path):
        (tmp_path / "half.pt").write_bytes(Path(wavlm_ckpt).read_bytes()[:5000])
        with pytest.raises(ValueError, match=r"'wavlm_local' cannot load .*half\.pt: .*whole\?"):
            member("wavlm_local", tmp_path / "half.pt")

    def test_s3prl_is_as_it_was_afterwards(self, tiny_hubert):
        from s3prl.upstream.hf_hubert.expert import UpstreamExpert
        from s3prl.util import download

        before = UpstreamExpert.__init__, download._download, torch.nn.Module.load_state_dict
        member(HUBERT, tiny_hubert)
        assert before == (UpstreamExpert.__init__, download._download, torch.nn.Module.load_state_dict)
