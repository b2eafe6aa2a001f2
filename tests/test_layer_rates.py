"""Hidden states of several rates within one member: as members of these rates, and as the reference."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from tiny_models import ToyUpstream, wavs
from torch import nn

from s3prl_fusion import FusedUpstream, FusionConfig, MemberConfig
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.contract import report, shapes
from s3prl_fusion.contract.findings import FAILS, OK, reasons
from s3prl_fusion.contract.probe import Probe
from s3prl_fusion.upstreams.layer_rates import measure_layers

LENGTHS = (16000, 9001, 4321, 1600)
KINDS = ((80, 400), (160, 500), (640, 900))


class Pyramid(nn.Module):
    """Toys of several rates, as one upstream's layers."""

    def __init__(self, kinds=KINDS, claim=None, dim=8):
        super().__init__()
        toys = (ToyUpstream(rate, first, layers=1, dim=dim, seed=i) for i, (rate, first) in enumerate(kinds))
        self.toys = nn.ModuleList(toys)
        self.claim = claim or min(kinds)[0]

    def get_downsample_rates(self, key):
        return self.claim

    def forward(self, batch):
        return {"hidden_states": [toy(batch)["hidden_states"][0] for toy in self.toys]}


def fuse(*members, layers=None, cache=None):
    chosen = layers or (None,) * len(members)
    configs = [MemberConfig(f"toy{i}", layers=of) for i, of in enumerate(chosen)]
    fusion = FusionConfig(tuple(configs), cache=cache and CacheConfig(str(cache)))
    return FusedUpstream(fusion, members).eval()


@pytest.mark.parametrize("kinds", [KINDS, ((320, 400), (320, 480)), ((640, 900), (160, 400), (256, 512))])
@torch.no_grad()
def test_layers_of_one_member_are_aligned_as_members_are(kinds):
    member = Pyramid(kinds)
    one, several = fuse(member), fuse(*member.toys)
    one.measure()  # first frames too, which a member alone has no need of while its layers have as many frames
    for lengths in (LENGTHS, (16000,), (700, 300)):  # the last ones are padded, each member as it needs it
        found, expected = (upstream(wavs(*lengths))["hidden_states"] for upstream in (one, several))
        assert len(found) == len(kinds) and one.get_downsample_rates() == min(kinds)[0]
        assert [state.shape for state in found] == [state.shape for state in expected]
        assert min(lengths) < 1600 or all(map(torch.equal, found, expected))


@torch.no_grad()
def test_the_rate_that_a_member_states_is_the_one_that_all_are_brought_to():
    member = Pyramid(claim=160)
    upstream, batch = fuse(member), wavs(*LENGTHS)
    assert upstream.get_downsample_rates() == 160
    frames = (max(LENGTHS) - 500) // 160 + 1
    plain = member(batch)["hidden_states"]
    for state, ours, (rate, first) in zip(plain, upstream(batch)["hidden_states"], KINDS):
        valid = [(length - first) // rate + 1 for length in LENGTHS]
        expected = state.numpy() if rate == 160 else reference.align_frames(state.numpy(), rate, 160, frames, valid)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_stated_rate_that_no_layer_has_is_not_believed():
    assert fuse(Pyramid(claim=320)).get_downsample_rates() == 80


@torch.no_grad()
def test_an_utterance_gives_the_same_alone_and_beside_other_members():
    upstream = fuse(Pyramid(claim=640), ToyUpstream(320, layers=2, dim=5))
    together = upstream(wavs(*LENGTHS))["hidden_states"]
    for i, wav in enumerate(wavs(*LENGTHS)):
        frames = (len(wav) - 400) // 320 + 1
        for alone, state in zip(upstream([wav])["hidden_states"], together):
            torch.testing.assert_close(state[i, :frames], alone[0, :frames], rtol=0, atol=1e-6)


@torch.no_grad()
def test_chosen_layers_have_their_own_rate_also_of_one_member_twice():
    member = Pyramid()
    assert fuse(member, layers=((2,),)).get_downsample_rates() == 640
    upstream = fuse(member, member, layers=((2,), (0, 1)))
    expected = fuse(member.toys[2], Pyramid(KINDS[:2]))
    found, wanted = (each(wavs(*LENGTHS))["hidden_states"] for each in (upstream, expected))
    assert upstream.grid.rates == [640, 80] and all(map(torch.equal, found, wanted))


@torch.no_grad()
def test_widths_may_differ_too_and_the_cache_has_the_same(tmp_path):
    member = Pyramid()
    member.toys[2] = ToyUpstream(640, 900, layers=1, dim=16)
    plain, cached = fuse(member), fuse(member, cache=tmp_path)
    expected = plain(wavs(9001))["hidden_states"]
    assert {state.shape for state in expected} == {(1, 108, 16)}
    for _ in range(2):
        for state, other in zip(cached(wavs(9001))["hidden_states"], expected):
            assert (state - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("frames", [[10, 10], [10, 20]])
def test_frames_that_do_not_grow_are_refused(frames):
    with pytest.raises(ValueError, match="these are no frames in time"):
        measure_layers(lambda samples: frames, None, "toy")


@pytest.mark.fault(
    "an upstream whose hidden states are more than a factor of 100 apart in their rates",
    "refused, with both rates; `layers` chooses among them",
)
def test_rates_too_far_apart():
    with pytest.raises(ValueError, match=r"'toy0' has hidden states .* every 80 samples and every 8800; .* of 100"):
        fuse(Pyramid(((80, 400), (8800, 8800))))(wavs(16000))


def test_a_member_that_counts_frames_for_layers_that_differ_is_not_believed():
    member = Pyramid()
    member.num_frames = lambda samples: (samples - 500) // 160 + 1
    upstream = fuse(member)
    upstream(wavs(16000))
    assert upstream.grid.layers[0].rate == 160  # its own is among theirs
    member.num_frames = lambda samples: (samples - 400) // 320 + 1
    with pytest.raises(ValueError, match=r"\[24, 97, 196\] frames for 16000 samples, which its num_frames does not"):
        fuse(member)(wavs(16000))


def test_check_tells_widths_and_rates():
    member = Pyramid(claim=160)
    member.toys[2] = ToyUpstream(640, 900, layers=1, dim=16)
    probe = Probe(member.eval(), "toy", stock=False)
    found = list(report.examine(probe, quick=True))
    assert {finding.mark for finding in found} == {OK} and len(found) == len(report.QUICK)
    assert found[0].said == (
        "1 x 396 frames x 8, 1 x 197 frames x 8, 1 x 49 frames x 16, for 2 s; of 80, 160, 640 samples a frame; the "
        "fusion brings all to 160 samples a frame and a width of 16"
    )
    assert found[0].values["samples_a_frame"] == (80, 160, 640)
    stock = shapes.shapes(Probe(member, "toy"))
    assert stock.mark == FAILS and "member of a fusion YAML, which brings all to 160 samples" in reasons([stock])[0]
