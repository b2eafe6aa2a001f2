"""Where and in which precision members run, and members that share one forward: what comes out is the same."""

from __future__ import annotations

import sys

import pytest
import torch
from tiny_models import ToyUpstream, wavs

from s3prl_fusion import FusedUpstream, FusionConfig, MemberConfig
from s3prl_fusion.costs import profile_groups
from s3prl_fusion.errors import UsageError
from s3prl_fusion.host import members as hub_members
from s3prl_fusion.host.hub import entry_files
from s3prl_fusion.source import code_digest
from s3prl_fusion.upstreams import aligned
from s3prl_fusion.upstreams.layers import count_layers

LENGTHS = (16000, 9001, 4321, 1600)
FIXTURES = {
    "wavlm_local": "wavlm_ckpt",
    "hubert_local": "hubert_ckpt",
    "hf_hubert_custom": "tiny_hubert",
    "hf_whisper_custom": "tiny_whisper",
}


def fusion(*members: str | dict) -> FusionConfig:
    return FusionConfig.from_dict({"members": list(members)})


@torch.no_grad()
def states(config: FusionConfig, members=None, lengths=LENGTHS) -> list[torch.Tensor]:
    return FusedUpstream(config, members).eval()(wavs(*lengths))["hidden_states"]


def assert_all_equal(ours, theirs) -> None:
    assert len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs))


class TestPrecision:
    @pytest.mark.parametrize("precision, error", [("bf16", 0.03), ("fp16", 0.004)])
    @pytest.mark.parametrize("entry", [*FIXTURES, "short whisper"])
    @pytest.mark.filterwarnings("ignore:.*many times slower")
    def test_states_are_single_precision_finite_and_close(self, entry, precision, error, request):
        name = "hf_whisper_custom" if entry == "short whisper" else entry
        member = {"name": name, "ckpt": request.getfixturevalue(FIXTURES[name])}
        if entry == "short whisper":
            member["model_config"] = {"pad_to_30s": False}
        exact, ours = states(fusion(member)), states(fusion({**member, "precision": precision}))
        assert len(ours) == len(exact)
        for state, expected in zip(ours, exact):
            assert state.dtype == torch.float32 and state.isfinite().all()
            assert 0 < (state - expected).norm() < error * expected.norm()

    def test_it_is_autocasts(self, hubert_ckpt):
        member = {"name": "hubert_local", "ckpt": hubert_ckpt}
        (plain,) = hub_members.load_members(fusion(member))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            expected = plain.eval()(wavs(*LENGTHS))["hidden_states"]
        assert_all_equal(states(fusion({**member, "precision": "bf16"})), [state.float() for state in expected])

    def test_it_is_each_members_own(self, hubert_ckpt):
        hubert = {"name": "hubert_local", "ckpt": hubert_ckpt}
        mixed, exact = states(fusion("fbank", {**hubert, "precision": "bf16"})), states(fusion("fbank", hubert))
        assert torch.equal(mixed[0], exact[0]) and not torch.equal(mixed[-1], exact[-1])
        assert {state.dtype for state in mixed} == {torch.float32}

    def test_fp16_on_a_cpu_is_warned_of(self):
        with pytest.warns(UserWarning, match="member 'toy': most CPUs compute in fp16 many times slower"):
            states(fusion({"name": "toy", "precision": "fp16"}), [ToyUpstream()])

    def test_weights_stay_as_they_are(self):
        upstream = FusedUpstream(fusion({"name": "toy", "precision": "bf16"}), [ToyUpstream()])
        upstream(wavs(16000))["hidden_states"][0].sum().backward()
        kernels = upstream.members[0].kernels
        assert kernels.dtype == kernels.grad.dtype == torch.float32


class Elsewhere(ToyUpstream):
    """Says that it is on another device, but computes here: meta tensors have no values."""

    def forward(self, batch):
        assert {wav.device.type for wav in batch} == {self.kernels.device.type} == {"meta"}
        here = ToyUpstream(self.rate, layers=len(self.kernels))
        return here([torch.zeros(len(wav)) for wav in batch])


