"""Hidden states from the disk: the same as computed ones, whatever the batch; what goes wrong there stops nothing."""

from __future__ import annotations

import errno
import gc
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import ToyUpstream, wavs
from torch import Tensor, nn

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer, MemberConfig
from s3prl_fusion.cache_config import CacheConfig
from s3prl_fusion.upstreams import cache_codec, cache_store, cached
from s3prl_fusion.upstreams.cached import Repeats, key_of
from s3prl_fusion.upstreams.fingerprint import fingerprint

LENGTHS = (16000, 9001, 4321)
DTYPES = ("float16", "int8")


class Counting(ToyUpstream):
    """A toy that remembers what it was asked for."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.asked: list[int] = []

    def forward(self, batch: list[Tensor]) -> dict:
        assert not self.training and not torch.is_grad_enabled()
        self.asked += [len(wav) for wav in batch]
        return super().forward(batch)


def fuse(folder: Path, *members: nn.Module, dtype: str = "float16", max_gb: float | None = None) -> FusedUpstream:
    names = tuple(MemberConfig(f"toy{i}") for i in range(len(members)))
    return FusedUpstream(FusionConfig(names, cache=CacheConfig(str(folder), dtype, max_gb)), members).eval()


@torch.no_grad()
def states(upstream: FusedUpstream, batch: list[Tensor]) -> list[Tensor]:
    return upstream(batch)["hidden_states"]


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def assert_equal(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other))


class TestValues:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_hit_gives_bit_for_bit_what_the_miss_gave(self, dtype, tmp_path):
        member = Counting()
        missed = states(fuse(tmp_path, member, dtype=dtype), wavs(*LENGTHS))
        assert member.asked == list(LENGTHS) and len(files(tmp_path)) == 3
        hit = states(fuse(tmp_path, member, dtype=dtype), wavs(*LENGTHS))
        assert member.asked == list(LENGTHS)
        assert_equal(hit, missed)
        assert all(state.dtype == torch.float32 for state in hit)

    def test_float16_is_the_live_value_rounded(self, tmp_path):
        live = ToyUpstream()
        expected = [state.half().float() for state in live(wavs(9001))["hidden_states"]]
        assert_equal(states(fuse(tmp_path, live), wavs(9001)), expected)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_batches_do_not_matter(self, dtype, tmp_path):
        members = ToyUpstream(), ToyUpstream(rate=160, first=200, dim=6, seed=1)
        batch = wavs(*LENGTHS)
        together = states(fuse(tmp_path / "together", *members, dtype=dtype), batch)
        for i, wav in enumerate(batch):
            alone = states(fuse(tmp_path / "alone", *members, dtype=dtype), [wav])
            frames = alone[0].size(1)
            for padded, state in zip(together, alone):
                assert torch.equal(padded[i, :frames], state[0])
                assert torch.equal(padded[i, frames:], state[0, -1].expand_as(padded[i, frames:]))
        assert {p.name: p.read_bytes() for p in files(tmp_path / "together")} == {
            p.name: p.read_bytes() for p in files(tmp_path / "alone")
        }

    def test_members_of_other_rates_are_aligned_as_live_ones(self, tmp_path):
        members = ToyUpstream(rate=160, first=400), ToyUpstream(rate=320, first=400, seed=1)
        batch = wavs(16000, 9001, 2000)
        live = FusedUpstream(FusionConfig((MemberConfig("toy0"), MemberConfig("toy1"))), members).eval()
        for state, expected in zip(states(fuse(tmp_path, *members), batch), states(live, batch)):
            for i, wav in enumerate(batch):
                frames = (len(wav) - 400) // 160 + 1
                torch.testing.assert_close(state[i, :frames], expected[i, :frames], rtol=1e-3, atol=1e-3)

    def test_short_utterances_too(self, tmp_path):
        member = Counting()
        batch = [torch.ones(1), *wavs(700, 16000)]
        first = states(fuse(tmp_path, member), batch)
        member.asked.clear()
        assert_equal(states(fuse(tmp_path, member), batch), first)
        assert 700 not in member.asked and 1 not in member.asked
        features = FusionFeaturizer(fuse(tmp_path, member))(batch, {"hidden_states": first})
        assert [len(feature) for feature in features] == [1, 2, 49]

    def test_real_models_keep_to_one_percent_in_int8(self):
        from s3prl_fusion.host.members import entries

        for name in ("demo_hubert", "demo_whisper", "fbank"):
            with torch.no_grad():
                live = FusedUpstream(FusionConfig((MemberConfig(name),)), [entries()[name]()]).eval()(wavs(48000))
            live = [state[0] for state in live["hidden_states"]]
            for dtype, limit in (("float16", 0.001), ("int8", 0.01)):
                kept = cache_codec.decode([cache_codec.encode(live, dtype)], live[0].device, torch.float32)
                errors = [float((a[0] - b).norm() / b.norm()) for a, b in zip(kept, live)]
                assert max(errors) <= limit, (name, dtype, errors)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_extreme_states_survive(self, dtype):
        state = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-9, 1e-3, 1.0, 1e3])
        state[:, 0] = 0
        odd = [state, state * 1e4, state / 0, torch.full((50, 4), 1e-30)]
        entry = cache_codec.encode(odd, dtype)
        kept = [state[0] for state in cache_codec.decode([entry], torch.device("cpu"), torch.float32)]
        assert torch.equal(kept[2].isnan(), odd[2].isnan()) and torch.equal(kept[2].isinf(), odd[2].isinf())
        for one, other in zip(kept[:2], odd[:2]):
            assert float((one - other).norm() / other.norm()) < 0.01
        assert kept[3].isfinite().all()

    def test_int8_takes_at_most_16_bytes_a_byte_of_16_bit_audio(self, tmp_path):
        # HuBERT Base's shape: 13 hidden states x 768, 50 frames a second.
        member = ToyUpstream(layers=13, dim=768)
        for seconds in (1, 4):
            upstream = fuse(tmp_path / str(seconds), member, dtype="int8")
            states(upstream, wavs(16000 * seconds))
            (file,) = files(tmp_path / str(seconds))
            assert file.stat().st_size <= 16 * 2 * 16000 * seconds


class TestFusedUpstream:
    def test_state_dict_and_rates_are_those_of_an_uncached_one(self, tmp_path):
        live, kept = (
            FusedUpstream(FusionConfig((MemberConfig("toy0"),)), [ToyUpstream()]),
            fuse(tmp_path, ToyUpstream()),
        )
        assert kept.state_dict().keys() == live.state_dict().keys()
        assert kept.get_downsample_rates("hidden_states") == 320
        kept.load_state_dict(live.state_dict())

    def test_other_weights_find_other_files(self, tmp_path):
        upstream, batch = fuse(tmp_path, ToyUpstream(seed=0)), wavs(9001)
        before = states(upstream, batch)
        upstream.load_state_dict(FusedUpstream(upstream.fusion, [ToyUpstream(seed=1)]).state_dict())
        assert not torch.equal(states(upstream, batch)[0], before[0])
        assert_equal(states(upstream, batch), states(fuse(tmp_path / "new", ToyUpstream(seed=1)), batch))

    def test_the_featurizers_noise_is_not_stored(self, tmp_path):
        FusionFeaturizer(fuse(tmp_path, ToyUpstream(), ToyUpstream(seed=1)))
        assert files(tmp_path) == []

    def test_training_through_the_members_is_refused(self, tmp_path):
        upstream = fuse(tmp_path, ToyUpstream()).train()
        with pytest.raises(RuntimeError, match="'toy0' is being trained.*freeze it"):
            upstream(wavs(9001))
        upstream.requires_grad_(False)
        upstream(wavs(9001))
        assert upstream.members[0].training

    def test_a_members_random_numbers_leave_no_trace(self, tmp_path):
        class Drawing(ToyUpstream):
            def forward(self, batch: list[Tensor]) -> dict:
                random.random(), np.random.random(), torch.rand(1)
                return super().forward(batch)

        def draws(folder: Path) -> tuple:
            random.seed(0), np.random.seed(0), torch.manual_seed(0)
            states(fuse(folder, Drawing()), wavs(9001))
            return random.random(), np.random.random(), torch.rand(1).item()

        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        assert draws(tmp_path) == draws(tmp_path)
        random.setstate(before[0]), np.random.set_state(before[1]), torch.set_rng_state(before[2])

    def test_nothing_is_kept_in_memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cached, "BLOCK", 20)
        upstream = fuse(tmp_path, ToyUpstream())

        def after(seed: int) -> tuple[int, int]:
            for length in range(3000, 3040):
                states(upstream, wavs(length, seed=seed))
            gc.collect()
            tensors = sum(isinstance(item, Tensor) for item in gc.get_objects())
            return tensors, len(upstream.caches[0].repeats._lookups)

        assert after(0) == after(1) == (after(2)[0], 0)


class TestFingerprint:
    CONFIG = MemberConfig("toy")

    def test_is_the_same_for_the_same(self):
        assert fingerprint(ToyUpstream(), self.CONFIG, "int8") == fingerprint(ToyUpstream(), self.CONFIG, "int8")
        with torch.no_grad():
            known = ToyUpstream()
            known.kernels.fill_(0.5)
        # Another value here makes every cache that is in use worthless: raise FORMAT, and say so.
        assert fingerprint(known, self.CONFIG, "int8") == "d6068b69adf4ae1e1b2810d7903cf273"

    @pytest.mark.parametrize(
        "member, config, dtype",
        [
            (ToyUpstream(seed=1), CONFIG, "int8"),
            (ToyUpstream(rate=160), CONFIG, "int8"),
            (ToyUpstream().double(), CONFIG, "int8"),
            (ToyUpstream(), CONFIG, "float16"),
            (ToyUpstream(), MemberConfig("other"), "int8"),
            (ToyUpstream(), MemberConfig("toy", layers=(0, 1)), "int8"),
            (ToyUpstream(), MemberConfig("toy", layers=(1, 0)), "int8"),
            (ToyUpstream(), MemberConfig("toy", model_config={"pad_to_30s": False}), "int8"),
        ],
    )
    def test_is_another_for_another(self, member, config, dtype):
        assert fingerprint(member, config, dtype) != fingerprint(ToyUpstream(), self.CONFIG, "int8")

    def test_whisper_in_both_modes(self, tiny_whisper):
        from s3prl_fusion.host.members import hf_whisper_custom

        config = MemberConfig("hf_whisper_custom", ckpt=tiny_whisper)
        one, other = (hf_whisper_custom(tiny_whisper, pad_to_30s=padded) for padded in (True, False))
        assert fingerprint(one, config, "int8") != fingerprint(other, config, "int8")

    def test_of_files_the_content_counts_and_not_the_path(self, tmp_path, tiny_hubert):
        for folder, text in (("a", "x: 1"), ("b", "x: 1  # one"), ("c", "x: 2")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "config.yaml").write_text(text)
            (tmp_path / folder / "member.pt").write_bytes(text[:4].encode())

        def of(folder: str) -> str:
            path = tmp_path / folder
            config = MemberConfig("toy", ckpt=str(path / "member.pt"), model_config=str(path / "config.yaml"))
            return fingerprint(ToyUpstream(), config, "int8")

        assert of("a") == of("b") != of("c")
        as_mapping = MemberConfig("toy", ckpt=str(tmp_path / "a" / "member.pt"), model_config={"x": 1})
        assert of("a") == fingerprint(ToyUpstream(), as_mapping, "int8")
        folders = [fingerprint(ToyUpstream(), MemberConfig("toy", ckpt=str(tmp_path / f)), "int8") for f in "abc"]
        assert folders[0] == folders[1] != folders[2]

    def test_a_key_is_of_samples_and_shape(self):
        (wav,) = wavs(1000)
        assert key_of(wav) == key_of(wav.double()) == key_of(torch.stack([wav, wav], 1)[:, 0])
        assert len({key_of(wav), key_of(wav[:-1]), key_of(-wav), key_of(torch.zeros(1)), key_of(torch.zeros(2))}) == 5


class TestFaults:
    @pytest.fixture
    def one(self, tmp_path):
        """(upstream, its only stored file, what it gave)"""
        upstream = fuse(tmp_path, Counting())
        given = states(upstream, wavs(9001))
        return upstream, files(tmp_path)[0], given

    @staticmethod
    def damage(path: Path, how: str) -> None:
        content = bytearray(path.read_bytes())
        header = 8 + int.from_bytes(content[:8], "little")
        if how == "a bit":
            content[header + 100] ^= 1
        elif how == "a shape":
            content[8:header] = content[8:header].replace(b"[27,8]", b"[54,4]")
        elif how == "the header":
            content[9] = 0
        length = {"cut": len(content) - 3, "half the header": 40, "empty": 0}.get(how, len(content))
        path.write_bytes(content[:length])

    @pytest.mark.parametrize("how", ["a bit", "a shape", "the header", "cut", "half the header", "empty"])
    def test_a_damaged_file_is_reported_once_and_computed_anew(self, one, how):
        upstream, path, given = one
        before = path.read_bytes()
        self.damage(path, how)
        assert path.read_bytes() != before
        with pytest.warns(RuntimeWarning, match=f"{path} is damaged.*computed anew") as seen:
            assert_equal(states(upstream, wavs(9001)), given)
        assert len(seen) == 1 and path.read_bytes() == before
        assert_equal(states(upstream, wavs(9001)), given)
        assert upstream.members[0].asked == [9001, 9001]

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
    def test_a_disk_that_cannot_be_written_warns_once_and_work_goes_on(self, one, code, monkeypatch, recwarn):
        upstream, path, given = one
        whole = cache_store.write_whole
        monkeypatch.setattr(cache_store, "write_whole", lambda *_: (_ for _ in ()).throw(OSError(code, "no")))
        assert len(states(upstream, wavs(4000, 5000))) == 3
        assert [str(w.message) for w in recwarn if "cannot be written to" in str(w.message)] and len(recwarn) == 1
        monkeypatch.setattr(cache_store, "write_whole", whole)
        states(upstream, wavs(6000))
        assert files(path.parents[2]) == [path]
        assert_equal(states(upstream, wavs(9001)), given)
        assert upstream.members[0].asked == [9001, 4000, 5000, 6000]

    def test_a_file_that_half_fits_leaves_nothing(self, one, monkeypatch):
        upstream, path, _ = one

        def write_bytes(self: Path, data: bytes) -> None:
            with self.open("wb") as file:
                file.write(data[:50])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        with pytest.warns(RuntimeWarning, match="No space left"):
            states(upstream, wavs(4000))
        assert sorted(p for p in path.parents[2].rglob("*") if p.is_file() and p.suffix != ".json") == [path]

    def test_a_path_that_is_no_folder_warns_once(self, tmp_path, recwarn):
        (tmp_path / "file").write_text("")
        assert len(states(fuse(tmp_path / "file" / "cache", ToyUpstream()), wavs(4000, 5000))) == 3
        assert len(recwarn) == 1

    def test_max_gb_is_kept_to_and_counts_what_was_there(self, one, recwarn):
        upstream, path, _ = one
        size = path.stat().st_size
        root = path.parents[2]
        more = fuse(root, upstream.members[0], max_gb=2.5 * size / 1e9)
        for seed in range(1, 5):
            states(more, wavs(9001, seed=seed))
        assert len(files(root)) == 2
        assert [str(w.message) for w in recwarn if "has reached its max_gb" in str(w.message)] and len(recwarn) == 1

    def test_two_processes_at_once(self, tmp_path):
        script = (
            f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
            "import torch; from pathlib import Path; from test_cached import fuse, states; from tiny_models import *\n"
            "torch.set_num_threads(1)\n"
            "upstream = fuse(Path(sys.argv[1]), ToyUpstream())\n"
            "[states(upstream, wavs(4000 + length)) for _ in range(2) for length in range(40)]\n"
            "print(upstream.caches[0].lookups)"
        )
        command = [sys.executable, "-W", "error::RuntimeWarning", "-c", script, str(tmp_path)]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        assert [process.communicate()[0].strip() for process in both] == ["80", "80"]
        assert len(files(tmp_path)) == 40 and not list(tmp_path.rglob("*.tmp"))
        for path in files(tmp_path):
            cache_store.read_file(path)
            assert load_file(path).keys() == {"0", "1", "2"}


class TestRepeats:
    @staticmethod
    def follow(repeats: Repeats, lookups) -> list[int]:
        return [i for i, (length, hit) in enumerate(lookups) if repeats.note(length, hit)]

    def test_crops_are_recognised_and_said_once(self):
        # SID's: two of five clips are longer than 8 s, and cropped; the others come again in the second epoch.
        chance, repeats = random.Random(0), Repeats()
        for epoch in range(3):
            lookups = [
                (128000, False) if chance.random() < 0.4 else (chance.randrange(64000, 128000, 640), epoch > 0)
                for _ in range(20_000)
            ]
            assert self.follow(repeats, lookups) == ([cached.BLOCK - 1] if epoch == 0 else [])
        assert not repeats.expected(128000) and repeats.expected(127360) and repeats.expected(64000)

    def test_an_honest_first_epoch_is_not_taken_for_crops(self):
        # Whole clips of VoxCeleb1: lengths on a grid of 40 ms, the shortest the most frequent.
        chance, repeats = random.Random(0), Repeats()
        lookups = [(64000 + 640 * int(chance.expovariate(1 / 100)), False) for _ in range(138_000)]
        assert self.follow(repeats, lookups) == [] and all(repeats.expected(length) for length, _ in lookups[:1000])

    def test_clips_of_one_length_are_taken_up_again_once_they_hit(self):
        repeats = Repeats()
        assert self.follow(repeats, [(16000, False)] * 2 * cached.BLOCK) == [cached.BLOCK - 1]
        assert not repeats.expected(16000)
        self.follow(repeats, [(16000, i % 10 == 0) for i in range(cached.BLOCK)])
        assert repeats.expected(16000)

    def test_waveforms_that_never_come_again_are_recognised_after_the_largest_epoch(self):
        chance, repeats = random.Random(0), Repeats()
        lookups = ((chance.randrange(16000, 160000), False) for _ in range(2 * cached.LARGEST_EPOCH))
        assert self.follow(repeats, lookups) == [cached.LARGEST_EPOCH - 1]
        assert not repeats.expected(16000)

    def test_crops_are_not_stored_any_more(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cached, "BLOCK", 10)
        upstream = fuse(tmp_path, ToyUpstream(), ToyUpstream(seed=1))
        with pytest.warns(RuntimeWarning, match="random crops") as seen:
            for seed in range(30):
                states(upstream, wavs(4000, seed=seed))
        assert len(seen) == 1 and len(files(tmp_path)) == 2 * 9
        states(upstream, wavs(5000))
        assert len(files(tmp_path)) == 2 * 10
