"""How far an upstream hears, and how short an utterance may be."""

from __future__ import annotations

from itertools import groupby

import torch

from ..upstreams.outputs import are_finite
from ..upstreams.rates import first_frame
from ..waveforms import SAMPLE_RATE
from .findings import OK, WARNING, Finding
from .probe import Probe

SECONDS = 2.0
# Corpora have few utterances below: the emotion corpus begins at 0.6 s.
SHORTEST = SAMPLE_RATE // 2


def reach(probe: Probe) -> Finding:
    """Change one sample in the middle of `SECONDS`, and look which frames of which hidden states change."""
    (wav,) = probe.noise(SECONDS)
    changed, middle = wav.clone(), len(wav) // 2
    changed[middle] += 1.0
    before, again, after = probe.states([wav]), probe.states([wav]), probe.states([changed])
    if not all(map(torch.equal, before, again)):
        return Finding("receptive field", WARNING, "cannot be told, as two calls differ", {})
    spans = [_span(state, other) for state, other in zip(before, after)]
    first = first_frame(probe.count, probe.measured_rate)
    values = {"seconds": SECONDS, "changed_sample": middle, "changed_frames_by_layer": spans, "first_frame": first}
    totals = [state.size(1) for state in before]
    layers = [_in_words(span, total) for span, total in zip(spans, totals)]
    groups, start = [], 0
    for text, members in groupby(layers):
        end = start + len(list(members)) - 1
        groups.append(f"{text} of hidden state{f's {start} to {end}' if end > start else f' {start}'}")
        start = end + 1
    said = f"the first frame takes {_samples(first)}; a changed one reaches {', '.join(groups)}"
    return Finding("receptive field", OK, said, values)


def _span(state: torch.Tensor, other: torch.Tensor) -> tuple[int, int] | None:
    """Return the first and the last frame (1, T, D) that differ; None if none does."""
    frames = (state != other).any(dim=-1)[0].nonzero()[:, 0].tolist()
    return (frames[0], frames[-1]) if frames else None


def _in_words(span: tuple[int, int] | None, total: int) -> str:
    if span is None:
        return "no frame"
    count = span[1] - span[0] + 1
    return f"all {total} frames" if count == total else f"{count} frame{'s' * (count > 1)}"


def _samples(count: int) -> str:
    return f"{count} sample{'s' * (count != 1)}"


def shortest(probe: Probe) -> Finding:
    """Find the fewest samples that give finite hidden states, by bisection."""
    (wav,) = probe.noise(1.0)

    def works(samples: int) -> bool:
        try:
            return are_finite(probe.states([wav[:samples]]))
        except Exception:  # of whatever kind its code raises
            return False

    low, high = 0, len(wav)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    if high == len(wav) and not works(high):
        return Finding("shortest", WARNING, "1 s of noise is too short", {"samples": None})
    said = f"{_samples(high)} ({high / SAMPLE_RATE:.3g} s)"
    if high <= SHORTEST:
        return Finding("shortest", OK, said, {"samples": high})
    said += "; shorter ones stop a run: pad them in the call, or leave them out of the corpus"
    return Finding("shortest", WARNING, said, {"samples": high})
