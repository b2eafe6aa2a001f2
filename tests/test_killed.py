"""`superb` killed at random moments, with all its processes, and started again: the same scores, nothing left over."""

from __future__ import annotations

import json
import random
from pathlib import Path

import official_layouts
import pytest
import torch
import yaml
from forked import Server

from s3prl_fusion.assets import downstream_configs_dir

pytestmark = pytest.mark.slow
KILLS, SEED = 30, 1337
SEEDS = (1, 2)  # of the trainings


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Makes a folder with a fusion and its cache, and the command that runs it: a few steps of SID, on noise."""
    configs = tmp_path_factory.mktemp("configs")
    corpus = official_layouts.official_voxceleb1(tmp_path_factory.mktemp("corpora") / "VoxCeleb1")
    config = yaml.safe_load((downstream_configs_dir() / "demo" / "sid.yaml").read_text(encoding="utf-8"))
    config["runner"].update(total_steps=4, eval_step=2, save_step=1, log_step=1, gradient_accumulate_steps=1)
    (configs / "sid.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def make(folder: Path) -> list[object]:
        folder.mkdir(exist_ok=True)
        fusion = {"members": ["fbank", "mfcc"], "cache": {"dir": str(folder / "cache")}}
        (folder / "pair.yaml").write_text(yaml.safe_dump(fusion))
        words = [
            "superb",
            "-u",
            folder / "pair.yaml",
            "-t",
            "sid",
            "--seeds",
            ",".join(map(str, SEEDS)),
            "-o",
            folder / "exp",
        ]
        return [*words, "--configs", configs, "--device", "cpu", "--voxceleb1", corpus]

    return make


def outcome(folder: Path) -> list[object]:
    """Everything that must not depend on kills: scores, hypotheses, weights; and what is kept of the members."""
    found: list[object] = []
    for seed in SEEDS:
        run = folder / "exp" / "pair" / f"sid_seed{seed}"
        score = json.loads((run / "score.json").read_text(encoding="utf-8"))
        states = torch.load(run / "dev-best.ckpt", weights_only=False)
        weights = {**states["Featurizer"], **states["Downstream"]}
        found.append([score[key] for key in ("score", "dev_score", "utterances", "config_hash", "seed", "lr")])
        found.append((run / "test_predict.txt").read_text(encoding="utf-8"))
        found.append({key: value.tolist() for key, value in weights.items() if isinstance(value, torch.Tensor)})
    cache = folder / "cache"
    found.append({str(file.relative_to(cache)): file.read_bytes() for file in cache.rglob("*") if file.is_file()})
    return found


def test_killed_at_random_file_operations_it_ends_with_the_same_scores(server, command, tmp_path):
    whole, log = tmp_path / "whole", tmp_path / "log"
    undisturbed = server(*command(whole), folder=whole, log=log)
    assert undisturbed["status"] == 0, log.read_text()
    expected, draw, kills, runs = outcome(whole), random.Random(SEED), 0, 0
    while kills < KILLS or runs == 0:
        folder = tmp_path / f"run{runs}"
        kill = {"kill_at": draw.randint(1, undisturbed["operations"]), "delay": draw.choice([0, 0.003, 0.03])}
        done = server(*command(folder), folder=folder, log=log, **(kill if kills < KILLS else {}))
        if done["status"] < 0:
            kills += 1
            continue
        assert done["status"] == 0, f"after {kills} kills: {log.read_text()[-5000:]}"
        assert outcome(folder) == expected, f"after {kills} kills"
        assert not [str(path) for path in tmp_path.rglob("*.tmp*")], f"left over after {kills} kills"
        runs += 1
    print(f"{kills} kills, {runs} runs to the end")
