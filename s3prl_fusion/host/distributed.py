"""Training in several processes, started by torchrun: on GPUs (NCCL), and on CPUs (gloo), which stock cannot."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any

from ..errors import UsageError
from .patches import Patches
from .proxy import Proxy

# Rank 0 evaluates alone, and the others wait for it in their next step; torch's own limit is 10 or 30 minutes.
TIMEOUT = timedelta(days=1)


def rank() -> int:
    """Return this process's number among all; 0 if it is the only one. torchrun tells it before any group is joined."""
    return int(os.environ.get("RANK", 0))


def completed_arguments(args: argparse.Namespace) -> list[str]:
    """Return what run_downstream must be told of torchrun, which passes no --local_rank (s3prl/run_downstream.py:29).

    Args:
        args: mode, device, local_rank and backend as the user gives them; the device is complete.

    Raises:
        UsageError: several processes cannot do what is asked for.
    """
    if args.local_rank is None and "LOCAL_RANK" not in os.environ:
        return []
    if args.mode != "train" and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError(f"-m {args.mode} is done by one process: start it without torchrun")
    if args.device not in ("cpu", "cuda"):
        raise UsageError(
            f"--device {args.device}: under torchrun each process takes the GPU of its own number; say cuda or cpu"
        )
    if args.device == "cpu" and args.backend == "nccl":
        raise UsageError("--backend nccl needs GPUs; leave it out, for gloo")
    added = [] if args.local_rank is not None else ["--local_rank", os.environ["LOCAL_RANK"]]
    # Stock's default is nccl, whatever the device (s3prl/run_downstream.py:28).
    return [*added, "--backend", "gloo"] if args.device == "cpu" and args.backend is None else added


def mend_main(run_downstream: ModuleType, on_gpu: bool, patches: Patches) -> None:
    """Let ``run_downstream.main`` join a group on any device, with `TIMEOUT` (s3prl/run_downstream.py:158)."""
    import torch

    def set_device(local_rank: int) -> None:
        if not on_gpu:
            return
        gpus = torch.cuda.device_count()
        if local_rank >= gpus:
            raise UsageError(
                f"process {local_rank} of this machine finds no GPU of its own: there are {gpus}; "
                f"start {gpus} processes (torchrun --nproc_per_node={gpus}), or say --device cpu"
            )
        torch.cuda.set_device(local_rank)

    def init_process_group(backend: str) -> None:
        torch.distributed.init_process_group(backend, timeout=TIMEOUT)

    cuda = Proxy(torch.cuda, set_device=set_device)
    group = Proxy(torch.distributed, init_process_group=init_process_group)
    patches.set(run_downstream, "torch", Proxy(run_downstream.torch, cuda=cuda, distributed=group))


def check_resumed(args: argparse.Namespace) -> None:
    """Refuse to go on with another number of processes; stock's is a bare assert (s3prl/run_downstream.py:165).

    Args:
        args: as run_downstream has completed them; ``init_ckpt`` is the checkpoint to go on from.

    Raises:
        UsageError: says what the checkpoint was trained with, and what this is.
    """
    from .ckpt import read_ckpt

    if args.mode != "train" or not args.past_exp:
        return
    states = read_ckpt(args.init_ckpt, mmap=True)
    was = states["WorldSize"] if states["Args"].local_rank is not None else 0
    now = int(os.environ.get("WORLD_SIZE", 1)) if args.local_rank is not None else 0
    if was != now:
        start = f"{was} processes in all (one machine: torchrun --nproc_per_node={was})" if was else "no torchrun"
        raise UsageError(
            f"{args.init_ckpt} was trained by {_processes(was)}, and this is {_processes(now)}: a step would see "
            f"another batch. Go on with {start}, or begin a new experiment (another -p)"
        )


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''} under torchrun" if count else "one process without torchrun"


def wrap(model: Any, device_ids: list[int], **options: Any) -> Any:
    """Make a DistributedDataParallel as the runner calls it (s3prl/downstream/runner.py:113), on any device.

    Buffers are not broadcast: rank 0 evaluates alone, where a forward must not wait for the others, and its are saved.
    """
    from torch.nn.parallel import DistributedDataParallel

    on_gpu = next(model.parameters()).is_cuda
    return DistributedDataParallel(model, device_ids=device_ids if on_gpu else None, broadcast_buffers=False, **options)


@contextmanager
def leader_first() -> Iterator[None]:
    """Let rank 0 go through the block, which may fill caches on disk, before the others do."""
    from torch import distributed

    if not distributed.is_initialized():
        yield
        return
    if distributed.get_rank() > 0:
        distributed.barrier()
    try:
        yield
    finally:
        if distributed.get_rank() == 0:
            distributed.barrier()


def leave(wait: bool) -> None:
    """Leave the group, if there is one.

    Args:
        wait: for the others, of which rank 0 evaluates after the last step.
    """
    from torch import distributed

    if distributed.is_initialized():
        if wait:
            distributed.barrier()
        distributed.destroy_process_group()
