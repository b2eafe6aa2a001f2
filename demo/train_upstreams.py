"""Train the demo's upstreams: a self-supervised HuBERT, a supervised Whisper-style encoder, and x-vectors.

Usage::

    python demo/train_upstreams.py hubert --debs /tmp/debs -o demo/upstreams
    python demo/train_upstreams.py whisper --debs /tmp/debs -o demo/upstreams
    python demo/train_upstreams.py xvector --debs /tmp/debs -o demo/upstreams

Run again with the same arguments, an interrupted training goes on from its checkpoint in ``--work``. The
learning rate follows the share of ``--minutes`` that is used up, so the number of updates depends on the
machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Union

import numpy as np
import torch
import training_speech
import training_voices
from build_corpus import SAMPLE_RATE, unpack
from torch import nn
from tqdm import tqdm
from training_models import SEED, Hubert, Whisper
from training_speech import batches
from training_xvector import Xvector

CHECKPOINT_SECONDS = 120
REPORT_STEPS = 100
UPSTREAMS = {"hubert": Hubert, "whisper": Whisper, "xvector": Xvector}
Task = Union[Hubert, Whisper, Xvector]
WORK = Path(tempfile.gettempdir()) / "s3prl_fusion_upstreams"


def learning_rate(progress: float, peak: float) -> float:
    """Warm up over the first 3 % of the training, then fall along a cosine to a hundredth of ``peak``."""
    if progress < 0.03:
        return peak * max(progress / 0.03, 0.01)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.03) / 0.97))))


def train(task: Task, minutes: float, checkpoint: Path) -> None:
    """Train for ``minutes`` of wall time, going on from ``checkpoint`` where there is one."""
    optimizer = torch.optim.AdamW(task.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    state = _resume(task, optimizer, checkpoint)
    rng = np.random.default_rng([SEED, state["step"]])
    torch.manual_seed(SEED + state["step"])
    lengths, queue, losses = [len(u.samples) for u in task.speech], [], []
    saved_at = state["elapsed"]
    task.train()
    with tqdm(total=round(60 * minutes), initial=round(saved_at), unit="s", mininterval=10, desc="train") as bar:
        while state["elapsed"] < 60 * minutes:
            began, progress = time.monotonic(), state["elapsed"] / (60 * minutes)
            task.advance(progress)
            queue = queue or batches(lengths, task.weights, task.budget, rng)
            losses.append(_update(task, optimizer, queue.pop(), progress, rng))
            state["step"] += 1
            if state["step"] % REPORT_STEPS == 0:
                line = f"step {state['step']}: loss {np.mean(losses):.3f}, {task.report()}"
                tqdm.write(f"{state['elapsed'] / 60:.1f} min, {line}")
                losses.clear()
            spent = time.monotonic() - began
            state["elapsed"] += spent
            bar.update(spent)
            if state["elapsed"] - saved_at > CHECKPOINT_SECONDS or state["elapsed"] >= 60 * minutes:
                saved_at = state["elapsed"]
                saved = {"task": task.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
                _save_whole({**saved, "targets": task.targets}, checkpoint)
    print(f"{state['step']} updates in {state['elapsed'] / 60:.1f} min; {task.report()}")


def _resume(task: Task, optimizer: torch.optim.Optimizer, checkpoint: Path) -> dict[str, float]:
    """Load ``checkpoint`` where there is one; return the updates made and the seconds spent."""
    if not checkpoint.is_file():
        return {"step": 0, "elapsed": 0.0}
    saved = torch.load(checkpoint, weights_only=True)
    task.load_state_dict(saved["task"])
    optimizer.load_state_dict(saved["optimizer"])
    task.targets = saved["targets"]
    return saved["state"]


def _update(
    task: Task,
    optimizer: torch.optim.Optimizer,
    batch: list[int],
    progress: float,
    rng: np.random.Generator,
) -> float:
    """Make one update from the utterances numbered in ``batch``; return the loss."""
    loss = task.loss(batch, rng)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(task.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(progress, task.peak_lr)
    optimizer.step()
    return loss.item()


def _save_whole(value: dict, path: Path) -> None:
    scratch = path.with_suffix(".tmp")
    torch.save(value, scratch)
    os.replace(scratch, path)


def save(task: Task, folder: Path) -> None:
    """Save the model in half precision with its feature extractor, if any; it loads in single precision."""
    folder.mkdir(parents=True, exist_ok=True)
    task.model.half().save_pretrained(folder)
    if task.extractor is not None:
        task.extractor.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
        (folder / "config.json").write_text(json.dumps({**config, "torch_dtype": "float32"}, indent=2) + "\n")
    (folder / "model.safetensors").chmod(0o644)
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {parameters:,} parameters, {size / 1e6:.2f} MB")


def main() -> None:
    """Train one upstream and save it."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("upstream", choices=[*UPSTREAMS])
    parser.add_argument("--debs", type=Path, required=True, help="folder of the .deb files; absent ones are downloaded")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the model goes to OUT/UPSTREAM")
    parser.add_argument("--minutes", type=float, default=36.0, help="training time, preparing the speech not counted")
    parser.add_argument("--start", type=Path, help="folder of a hubert or whisper, with whose weights to begin")
    parser.add_argument("--manifest", type=Path, default=here / "corpus" / "manifest.csv")
    parser.add_argument("--work", type=Path, default=WORK, help="where the checkpoint is kept")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    task = UPSTREAMS[args.upstream]()
    if args.start is not None:
        task.model = type(task.model).from_pretrained(args.start, attn_implementation="eager").float()
        task.peak_lr *= 2 / 3  # good weights are not to be shaken off
    print(f"{sum(parameter.numel() for parameter in task.model.parameters()):,} parameters")
    with tempfile.TemporaryDirectory() as scratch:
        packages = training_voices if args.upstream == "xvector" else training_speech
        task.load_speech(unpack(args.debs, Path(scratch), packages.package_names()), args.manifest)
    hours = {real: sum(len(u.samples) for u in task.speech if u.real == real) / SAMPLE_RATE / 3600 for real in (1, 0)}
    print(f"{len(task.speech)} utterances: {hours[1]:.2f} h real, {hours[0]:.2f} h synthetic", flush=True)
    train(task, args.minutes, args.work / f"{args.upstream}.pt")
    save(task, args.out / args.upstream)


if __name__ == "__main__":
    main()
