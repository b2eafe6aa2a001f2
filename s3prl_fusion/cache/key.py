"""What hidden states are found by: the waveform, and everything else that they depend on."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..files import read_yaml
from ..source import code_digest, code_root, content_digest
from ..upstreams.references import parse
from ..waveforms import SAMPLE_RATE

if TYPE_CHECKING:
    from ..config import MemberConfig

FORMAT = 2  # of what is stored; another number makes every earlier file unknown
_SETTINGS = (".json", ".yaml", ".yml")
_LIBRARIES = ("torch", "torchaudio", "transformers")
_PACKAGE = Path(__file__).parents[1]


def key_of(wav: Tensor) -> str:
    """Return what a waveform (T',) is found by: a hash of its samples in float32, wherever they are."""
    samples = wav.detach().to("cpu", torch.float32).contiguous().numpy()
    return hashlib.sha256(f"{samples.shape}".encode() + samples.tobytes()).hexdigest()


def fingerprint(member: nn.Module, config: MemberConfig, dtype: str) -> str:
    """Return 32 hexadecimal digits, the same on every machine, for a member's weights, config, options and own code.

    Of a checkpoint, and of code, the content counts, not the path. States stored before the code counted have other
    fingerprints, and so are not found, with no need of another `FORMAT`: their files are as they were.

    Args:
        member: the loaded member.
        config: what it was loaded from.
        dtype: how its states are kept; each kind has files of its own.
    """
    digest = hashlib.sha256(json.dumps(_settings(config, dtype), sort_keys=True, default=str).encode())
    digest.update(json.dumps(dict(_options(member)), sort_keys=True).encode())
    digest.update(code_digest(own_classes(member)).encode())
    for name, value in sorted(member.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(f"{name} {value!r}".encode())
    return digest.hexdigest()[:32]


def own_classes(member: nn.Module) -> list[type]:
    """Return the classes of a member's modules, and their bases, whose code is no library's.

    The user's files count, s3prl's upstream folders, wherever they are installed, and this package.
    """
    classes = {base for module in member.modules() for base in type(module).__mro__}
    return [cls for cls in classes if cls.__module__.partition(".")[0] not in _LIBRARIES and _is_own(cls)]


def _is_own(cls: type) -> bool:
    root = code_root(cls)
    return root is not None and (root.is_dir() or _PACKAGE in root.parents or not _in_library(root))


def _in_library(file: Path) -> bool:
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return bool(installed) or Path(sysconfig.get_path("stdlib")) in file.parents


def _settings(config: MemberConfig, dtype: str) -> dict[str, Any]:
    """Return the config by content; where a member runs is no part of it, nor is an option that is not given."""
    given = {key: value for key, value in asdict(config).items() if value is not None and key != "device"}
    own = parse(config.name)
    if own:
        given.update(name=own.identity, code=own.digest(), **({"ckpt": own.ckpt} if own.ckpt else {}))
    for key in ("ckpt", "model_config"):
        if isinstance(given.get(key), str):
            given[key] = _content(Path(given[key]))
    return {**given, "kept": dtype, "format": FORMAT, "sample_rate": SAMPLE_RATE}


def _content(path: Path) -> Any:
    """Return a settings file's content, another file's hash, the settings in a folder (its weights are hashed as they
    are loaded), or, of what is not on this machine, the address."""
    if path.is_dir():
        return {file.name: _content(file) for file in sorted(path.iterdir()) if file.suffix in _SETTINGS}
    if not path.is_file():
        return str(path)
    if path.suffix in _SETTINGS:
        return read_yaml(path)
    return content_digest(path)


def _options(member: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the numbers and switches that modules have beside their weights, such as Whisper's ``pad_to_30s``."""
    for path, module in member.named_modules():
        if type(module).__module__.startswith("torch."):
            continue
        for name, value in vars(module).items():
            if type(value) in (bool, int, float) and not name.startswith("_") and name != "training":
                yield f"{path}.{name}", value
