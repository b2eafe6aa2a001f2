"""torchaudio.sox_effects for the one chain that s3prl's SV recipe uses, without libsox."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Sequence

from ..patches import Patches
from .audio import THREAD, load
from .shim import Shim

if TYPE_CHECKING:
    from torch import Tensor

MODULE = "torchaudio.sox_effects"
# s3prl/downstream/sv_voxceleb1/dataset.py:20.
CHAIN = [
    ["channels", "1"],
    ["rate", "16000"],
    ["gain", "-3.0"],
    ["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"],
]


def apply_effects_tensor(
    tensor: Tensor, sample_rate: int, effects: Sequence[Sequence[str]], channels_first: bool = True
) -> tuple[Tensor, int]:
    """The chain `CHAIN` on a waveform.

    Args:
        tensor: (channels, T), or (T, channels) unless ``channels_first``; float, in [-1, 1].
        sample_rate: must be the chain's, 16000.
        effects: must be `CHAIN`.

    Returns:
        (1, T') or (T', 1) float32, and the sample rate.

    Raises:
        ValueError: another effect is asked for, or the rate would have to change; the message names it.
    """
    import torch

    from ..silence import trim_silence

    _check(effects, sample_rate)
    wav = tensor.detach().cpu().float().mean(dim=0 if channels_first else 1)
    trimmed = torch.from_numpy(trim_silence(wav.numpy()))
    return trimmed.unsqueeze(0 if channels_first else 1), sample_rate


def apply_effects_file(
    path: str | os.PathLike[str],
    effects: Sequence[Sequence[str]],
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
) -> tuple[Tensor, int]:
    """As `apply_effects_tensor`, on a sound file. ``format`` is accepted, without effect.

    Raises:
        ValueError: as `apply_effects_tensor`, or for ``normalize=False``.
        RuntimeError: soundfile cannot read the file; the message names it.
    """
    if not normalize:
        raise ValueError("normalize=False needs libsox (apt install sox); without it samples are float32")
    wav, rate = load(path, channels_first=channels_first)
    return apply_effects_tensor(wav, rate, effects, channels_first)


def _check(effects: Sequence[Sequence[str]], sample_rate: int) -> None:
    asked = [list(map(str, effect)) for effect in effects]
    if asked != CHAIN:
        other = next((effect for effect in asked if effect not in CHAIN), [])
        what = f"the effect {' '.join(other)!r}" if other else f"the chain {asked}"
        only = ", ".join(" ".join(effect) for effect in CHAIN)
        raise ValueError(f"{what} needs libsox with torchaudio 2.8 or older; without it there is only: {only}")
    if sample_rate != int(CHAIN[1][1]):
        raise ValueError(
            f"the effect 'rate {CHAIN[1][1]}' needs libsox for sound of {sample_rate} Hz; convert the files: "
            f"ffmpeg -i FILE -ac 1 -ar {CHAIN[1][1]} NEW.wav"
        )


def _has_no_module() -> bool:
    import torchaudio

    return not hasattr(torchaudio, "sox_effects")


def _supply_module(patches: Patches) -> None:
    import sys
    from types import ModuleType

    import torchaudio

    module = ModuleType(MODULE)
    module.apply_effects_file, module.apply_effects_tensor = apply_effects_file, apply_effects_tensor
    patches.set_item(sys.modules, MODULE, module)
    patches.set(torchaudio, "sox_effects", module)


def _has_no_libsox() -> bool:
    if _has_no_module():
        return False
    import torchaudio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torchaudio.sox_effects.effect_names()
    except Exception:  # what the loader says of a library that is not there
        return True
    return False


def _supply_functions(patches: Patches) -> None:
    import torchaudio

    patches.set(torchaudio.sox_effects, "apply_effects_file", apply_effects_file)
    patches.set(torchaudio.sox_effects, "apply_effects_tensor", apply_effects_tensor)


_USED_BY = "from torchaudio.sox_effects import apply_effects"
SHIMS = (
    Shim(
        MODULE,
        "torchaudio 2.9 dropped it; s3prl's SV recipe trims silence with it",
        THREAD,
        _USED_BY,
        _has_no_module,
        _supply_module,
    ),
    Shim(
        f"{MODULE}.apply_effects_file",
        "this machine has no libsox, nor has torchaudio 2.1 and later; s3prl's SV recipe trims silence with it",
        "https://github.com/pytorch/audio/pull/3497",
        _USED_BY,
        _has_no_libsox,
        _supply_functions,
    ),
)
