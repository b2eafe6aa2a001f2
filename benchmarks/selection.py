"""`select` over four Base models, singles and pairs on ER, against one full training of a fused pair: extrapolated.

Measured are steps of the ER recipe with hconv, live and from the int8 cache, and what the cache takes to be filled; an
hour of IEMOCAP and 30,000 steps are not waited for. WavLM Base and HuBERT Base with random weights stand for all four.
Evaluations and the starts of runs are left out on both sides.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from cache import BATCH, forward, speechlike, step, with_cache
from common import Row, interleaved, main, row
from models import fused, hubert_base, wavlm_base

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.files import read_mapping
from s3prl_fusion.select.recipes import steps_of
from s3prl_fusion.select.sample import folds
from s3prl_fusion.superb.tasks import TASKS

MEMBERS, SEEDS, HOURS = 4, 3, 1


def rows(quick: bool = False) -> list[Row]:
    torch.manual_seed(0)
    seconds = 1 if quick else 5  # as long as IEMOCAP's utterances
    wavs = [speechlike(16000 * seconds) for _ in range(BATCH)]
    with TemporaryDirectory() as folder:
        where = Path(folder)
        pair = fused(wavlm_base(where), hubert_base(where))
        one = fused(hubert_base(where, seed=1))
        caches = {name: CacheConfig(str(where / name), "int8") for name in ("one", "pair")}
        kept = {"one": with_cache(one, caches["one"]), "pair": with_cache(pair, caches["pair"])}
        filled = interleaved({"one": lambda: forward(kept["one"], wavs)}, repeats=1, warm_up=0)["one"]
        live = interleaved({"pair": step(pair, "hconv", wavs)}, repeats=1 if quick else 2)["pair"]
        short = interleaved({name: step(kept[name], "hconv", wavs) for name in kept}, repeats=1 if quick else 7)
    recipe = read_mapping(downstream_configs_dir() / "er.yaml")
    batches = recipe["runner"]["gradient_accumulate_steps"]
    full = live * batches * recipe["runner"]["total_steps"]
    each = SEEDS * len(folds(TASKS["er"])) * steps_of(recipe) * batches
    fill = MEMBERS * 3600 * HOURS * filled / (seconds * BATCH)
    # Three pairs, and a control as large as a pair.
    tried = {"pairs around the best, and a control": MEMBERS, "all pairs": MEMBERS * (MEMBERS - 1) // 2}
    spent = {what: fill + each * (MEMBERS * short["one"] + sets * short["pair"]) for what, sets in tried.items()}
    what = f"select of {MEMBERS} Base models for ER, {SEEDS} seeds of {len(folds(TASKS['er']))} folds: singles"
    against = "extrapolated, against one training of a fused pair, live, one fold"
    (default, ours), (other, more) = spent.items()
    return [
        row(f"{what}, {default}, {against}", _hours(ours), _hours(full), ours / full, at_most=0.1),
        row(f"{what}, {other}, {against}", _hours(more), _hours(full), more / full),
    ]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h"


if __name__ == "__main__":
    sys.exit(main(__file__, rows))
