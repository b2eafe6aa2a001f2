"""Running an upstream by itself, as a cache does and whoever asks it for its frames."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import nn
from torch.amp import is_autocast_available


@contextmanager
def alone(member: nn.Module, device: torch.device) -> Iterator[None]:
    """Run a member so that nothing around it shows in what it gives, and nothing of it afterwards: some draw random
    numbers also in evaluation mode (s3prl/upstream/wavlm/WavLM.py:624), which a hit would not draw."""
    training, states = member.training, (random.getstate(), np.random.get_state())
    autocast = torch.autocast(device.type, enabled=False) if is_autocast_available(device.type) else nullcontext()
    member.eval()
    try:
        with torch.no_grad(), autocast, torch.random.fork_rng(_gpus(device)):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if training:
            member.train()


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
