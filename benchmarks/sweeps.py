"""Nine trainings of a fused pair from the cache, 3 rates x 3 seeds, against *one* of a member as s3prl runs it, live:
the ER recipe, extrapolated.

Measured are steps of the recipe, live and from the int8 cache, and what the cache takes to be filled, with WavLM Base
and HuBERT Base and random weights; 30,000 steps and a fold of IEMOCAP are not waited for. `superb` tries the rates on
the first seed and takes the best to the others, five trainings. Evaluations and the starts of runs are left out on both
sides.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from cache import BATCH, forward, speechlike, step, with_cache
from common import Row, interleaved, main, row
from models import fused, hubert_base, wavlm_base
from torch import Tensor, nn

from s3prl_fusion import FusedUpstream
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.files import read_mapping
from s3prl_fusion.interfaces import DEFAULT_INTERFACE

RATES, SEEDS = 3, 3
SECONDS = 5  # about as long as IEMOCAP's utterances
UTTERANCES = 5531  # of a fold: training, dev and test


def rows(quick: bool = False) -> list[Row]:
    torch.manual_seed(0)
    wavs = [speechlike(16000 * (1 if quick else SECONDS)) for _ in range(BATCH)]
    with TemporaryDirectory() as folder:
        live = fused(wavlm_base(Path(folder)), hubert_base(Path(folder)))
        kept = with_cache(live, CacheConfig(str(Path(folder, "states")), "int8"))
        fill = interleaved({"fill": lambda: forward(kept, wavs)}, repeats=1, warm_up=0)["fill"] / BATCH
        steps = {name: step(kept, name, wavs) for name in (DEFAULT_INTERFACE, "weighted_sum")}
        stock = stock_step(fused(hubert_base(Path(folder), seed=1)), wavs)
        spent = interleaved({"stock": stock, **steps}, repeats=1 if quick else 3)
    recipe = read_mapping(downstream_configs_dir() / "er.yaml")["runner"]
    batches = recipe["total_steps"] * recipe["gradient_accumulate_steps"]
    found, peer = [], batches * spent["stock"]
    for name in steps:
        for what, trainings in (("9 trainings", RATES * SEEDS), ("the 5 of `superb --lr --seeds`", RATES + SEEDS - 1)):
            ours = UTTERANCES * fill + trainings * batches * spent[name]
            told = f"3 rates x 3 seeds of a fused pair for ER, {name}, int8 cache and its filling, {what}"
            found.append(
                row(
                    f"{told}, extrapolated, against one of a member live",
                    _hours(ours),
                    _hours(peer),
                    ours / peer,
                    at_most=0.5,
                )
            )
    return found


def stock_step(upstream: FusedUpstream, wavs: list[Tensor]) -> Callable[[], None]:
    """A batch of ER's training on one member under s3prl's own featurizer."""
    from s3prl.downstream.model import UtteranceLevel
    from s3prl.upstream.interfaces import Featurizer

    member = upstream.members[0]
    featurizer = Featurizer(member, upstream_device="cpu")
    projector = nn.Linear(featurizer.output_dim, 256)
    head = UtteranceLevel(input_dim=256, output_dim=4, pooling="MeanPooling")
    parameters = [p for module in (featurizer, projector, head) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def run() -> None:
        with torch.no_grad():
            states = member(wavs)
        features = featurizer(wavs, states)
        lengths = torch.tensor([len(feature) for feature in features])
        predicted, _ = head(projector(nn.utils.rnn.pad_sequence(features, batch_first=True)), lengths)
        nn.functional.cross_entropy(predicted, torch.arange(len(wavs)) % 4).backward()
        nn.utils.clip_grad_norm_(parameters, 1)
        optimizer.step()
        optimizer.zero_grad()

    return run


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h"


if __name__ == "__main__":
    sys.exit(main(__file__, rows))
