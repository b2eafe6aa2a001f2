"""Where things run."""

from __future__ import annotations

import torch

from .errors import UsageError


def check_device(device: str) -> None:
    """Refuse what torch does not take for a device, and a GPU that is not there.

    Raises:
        UsageError: says what there is.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device {device!r} is none: {error}") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r}: torch finds no GPU here; say cpu, or leave it out")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        gpus = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count()))
        raise UsageError(f"device {device!r}: torch does not find it here, only {gpus}; say one of them, or cpu")
