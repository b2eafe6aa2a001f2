"""The contract itself: the form of the hidden states, their rate, their number of frames, finite values."""

from __future__ import annotations

from typing import Any

from ..errors import UserError
from ..upstreams.outputs import TOLERABLE_SEQLEN_DIFF, are_finite
from ..waveforms import SAMPLE_RATE
from .findings import FAILS, OK, WARNING, Finding, explained
from .probe import Probe

SECONDS = 2.0
SHORT = 0.1
# LibriSpeech's longest utterance: where a rate that is slightly wrong shows.
LONGEST = 35.0


def shapes(probe: Probe) -> Finding:
    """Look at the hidden states of one utterance of `SECONDS`."""
    states = probe.states(probe.noise(SECONDS))
    layers = [tuple(state.shape[1:]) for state in states]
    values: dict[str, Any] = {"seconds": SECONDS, "layers": layers}
    groups = [f"{layers.count(shape)} x {shape[0]} frames x {shape[1]}" for shape in dict.fromkeys(layers)]
    said = f"{', '.join(groups)}, for {SECONDS:g} s"
    if len(groups) == 1:
        return Finding("hidden states", OK, said, values)
    rates = probe.layers.rates if probe.layers else (probe.measured_rate,) * len(states)
    values["samples_a_frame"] = rates
    if len(set(rates)) > 1:
        said += f"; of {', '.join(map(str, dict.fromkeys(rates)))} samples a frame"
    brought = f"brings all to {probe.measured_rate} samples a frame and a width of {max(width for _, width in layers)}"
    if not probe.stock:
        return Finding("hidden states", OK, f"{said}; the fusion {brought}", values)
    said += f"; s3prl's own featurizer takes one shape: make it a member of a fusion YAML, which {brought}"
    return Finding("hidden states", FAILS, said, values)


def waveforms(probe: Probe) -> Finding:
    """Look at whether a call leaves its waveforms as they were."""
    (wav,) = probe.noise(SECONDS)
    before = wav.clone()
    probe.states([wav])
    if wav.equal(before):
        return Finding("waveforms", OK, "a call leaves them as they were")
    said = "a call changes the samples that it is given: in a fusion the other members would hear that; copy them first"
    return Finding("waveforms", WARNING if probe.stock else FAILS, said)


def rate(probe: Probe) -> Finding:
    """Hold the samples a frame that it claims against those that are measured."""
    claimed, measured = probe.claimed_rate, probe.measured_rate
    values = {"claimed": claimed, "measured": measured}
    if claimed == measured:
        return Finding("rate", OK, f"{measured} samples a frame ({SAMPLE_RATE / measured:g} Hz), as it says", values)
    if claimed is None:
        said = f"{measured} samples a frame; it has no get_downsample_rates(self, key), which must return that"
        return Finding("rate", FAILS if probe.stock else OK, said, values)
    off = abs(round(LONGEST * SAMPLE_RATE / measured) - round(LONGEST * SAMPLE_RATE / claimed))
    said = (
        f"{measured} samples a frame are measured, get_downsample_rates says {claimed}: {off} frames apart in "
        f"{LONGEST:g} s of speech, and {TOLERABLE_SEQLEN_DIFF} are too many"
    )
    is_wrong = probe.stock and off >= TOLERABLE_SEQLEN_DIFF
    return Finding("rate", FAILS if is_wrong else WARNING, said, values)


def lengths(probe: Probe) -> Finding:
    """Hold the frames of a short and of a longer utterance against the rate, and their layers against each other."""
    wavs = probe.noise(SHORT, SECONDS)
    try:
        short = probe.states(wavs[:1])
    except Exception as error:  # of whatever kind its code raises
        return Finding("lengths", WARNING, f"{SHORT:g} s is too short for it: {explained(error)}", {})
    both = [short, probe.states(wavs[1:])]
    wanted = [round(len(wav) / probe.rate) for wav in wavs]
    widths = [[state.size(-1) for state in states] for states in both]
    frames = [states[min(probe.target, len(states) - 1)].size(1) for states in both]
    values = {"seconds": (SHORT, SECONDS), "frames": frames, "by_the_rate": wanted}
    if widths[0] != widths[1]:
        said = f"widths of the hidden states {widths[0]} for {SHORT:g} s, {widths[1]} for {SECONDS:g} s; must be alike"
        return Finding("lengths", FAILS, said, values)
    said = ", ".join(
        f"{count} frames for {len(wav) / SAMPLE_RATE:g} s ({by_rate} by the rate)"
        for count, wav, by_rate in zip(frames, wavs, wanted)
    )
    apart = max(abs(probe.surplus(count, len(wav))) for count, wav in zip(frames, wavs))
    if apart < TOLERABLE_SEQLEN_DIFF:
        return Finding("lengths", OK, said, values)
    said += f"; they may differ by less than {TOLERABLE_SEQLEN_DIFF}"
    return Finding("lengths", FAILS, said, values)


def finite(probe: Probe) -> Finding:
    """Look for NaN and infinity in the hidden states of noise, and in the weights."""
    states = probe.states(probe.noise(SECONDS))
    bad = [i for i, state in enumerate(states) if not are_finite([state])]
    if not bad:
        return Finding("finite", OK, "no NaN, no infinity", {"layers": []})
    weights = [name for name, tensor in probe.module.named_parameters() if not are_finite([tensor])]
    said = f"NaN or infinity in hidden states {', '.join(map(str, bad))}"
    said += f"; so are weights, {weights[0]} first: look at the checkpoint" if weights else ""
    return Finding("finite", FAILS, said, {"layers": bad, "weights": weights})


def silence(probe: Probe) -> Finding:
    """Look at the hidden states of digital silence, which recordings have in them."""
    (wav,) = probe.noise(1.0)
    try:
        states = probe.states([wav.new_zeros(len(wav))])
    except UserError as error:
        return Finding("silence", WARNING, f"1 s of zeros: {error}; utterances of silence would stop a run")
    bad = [i for i, state in enumerate(states) if not are_finite([state])]
    if not bad:
        return Finding("silence", OK, "1 s of zeros gives finite values", {"layers": []})
    said = (
        f"1 s of zeros gives NaN or infinity in hidden states {', '.join(map(str, bad))} (is a deviation of 0 divided "
        "by?): an utterance of silence would stop a run"
    )
    return Finding("silence", WARNING, said, {"layers": bad})
