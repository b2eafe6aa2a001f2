"""Members that are loaded once: a run finds them, and the random generators, as if it had loaded them itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tiny_models import ToyUpstream, wavs
from torch import nn

import s3prl_fusion
from s3prl_fusion import FusionConfig, MemberConfig
from s3prl_fusion.cache.key import fingerprint
from s3prl_fusion.host import members, shared
from s3prl_fusion.upstreams import fused

TOYS = FusionConfig((MemberConfig("toy"), MemberConfig("other")))


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    for name in ("_kept", "_taken"):
        monkeypatch.setattr(shared, name, {})


class Drawing(ToyUpstream):
    """Draws as a constructor does whose weights a checkpoint replaces."""

    def __init__(self, draw) -> None:
        super().__init__()
        print("made")
        draw()


def keep_toys(draw) -> None:
    shared.keep(TOYS, lambda config: Drawing(draw))


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


DRAWS = {
    "nothing": lambda: None,
    "uniform": lambda: torch.empty(1000).uniform_(),
    "a lot": lambda: nn.Linear(1200, 1100),
    "normal": lambda: torch.empty(37, 5).normal_(),
    "pairs of normal numbers": lambda: [torch.empty(3).normal_() for _ in range(2)],
    "doubles": lambda: torch.empty(7, dtype=torch.float64).uniform_(),
    "dropout": lambda: torch.nn.functional.dropout(torch.ones(5, 9)),
    "permutation": lambda: torch.randperm(50),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_who_takes_a_member_draws_next_what_who_has_made_it_does(draw, capsys):
    keep_toys(draw)
    capsys.readouterr()
    for number, config in zip((1337, 2), TOYS.members):
        seed(number)
        member = shared.take(config)
        assert member is not None and capsys.readouterr().out == "made\n"
        drawn = torch.randn(3), torch.rand(20), np.random.rand(), random.random()
        seed(number)
        Drawing(draw)
        capsys.readouterr()
        assert all(map(np.array_equal, drawn, (torch.randn(3), torch.rand(20), np.random.rand(), random.random())))
        assert shared.take(config) is None  # a run's second one is another module


def rejecting() -> None:
    while torch.rand(1) < 0.9:
        pass


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.rand(),
        lambda: random.random(),
        lambda: torch.empty(3).normal_(),  # the other half of the last pair stays for whoever draws next
        lambda: torch.manual_seed(5),
        rejecting,
    ],
    ids=["numpy", "python", "half a pair", "a seed", "as many as it takes"],
)
def test_who_draws_otherwise_is_not_shared(draw):
    keep_toys(draw)
    assert shared.take(TOYS.members[0]) is None


def test_who_ends_with_random_weights_is_not_shared():
    class Random(ToyUpstream):
        def __init__(self) -> None:
            super().__init__(seed=int(torch.randint(1 << 30, (1,))))

    shared.keep(TOYS, lambda config: Random())
    assert shared.take(TOYS.members[0]) is None


def test_who_cannot_load_is_left_to_the_run():
    def load(config):
        raise RuntimeError("a run will say so")

    shared.keep(TOYS, load)
    assert shared.take(TOYS.members[0]) is None


def test_after_half_a_pair_of_normal_numbers_a_member_is_made_anew():
    keep_toys(lambda: torch.empty(4).normal_())
    seed(1)
    torch.empty(3).normal_()
    assert shared.take(TOYS.members[0]) is None


def test_a_member_whose_file_has_changed_is_made_anew(tmp_path):
    file = tmp_path / "model.pt"
    file.write_text("one")
    config = MemberConfig("toy", ckpt=str(file))
    shared.keep(FusionConfig((config,)), lambda config: ToyUpstream())
    file.write_text("another")
    assert shared.take(config) is None


def test_where_memory_is_scarce_the_member_used_longest_ago_goes(monkeypatch):
    keep_toys(DRAWS["nothing"])
    shared.keep(FusionConfig(TOYS.members[:1]), lambda config: ToyUpstream())
    free = iter([0.2, 0.5])
    monkeypatch.setattr(shared, "_available", lambda: next(free))
    shared.keep(FusionConfig((MemberConfig("third"),)), lambda config: ToyUpstream())
    assert [shared.take(MemberConfig(name)) is None for name in ("toy", "other", "third")] == [False, True, False]


def real_members(request) -> list[dict]:
    named = {"hf_hubert_custom": "tiny_hubert", "wavlm_local": "wavlm_ckpt", "hubert_local": "hubert_ckpt"}
    found = [{"name": name, "ckpt": request.getfixturevalue(fixture)} for name, fixture in named.items()]
    return [*found, {"name": "fbank"}, {"name": "hf_hubert_custom", "ckpt": found[0]["ckpt"], "layers": [1]}]


def test_a_fusion_of_shared_members_is_the_fusion(request, registered, tmp_path):
    fusion = FusionConfig.from_dict({"members": real_members(request), "cache": str(tmp_path)})
    members.keep(fusion)
    assert all(shared._kept.values())
    upstreams, next_numbers = [], []
    for _ in range(2):  # the first takes what was kept; the second finds that taken
        torch.manual_seed(7)
        upstreams.append(s3prl_fusion.FusedUpstream(fusion).eval())
        next_numbers.append(torch.rand(9))
    taken, made = upstreams
    assert taken.grid.rates and not made.grid.rates
    assert torch.equal(*next_numbers) and taken.sources == made.sources
    made.measure()
    assert (taken.grid.rates, taken.grid.first_frames) == (made.grid.rates, made.grid.first_frames)
    with torch.no_grad():
        states = [upstream.member_states(wavs(9000, 1500, seed=3), cached=False) for upstream in upstreams]
    assert all(torch.equal(a, b) for one, other in zip(*states) for a, b in zip(one, other))
    for cache, member, config in zip(taken.caches, made.members, fusion.members):
        assert cache.fingerprint == fingerprint(member, config, "float16")
    taken.load_state_dict(taken.state_dict())
    assert taken.caches[0].fingerprint is None
    assert isinstance(taken, fused.FusedUpstream)
