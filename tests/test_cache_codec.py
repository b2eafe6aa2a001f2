"""What is kept of a state: within the limits whatever is in it, no larger than promised, the same in any batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from s3prl_fusion.cache import codec
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.cache.store import Disk, MemberStore

LIMITS = {"float16": (0.001, 0.001), "int8": (0.01, 0.03)}
CPU = torch.device("cpu")
PLAIN, EVEN, ROWS, HALF = (
    {"", ".scale"},
    {"", ".scale", ".frame", ".at", ".value"},
    {"", ".scale", ".frame", ".at", ".value", ".row", ".exact"},
    {"", ".frame"},
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(frames: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(frames, dim, generator=seeded(seed))


def orders(*shape: int, seed: int = 0) -> Tensor:
    """Numbers from 1e-6 to 1e6, as many of each order."""
    return 10 ** (12 * torch.rand(*shape, generator=seeded(seed)) - 6)


def student(frames: int, dim: int, seed: int = 0, freedom: int = 3) -> Tensor:
    squares = torch.randn(freedom, frames, dim, generator=seeded(seed + 1)).square().mean(dim=0)
    return gaussian(frames, dim, seed) / squares.sqrt()


def whisperlike(frames: int, dim: int, seed: int = 0) -> Tensor:
    """Dimensions and frames of many sizes, a few large dimensions, and single values up to 510 in few frames."""
    state = gaussian(frames, dim, seed) * (0.7 * gaussian(1, dim, seed + 1)).exp()
    state *= (0.5 * gaussian(frames, 1, seed + 2)).exp()
    state[:, torch.randperm(dim, generator=seeded(seed + 3))[:3]] *= 20
    places = torch.randperm(dim, generator=seeded(seed + 4))[:4]
    for frame in torch.randperm(frames, generator=seeded(seed + 5))[: 1 + frames // 30]:
        state[frame, places] = torch.tensor([510.0, -300.0, 220.0, 150.0])
    return state


def changed(state: Tensor, rows: slice, factor: float) -> Tensor:
    state[rows] *= factor
    return state


def sparse(frames: int, dim: int, seed: int = 0) -> Tensor:
    """As many large values in each frame, and more than can be kept apart."""
    large = torch.rand(frames, dim, generator=seeded(seed + 1)).argsort(dim=1) < 0.03 * dim
    return 20 * gaussian(frames, dim, seed) + 1000 * large


KINDS: dict[str, tuple[Callable[[], Tensor], set[str]]] = {
    "gaussian": (lambda: gaussian(200, 96), PLAIN),
    "one frame": (lambda: gaussian(1, 96), PLAIN),
    "one number": (lambda: gaussian(1, 1), PLAIN),
    "constant": (lambda: torch.full((20, 8), 0.37), PLAIN),
    "zero": (lambda: torch.zeros(20, 8), PLAIN),
    "tiny": (lambda: 1e-30 * gaussian(100, 96), PLAIN),
    "huge": (lambda: 1e30 * gaussian(100, 96), PLAIN),
    "the largest there are": (lambda: gaussian(100, 96).sign() * torch.finfo(torch.float32).max, PLAIN),
    "denormal": (lambda: 1e-42 * gaussian(100, 96), EVEN),
    "dimensions of all sizes": (lambda: gaussian(200, 96) * orders(1, 96), PLAIN),
    "frames of all sizes": (lambda: gaussian(200, 96) * orders(200, 1), EVEN),
    "outlier dimensions": (lambda: changed(gaussian(96, 200), slice(0, 96, 17), 500).T.contiguous(), PLAIN),
    "outlier frames": (lambda: changed(gaussian(200, 96), slice(0, 200, 17), 500), EVEN),
    "frames of silence": (lambda: changed(gaussian(200, 96), slice(0, 70), 1e-4), EVEN),
    "frames of zeros": (lambda: changed(whisperlike(200, 96), slice(0, 70), 0), EVEN),
    "whisperlike": (lambda: whisperlike(200, 768), EVEN),
    "Student's t, 3": (lambda: student(400, 256), EVEN),
    "Student's t, 2": (lambda: student(400, 256, freedom=2), EVEN),
    "sparse": (lambda: sparse(200, 200), ROWS),
    "so large that sums overflow": (lambda: changed(1e38 * gaussian(99, 96).clamp(-3, 3), slice(0, 9), 1e-4), HALF),
}


def restored(entry: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [state[0] for state in codec.decode([entry], CPU, dtype)]


def distances(kept: Tensor, state: Tensor) -> tuple[float, float]:
    """The state's relative error and the worst frame's, in double precision."""
    kept, state = kept.double(), state.double()
    errors, norms = (kept - state).norm(dim=1), state.norm(dim=1)
    frames = errors / torch.where(norms == 0, 1, norms)
    assert not errors[norms == 0].any()
    return float(errors.norm() / max(norms.norm(), 1e-300)), float(frames.max())


def assert_kept(state: Tensor, dtype: str) -> None:
    (kept,) = restored(codec.encode([state], dtype), state.dtype)
    assert kept.dtype == state.dtype
    found = distances(kept, state)
    assert all(error <= limit for error, limit in zip(found, LIMITS[dtype])), found
    assert codec.errors(kept, state) == pytest.approx(found, rel=1e-3, abs=1e-6)


class TestLimits:
    @pytest.mark.parametrize("dtype", LIMITS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_hold_for(self, kind, dtype):
        assert_kept(KINDS[kind][0](), dtype)

    @pytest.mark.parametrize("seed", range(25))
    def test_hold_for_random_mixtures(self, seed):
        draw = seeded(1000 + seed)
        frames, dim = (int(torch.randint(1, most, (), generator=draw)) for most in (90, 130))
        makers = (gaussian, student, whisperlike, sparse, lambda *a: orders(*a[:2], seed=a[2]))
        maker = makers[seed % len(makers)]
        state = maker(frames, max(dim, 8), seed)
        for shape, chance in (((frames, 1), 0.5), ((1, state.size(1)), 0.5), ((frames, state.size(1)), 0.1)):
            if torch.rand((), generator=draw) < chance:
                state = state * orders(*shape, seed=seed + 1)
        state = state * (torch.rand(frames, 1, generator=draw) > 0.1)
        for dtype in LIMITS:
            assert_kept(state, dtype)

    @pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("kind", ["gaussian", "whisperlike", "frames of silence", "sparse"])
    def test_hold_for_states_of_other_precision(self, kind, precision):
        assert_kept(KINDS[kind][0]().to(precision), "int8")

    def test_small_numbers_of_a_half_precision_state_are_not_lost_in_its_scales(self):
        assert_kept((1e-5 * gaussian(100, 96)).half(), "int8")

    @pytest.mark.parametrize("dtype", LIMITS)
    def test_what_is_not_finite_stays_as_it_is(self, dtype):
        state = gaussian(50, 4)
        state[3, 2], state[7] = torch.nan, torch.inf
        entry = codec.encode([state, gaussian(50, 4)], dtype)
        torch.testing.assert_close(restored(entry)[0], state, rtol=0, atol=0, equal_nan=True)


class TestWays:
    @pytest.mark.parametrize("kind", KINDS)
    def test_no_more_is_kept_than_a_state_needs(self, kind):
        make, suffixes = KINDS[kind]
        assert {name[1:] for name in codec.encode([make()], "int8")} == suffixes

    def test_single_values_of_several_hundred_are_kept_to_the_bit_and_the_limits_hold_for_the_others(self):
        state = whisperlike(200, 768)
        (kept,) = restored(codec.encode([state], "int8"))
        large = torch.isin(state, torch.tensor([510.0, -300.0, 220.0, 150.0]))
        assert large.sum() == 4 * 7 and torch.equal(kept[large], state[large])
        whole, frame = distances(kept.masked_fill(large, 0), state.masked_fill(large, 0))
        assert whole <= 0.01 and frame <= 0.03

    @pytest.mark.parametrize("make", [gaussian, whisperlike])
    @pytest.mark.parametrize("seconds", [2, 8])
    def test_int8_takes_at_most_17_bytes_a_byte_of_16_bit_audio(self, make, seconds, tmp_path):
        # HuBERT Base's and Whisper small's shape: 13 hidden states x 768, 50 frames a second.
        states = [make(50 * seconds, 768, seed) for seed in range(13)]
        store = MemberStore(Disk(CacheConfig(str(tmp_path))), "0" * 32, {})
        assert store.write("key", codec.encode(states, "int8"))
        assert store.path("key").stat().st_size <= 17 * 2 * 16000 * seconds


class TestBatches:
    def test_alone_and_in_a_batch_are_the_same_to_the_bit(self):
        entries = [
            codec.encode([make(frames, 96, seed) for make in (gaussian, whisperlike, sparse)], "int8")
            for seed, frames in enumerate((40, 7, 25))
        ]
        together = codec.decode(entries, CPU, torch.float32)
        for i, entry in enumerate(entries):
            for batch, alone in zip(together, restored(entry)):
                assert torch.equal(batch[i, : len(alone)], alone)
                assert torch.equal(batch[i, len(alone) :], alone[-1].expand_as(batch[i, len(alone) :]))

    def test_layers_do_not_touch_each_other_and_nothing_is_drawn(self):
        states = [KINDS[kind][0]() for kind in ("whisperlike", "sparse", "so large that sums overflow", "gaussian")]
        together = codec.encode(states, "int8")
        for layer, state in enumerate(states):
            for name, tensor in codec.encode([state], "int8").items():
                assert torch.equal(together[f"{layer}{name[1:]}"], tensor)
