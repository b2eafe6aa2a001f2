"""What `s3prl-fusion check` finds out: every way of breaking run_downstream's contract, and what is right or odd."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
from tiny_models import ToyUpstream
from torch import Tensor, nn

from s3prl_fusion.cli import main
from s3prl_fusion.config import FusionConfig, InterfaceConfig, MemberConfig
from s3prl_fusion.contract import batch, cost, modes, reach, report, shapes
from s3prl_fusion.contract.findings import FAILS, OK, WARNING, Finding, reasons
from s3prl_fusion.contract.fused import fused
from s3prl_fusion.contract.probe import Probe
from s3prl_fusion.host import members
from s3prl_fusion.host.proven import own_members


class Toy(ToyUpstream):
    """A toy that does something else with what it is given, or with what it gives.

    Args:
        alter: makes the output of the hidden states, each (B, T, D), and the waveforms.
        claim: what it says of its rate.
    """

    def __init__(self, alter: Callable[..., Any] | None = None, claim: Any = 320, **options: Any) -> None:
        super().__init__(**options)
        self.alter, self.claim = alter, claim

    def get_downsample_rates(self, key: str) -> Any:
        return self.claim

    def forward(self, wavs: list[Tensor]) -> Any:
        states = super().forward(wavs)["hidden_states"]
        return self.alter(states, wavs) if self.alter else {"hidden_states": states}


def each(change: Callable[[Tensor], Any]) -> Callable[..., dict]:
    """Change every hidden state."""
    return lambda states, wavs: {"hidden_states": [change(state) for state in states]}


def toy(alter: Callable[..., Any] | None = None, stock: bool = True, **options: Any) -> Probe:
    return Probe(Toy(alter, **options).eval(), "toy", stock=stock)


def of(module: nn.Module, stock: bool = True) -> Probe:
    return Probe(module.eval(), "toy", stock=stock)


def quick(probe: Probe) -> list[Finding]:
    return list(report.examine(probe, quick=True))


@pytest.mark.parametrize("form", ["list", "tuple", "dict"])
def test_what_keeps_to_the_contract_is_right_in_every_line(form):
    found = quick(of(ToyUpstream(form=form)))
    assert [finding.what for finding in found] == list(report.QUICK)
    assert {finding.mark for finding in found} == {OK}
    assert report.verdict("toy", found) == "toy keeps to run_downstream's contract"


def test_the_shapes_and_the_rate():
    layers, rate = shapes.shapes(toy()), shapes.rate(toy())
    assert layers.said == "3 x 99 frames x 8, for 2 s" and layers.values["layers"] == [(99, 8)] * 3
    assert rate.values == {"claimed": 320, "measured": 320} and "320 samples a frame (50 Hz)" in rate.said


def _in_no_dict(states: list[Tensor], wavs: list[Tensor]) -> Any:
    return states


def _nan_where_padded(states: list[Tensor], wavs: list[Tensor]) -> Any:
    """Attention of rows that see nothing."""
    is_short = torch.tensor([len(wav) < max(map(len, wavs)) for wav in wavs])
    return {"hidden_states": [state.masked_fill(is_short[:, None, None], float("nan")) for state in states]}


def _misordered(states: list[Tensor], wavs: list[Tensor]) -> Any:
    """Sort a batch by length, and do not put it back."""
    order = sorted(range(len(wavs)), key=lambda i: -len(wavs[i]))
    return {"hidden_states": [state[order] for state in states]}


def _no_batch(states: list[Tensor], wavs: list[Tensor]) -> Any:
    if len({len(wav) for wav in wavs}) > 1:
        raise RuntimeError("stack expects each tensor to be equal size")
    return {"hidden_states": states}


def _fewer_for_short(states: list[Tensor], wavs: list[Tensor]) -> Any:
    return {"hidden_states": states if len(wavs[0]) > 16000 else states[:2]}


def _fewer_in_a_batch(states: list[Tensor], wavs: list[Tensor]) -> Any:
    return {"hidden_states": states if len(wavs) == 1 else states[:2]}


def _of_the_shortest(states: list[Tensor], wavs: list[Tensor]) -> Any:
    return {"hidden_states": [state[:, : min(map(len, wavs)) // 320] for state in states]}


def _raises(states: list[Tensor], wavs: list[Tensor]) -> Any:
    raise KeyError("encoder")


def _nan(state: Tensor) -> Tensor:
    return state.index_fill(1, torch.tensor([3]), float("nan"))


@pytest.mark.fault(
    "an upstream of your own that breaks run_downstream's contract: form, shapes, types, rate, frames, order, NaN",
    "`check` says which and how, and exits with 1",
)
@pytest.mark.parametrize(
    ("alter", "match"),
    [
        (_raises, r"hidden states: KeyError: 'encoder' \(.*test_contract\.py:\d+\)"),
        (_in_no_dict, "hidden states: the call gives a list, and must give a dict"),
        (lambda states, wavs: {"features": states}, r"the call gives no 'hidden_states', only \['features'\]"),
        (lambda states, wavs: {"hidden_states": None}, "must be a list of tensors .*; got a NoneType"),
        (lambda states, wavs: {"hidden_states": []}, "hidden_states is empty"),
        (each(lambda state: state.tolist()), "hidden state 0 must be a tensor .*; got a list"),
        (each(lambda state: state[0]), r"hidden state 0 must be of the shape \(B, T, D\).*; got \(99, 8\)"),
        (each(lambda state: state[:, :0]), r"none of them 0; got \(1, 0, 8\)"),
        (each(lambda state: state.transpose(0, 1)), r"must have B = 1 utterances first.*got the shape \(99, 1, 8\)"),
        (each(lambda state: state.long()), "hidden state 0 must be floating point; got torch.int64"),
        (lambda s, wavs: {"hidden_states": [s[0], s[1][..., :4]]}, "1 x 99 frames x 8, 1 x 99 frames x 4.*one shape"),
        (each(_nan), "finite: NaN or infinity in hidden states 0, 1, 2"),
        (each(lambda state: torch.cat([state, state[:, :9]], dim=1)), r"lengths: .*108 frames for 2 s \(100 by the"),
        (_fewer_for_short, r"lengths: widths of the hidden states \[8, 8\] for 0.1 s, \[8, 8, 8\] for 2 s"),
        (_no_batch, "batch: utterances of 1.5, 1 and 2 s together: RuntimeError: stack expects each tensor"),
        (_fewer_in_a_batch, "batch: 3 hidden states alone, 2 in a batch"),
        (_of_the_shortest, "batch: 50 frames for a batch of 1.5, 1 and 2 s; T must be that of the longest, 99"),
        (_nan_where_padded, "batch: NaN or infinity in hidden state 0 of utterance 0, which it has not alone"),
        (_misordered, "batch: utterance 0 of a batch gets the hidden states of utterance 2; keep the order"),
    ],
)
def test_what_breaks_the_contract_is_told(alter, match):
    told = reasons(quick(toy(alter)))
    with pytest.raises(AssertionError, match=match):
        raise AssertionError("; ".join(told))


@pytest.mark.parametrize(
    ("claim", "match"),
    [
        (160, "rate: 320 samples a frame are measured, get_downsample_rates says 160: 1750 frames apart in 35 s"),
        (320.0, "rate: member 'toy': get_downsample_rates must give a positive int, samples a frame; got 320.0"),
        (0, "got 0"),
    ],
)
def test_a_wrong_rate_is_told(claim, match):
    with pytest.raises(AssertionError, match=match):
        raise AssertionError("; ".join(reasons(quick(toy(claim=claim)))))


class Silent(nn.Module):
    """Says nothing of its rate."""

    def __init__(self) -> None:
        super().__init__()
        self.toy = ToyUpstream()

    def forward(self, wavs: list[Tensor]) -> dict:
        return self.toy(wavs)


def test_in_a_fusion_the_rate_is_measured():
    assert shapes.rate(of(Silent())).mark == FAILS
    assert shapes.rate(of(Silent(), stock=False)).mark == OK
    assert shapes.rate(toy(claim=160, stock=False)).mark == WARNING
    assert "it has no get_downsample_rates" in shapes.rate(of(Silent())).said


def test_weights_that_are_not_finite_are_named():
    module = Toy()
    with torch.no_grad():
        module.kernels[0, 0, 0, 0] = float("inf")
    assert "so are weights, kernels first: look at the checkpoint" in shapes.finite(of(module)).said


def test_waveforms_that_a_call_changes_matter_in_a_fusion():
    def scale(states: list[Tensor], wavs: list[Tensor]) -> dict:
        wavs[0].mul_(2)
        return {"hidden_states": states}

    assert shapes.waveforms(toy(scale)).mark == WARNING
    told = shapes.waveforms(toy(scale, stock=False))
    assert told.mark == FAILS and "a call changes the samples that it is given" in told.said


def test_layers_of_several_widths_are_a_fusions_affair():
    found = quick(toy(lambda s, wavs: {"hidden_states": [s[0], s[1][..., :4]]}, stock=False))
    assert found[0].mark == OK and found[0].said.endswith(
        "the fusion brings all to 320 samples a frame and a width of 8"
    )
    assert not reasons(found)


def test_nothing_is_looked_at_behind_an_output_of_no_form():
    assert len(quick(toy(_in_no_dict))) == 1


def test_padding_that_shows_is_told_by_how_much():
    """A mean over the padded batch, little of it or much."""

    def mean(states: list[Tensor], wavs: list[Tensor], scale: float) -> dict:
        return {"hidden_states": [state + scale * state.square().mean(dim=1, keepdim=True) for state in states]}

    little, much = (batch.batch(toy(partial(mean, scale=scale))) for scale in (1.0, 1e3))
    assert little.mark == OK and "no more than in s3prl's own models with a group norm" in little.said
    assert much.mark == WARNING and "more than in s3prl's own models" in much.said
    assert max(much.values["largest_difference_by_layer"]) > batch.GROUP_NORM


def test_the_receptive_field_of_windows_by_hand():
    found = reach.reach(toy())
    # Sample 16000 is in the windows that begin at 15680 and at 16000.
    assert found.values["changed_frames_by_layer"] == [(49, 50)] * 3 and found.values["first_frame"] == 400
    assert found.said.endswith("a changed one reaches 2 frames of hidden states 0 to 2")
    everywhere = reach.reach(toy(each(lambda state: state - state.mean(dim=1, keepdim=True))))
    assert "all 99 frames" in everywhere.said


def test_the_shortest_input_by_hand():
    assert reach.shortest(toy()).values == {"samples": 400}
    long = toy(first=12000, claim=320)
    assert reach.shortest(long).values == {"samples": 12000}
    assert reach.shortest(long).mark == WARNING
    short = shapes.lengths(long)
    assert short.mark == WARNING and "0.1 s is too short for it: RuntimeError" in short.said


def test_silence_that_is_divided_by_its_deviation():
    class Normalized(Toy):
        def forward(self, wavs: list[Tensor]) -> dict:
            return super().forward([(wav - wav.mean()) / wav.std() for wav in wavs])

    found = shapes.silence(of(Normalized()))
    assert found.mark == WARNING and found.values["layers"] == [0, 1, 2]
    assert shapes.silence(toy()).mark == OK


def test_what_is_random_in_evaluation_mode_is_told():
    def dither(states: list[Tensor], wavs: list[Tensor]) -> dict:
        return {"hidden_states": [state + torch.randn_like(state) for state in states]}

    before = torch.get_rng_state()
    found = modes.deterministic(toy(dither))
    assert found.mark == WARNING and "two calls differ" in found.said
    assert torch.equal(torch.get_rng_state(), before)
    assert modes.deterministic(toy()).said == "two calls are equal to the bit"
    assert "a changed one reaches 2 frames" in reach.reach(toy(dither)).said


class Stack(Toy):
    """Modules on top of every hidden state."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.top = nn.Sequential(*layers)

    def forward(self, wavs: list[Tensor]) -> dict:
        states = super().forward(wavs)["hidden_states"]
        return {"hidden_states": [self.top(state) for state in states]}


