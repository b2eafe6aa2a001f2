"""A pipeline of a few seconds for tests of kills and damages: `superb` on SID in miniature, on noise, with a cache."""

from __future__ import annotations

import json
from pathlib import Path

import official_layouts
import torch
import yaml

from s3prl_fusion.assets import downstream_configs_dir

SEEDS = (1, 2)  # of the trainings
LABEL = "pair"  # of the upstream
PLACE_AND_TIME = ("upstream", "cache", "train_seconds", "evaluate_seconds", "crc32")  # of what score.json says


def prepare(root: Path) -> list[object]:
    """Make the corpus and the recipe's config; return their options of `superb`."""
    corpus = official_layouts.official_voxceleb1(root / "VoxCeleb1")
    config = yaml.safe_load((downstream_configs_dir() / "demo" / "sid.yaml").read_text(encoding="utf-8"))
    config["runner"].update(total_steps=4, eval_step=2, save_step=1, log_step=1, gradient_accumulate_steps=1)
    (root / "configs").mkdir()
    (root / "configs" / "sid.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return ["--configs", root / "configs", "--device", "cpu", "--voxceleb1", corpus]


def command(folder: Path, options: list[object]) -> list[object]:
    """Make a folder with a fusion that has its cache there; return the command that runs it there."""
    folder.mkdir(exist_ok=True)
    fusion = {"members": ["fbank", "mfcc"], "cache": {"dir": str(folder / "cache")}}
    (folder / f"{LABEL}.yaml").write_text(yaml.safe_dump(fusion))
    seeds = ",".join(map(str, SEEDS))
    return ["superb", "-u", folder / f"{LABEL}.yaml", "-t", "sid", "--seeds", seeds, "-o", folder / "exp", *options]


def runs(folder: Path) -> list[Path]:
    """List the folders of the runs."""
    return [folder / "exp" / LABEL / f"sid_seed{seed}" for seed in SEEDS]


def outcome(folder: Path, cache: bool = True) -> list[object]:
    """Everything that must not depend on kills and damages: scores, hypotheses, weights; and the cache, if asked."""
    found: list[object] = []
    for run in runs(folder):
        score = json.loads((run / "score.json").read_text(encoding="utf-8"))
        ckpt = torch.load(run / "dev-best.ckpt", weights_only=False)
        weights = {**ckpt["Featurizer"], **ckpt["Downstream"]}
        found.append({key: value for key, value in score.items() if key not in PLACE_AND_TIME})
        found.append((run / "test_predict.txt").read_text(encoding="utf-8"))
        found.append({key: value.tolist() for key, value in weights.items() if isinstance(value, torch.Tensor)})
    states = folder / "cache"
    found.append({str(f.relative_to(states)): f.read_bytes() for f in states.rglob("*") if cache and f.is_file()})
    return found