class TestDevice:
    CONFIG = ("a", {"name": "b", "device": "meta"})

    def test_a_member_starts_on_its_device_and_stays_there(self):
        upstream = FusedUpstream(fusion("a", {"name": "b", "device": "cpu"}), [ToyUpstream(), ToyUpstream(seed=1)])
        placed = upstream.members[1].kernels.clone()
        assert upstream.to("meta") is upstream
        assert upstream.members[0].kernels.is_meta and torch.equal(upstream.members[1].kernels, placed)
        moved = FusedUpstream(fusion(*self.CONFIG), [ToyUpstream(), ToyUpstream()])
        assert [member.kernels.device.type for member in moved.to("cpu").members] == ["cpu", "meta"]

    def test_what_else_to_does_reaches_every_member(self):
        upstream = FusedUpstream(fusion("a", {"name": "b", "device": "cpu"}), [ToyUpstream(), ToyUpstream()]).double()
        assert [member.kernels.dtype for member in upstream.members] == [torch.float64] * 2

    def test_waveforms_go_to_the_member_and_states_come_back_in_order(self):
        silence = [torch.zeros(length) for length in LENGTHS]
        members = [Elsewhere(160, layers=2), ToyUpstream(320)]
        config = fusion({"name": "b", "device": "meta"}, "a")
        ours = FusedUpstream(config, members)(silence)["hidden_states"]
        plain = FusedUpstream(fusion("b", "a"), [ToyUpstream(160, layers=2), members[1]])(silence)["hidden_states"]
        assert_all_equal(ours, plain)

    def test_the_same_device_said_aloud_changes_nothing(self, hubert_ckpt):
        hubert = {"name": "hubert_local", "ckpt": hubert_ckpt}
        assert_all_equal(states(fusion("fbank", {**hubert, "device": "cpu"})), states(fusion("fbank", hubert)))

    def test_all_members_are_started_before_any_is_waited_for(self, monkeypatch):
        happened = []

        def fetch(states, config, device):
            happened.append(f"fetch {config.name}")
            return states

        monkeypatch.setattr(aligned, "fetch", fetch)
        members = [ToyUpstream(), ToyUpstream(seed=1), Elsewhere()]
        for name, member in zip("abc", members):
            member.register_forward_hook(lambda *args, name=name: happened.append(f"run {name}"))
        config = fusion("a", {"name": "b", "device": "cpu"}, {"name": "c", "device": "meta"})
        FusedUpstream(config, members)(wavs(16000))
        assert happened[-6:] == ["run c", "run a", "run b", "fetch a", "fetch b", "fetch c"]

    @pytest.mark.parametrize(
        "device, gpus, message",
        [
            ("gpu", 0, r"members\[1\]: device 'gpu' is none"),
            ("cuda:1", 0, r"members\[1\]: device 'cuda:1': torch finds no GPU here; say cpu, or leave it out"),
            ("cuda:2", 2, r"members\[1\]: device 'cuda:2': torch does not find it here, only cuda:0, cuda:1; say one"),
        ],
    )
    def test_a_device_that_is_not_there_is_refused_before_anything_loads(self, device, gpus, message, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(hub_members, "_load", lambda *_: pytest.fail("a member was loaded before the check"))
        with pytest.raises(ValueError, match=message):
            FusedUpstream(fusion("mfcc", {"name": "fbank", "device": device}))

    def test_devices_that_are_there_pass(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        hub_members.check(fusion(*({"name": "fbank", "layers": [0], "device": "cuda:1"}, "mfcc")))


class TestOneForwardForSeveralMembers:
    @pytest.fixture
    def hubert(self, hubert_ckpt):
        return {"name": "hubert_local", "ckpt": hubert_ckpt}

    def test_layers_of_one_checkpoint_are_loaded_and_run_once(self, hubert, monkeypatch):
        loaded, runs = [], []
        load = hub_members._load
        monkeypatch.setattr(hub_members, "_load", lambda *args: loaded.append(1) or load(*args))
        config = fusion({**hubert, "layers": [3]}, "fbank", {**hubert, "layers": [0, -2]})
        upstream = FusedUpstream(config).eval()
        assert len(loaded) == 2 and upstream.members[0] is upstream.members[2] and len(upstream.members) == 3
        upstream(wavs(*LENGTHS))
        upstream.members[0].register_forward_hook(lambda *_: runs.append(1))
        with torch.no_grad():
            ours = upstream(wavs(*LENGTHS))["hidden_states"]
        assert len(runs) == 1
        whole = states(fusion("fbank", hubert))
        assert_all_equal(ours, [whole[4], whole[0], whole[1], whole[3]])

    @pytest.mark.parametrize("samples", [1, 401, 1599])
    def test_also_for_short_utterances(self, hubert, samples):
        ours = states(fusion({**hubert, "layers": [3]}, {**hubert, "layers": [0, -2]}), lengths=(samples,))
        whole = states(fusion(hubert), lengths=(samples,))
        assert_all_equal(ours, [whole[3], whole[0], whole[2]])

    def test_other_precisions_and_configs_share_nothing(self, hubert):
        config = fusion(
            hubert, {**hubert, "precision": "bf16", "layers": [1]}, {**hubert, "device": "cpu", "layers": [1]}
        )
        assert len(set(hub_members.load_members(config))) == 3

    def test_its_parameters_count_once_and_its_state_loads(self, hubert):
        pair = fusion({**hubert, "layers": [0]}, {**hubert, "layers": [1]})
        upstream, alone = FusedUpstream(pair), FusedUpstream(fusion(hubert))
        assert sum(p.numel() for p in upstream.parameters()) == sum(p.numel() for p in alone.parameters())
        upstream.load_state_dict(FusedUpstream(pair).state_dict(), strict=True)

    def test_its_macs_count_once(self, hubert):
        pair = FusedUpstream(fusion({**hubert, "layers": [0]}, {**hubert, "layers": [1]})).eval()
        alone = FusedUpstream(fusion(hubert)).eval()
        pair(wavs(16000))  # looks at the members first
        both, one = (profile_groups(upstream, None, {"all": [16000]}).iloc[-1] for upstream in (pair, alone))
        assert both["upstream"] == one["upstream"] == both["hubert_local.0"] and both["hubert_local.1"] == 0


class TestWhatIsToldWithoutLoading:
    @pytest.mark.fault(
        "layers, or options of ours, that a member does not have",
        "refused before it loads: which it has, by the member",
    )
    @pytest.mark.parametrize(
        "member, message",
        [
            ({"name": "wavlm_base_plus", "layers": [99]}, "has hidden states 0 to 12; its layers ask for 99"),
            ({"name": "fbank", "layers": [0, -2]}, "has hidden states 0 to 0; its layers ask for -2"),
            (
                {"name": "demo_hubert", "layers": [0, -7]},
                r"7 hidden states, of which its layers name one twice: \[0, -7\]",
            ),
            ({"name": "demo_whisper", "layers": [5]}, "has hidden states 0 to 4; its layers ask for 5"),
            ({"name": "demo_whisper", "model_config": {"pad_to_30": False}}, "model_config: unknown key 'pad_to_30'"),
            ({"name": "demo_whisper", "model_config": {"pad_to_30s": "no"}}, "pad_to_30s must be true or false"),
            ({"name": ""}, "unknown upstream ''"),
        ],
    )
    def test_mistakes(self, member, message, monkeypatch):
        monkeypatch.setattr(hub_members, "_load", lambda *_: pytest.fail("a member was loaded before the check"))
        with pytest.raises(ValueError, match=rf"^members\[1\]: ?.*{message}|^members\[1\]{message}"):
            FusedUpstream(fusion("mfcc", member))

    def test_folders_of_transformers_tell_their_layers(self, tiny_hubert, tiny_wav2vec2, tiny_whisper, tmp_path):
        rows = [("hf_hubert_custom", tiny_hubert), ("hf_wav2vec2_custom", tiny_wav2vec2)]
        rows += [("hf_whisper_custom", tiny_whisper), ("demo_hubert", None), ("demo_whisper", None)]
        for name, ckpt in rows:
            member = MemberConfig(name, ckpt and str(ckpt), {"pad_to_30s": False} if "whisper" in name else None)
            assert count_layers(member) == len(states(FusionConfig((member,))))
        assert count_layers(MemberConfig("hf_hubert_custom", "owner/model")) is None
        (tmp_path / "config.json").write_text("[]")
        with pytest.raises(ValueError, match=r"config\.json is damaged: it must be a mapping"):
            count_layers(MemberConfig("hf_hubert_custom", str(tmp_path)))

    def test_s3prls_files_tell_its_entries_and_their_code(self):
        told, there = entry_files(), {**hub_members.entries()}
        lacking = {name for name in there if name not in told} - hub_members.added_entries().keys()
        assert told.keys() <= there.keys() and len(lacking) < 3  # those are found by importing s3prl
        assert all(code_digest([told[name]]) == code_digest([there[name]]) for name in told)


@pytest.mark.fault(
    "a ckpt or a model_config for an entry that has its own, as wavlm_base, where s3prl ignores it",
    "refused before it loads: entries that take one are named",
)
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    "member, told",
    [
        ({"name": "wavlm_base", "ckpt": "a"}, r"ckpt .*'wavlm_base' has one of its own, .*: wavlm_local, wavlm_url"),
        ({"name": "wavlm", "ckpt": "a"}, "'wavlm' has one of its own, .*wavlm_local"),
        ({"name": "fbank", "model_config": "a"}, "model_config .*'fbank' has one of its own, .*: baseline_local"),
        ({"name": "tera", "ckpt": "a"}, "'tera' has one of its own, .*tera_local"),
    ],
)
def test_what_an_entry_would_ignore_is_refused(member, told, loaded, tmp_path, monkeypatch):
    if not loaded:
        monkeypatch.delitem(sys.modules, "s3prl.hub", raising=False)
    (tmp_path / "a").write_text("")
    member = {key: value if key == "name" else str(tmp_path / value) for key, value in member.items()}
    with pytest.raises(UsageError, match=told):
        hub_members.check(FusionConfig.from_dict({"members": [member]}))


def test_a_file_where_the_caches_folder_is_to_be(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(UsageError, match="the cache .*/a/b: .*/a is a file, and a folder is needed"):
        hub_members.check(FusionConfig.from_dict({"members": ["fbank"], "cache": str(tmp_path / "a" / "b")}))