class BatchNorm(nn.BatchNorm1d):
    def forward(self, state: Tensor) -> Tensor:
        return super().forward(state.transpose(1, 2)).transpose(1, 2)


class Recurrent(nn.LSTM):
    def forward(self, state: Tensor) -> Tensor:
        return super().forward(state)[0]


class LayerDrop(Toy):
    def forward(self, wavs: list[Tensor]) -> dict:
        states = super().forward(wavs)["hidden_states"]
        return {"hidden_states": states[: 2 if self.training else 3]}


def test_dropout_is_all_that_training_mode_may_change():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attention = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    assert modes.training(of(Stack(nn.Dropout(0.5)))).said == "train() changes nothing but dropout"
    assert modes.training(of(Stack(attention))).mark == OK
    recurrent = Recurrent(8, 8, num_layers=2, dropout=0.5)
    assert modes.training(of(Stack(recurrent))).mark == OK and recurrent.dropout == 0.5
    norm = BatchNorm(8)
    found = modes.training(of(Stack(norm)))
    assert found.mark == WARNING and "beyond dropout" in found.said and "top.0.running_mean and 2 more" in found.said
    assert norm.num_batches_tracked == 0 and not norm.training and norm.running_mean.eq(0).all()
    found = modes.training(of(LayerDrop()))
    assert found.mark == WARNING and "gives [2] hidden states in place of 3" in found.said


