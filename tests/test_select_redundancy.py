"""What is redundant and what is not, as laws; one map against scikit-learn's ridge regression."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from test_select_costs import fused
from tiny_models import ToyUpstream, wavs

from s3prl_fusion.errors import UsageError
from s3prl_fusion.select import redundancy as module
from s3prl_fusion.select.redundancy import FOLDS, Frames, read_frames, redundancy


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def utterances(frames: int, of: int = 20) -> torch.Tensor:
    return torch.arange(frames) * of // frames


def r2(states: dict[str, torch.Tensor], sources: tuple[str, ...], target: str, seed: int = 0) -> float:
    frames = Frames.of(states, utterances(len(states[target])), seed)
    return redundancy(frames, [(sources, target)])[sources, target]


def test_a_copy_with_little_noise_is_redundant_both_ways():
    a = noise(400, 3, 16)
    copy = a.flip(1) @ noise(16, 16, seed=1) + 0.01 * noise(400, 3, 16, seed=2)
    assert r2({"a": a, "copy": copy}, ("a",), "copy") > 0.995
    assert r2({"a": a, "copy": copy}, ("copy",), "a") > 0.98


def test_independent_noise_is_not():
    a, b = noise(400, 3, 16), noise(400, 2, 24, seed=1)
    assert abs(r2({"a": a, "b": b}, ("a",), "b")) < 0.03


def test_a_wide_set_does_not_win_by_its_width():
    """More features than frames fit any noise; what counts is frames that were not fitted."""
    wide, b = noise(300, 4, 200), noise(300, 2, 8, seed=1)
    assert abs(r2({"a": wide, "b": b}, ("a",), "b")) < 0.05


def test_two_members_tell_what_each_tells_half():
    one, two = noise(600, 1, 12), noise(600, 1, 12, seed=1)
    states = {"one": one, "two": two, "both": torch.cat([one, two], dim=-1)}
    assert r2(states, ("one",), "both") == pytest.approx(0.5, abs=0.08)
    assert r2(states, ("one", "two"), "both") > 0.99
    assert r2(states, ("both",), "one") > 0.99


def test_each_layer_counts_the_same_and_a_constant_one_not_at_all():
    a = noise(500, 1, 12)
    loud = torch.stack([1000 * a[:, 0], noise(500, 12, seed=1), torch.ones(500, 12)], dim=1)
    assert r2({"a": a, "b": loud}, ("a",), "b") == pytest.approx(0.5, abs=0.06)
    assert r2({"a": a, "b": torch.ones(500, 2, 3)}, ("a",), "b") == 0.0
    assert abs(r2({"a": torch.ones(500, 2, 3), "b": a}, ("a",), "b")) < 0.05


def test_members_of_many_directions_are_told_by_the_main_ones(monkeypatch):
    monkeypatch.setattr(module, "DIRECTIONS", 20)
    heard = noise(600, 12) @ noise(12, 3 * 64, seed=1)
    a, b = ((heard + 0.3 * noise(600, 3 * 64, seed=seed)).view(600, 3, 64) for seed in (2, 3))
    before = torch.random.get_rng_state()
    assert Frames.of({"a": a}, utterances(600)).states["a"].shape == (600, 20)
    assert r2({"a": a, "b": b}, ("a",), "b") > 0.9
    assert torch.equal(torch.random.get_rng_state(), before)


def test_whole_utterances_are_held_out():
    """States that tell utterances apart, and nothing else, predict nothing of utterances that were not fitted."""
    numbers = utterances(400)
    a = torch.nn.functional.one_hot(numbers, 20).float()[:, None] + 1e-3 * noise(400, 1, 20)
    b = noise(20, 1, 8, seed=1)[numbers]
    assert r2({"a": a, "b": b}, ("a",), "b") < 0.2


def test_scikit_learns_ridge_gives_the_same(monkeypatch):
    monkeypatch.setattr(module, "RIDGES", (1e-2,))
    a, numbers = noise(200, 1, 10), utterances(200)
    b = a @ noise(10, 6, seed=1) + noise(200, 1, 6, seed=2)
    frames = Frames.of({"a": a, "b": b}, numbers, seed=3)
    x, y = ((state[:, 0] - state[:, 0].mean(dim=0)).double().numpy() for state in (a, b))
    x, y = (side / (side**2).sum(axis=1).mean() ** 0.5 for side in (x, y))
    errors = whole = 0.0
    for part in range(FOLDS):
        told = (frames.folds == part).numpy()
        strength = 1e-2 * ((x[~told] - x[~told].mean(axis=0)) ** 2).sum()
        fitted = Ridge(alpha=strength).fit(x[~told], y[~told])
        errors += ((y[told] - fitted.predict(x[told])) ** 2).sum()
        whole += ((y[told] - y[~told].mean(axis=0)) ** 2).sum()
    assert redundancy(frames, [(("a",), "b")])[("a",), "b"] == pytest.approx(1 - errors / whole, abs=1e-5)


def test_frames_of_members_with_other_rates():
    """The second member hears what the first one does, twice as often; the third has one of its layers."""
    slow, fast, half = ToyUpstream(dim=4), ToyUpstream(rate=160, first=160, dim=24), ToyUpstream(dim=4, layers=1)
    upstream = fused(slow, fast, half)
    frames = read_frames(upstream, ["slow", "fast", "half"], wavs(*[16000] * 8), frames=160)
    assert [tuple(states.shape) for states in frames.states.values()] == [(160, 12), (160, 72), (160, 4)]
    assert frames.folds.bincount().tolist() == [40] * 4
    found = redundancy(frames, [(("slow",), "half"), (("half",), "slow"), (("slow", "fast"), "half")])
    assert found[("slow",), "half"] > 0.95 > found[("half",), "slow"]
    again = read_frames(upstream, ["slow", "fast", "half"], wavs(*[16000] * 8), frames=160)
    assert all(torch.equal(again.states[name], states) for name, states in frames.states.items())


def test_too_few_utterances():
    with pytest.raises(UsageError, match="at least 4 utterances; got 3"):
        Frames.of({"a": noise(6, 1, 2)}, torch.tensor([0, 0, 1, 1, 2, 2]))
