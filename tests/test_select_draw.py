"""Which clips a sample has: the same ones always, each stratum with its share, never more than asked for."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from s3prl_fusion.select.draw import Clip, draw, part, shares, some, take


def clips(counts: dict[str, int], seed: int = 0) -> list[Clip]:
    """Clips of 1 to 9 s, in random order."""
    rng = random.Random(seed)
    found = [
        Clip(f"{name}/{i:03d}.wav", name, rng.uniform(1, 9)) for name, count in counts.items() for i in range(count)
    ]
    rng.shuffle(found)
    return found


def lasting(found: list[Clip]) -> float:
    return sum(clip.seconds for clip in found)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 10, 55, 110, 111])
def test_shares_are_the_largest_remainders_with_one_each_at_least(total):
    counts = {"a": 100, "b": 10, "c": 1}
    given = shares(counts, total)
    assert sum(given.values()) == total
    assert all(given[name] <= count for name, count in counts.items())
    if total >= len(counts):
        assert min(given.values()) >= 1
    quotas = {name: total * count / 111 for name, count in counts.items()}
    if all(quota >= 1 for quota in quotas.values()):
        assert all(abs(given[name] - quotas[name]) < 1 for name in counts)


def test_equal_quotas_are_divided_by_name():
    assert shares({"b": 1, "a": 1, "c": 1}, 2) == {"a": 1, "b": 1, "c": 0}


def test_what_is_taken_depends_on_names_and_seed_alone():
    counts = {"x": 30, "y": 20, "z": 5}
    taken = take(clips(counts, 1), 11, seed=3)
    assert taken == take(sorted(clips(counts, 1), key=lambda clip: clip.seconds), 11, seed=3)
    assert taken != take(clips(counts, 1), 11, seed=4)
    assert Counter(clip.stratum for clip in taken) == {"x": 6, "y": 4, "z": 1}


@pytest.mark.parametrize("seconds", [3.0, 50.0, 123.4, 1e6])
def test_a_draw_lasts_at_most_as_long_as_asked_and_uses_it(seconds):
    found = clips({"x": 30, "y": 20, "z": 5})
    drawn = draw(found, seconds, seed=1)
    assert len(set(drawn)) == len(drawn)
    assert lasting(drawn) <= seconds + 1e-6
    assert lasting(drawn) > 0.6 * min(seconds, lasting(found)) - 9


def test_a_larger_draw_of_a_thousand_strata_keeps_one_each():
    found = clips({f"s{i}": 3 for i in range(100)})
    drawn = draw(found, lasting(found) / 2, seed=1)
    assert {clip.stratum for clip in drawn} == {clip.stratum for clip in found}


def test_parts_are_all_of_it_and_share_nothing():
    found = clips({"x": 30, "y": 20})
    first, second = part(found, 1 / 3, seed=1)
    assert sorted([*first, *second], key=lambda clip: clip.name) == sorted(found, key=lambda clip: clip.name)
    assert Counter(clip.stratum for clip in first) == {"x": 10, "y": 7}
    assert [len(side) for side in part(found[:2], 0.01, seed=1)] == [1, 1]


def test_few_strata_are_chosen_where_there_is_little_time():
    found = clips({f"s{i:02d}": 20 for i in range(50)})
    mean = lasting(found) / len(found)
    assert len(some(found, 80.5 * mean, each=8, seed=1)) == 10
    assert len(some(found, 1.0, each=8, seed=1)) == 2
    assert some(found, 1e6, each=8, seed=1) == sorted({clip.stratum for clip in found})
