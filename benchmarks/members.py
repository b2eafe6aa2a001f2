"""Members: Whisper without padding, lower precisions and their errors, and what fusing adds to members alone."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import Row, interleaved, main, row, share, speed_up, synchronize
from models import fused, hubert_base, noise, whisper_small

Member = dict[str, Any]
SECONDS_FOR_ERRORS = 1  # in fp16 a CPU takes its time


@torch.no_grad()
def rows(quick: bool = False, device: str = "cpu") -> list[Row]:
    seconds, repeats = (2, 1) if quick else (10, 5)
    run = {"seconds": seconds, "repeats": repeats, "device": device}
    with tempfile.TemporaryDirectory() as folder:
        whisper = whisper_small(Path(folder))
        hubert, other = (hubert_base(Path(folder), seed) for seed in (0, 1))
        short = {**whisper, "model_config": {"pad_to_30s": False}}
        halves = [{**hubert, "layers": [*layers]} for layers in (range(6), range(6, 13))]
        in_bf16 = {**hubert, "precision": "bf16"}
        return [
            _faster(f"Whisper small, {seconds} s, unpadded, against padded to 30 s", short, whisper, 2.3, **run),
            _faster(f"HuBERT Base, {seconds} s, bf16, against float32", in_bf16, hubert, None, **run),
            *(_errors(hubert, precision, device) for precision in ("bf16", "fp16")),
            _overhead(f"two HuBERT Base, {seconds} s, fused, against their own forwards", [hubert, other], **run),
            _overhead(f"HuBERT Base and Whisper small, {seconds} s, the same", [hubert, short], **run),
            _overhead(f"two members of one HuBERT Base, {seconds} s, against one forward", halves, **run),
        ]


def _faster(
    what: str, ours: Member, peer: Member, at_least: float | None, seconds: float, repeats: int, device: str
) -> Row:
    wavs, mine, other = noise(seconds, device=device), fused(ours, device=device), fused(peer, device=device)
    times = interleaved({"ours": lambda: mine(wavs), "peer": lambda: other(wavs)}, repeats, device=device)
    return speed_up(what, times["ours"], times["peer"], at_least)


def _errors(member: Member, precision: str, device: str) -> Row:
    """How far each hidden state is from its float32 one: the norm of the difference over the norm."""
    wavs = noise(SECONDS_FOR_ERRORS, device=device)
    exact = fused(member, device=device)(wavs)["hidden_states"]
    lower = fused({**member, "precision": precision}, device=device)(wavs)["hidden_states"]
    errors = [float((ours - state).norm() / state.norm()) for ours, state in zip(lower, exact)]
    what = f"HuBERT Base in {precision}, relative error of hidden states 0 to {len(errors) - 1} (ratio: the largest)"
    return row(what, " ".join(f"{100 * error:.2g}" for error in errors) + " %", "", max(errors))


def _overhead(what: str, members: list[Member], seconds: float, repeats: int, device: str) -> Row:
    """A fused forward against the part of it that is its models' own forwards, one of each."""
    upstream, wavs = fused(*members, device=device), noise(seconds, device=device)
    models = list(dict.fromkeys(upstream.members))
    upstream(wavs)
    started: dict[torch.nn.Module, float] = {}
    spent: dict[torch.nn.Module, float] = {}

    def before(model: torch.nn.Module, *_: Any) -> None:
        synchronize(device)
        started[model] = time.perf_counter()

    def after(model: torch.nn.Module, *_: Any) -> None:
        synchronize(device)
        spent.setdefault(model, time.perf_counter() - started[model])

    for model in models:
        model.register_forward_pre_hook(before)
        model.register_forward_hook(after)
    measured = []
    for _ in range(repeats):
        spent.clear()
        begun = time.perf_counter()
        upstream(wavs)
        synchronize(device)
        measured.append((time.perf_counter() - begun, sum(spent.values())))
    whole, own = sorted(measured, key=lambda pair: pair[0] / pair[1])[repeats // 2]
    return share(what, whole, own, "s", at_most=1.03)


if __name__ == "__main__":
    main(__file__, rows)