def test_gradients_reach_the_weights_or_it_is_told():
    found = modes.gradients(toy())
    assert (found.mark, found.values) == (OK, {"weights": 1, "reached": 1})
    found = modes.gradients(toy(each(Tensor.detach)))
    assert found.mark == WARNING and "so -f trains nothing" in found.said
    frozen = toy()
    frozen.module.requires_grad_(False)
    assert "no weight asks for any" in modes.gradients(frozen).said
    assert all(weight.grad is None for weight in frozen.module.parameters())


def test_a_graph_under_no_grad_is_told():
    class Leaking(Toy):
        def forward(self, wavs: list[Tensor]) -> dict:
            with torch.enable_grad():
                return super().forward(wavs)

    found = modes.gradients(of(Leaking()))
    assert found.mark == WARNING and "under torch.no_grad() builds a graph all the same" in found.said


def test_half_precision_is_tried():
    assert modes.half_precision(toy()).mark == OK
    assert modes.half_precision(toy()).values["largest_difference"] > 0
    found = modes.half_precision(toy(each(lambda state: torch.from_numpy(state.numpy()))))
    assert found.mark == WARNING and "`precision: bf16` does not work: TypeError" in found.said


def test_the_cost(tmp_path, monkeypatch):
    (tmp_path / "weights.pt").write_bytes(b"x" * 1000)
    monkeypatch.setattr(cost, "SECONDS", 1.0)
    found = cost.cost(toy(), [tmp_path / "weights.pt"]).values
    assert found["parameters"] == 3 * 8 * 400 and found["weight_bytes"] == 4 * found["parameters"]
    assert found["disk_bytes"] == 1000 and found["real_time_factor"] > 0 and found["peak_bytes"] > 0
    assert found["macs_per_second"] == 49 * found["parameters"]


