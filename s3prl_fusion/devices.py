"""Where things run."""

from __future__ import annotations

import torch

from .errors import UsageError


def check_device(device: str, here: bool = True) -> None:
    """Refuse what torch does not take for a device, and a GPU that is not there.

    Args:
        device: for example ``"cpu"`` or ``"cuda:1"``.
        here: False where another machine has it, and only its form can be told.

    Raises:
        UsageError: says what there is.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device {device!r} is none that torch knows; say cpu, cuda or cuda:1") from error
    if not here:
        return
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r}: torch finds no GPU here; say cpu, or leave it out")
    if found.type == "cuda":
        if (found.index or 0) >= torch.cuda.device_count():
            gpus = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count()))
            raise UsageError(f"device {device!r}: torch does not find it here, only {gpus}; say one of them, or cpu")
    elif found.type != "cpu":
        try:
            torch.zeros(1, device=found).item()
        except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
            raise UsageError(f"device {device!r} cannot be used here; say cpu or cuda") from error
