"""Long waveforms in windows: as many frames as in one piece, and the same ones where no window ends."""

from __future__ import annotations

import pytest
import torch
from tiny_models import ToyUpstream, wavs

from s3prl_fusion import FusedUpstream, FusionConfig
from s3prl_fusion.upstreams.windows import states_in_windows


def fuse(*members: ToyUpstream) -> FusedUpstream:
    names = [f"toy{i}" for i in range(len(members))]
    return FusedUpstream(FusionConfig.from_dict({"members": names}), members).eval()


RATES = [(320,), (160,), (320, 160), (640, 320, 160), (480, 320), (441,)]


@pytest.mark.parametrize("rates", RATES, ids=str)
@pytest.mark.parametrize("samples", [400, 16000, 16001, 17600, 32000, 33601, 100003])
@torch.no_grad()
def test_frames_are_those_of_the_whole(rates, samples):
    upstream = fuse(*(ToyUpstream(rate, seed=i) for i, rate in enumerate(rates)))
    (wav,) = wavs(samples)
    whole, windows = upstream([wav])["hidden_states"], states_in_windows(upstream, wav, 1.0)
    assert [state.shape for state in windows] == [state.shape for state in whole]
    assert all(state.isfinite().all() for state in windows)


@torch.no_grad()
def test_what_looks_at_its_own_samples_alone_does_not_notice():
    upstream, (wav,) = fuse(ToyUpstream(320)), wavs(100003)
    whole = upstream([wav])["hidden_states"]
    for seconds in (1, 1.5, 7, None):
        for state, expected in zip(states_in_windows(upstream, wav, seconds), whole):
            torch.testing.assert_close(state, expected)
    one = upstream.members[0]  # s3prl's own upstreams too
    torch.testing.assert_close(states_in_windows(one, wav, 2.0)[0], whole[0])
