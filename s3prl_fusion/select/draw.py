"""Which clips are taken: at random, but always the same, and each speaker or label keeps its share."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Clip:
    """A sound file that may be taken.

    Attributes:
        name: its path below its corpus's folder, with slashes; what is drawn depends on names, not on a file system.
        stratum: whose share it counts for, a speaker or a label.
        seconds: its length.
    """

    name: str
    stratum: str
    seconds: float


def shuffled(names: Sequence[str], seed: int) -> list[str]:
    """Order names at random: by a digest of each, whatever the order that they come in."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}/{name}".encode()).digest(), name))


def shares(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """Divide a total among strata by the largest remainder, at least one each where the total is enough for that.

    Args:
        counts: what there is of each stratum, 1 or more.
        total: at most the sum of these.
    """
    everything = sum(counts.values())
    quotas = {name: total * count / everything for name, count in counts.items()}
    least = 1 if total >= len(counts) else 0
    given = {name: max(least, math.floor(quota)) for name, quota in quotas.items()}
    left = total - sum(given.values())
    while left:  # too few are given away: to whom most is owed; too many: from whom least is
        step = 1 if left > 0 else -1
        able = [name for name in counts if (given[name] < counts[name] if step > 0 else given[name] > least)]
        chosen = max(sorted(able), key=lambda name: step * (quotas[name] - given[name]))
        given[chosen] += step
        left -= step
    return given


def take(clips: Sequence[Clip], number: int, seed: int) -> list[Clip]:
    """Take a number of clips, of each stratum its share, sorted by name."""
    if number >= len(clips):
        return sorted(clips, key=lambda clip: clip.name)
    if number <= 0:
        return []
    by_name = {clip.name: clip for clip in clips}
    wanted = shares(Counter(clip.stratum for clip in clips), number)
    taken = []
    for name in shuffled(list(by_name), seed):
        clip = by_name[name]
        if wanted[clip.stratum]:
            wanted[clip.stratum] -= 1
            taken.append(clip)
    return sorted(taken, key=lambda clip: clip.name)


def draw(clips: Sequence[Clip], seconds: float, seed: int) -> list[Clip]:
    """Take as many clips as last at most so long, of each stratum its share of the number, sorted by name."""
    number, lasting = 0, 0.0
    for length in sorted(clip.seconds for clip in clips):  # never more than of the shortest
        lasting += length
        number += lasting <= seconds
    taken = take(clips, number, seed)
    while (too_long := sum(clip.seconds for clip in taken) - seconds) > 1e-6:
        longest = max(clip.seconds for clip in taken)
        taken = take(clips, len(taken) - max(1, math.floor(too_long / longest)), seed)
    return taken


def part(clips: Sequence[Clip], share: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Divide clips in two, of each stratum its share: about so much, and the rest; of two clips neither gets none.

    Args:
        clips: what to divide.
        share: of the first part, between 0 and 1.
        seed: of the draw.
    """
    number = min(max(1, round(share * len(clips))), max(1, len(clips) - 1))
    first = take(clips, number, seed)
    names = {clip.name for clip in first}
    return first, sorted((clip for clip in clips if clip.name not in names), key=lambda clip: clip.name)


def some(clips: Sequence[Clip], seconds: float, each: int, seed: int) -> list[str]:
    """Choose strata, so few that about ``each`` clips of each fit: for a thousand speakers, an hour is too short.

    Returns:
        Their names, sorted; all of them where there is room.
    """
    strata = sorted({clip.stratum for clip in clips})
    fitting = seconds * len(clips) / sum(clip.seconds for clip in clips)
    return sorted(shuffled(strata, seed)[: max(2, int(fitting / each))])
