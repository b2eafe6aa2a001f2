"""The cache as users meet it: `cache:`, the environment, `s3prl-fusion cache`, and trainings of s3prl's real runner."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionConfig, checkpoint
from s3prl_fusion.cache import codec, states
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.cache.key import key_of
from s3prl_fusion.cli import main
from s3prl_fusion.commands.cache import parse_shard
from s3prl_fusion.host.upstream import load_pair
from s3prl_fusion.identity import describe
from s3prl_fusion.names import resolve

PAIR = "fused__fbank__mfcc"
CACHE = CacheConfig("somewhere", "int8", 100)


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("S3PRL_FUSION_CACHE", raising=False)
    yield
    s3prl_fusion.unregister()


@pytest.fixture
def computed(monkeypatch):
    """Lengths of the utterances that members were run for to fill a cache."""
    lengths, encode = [], codec.encode
    monkeypatch.setattr(codec, "encode", lambda given, *a: lengths.append(len(given)) or encode(given, *a))
    return lengths


def files(folder: Path) -> dict[Path, int]:
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


class TestConfig:
    @pytest.mark.parametrize(
        "value, expected",
        [
            ("somewhere", CacheConfig("somewhere")),
            ({"dir": "somewhere", "dtype": "int8", "max_gb": 100}, CACHE),
            (None, None),
        ],
    )
    def test_round_trip(self, value, expected, tmp_path):
        config = FusionConfig.from_dict({"members": ["fbank"], "cache": value})
        assert config.cache == expected and FusionConfig.from_dict(config.to_dict()) == config
        (tmp_path / "fusion.yaml").write_text(config.to_yaml())
        assert FusionConfig.from_yaml(tmp_path / "fusion.yaml") == config

    @pytest.mark.parametrize(
        "value, error, message",
        [
            (
                {"dir": "x", "dtype": "int4"},
                ValueError,
                r"cache.dtype: unknown dtype 'int4'; choose from float16, int8",
            ),
            ({"dir": "x", "max_gb": "1"}, TypeError, r"cache.max_gb must be null or a number; got '1'"),
            ({"dir": "x", "max_gb": 0}, ValueError, r"cache.max_gb must be positive; got 0"),
            ({"dir": "x", "dtyp": "int8"}, ValueError, r"cache: unknown key 'dtyp'.*did you mean 'dtype'"),
            ({"dtype": "int8"}, ValueError, r"cache has no dir"),
            ({"dir": 3}, TypeError, r"cache.dir must be the path of a folder; got 3"),
            (True, TypeError, r"cache must be a folder, or a mapping with keys among dir, dtype, max_gb; got True"),
        ],
    )
    def test_refused(self, value, error, message):
        with pytest.raises(error, match=message):
            FusionConfig.from_dict({"members": ["fbank"], "cache": value})

    def test_another_cache_is_no_other_fusion(self):
        config = FusionConfig.from_name(PAIR)
        kept = FusionConfig(config.members, config.interface, cache=CACHE)
        records = [checkpoint.record(fusion, describe(fusion), [1, 1], [240, 39]) for fusion in (kept, config)]
        assert records[0] == records[1]
        checkpoint.check(records[0], kept, describe(kept))

    def test_the_environment_is_for_every_fused_name_and_the_yaml_comes_first(self, monkeypatch, tmp_path):
        assert resolve("fused__fbank").cache is None
        monkeypatch.setenv("S3PRL_FUSION_CACHE", "elsewhere")
        assert resolve("fused__fbank").cache == CacheConfig("elsewhere")
        monkeypatch.setenv("S3PRL_FUSION_CACHE_DTYPE", "int8")
        assert resolve(PAIR).cache == CacheConfig("elsewhere", "int8")
        (tmp_path / "fusion.yaml").write_text("members: [fbank]\ncache: here\n")
        assert resolve("fused", str(tmp_path / "fusion.yaml")).cache == CacheConfig("here")
        assert FusionConfig.from_name(PAIR).cache is None and resolve("fbank").cache is None
        monkeypatch.setenv("S3PRL_FUSION_CACHE_DTYPE", "int4")
        with pytest.raises(ValueError, match="S3PRL_FUSION_CACHE_DTYPE.*unknown dtype 'int4'"):
            resolve(PAIR)

    def test_costs_are_those_of_computing(self, tmp_path):
        config = FusionConfig.from_dict({"members": ["fbank"], "cache": str(tmp_path / "cache")})
        assert load_pair(config)[0].caches == [] and not (tmp_path / "cache").exists()


class TestCommand:
    @pytest.fixture
    def corpus(self, tmp_path):
        folder = tmp_path / "corpus"
        folder.mkdir()
        for i, wav in enumerate(wavs(16000, 9000, 20000, 500)):
            soundfile.write(folder / f"{i}.flac", wav.numpy(), 16000)
        return folder

    @staticmethod
    def fill(corpus: Path, folder: Path, *more: str) -> int:
        return main(["cache", "fill", "-u", PAIR, "--corpus", str(corpus), "-o", str(folder), *more])

    def test_shards_make_the_whole_and_what_is_there_is_left_alone(self, corpus, tmp_path, computed, capsys):
        assert self.fill(corpus, tmp_path / "whole", "--dtype", "int8") == 0
        assert "4 utterances are in" in capsys.readouterr().out
        for number in (1, 2, 3):
            assert self.fill(corpus, tmp_path / "shards", "--dtype", "int8", "--shard", f"{number}/3") == 0
        before = files(tmp_path / "whole")
        assert len(before) == 8 and before.keys() == files(tmp_path / "shards").keys()
        computed.clear()
        assert self.fill(corpus, tmp_path / "whole", "--dtype", "int8") == 0
        assert computed == [] and files(tmp_path / "whole") == before
        next((tmp_path / "whole").rglob("*.safetensors")).unlink()
        assert self.fill(corpus, tmp_path / "whole", "--dtype", "int8") == 0
        assert len(computed) == 1 and files(tmp_path / "whole").keys() == before.keys()

    def test_clips_of_one_length_are_all_stored(self, corpus, tmp_path):
        for i in range(9):
            soundfile.write(corpus / f"same{i}.flac", wavs(4000, seed=i)[0].numpy(), 16000)
        assert self.fill(corpus, tmp_path / "cache") == 0
        assert len(files(tmp_path / "cache")) == 2 * 13

    def test_a_full_cache_ends_with_1(self, corpus, tmp_path, capsys):
        (tmp_path / "fusion.yaml").write_text("members: [fbank]\ncache: {dir: unused, max_gb: 0.0001}\n")
        command = ["cache", "fill", "-u", "fused", "-g", str(tmp_path / "fusion.yaml"), "--corpus", str(corpus)]
        with pytest.warns(RuntimeWarning, match="has reached its max_gb, 0.0001"):
            assert main([*command, "-o", str(tmp_path / "cache")]) == 1
        assert "stopped at" in capsys.readouterr().err and len(files(tmp_path / "cache")) == 2

    @pytest.mark.fault("bad files among many in `cache fill`", "named and counted, the others stored, exit status 1")
    def test_a_bad_file_does_not_end_the_others_work(self, corpus, tmp_path, capsys):
        folder = copytree(corpus, tmp_path / "spoilt")
        soundfile.write(folder / "stereo.wav", np.zeros((8000, 2)), 16000)
        soundfile.write(folder / "nan.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
        (folder / "._1.wav").write_bytes(b"Mac OS X")
        (folder / "again").symlink_to(folder)
        whole, cache = tmp_path / "whole", tmp_path / "cache"
        assert self.fill(corpus, whole) == 0 and self.fill(folder, cache) == 1
        assert files(cache).keys() == files(whole).keys()
        err = capsys.readouterr().err
        for part in ("stereo.wav: 2 channel(s)", "nan.wav: NaN or infinite", "2 of 6 sound files are left out"):
            assert part in err

    def test_stats_verify_clear(self, corpus, tmp_path, capsys, monkeypatch):
        cache = tmp_path / "cache"
        assert self.fill(corpus, cache) == 0
        (cache / "mine").mkdir()
        monkeypatch.setenv("S3PRL_FUSION_CACHE", str(cache))
        capsys.readouterr()
        assert main(["cache", "stats"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 4 and sum("| float16 | 4 |" in line for line in lines) == 2
        assert any(line.startswith("| fbank | all |") for line in lines)
        assert main(["cache", "verify"]) == 0
        assert "8 files, 0 damaged" in capsys.readouterr().out
        damaged = cache / next(iter(files(cache)))
        damaged.write_bytes(damaged.read_bytes()[:-1])
        assert main(["cache", "verify", "-o", str(cache)]) == 1
        assert f"{damaged} is damaged" in capsys.readouterr().out
        assert main(["cache", "verify", "--remove"]) == 0 and not damaged.exists()
        assert main(["cache", "clear"]) == 0
        assert "would remove" in capsys.readouterr().out and len(files(cache)) == 7
        assert main(["cache", "clear", "--yes"]) == 0
        assert [path.name for path in cache.iterdir()] == ["mine"]

    @pytest.mark.fault(
        "a cache whose member.json is cut, gone or of another kind",
        "the file is named, the states are used all the same, and clear removes them",
    )
    @pytest.mark.parametrize("text", [None, "", '{"name": "fba', "[]", "null", "{}", "3", '{"name": 3, "dtype": "x"}'])
    def test_a_damaged_member_json_hides_nothing(self, text, corpus, tmp_path, capsys, computed):
        cache = tmp_path / "cache"
        assert self.fill(corpus, cache) == 0
        about = sorted(cache.glob("*/member.json"))[0]
        before = about.read_text()
        about.unlink() if text is None else about.write_text(text)
        capsys.readouterr()
        assert main(["cache", "stats", "-o", str(cache)]) == 0
        told = capsys.readouterr()
        assert sum("| 4 |" in line for line in told.out.splitlines()) == 2 and "| unknown | ? | ? | 4 |" in told.out
        (line,) = told.err.splitlines()
        assert line.startswith(f"{about} is {'gone' if text is None else 'damaged'}")
        assert main(["cache", "verify", "-o", str(cache)]) == 0
        told = capsys.readouterr()
        assert "8 files, 0 damaged" in told.out and str(about) in told.err
        computed.clear()
        assert self.fill(corpus, cache) == 0 and computed == []
        soundfile.write(corpus / "new.flac", wavs(3000, seed=7)[0].numpy(), 16000)
        assert self.fill(corpus, cache) == 0 and about.read_text() == before  # written anew with the next states
        about.unlink() if text is None else about.write_text(text)
        assert main(["cache", "clear", "--yes", "-o", str(cache)]) == 0
        assert not any(cache.iterdir()) and "unknown member, 5 utterances" in capsys.readouterr().out

    @pytest.mark.fault("cache clear on a folder with other people's files", "only what the cache has made is removed")
    def test_what_is_not_the_caches_stays(self, corpus, tmp_path):
        (tmp_path / "mine").mkdir()
        for name, text in (("member.json", '{"name": "x", "dtype": "y"}'), ("model.safetensors", "weights")):
            (tmp_path / "mine" / name).write_text(text)
        assert self.fill(corpus, tmp_path) == 0
        assert main(["cache", "clear", "--yes", "-o", str(tmp_path)]) == 0
        assert len(list((tmp_path / "mine").iterdir())) == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "mine"]

    @pytest.mark.parametrize(
        "argv, message",
        [
            (["fill", "-u", "fbank", "--corpus", "."], "which cache\\? give -o DIR"),
            (["fill", "-u", "fbank", "--corpus", "nowhere", "-o", "x"], "nowhere does not exist"),
            (["fill", "-u", "fban", "--corpus", ".", "-o", "x"], "unknown upstream 'fban'"),
            (["fill", "-u", "fbank", "--corpus", ".", "-o", "x", "--shard", "0/4"], "--shard must be I/N"),
            (["fill", "-u", "fbank", "--corpus", ".", "-o", "x", "--device", "gpu"], "device 'gpu' is none"),
            (["stats"], "which cache\\? give -o DIR or set S3PRL_FUSION_CACHE"),
            (["verify", "-o", "nowhere"], "nowhere does not exist"),
        ],
    )
    def test_mistakes_end_with_2(self, argv, message, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(["cache", *argv]) == 2
        assert re.search(message, capsys.readouterr().err)

    @pytest.mark.parametrize("text", ["", "1", "5/4", "a/2", "1/2/3", "-1/2", "1/²"])
    def test_shards_are_checked(self, text):
        with pytest.raises(ValueError, match="I from 1 to N"):
            parse_shard(text)


class TestTraining:
    """On members that draw random numbers also in evaluation mode (WavLM)."""

    @pytest.fixture
    def fusion(self, tmp_path, wavlm_ckpt, hubert_ckpt):
        path = tmp_path / "fusion.yaml"
        members = [{"name": "wavlm_local", "ckpt": wavlm_ckpt}, {"name": "hubert_local", "ckpt": hubert_ckpt}]
        path.write_text(yaml.safe_dump({"members": members, "interface": "hconv"}))
        return path

    @staticmethod
    def train(fusion: Path, config: Path, recipe: str, expdir: Path, *more: str) -> int:
        args = ["-m", "train", "-u", "fused", "-g", fusion, "-d", recipe, "-c", config, "-p", expdir, "--device", "cpu"]
        try:
            return main(["run", *map(str, (*args, *more))])
        finally:
            s3prl_fusion.unregister()

    @pytest.mark.parametrize("recipe, corpus", [("asr", "libri"), ("ctc", "libri"), ("emotion", "emotions")])
    def test_an_epoch_after_cache_fill_is_all_hits(
        self, recipe, corpus, fusion, recipe_configs, request, tmp_path, computed, monkeypatch
    ):
        root = request.getfixturevalue(corpus)["root"]
        cache = tmp_path / "cache"
        assert main(["cache", "fill", "-u", "fused", "-g", str(fusion), "--corpus", str(root), "-o", str(cache)]) == 0
        assert computed
        computed.clear()
        monkeypatch.setenv("S3PRL_FUSION_CACHE", str(cache))
        if recipe == "ctc":
            from s3prl.downstream.ctc import data
            from torch.utils.data import DataLoader

            monkeypatch.setattr(data, "DataLoader", lambda *a, **k: DataLoader(*a, **{**k, "num_workers": 0}))
        assert self.train(fusion, recipe_configs[recipe], recipe, tmp_path / "exp") == 0
        assert computed == []
        assert json.loads((tmp_path / "exp" / "run.json").read_text())["cache"]["dir"] == str(cache)

    def test_sids_random_crops_are_not_stored_and_everything_else_is(
        self, fusion, recipe_configs, voxceleb, tmp_path, monkeypatch
    ):
        asked: dict[str, int] = {}
        monkeypatch.setattr(states, "key_of", lambda wav: asked.setdefault(key_of(wav), len(wav)) and key_of(wav))
        monkeypatch.setenv("S3PRL_FUSION_CACHE", str(tmp_path / "cache"))
        clips = {soundfile.info(path).frames for path in voxceleb["root"].rglob("*.wav")}
        crop = min(clips) - 1000
        for steps in (3, 6):
            more = f"config.downstream_expert.datarc.max_timestep={crop},,config.runner.total_steps={steps}"
            with pytest.warns(RuntimeWarning, match=f"waveforms of {crop:,} samples are the recipe's random crops"):
                assert (
                    self.train(fusion, recipe_configs["voxceleb1"], "voxceleb1", tmp_path / "exp", "-a", "-o", more)
                    == 0
                )
        assert set(asked.values()) > {crop}
        stored = {path.stem for path in (tmp_path / "cache").rglob("*.safetensors")}
        assert stored == {key for key, length in asked.items() if length != crop}

    def test_resumed_from_the_cache_equals_uninterrupted(self, fusion, recipe_configs, tmp_path, monkeypatch):
        override = (
            "config.downstream_expert.datarc.train_batch_size=2,,config.downstream_expert.modelrc.RNNs.dropout=[0.5],,"
            "config.specaug={'apply_time_warp':False,'freq_mask_width_range':[0,4],'time_mask_width_range':[0,9]}"
        )
        monkeypatch.setenv("S3PRL_FUSION_CACHE", str(tmp_path / "cache"))
        for expdir, stops in (("whole", [5]), ("resumed", [1, 3, 5])):
            for steps in stops:
                more = f"config.runner.total_steps={steps},,{override}"
                assert self.train(fusion, recipe_configs["asr"], "asr", tmp_path / expdir, "-a", "-o", more) == 0
        with torch.serialization.safe_globals([argparse.Namespace]):
            whole, resumed = (torch.load(tmp_path / name / "states-5.ckpt") for name in ("whole", "resumed"))
        for part in ("Featurizer", "Downstream"):
            for key, value in whole[part].items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(resumed[part][key])), (part, key)

    def test_finetuning_is_refused_before_anything_loads(self, fusion, recipe_configs, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("S3PRL_FUSION_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(FusedUpstream, "__init__", lambda *_: pytest.fail("loaded"))
        assert self.train(fusion, recipe_configs["emotion"], "emotion", tmp_path / "exp", "-f") == 2
        assert "-f trains the members" in capsys.readouterr().err
