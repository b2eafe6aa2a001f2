"""How many samples a member's first frame takes, which s3prl's upstreams do not say."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import torch
from torch import Tensor

from ..audio import SAMPLE_RATE


def first_frame(count: Callable[[int], int], rate: int) -> int:
    """The samples that the first of ``count(num_samples)`` frames takes, for a member of ``rate`` samples a frame.

    A member gives floor((len - first) / rate) + 1 frames. ``first`` is 400 for wav2vec 2.0 and fbank: it is found by
    bisection within one frame's length.
    """
    frames = count(SAMPLE_RATE)
    low, high = SAMPLE_RATE, SAMPLE_RATE + rate
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) == frames else (low, middle)
    # `high` samples are the fewest that give frames + 1 of them.
    return high - frames * rate


def counter(run: Callable[[Sequence[Tensor]], dict[str, Any]], rate: int, device: torch.device) -> Callable[[int], int]:
    """Counts the frames that a member gives for so many samples of noise, by running it: ``count(num_samples)``."""
    noise = torch.randn(SAMPLE_RATE + rate, generator=torch.Generator().manual_seed(0)).to(device)

    def count(num_samples: int) -> int:
        states = run([noise[:num_samples]])["hidden_states"]
        states = list(states.values()) if isinstance(states, dict) else states
        return (states if isinstance(states, Tensor) else states[0]).size(1)

    return count