def test_the_longest_that_the_memory_takes(monkeypatch):
    monkeypatch.setattr(cost, "LONGEST", 60.0)
    found = cost.longest(toy())
    assert found.mark == OK and [tried["frames"] for tried in found.values["tried"]] == [1499, 2999]
    off = cost.longest(toy(claim=322))
    assert off.mark == FAILS and "at 322 samples a frame 1491 would be right" in off.said
    assert cost.longest(toy(claim=322, stock=False)).mark == OK
    monkeypatch.setattr(cost, "free_memory", lambda device: 1000)
    found = cost.longest(toy())
    assert found.mark == WARNING and "30 s not tried: about 0.0 GB" in found.said


def test_the_free_memory_is_a_number_of_bytes():
    free = cost.free_memory("cpu")
    assert free is None or free > 1e6


def test_members_are_fused_under_their_interface():
    fusion = FusionConfig((MemberConfig("a"), MemberConfig("b")), InterfaceConfig("weighted_sum"))
    found = fused(fusion, [Toy(seed=1), Toy(seed=2, rate=160, claim=160)])
    assert found.mark == OK and found.said == "weighted_sum: 100 frames x 8 and 198 frames x 8, for 1 s and 2 s"
    found = fused(fusion, [Toy(), Toy(_raises)])
    assert found.mark == FAILS and "KeyError: 'encoder'" in found.said


