"""Hidden states from the disk: the same as computed ones, whatever the batch; what goes wrong there stops nothing."""

from __future__ import annotations

import errno
import gc
import random
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import ToyUpstream, wavs
from torch import Tensor, nn

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer, MemberConfig
from s3prl_fusion.cache import codec, store
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.cache.key import fingerprint, key_of, own_classes
from s3prl_fusion.source import code_files

LENGTHS = (16000, 9001, 4321)
DTYPES = ("float16", "int8")


class Counting(ToyUpstream):
    """A toy that remembers what it was asked for."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.asked: list[int] = []

    def num_frames(self, num_samples: int) -> int:
        return (num_samples - self.kernels.size(-1)) // self.rate + 1  # so it is not run to count

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


def save_own(folder: Path) -> Path:
    """A user's upstream in s3prl's layout."""
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "deep" / "er.py").write_text("")
    (folder / "hubconf.py").write_text(
        "from .expert import UpstreamExpert\n\n\ndef own_local(ckpt=None, **kwargs):\n    return UpstreamExpert()\n"
    )
    (folder / "layers.py").write_text("def louder(wav):\n    return 1 * wav\n")
    (folder / "expert.py").write_text(
        "import torch\n\nfrom .layers import louder\n\n\n"
        "class UpstreamExpert(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = torch.nn.Parameter(torch.ones(4))\n\n"
        "    def get_downsample_rates(self, key):\n"
        "        return 320\n\n"
        "    def forward(self, wavs):\n"
        "        padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)\n"
        "        return {'hidden_states': [louder(padded[:, ::320, None]) * self.scale * 1]}\n"
    )
    return folder


def load_own(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str = "expert") -> nn.Module:
    """Its expert, from a fresh import, as in a process of its own."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would not notice an edit within a second
    monkeypatch.syspath_prepend(folder.parent)
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]
    return import_module(f"{folder.name}.{module}").UpstreamExpert().eval()


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

    def test_nor_does_padding_that_reaches_every_frame(self, tmp_path, hubert_ckpt):
        """A group norm at the front takes in the whole waveform, padding too; docs/own-model.md has the numbers."""
        (short,), batch = wavs(16000), wavs(16000, 64000)
        config = {"members": [{"name": "hubert_local", "ckpt": hubert_ckpt}]}
        for more, differs in (({}, True), ({"cache": {"dir": str(tmp_path)}}, False)):
            upstream = FusedUpstream(FusionConfig.from_dict({**config, **more})).eval()
            for alone, padded in zip(states(upstream, [short]), states(upstream, batch)):
                change = (alone[0] - padded[0, : alone.size(1)]).norm() / alone.norm()
                assert 0.5 < change < 0.65 if differs else change == 0

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

    def test_real_models_keep_to_one_percent_in_int8_and_a_frame_to_three(self):
        from s3prl_fusion.host.members import entries

        for name in ("demo_hubert", "demo_whisper", "fbank"):
            with torch.no_grad():
                live = FusedUpstream(FusionConfig((MemberConfig(name),)), [entries()[name]()]).eval()(wavs(48000))
            live = [state[0] for state in live["hidden_states"]]
            for dtype, limit, of_a_frame in (("float16", 0.001, 0.001), ("int8", 0.01, 0.03)):
                kept = codec.decode([codec.encode(live, dtype)], live[0].device, torch.float32)
                errors = [float((a[0] - b).norm() / b.norm()) for a, b in zip(kept, live)]
                frames = [float(((a[0] - b).norm(dim=1) / b.norm(dim=1)).max()) for a, b in zip(kept, live)]
                assert max(errors) <= limit and max(frames) <= of_a_frame, (name, dtype, errors, frames)

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

    @pytest.mark.filterwarnings("ignore:waveforms of")
    def test_nothing_is_kept_in_memory(self, tmp_path):
        upstream = fuse(tmp_path, ToyUpstream())
        upstream.crop_samples = 2999

        def after(seed: int) -> tuple[int, int]:
            for length in range(3000, 3040):
                states(upstream, wavs(2999, length, seed=seed))
            gc.collect()
            tensors = sum(isinstance(item, Tensor) for item in gc.get_objects())
            cache = upstream.caches[0]
            kept = [*vars(cache).values(), *vars(cache.disk).values(), *vars(cache.store(upstream.members[0])).values()]
            return tensors, sum(len(value) for value in kept if isinstance(value, (list, dict, set)))

        assert after(0) == after(1) == after(2)


