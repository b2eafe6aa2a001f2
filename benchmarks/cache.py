"""Training steps of the ER recipe from the cache against ones whose members run: WavLM Base and HuBERT Base with random
weights, 10 s utterances in batches of 4. Files are in the page cache, as they are where memory is left for them. Below,
what int8 makes of states with outliers like Whisper's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import Row, interleaved, main, row, share, speed_up
from models import fused, hubert_base, wavlm_base
from safetensors.torch import save
from torch import Tensor, nn

from s3prl_fusion import FusedUpstream, FusionFeaturizer
from s3prl_fusion.cache import codec
from s3prl_fusion.cache.config import DTYPES, CacheConfig
from s3prl_fusion.config import InterfaceConfig

BATCH = 4  # the recipe's
AT_MOST = 17  # bytes a byte of 16-bit audio, int8
TARGETS = {"hconv": 10, "weighted_sum": 40}


def rows(quick: bool = False) -> list[Row]:
    torch.manual_seed(0)
    seconds = 1 if quick else 10
    wavs = [speechlike(16000 * seconds) for _ in range(BATCH)]
    with TemporaryDirectory() as folder:
        live = fused(wavlm_base(Path(folder)), hubert_base(Path(folder)))
        caches = {dtype: CacheConfig(str(Path(folder, dtype)), dtype) for dtype in DTYPES}
        kept = {dtype: with_cache(live, cache) for dtype, cache in caches.items()}
        first = interleaved({"live": lambda: forward(live, wavs), **_fill(kept, wavs)}, repeats=1, warm_up=0)
        found = [
            row(
                f"first epoch, {dtype}: members one utterance at a time, and stored, against live",
                f"{first[dtype]:.3g} s",
                f"{first['live']:.3g} s",
                first[dtype] / first["live"],
            )
            for dtype in DTYPES
        ]
        for interface, target in TARGETS.items():
            found += _epochs(interface, target, live, kept, wavs, quick)
        found += _sizes(caches, 2 * 16000 * seconds * BATCH)
        found += _errors(live, kept, wavs)
    return found + _outliers(2 if quick else 10)


def speechlike(samples: int) -> Tensor:
    """Noise that gets louder and softer."""
    return 0.1 * torch.randn(samples) * torch.rand(samples // 1600 + 1).repeat_interleave(1600)[:samples]


def with_cache(live: FusedUpstream, cache: CacheConfig) -> FusedUpstream:
    """The same members behind a cache."""
    return FusedUpstream(replace(live.fusion, cache=cache), list(live.members)).eval()


@torch.no_grad()
def forward(upstream: FusedUpstream, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
    return upstream(wavs)


def _fill(kept: dict[str, FusedUpstream], wavs: list[Tensor]) -> dict[str, Callable[[], object]]:
    return {dtype: lambda upstream=upstream: forward(upstream, wavs) for dtype, upstream in kept.items()}


def _epochs(
    interface: str, target: float, live: FusedUpstream, kept: dict[str, FusedUpstream], wavs: list[Tensor], quick: bool
) -> list[Row]:
    steps = {dtype: step(upstream, interface, wavs) for dtype, upstream in kept.items()}
    spent = interleaved({"live": step(live, interface, wavs)}, repeats=1, warm_up=0)
    spent.update(interleaved(steps, repeats=1 if quick else 5))
    return [
        speed_up(
            f"step of the ER recipe with {interface}, {dtype} cache, against live", spent[dtype], spent["live"], target
        )
        for dtype in steps
    ]


def step(upstream: FusedUpstream, interface: str, wavs: list[Tensor]) -> Callable[[], None]:
    """A batch of ER's training (s3prl/downstream/emotion/expert.py:103) on the upstream, its optimizer included."""
    from s3prl.downstream.model import UtteranceLevel

    upstream.fusion = replace(upstream.fusion, interface=InterfaceConfig(interface))
    featurizer = FusionFeaturizer(upstream)
    projector = nn.Linear(featurizer.output_dim, 256)
    head = UtteranceLevel(input_dim=256, output_dim=4, pooling="MeanPooling")
    parameters = [p for module in (featurizer, projector, head) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def run() -> None:
        features = featurizer(wavs, forward(upstream, wavs))
        lengths = torch.tensor([len(feature) for feature in features])
        padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
        predicted, _ = head(projector(padded), lengths)
        nn.functional.cross_entropy(predicted, torch.arange(len(wavs)) % 4).backward()
        nn.utils.clip_grad_norm_(parameters, 1)
        optimizer.step()
        optimizer.zero_grad()

    return run


def _sizes(caches: dict[str, CacheConfig], audio: int) -> list[Row]:
    found = []
    for dtype, cache in caches.items():
        size = sum(path.stat().st_size for path in cache.path.rglob("*") if path.is_file()) / 2
        what = f"disk a member, {dtype}, against 16-bit audio"
        found.append(share(what, size / 1e6, audio / 1e6, "MB", at_most=AT_MOST if dtype == "int8" else None))
    return found


def _errors(live: FusedUpstream, kept: dict[str, FusedUpstream], wavs: list[Tensor]) -> list[Row]:
    """The worst state of the first utterance, and the worst frame: ||kept - live|| / ||live||."""
    found, expected = [], forward(live, wavs[:1])["hidden_states"]
    for dtype, upstream in kept.items():
        states = forward(upstream, wavs[:1])["hidden_states"]
        found += _worst(f"{len(states)} states, {dtype}", states, expected)
    return found


def _worst(what: str, kept: list[Tensor], live: list[Tensor]) -> list[Row]:
    whole = max(float((a - b).norm() / b.norm()) for a, b in zip(kept, live))
    frame = max(float(((a - b).norm(dim=-1) / b.norm(dim=-1)).max()) for a, b in zip(kept, live))
    return [
        row(f"relative error of the worst of {what}", "", "", whole, at_most=0.01),
        row(f"relative error of the worst frame of {what}", "", "", frame, at_most=0.03),
    ]


def _outliers(seconds: int) -> list[Row]:
    """States of 13 x 768 with outliers, in int8: disk, errors, and the time to read a batch of them."""
    states = [whisperlike(50 * seconds, seed) for seed in range(13)]
    plain = [torch.randn(state.shape, generator=torch.Generator().manual_seed(7)) for state in states]
    entries = {name: codec.encode(given, "int8") for name, given in (("ours", states), ("peer", plain))}
    device = torch.device("cpu")
    kept = codec.decode([entries["ours"]], device, torch.float32)
    spent = interleaved(
        {name: lambda e=entry: codec.decode([e] * BATCH, device, torch.float32) for name, entry in entries.items()}
    )
    size, audio = len(save(entries["ours"])), 2 * 16000 * seconds
    return [
        share("disk, states with outliers, int8, against 16-bit audio", size / 1e6, audio / 1e6, "MB", at_most=AT_MOST),
        *_worst("13 states with outliers, int8", kept, [state[None] for state in states]),
        share(
            f"int8 to float32, {BATCH} x 13 states with outliers, against Gaussian ones",
            1000 * spent["ours"],
            1000 * spent["peer"],
            "ms",
        ),
    ]


def whisperlike(frames: int, seed: int) -> Tensor:
    """Dimensions and frames of many sizes, three large dimensions, and single values up to 510 in a frame of 30."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(frames, 768, generator=generator) * (0.7 * torch.randn(768, generator=generator)).exp()
    state *= (0.5 * torch.randn(frames, 1, generator=generator)).exp()
    places = torch.randperm(768, generator=generator)
    state[:, places[:3]] *= 20
    for frame in torch.randperm(frames, generator=generator)[: frames // 30]:
        state[frame, places[3:7]] = torch.tensor([510.0, -300.0, 220.0, 150.0])
    return state


if __name__ == "__main__":
    sys.exit(main(__file__, rows))
