"""A training that goes on where it stopped, to the bit: stock starts the epoch anew, with other random numbers.

s3prl's runner keeps weights, optimizer, step and epoch (s3prl/downstream/runner.py:397). What decides the rest, the
batches already taken from the epoch and the random states, goes into the same checkpoint.
"""

from __future__ import annotations

import random
from typing import Any, Iterator

import numpy as np
import torch
from tqdm import tqdm

KEY = "Position"  # in a checkpoint


def random_states() -> dict[str, Any]:
    """The state of every generator that a recipe draws from, as tensors and numbers that torch.load lets through."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """The inverse of `random_states`. States of GPUs that are not here are passed over."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)


class Position:
    """Where a training is in its epoch.

    Args:
        saved: what `state` gave when the checkpoint was written that the training goes on from; None for a new one.
    """

    def __init__(self, saved: dict[str, Any] | None = None) -> None:
        self._saved = saved
        self._epoch_start, self._batches = random_states(), 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to remember."""
        return {"epoch_start": self._epoch_start, "batches": self._batches, "now": random_states()}

    def batches(self, loader: Any) -> Iterator[Any]:
        """The batches of an epoch; of the first one after a resume, those that were not taken yet."""
        saved, self._saved = self._saved, None
        if saved:
            set_random_states(saved["epoch_start"])
        self._epoch_start, self._batches = random_states(), 0
        batches = iter(loader)
        if saved:
            # Drawn again and dropped, so that shuffling and random crops come out as they did.
            for _ in tqdm(range(saved["batches"]), desc="back to where it stopped", leave=False):
                next(batches, None)
            self._batches = saved["batches"]
            set_random_states(saved["now"])
        for batch in batches:
            self._batches += 1
            yield batch


class FollowedLoader:
    """A training's data loader whose batches a `Position` counts."""

    def __init__(self, loader: Any, position: Position) -> None:
        self._loader, self._position = loader, position

    def __iter__(self) -> Iterator[Any]:
        return self._position.batches(self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def follow(runner: Any) -> Position:
    """Makes a runner's training go on where its checkpoint stopped, and returns what its next checkpoints must keep."""
    position = Position(runner.init_ckpt.get(KEY))
    expert = runner.downstream.model
    stock = expert.get_dataloader
    train_split = runner.config["runner"].get("train_dataloader", "train")

    def get_dataloader(split: str, *args: Any, **kwargs: Any) -> Any:
        loader = stock(split, *args, **kwargs)
        return FollowedLoader(loader, position) if split == train_split else loader

    expert.get_dataloader = get_dataloader
    return position