class TestFingerprint:
    CONFIG = MemberConfig("toy")

    def test_is_the_same_for_the_same(self, tmp_path, monkeypatch):
        assert fingerprint(ToyUpstream(), self.CONFIG, "int8") == fingerprint(ToyUpstream(), self.CONFIG, "int8")
        known = load_own(save_own(tmp_path / "own"), monkeypatch)
        # Another value here makes every cache that is in use worthless: raise FORMAT, and say so.
        assert fingerprint(known, self.CONFIG, "int8") == "11cbb4647afd38830612607da6cc5196"

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
        from s3prl_fusion.host.members import added_entries

        config = MemberConfig("hf_whisper_custom", ckpt=tiny_whisper)
        hf_whisper_custom = added_entries()["hf_whisper_custom"]
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

    @pytest.mark.parametrize(
        "file, edit",
        [
            ("expert.py", lambda text: text.replace("self.scale * 1", "self.scale * 2")),
            ("layers.py", lambda text: text.replace("return 1 *", "return 3 *")),
            ("hubconf.py", lambda text: text + "# another\n"),
            ("deep/er.py", lambda text: text + "x = 1\n"),
        ],
    )
    def test_an_edit_of_an_upstreams_own_code_is_never_served_old_states(self, file, edit, tmp_path, monkeypatch):
        own = save_own(tmp_path / "own")

        def run(folder: Path) -> tuple[list[Tensor], int]:
            member = load_own(folder, monkeypatch)
            upstream = fuse(tmp_path / "cache", member)
            given = states(upstream, wavs(9001))
            assert_equal(given, [state.half().float() for state in member(wavs(9001))["hidden_states"]])
            return given, upstream.caches[0].hits

        before, hits = run(own)
        assert hits == 0
        moved = own.rename(tmp_path / "moved")
        (moved / "README.md").write_text("no code")
        assert run(moved)[1] == 1
        path = moved / file
        text = path.read_text()
        assert edit(text) != text
        path.write_text(edit(text))
        after, hits = run(moved)
        assert hits == 0 and torch.equal(after[0], before[0]) == (file not in ("expert.py", "layers.py"))
        path.write_text(text)
        again, hits = run(moved)
        assert hits == 1
        assert_equal(again, before)

    def test_a_class_in_a_file_of_its_own_is_own_code(self, tmp_path, monkeypatch):
        save_own(tmp_path / "own")
        (tmp_path / "own" / "expert.py").rename(tmp_path / "own" / "mine.py")
        one = load_own(tmp_path / "own", monkeypatch, "mine")
        before = fingerprint(one, self.CONFIG, "int8")
        with (tmp_path / "own" / "hubconf.py").open("a") as file:
            file.write("# not this one's\n")
        assert fingerprint(one, self.CONFIG, "int8") == before
        with (tmp_path / "own" / "mine.py").open("a") as file:
            file.write("# edited\n")
        assert fingerprint(one, self.CONFIG, "int8") != before

    def test_code_of_libraries_is_not_own_but_s3prls_upstreams_and_ours_are(self, tiny_hubert, tiny_whisper):
        from s3prl_fusion.host.members import entries

        def own(name: str, ckpt: str | None) -> set[str]:
            member = entries()[name](**({"ckpt": ckpt} if ckpt else {}))
            return {"/".join(path.parts[-3:]) for cls in own_classes(member) for path in code_files(cls)}

        assert "upstream/hf_hubert/expert.py" in own("hf_hubert_custom", tiny_hubert)
        ours = {f"s3prl_fusion/upstreams/{name}.py" for name in ("whisper", "whisper_encoder")}
        assert own("hf_whisper_custom", tiny_whisper) == ours
        found = own("fbank", None)
        assert {"upstream/baseline/expert.py", "upstream/baseline/extracter.py"} <= found
        assert not any(name.startswith(("nn/", "torch/", "models/", "modules/")) for name in found)

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

    def test_a_file_is_checked_when_it_is_first_read_and_stays_mapped(self, one, monkeypatch):
        upstream, path, given = one
        checked, read_file = [], store.read_file
        monkeypatch.setattr(store, "read_file", lambda file: checked.append(file) or read_file(file))
        for _ in range(3):
            assert_equal(states(upstream, wavs(9001)), given)
        assert checked == [path] and list(upstream.caches[0].disk.mapped) == [path]
        monkeypatch.setattr(store, "MAPPED", 1)
        for _ in range(2):
            states(upstream, wavs(9002))
        assert list(upstream.caches[0].disk.mapped) == [path]
        assert upstream.members[0].asked == [9001, 9002]

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
    def test_a_disk_that_cannot_be_written_warns_once_and_work_goes_on(self, one, code, monkeypatch, recwarn):
        upstream, path, given = one
        whole = store.write_whole
        monkeypatch.setattr(store, "write_whole", lambda *_: (_ for _ in ()).throw(OSError(code, "no")))
        assert len(states(upstream, wavs(4000, 5000))) == 3
        assert [str(w.message) for w in recwarn if "cannot be written to" in str(w.message)] and len(recwarn) == 1
        monkeypatch.setattr(store, "write_whole", whole)
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

    @pytest.mark.fault(
        "two containers, whose processes have the same id, filling one cache", "every state is stored once, whole"
    )
    def test_two_processes_at_once(self, tmp_path):
        script = (
            f"import os, sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]; os.getpid = lambda: 1\n"
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
            store.read_file(path)
            assert load_file(path).keys() == {"0", "1", "2"}


class TestCrops:
    def test_they_are_not_stored_and_everything_else_is(self, tmp_path):
        member = Counting()
        upstream = fuse(tmp_path, member, ToyUpstream(seed=1))
        upstream.crop_samples = 4000
        with pytest.warns(RuntimeWarning, match="waveforms of 4,000 samples are .* random crops") as seen:
            for seed in range(30):
                states(upstream, [*wavs(4000, seed=seed), *wavs(5000 + seed)])
        assert len(seen) == 1 and len(files(tmp_path)) == 2 * 30
        assert member.asked.count(4000) == 30
        for seed in range(30):
            states(upstream, [*wavs(4000, seed=seed), *wavs(5000 + seed)])
        assert member.asked.count(4000) == 60 and member.asked.count(5000) == 1
        assert len(files(tmp_path)) == 2 * 30

    def test_one_that_is_stored_is_read(self, tmp_path, recwarn):
        member = Counting()
        stored = states(fuse(tmp_path, member), wavs(4000))
        upstream = fuse(tmp_path, member)
        upstream.crop_samples = 4000
        assert_equal(states(upstream, wavs(4000)), stored)
        assert member.asked == [4000] and len(recwarn) == 0

    def test_their_values_are_those_of_a_stored_one(self, tmp_path):
        upstream = fuse(tmp_path, ToyUpstream())
        upstream.crop_samples = 4000
        with pytest.warns(RuntimeWarning, match="random crops"):
            computed = states(upstream, wavs(4000, 3000))
        upstream.crop_samples = None
        assert_equal(states(upstream, wavs(4000, 3000)), computed)