def test_own_members_are_those_that_nobody_has_tried():
    named = ["fbank", "wavlm_base_plus", "hubert_base_robust_mgr", "my_model.py:MyModel"]
    fusion = FusionConfig((*map(MemberConfig, named), MemberConfig("hf_hubert_custom", ckpt="folder")))
    assert [member.name for member in own_members(fusion)] == ["my_model.py:MyModel", "hf_hubert_custom"]


def test_the_command_writes_a_report_of_each_member(tmp_path, capsys):
    file = tmp_path / "report.json"
    assert main(["check", "fused__fbank__mfcc__hconv", "--quick", "--device", "cpu", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "fbank on cpu\n  ok       hidden states" in out and "  ok       features         hconv: 10" in out
    assert out.endswith("fused__fbank__mfcc__hconv keeps to run_downstream's contract\n")
    written = json.loads(file.read_text())
    assert [part["name"] for part in written["parts"]] == ["fbank", "mfcc", "fused__fbank__mfcc__hconv"]
    assert written["broken"] == [] and written["parts"][0]["findings"][3]["values"] == {"claimed": 160, "measured": 160}


BROKEN = """
from torch import nn

class Broken(nn.Module):
    def get_downsample_rates(self, key):
        return 320

    def forward(self, wavs):
        return [wav[None, ::320, None] for wav in wavs]
"""


def test_a_broken_upstream_makes_the_exit_status_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(BROKEN)
    assert main(["check", "mine.py:Broken", "--quick", "--own", "--device", "cpu", "--json", "report.json"]) == 1
    reason = "hidden states: the call gives a list, and must give a dict"
    assert f" cannot be used as it is: {reason}" in capsys.readouterr().out
    assert reason in json.loads(Path("report.json").read_text())["broken"][0]


def test_an_entry_that_cannot_be_made_is_told(monkeypatch, capsys):
    def load(fusion: FusionConfig) -> None:
        raise AttributeError("no attribute 'encoder'")

    monkeypatch.setattr(members, "load_members", load)
    assert main(["check", "mine_local", "--quick", "--device", "cpu"]) == 1
    assert "fails    loading          AttributeError: no attribute 'encoder'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["hubrt"], "unknown upstream 'hubrt'"),
        (["fbank", "--device", "banana"], "device 'banana' is none that torch knows"),
        (["fused__fbank__mfcc", "--own"], "--own: fused__fbank__mfcc has no member of your own"),
    ],
)
def test_mistakes_on_the_command_line(words, match, capsys):
    assert main(["check", *words]) == 2
    assert match in capsys.readouterr().err


@pytest.mark.slow
def test_real_architectures_pass_in_full(tiny_hubert, wavlm_ckpt, capsys):
    for name, ckpt in (("hf_hubert_custom", tiny_hubert), ("wavlm_local", wavlm_ckpt)):
        assert main(["check", name, "-k", ckpt, "--device", "cpu"]) == 0
    assert "fails" not in capsys.readouterr().out.replace("fails,", "")


def test_a_real_architecture_passes(tiny_wav2vec2, monkeypatch, capsys):
    monkeypatch.setattr(cost, "LONGEST", 31.0)
    assert main(["check", "hf_wav2vec2_custom", "-k", tiny_wav2vec2, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()[1:-1]]
    assert len(lines) == len(report.QUICK) + len(report.MORE) and {line[0] for line in lines} == {"ok"}, out
