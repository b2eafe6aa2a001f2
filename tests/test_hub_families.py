"""Every family of s3prl's hub that can be built here, alone and beside another one. The README lists them."""

from __future__ import annotations

import pytest
import torch
from hub_families import FAMILIES, build
from tiny_models import wavs

from s3prl_fusion import FusedUpstream, FusionConfig, FusionFeaturizer
from s3prl_fusion.host.members import load_members

pytestmark = pytest.mark.slow
LENGTHS = (20000, 11000)


@pytest.fixture(scope="module", params=FAMILIES)
def member(request, tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(request.param, tmp_path_factory.mktemp(request.param))


def fused(*members, **options) -> FusedUpstream:
    return FusedUpstream(FusionConfig.from_dict({"members": list(members), **options})).eval()


@torch.no_grad()
def test_alone_it_gives_its_own_hidden_states(member):
    upstream = fused(member)
    states, loaded = upstream(wavs(*LENGTHS))["hidden_states"], load_members(upstream.fusion)[0].eval()
    # What trims is run on each utterance alone, as its frames in a batch depend on the others'.
    batches = [[wav] for wav in wavs(*LENGTHS)] if upstream.grid.trims[0] else [wavs(*LENGTHS)]
    for row, batch in enumerate(batches):
        own = loaded(batch)["hidden_states"]
        own = list(own.values()) if isinstance(own, dict) else own
        assert len(states) == len(own)
        assert all(torch.equal(a[row : row + len(batch), : b.size(1)], b) for a, b in zip(states, own))
    assert all(state.isfinite().all() for state in states)


@torch.no_grad()
def test_in_bf16_it_is_finite_and_close(member):
    exact, ours = (fused({**member, **other})(wavs(*LENGTHS))["hidden_states"] for other in ({}, {"precision": "bf16"}))
    assert len(ours) == len(exact)
    for state, expected in zip(ours, exact):
        assert state.dtype == expected.dtype and state.isfinite().all()
        assert (state - expected).norm() <= 0.05 * expected.norm()


@pytest.mark.parametrize("interface", ["weighted_sum", "gumbel", "hconv", "chconv"])
def test_beside_fbank_it_is_on_one_grid_and_its_fusion_learns(member, interface):
    upstream = fused(member, {"name": "fbank", "layers": [-1]}, interface={"name": interface, "output_dim": 8})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        featurizer = FusionFeaturizer(upstream)
        with torch.no_grad():
            states = upstream(wavs(*LENGTHS))
        features = featurizer(wavs(*LENGTHS), states)
    assert upstream.grid.rates == upstream.grid.claims  # measured, and what s3prl says
    assert len({state.shape[:2] for state in states["hidden_states"]}) == 1
    expected = [round(length / featurizer.downsample_rate) for length in LENGTHS]
    assert all(0 <= n - len(sequence) < 5 for n, sequence in zip(expected, features))
    assert all(sequence.isfinite().all() for sequence in features)
    sum(sequence.pow(2).sum() for sequence in features).backward()
    assert any(parameter.grad.abs().sum() > 0 for parameter in featurizer.parameters())


def test_training_mode_gives_as_many_hidden_states(member):
    # s3prl's trainers put the upstream into training mode: a family's layer drop must not change their number.
    upstream = fused(member, {"name": "fbank", "layers": [-1]})
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        count = len(upstream(wavs(*LENGTHS))["hidden_states"])
        upstream.train()
        assert all(len(upstream(wavs(*LENGTHS))["hidden_states"]) == count for _ in range(5))
