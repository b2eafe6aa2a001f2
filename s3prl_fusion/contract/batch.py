"""What an utterance gives in a batch of different lengths, against what it gives alone."""

from __future__ import annotations

from ..upstreams.outputs import TOLERABLE_SEQLEN_DIFF, are_finite
from .findings import FAILS, OK, WARNING, Finding, explained
from .probe import Probe, difference

# The shortest is neither first nor last: who sorts a batch and does not put it back is found out.
SECONDS = (1.5, 1.0, 2.0)
# Kernels of other sizes round in another way.
ROUNDING = 1e-4
# What a group norm over the padding does beside an utterance twice as long, in s3prl's own Base models.
GROUP_NORM = 0.5
# An utterance's states are another one's if they are so near to those, and not near to its own.
SAME, OTHER = 0.05, 0.5


def batch(probe: Probe) -> Finding:
    """Compare three utterances of `SECONDS` together with each alone, by the largest relative difference of a layer."""
    wavs = probe.noise(*SECONDS)
    alone = [probe.states([wav]) for wav in wavs]
    try:
        together = probe.states(wavs)
    except Exception as error:  # of whatever kind its code raises
        return Finding("batch", FAILS, f"utterances of {_seconds()} together: {explained(error)}", {})
    counts = [len(alone[0]), len(together)]
    if counts[0] != counts[1]:
        return Finding("batch", FAILS, f"{counts[0]} hidden states alone, {counts[1]} in a batch; must be as many", {})
    frames = together[probe.target].size(1)
    if abs(probe.surplus(frames, len(wavs[2]))) >= TOLERABLE_SEQLEN_DIFF:
        longest = alone[2][probe.target].size(1)
        said = f"{frames} frames for a batch of {_seconds()}; T must be that of the longest, {longest}"
        return Finding("batch", FAILS, said, {"frames": frames})
    for k, layer in enumerate(together):
        for i, states in enumerate(alone):
            if not are_finite([layer[i, : states[k].size(1)]]):
                said = f"NaN or infinity in hidden state {k} of utterance {i}, which it has not alone: look at its mask"
                return Finding("batch", FAILS, said, {"layer": k, "utterance": i})
    # Of each layer, utterance i of the batch against utterance j alone.
    apart = [
        [[difference(layer[i : i + 1], alone[j][k]) for j in range(len(wavs))] for i in range(len(wavs))]
        for k, layer in enumerate(together)
    ]
    return judge(apart)


def judge(apart: list[list[list[float]]]) -> Finding:
    """Say what differences mean.

    Args:
        apart: for each layer, of utterance i in the batch against utterance j alone, in the order layer, i, j.
    """
    worst = [max(layer[i][i] for i in range(len(layer))) for layer in apart]
    values = {"seconds": SECONDS, "largest_difference_by_layer": worst}
    for layer in apart:
        for i, row in enumerate(layer):
            nearest = min(range(len(row)), key=row.__getitem__)
            if nearest != i and row[nearest] < SAME and row[i] > OTHER:
                said = f"utterance {i} of a batch gets the hidden states of utterance {nearest}; keep the order"
                return Finding("batch", FAILS, said, values)
    largest = max(worst)
    where = f"hidden state {worst.index(largest)} by {largest:.2g} of its norm"
    if largest <= ROUNDING:
        return Finding("batch", OK, f"an utterance gives the same in a batch as alone (up to {largest:.1g})", values)
    said = f"an utterance of {min(SECONDS):g} s changes beside one of {max(SECONDS):g} s, {where}"
    if largest <= GROUP_NORM:
        means = "no more than in s3prl's own models with a group norm over the padding; a cache avoids it"
        return Finding("batch", OK, f"{said}: {means}", values)
    means = "more than in s3prl's own models: is padding masked, and normalization of each utterance alone?"
    return Finding("batch", WARNING, f"{said}: {means}", values)


def _seconds() -> str:
    return f"{', '.join(f'{length:g}' for length in SECONDS[:-1])} and {SECONDS[-1]:g} s"
