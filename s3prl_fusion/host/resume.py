"""A training that goes on where it stopped, to the bit: stock starts the epoch anew, with other random numbers.

s3prl's runner keeps weights, optimizer, step and epoch (s3prl/downstream/runner.py:397). What decides the rest, the
batches already taken from the epoch and the random states, goes into the same checkpoint.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any, Iterator, Sequence

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DistributedSampler
from tqdm import tqdm

from ..errors import UsageError

KEY = "Position"  # in a checkpoint


def random_states() -> dict[str, Any]:
    """Return the states of all generators that a recipe draws from, as values that torch.load lets through."""
    state = np.random.get_state()
    assert isinstance(state, tuple), "the global generator is a Mersenne Twister"
    name, keys, position, has_gauss, cached = state
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set what `random_states` has returned. States of GPUs that are not here are passed over."""
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
        """Return what a checkpoint has to remember."""
        return {"epoch_start": self._epoch_start, "batches": self._batches, "now": random_states()}

    def batches(self, loader: Any) -> Iterator[Any]:
        """Yield the batches of an epoch; of the first one after a resume, those that were not taken yet."""
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


class TrainingDone(Exception):
    """A process other than rank 0 has taken its last step."""


class SharedPosition:
    """`Position` for one of several processes, of which rank 0 alone saves: what it keeps must hold for all.

    So the random states are not kept but made: before each batch from the run's seed, the epoch, the batch's number and
    the rank. Processes so draw different crops and dropout, where stock gives all of them the same.

    Args:
        saved: as for `Position`.
        seed: the run's.
        rank: this process's.
        left: batches until the last step. Stock counts steps on rank 0 only, and the others never end
            (s3prl/downstream/runner.py:361): they raise `TrainingDone` here.
    """

    def __init__(self, saved: dict[str, Any] | None, seed: int, rank: int, left: int) -> None:
        self._skipped = saved["batches"] if saved else 0
        self._seed, self._rank, self._left, self._batches = seed, rank, left, 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to remember."""
        return {"batches": self._batches}

    def batches(self, loader: Any) -> Iterator[Any]:
        """Yield what `Position.batches` does."""
        epoch, skipped, self._skipped = loader.sampler.epoch, self._skipped, 0
        self._batches = 0
        set_seed([self._seed, self._rank, epoch])
        batches = iter(loader)
        for _ in tqdm(
            range(skipped), desc="back to where it stopped", leave=False, disable=not skipped or self._rank > 0
        ):
            self._next(batches, epoch)
        while (batch := self._next(batches, epoch)) is not None:
            if self._left == 0 and self._rank > 0:
                raise TrainingDone
            self._left -= 1
            yield batch

    def _next(self, batches: Iterator[Any], epoch: int) -> Any:
        self._batches += 1
        set_seed([self._seed, self._rank, epoch, self._batches])
        return next(batches, None)


def set_seed(numbers: Sequence[int]) -> None:
    """Seed every generator that a recipe draws from."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class FollowedLoader:
    """A training's data loader whose batches a position counts."""

    def __init__(self, loader: Any, position: Position | SharedPosition) -> None:
        self._loader, self._position = loader, position

    def __iter__(self) -> Iterator[Any]:
        return self._position.batches(self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _shared_position(runner: Any) -> SharedPosition:
    settings = runner.config["runner"]
    steps = settings["total_steps"] - runner.init_ckpt.get("Step", 0)
    left = steps * settings.get("gradient_accumulate_steps", 1)
    stock = runner.train

    def train() -> None:
        with contextlib.suppress(TrainingDone):
            stock()

    runner.train = train
    return SharedPosition(runner.init_ckpt.get(KEY), runner.args.seed, distributed.get_rank(), left)


def follow(runner: Any) -> Position | SharedPosition:
    """Make a runner's training go on where its checkpoint stopped, and return what its next checkpoints must keep."""
    shared = distributed.is_initialized()
    position = _shared_position(runner) if shared else Position(runner.init_ckpt.get(KEY))
    expert = runner.downstream.model
    stock = expert.get_dataloader
    train_split = runner.config["runner"].get("train_dataloader", "train")

    def get_dataloader(split: str, *args: Any, **kwargs: Any) -> Any:
        loader = stock(split, *args, **kwargs)
        if split != train_split:
            return loader
        if shared and not isinstance(loader.sampler, DistributedSampler):
            raise UsageError(
                f"the recipe {runner.args.downstream!r} would give every process the same data (its loader has no "
                "DistributedSampler); train it in one process, without torchrun"
            )
        return FollowedLoader(loader, position)

    expert.get_dataloader = get_dataloader
    return position
