"""Models that transformers has saved: of the right architecture, with all of their weights, the same at every call."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import MissingFileError, UsageError, UserError
from ..files import read_json
from .entries import MODEL_TYPES, XVECTOR, aliases

_HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")
_EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS = ("*.safetensors", "*.bin")
# What transformers may begin anew: SpecAugment's vector, which a frozen upstream never uses.
_UNUSED = ("masked_spec_embed",)
# Weight norm before and after torch 2.0.
_RENAMED = (("weight_g", "parametrizations.weight.original0"), ("weight_v", "parametrizations.weight.original1"))

_UNSTEADY = {"layerdrop": 0.0, "encoder_layerdrop": 0.0, "speech_encoder_layerdrop": 0.0, "apply_spec_augment": False}


def check_ckpt(name: str, ckpt: str) -> None:
    """Refuse a folder that an upstream cannot load; nothing but JSON is read, a hub id passes.

    Args:
        name: an entry of `entries.MODEL_TYPES`, or another name for what loads any architecture.
        ckpt: a folder, or a hub id.

    Raises:
        MissingFileError: neither a folder nor a hub id, or a file is not in it; the message names it.
        UsageError: it is a file, or of another architecture.
    """
    folder = Path(ckpt)
    if not folder.is_dir():
        if folder.is_file():
            raise UsageError(
                f"ckpt {ckpt!r} of {name!r} is a file; give the folder that it is in, as transformers saves"
            )
        if not _HUB_ID.fullmatch(ckpt):
            raise MissingFileError(
                f"ckpt {ckpt!r} of {name!r} is no folder, nor a hub id (owner/name); correct the path"
            )
        return
    if not (folder / "config.json").is_file():
        raise MissingFileError(f"{folder} has no config.json, which {name!r} reads; is it a folder of transformers?")
    _check_type(name, ckpt, read_json(folder / "config.json", advice="fetch or save it again").get("model_type"))
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        raise MissingFileError(
            f"{folder} has no weights (model.safetensors or pytorch_model.bin); fetch or save it again"
        )
    if name != XVECTOR and not any((folder / file).is_file() for file in _EXTRACTORS):
        raise MissingFileError(_no_extractor(ckpt))


def _no_extractor(ckpt: str) -> str:
    return (
        f"{ckpt} has no preprocessor_config.json, which says how it takes waveforms; no other model's is used instead. "
        "Copy the file from where the model comes from, or save what it was trained with (transformers: "
        "Wav2Vec2FeatureExtractor(do_normalize=..., return_attention_mask=...).save_pretrained(FOLDER))"
    )


def _check_type(name: str, ckpt: str, found: Any) -> None:
    """Compare an architecture, where the upstream is for one; configs of before 2020 do not say theirs."""
    if found is None or name not in MODEL_TYPES or found == MODEL_TYPES[name]:
        return
    fitting = next((entry for entry, kind in MODEL_TYPES.items() if kind == found), None)
    advice = f"say {fitting!r}" if fitting else f"none of {', '.join(MODEL_TYPES)} loads that type"
    relative = aliases().get(str(found).replace("-", "_").replace("_audio", ""))
    if relative and not fitting:
        advice += f"; s3prl's own models of it are {', '.join(filter(None, (relative.name, relative.large)))}"
    raise UsageError(
        f"{ckpt} is a model of type {found!r} (its config.json), and {name!r} loads {MODEL_TYPES[name]!r}; {advice}"
    )


def load_extractor(cls: Any, ckpt: str, revision: str | None = None, any_rate: bool = False) -> Any:
    """Load a feature extractor of transformers.

    Args:
        cls: its class.
        ckpt: a folder or a hub id.
        revision: of the hub's repository; the newest by default.
        any_rate: whether it may be for another sampling rate than 16 kHz.

    Raises:
        MissingFileError: there is none at ``ckpt``.
        UsageError: it is for another sampling rate.
    """
    from ..waveforms import SAMPLE_RATE

    with _in_one_line(ckpt):
        try:
            extractor = cls.from_pretrained(ckpt, **_of(revision, cls))
        except OSError as error:
            if Path(ckpt).is_dir():
                raise MissingFileError(_no_extractor(ckpt)) from error
            raise
    rate = getattr(extractor, "sampling_rate", None)
    if rate is None:
        raise UsageError(f"{ckpt} takes no sound: its preprocessor_config.json has no sampling_rate")
    if rate != SAMPLE_RATE and not any_rate:
        raise UsageError(f"{ckpt} is a model of {rate} Hz; speech is at {SAMPLE_RATE} Hz here")
    return extractor


def extractor_file(cls: Any, ckpt: str, revision: str | None = None) -> dict[str, Any]:
    """Read what a feature extractor's file says itself, see `load_extractor`."""
    found, _ = cls.get_feature_extractor_dict(ckpt, **_of(revision))
    return found


def load_config(ckpt: str, revision: str | None = None) -> Any:
    """Load a model's config of transformers, of whatever architecture.

    Raises:
        MissingFileError: transformers finds none.
        UsageError: this transformers does not know its architecture.
    """
    from transformers import AutoConfig

    with _in_one_line(ckpt):
        return AutoConfig.from_pretrained(ckpt, **_of(revision, AutoConfig))


def load_model(name: str, cls: Any, ckpt: str, part: str = "", revision: str | None = None) -> Any:
    """Load a model of transformers in float32, whatever precision it was saved in.

    Args:
        name: an entry of `entries.MODEL_TYPES`, or another name for what loads any architecture.
        cls: the model's class.
        ckpt: a folder or a hub id.
        part: the class of the part of it that is used and returned; all by default.
        revision: of the hub's repository; the newest by default.

    Raises:
        MissingFileError: transformers finds no model.
        UsageError: it is of another architecture, cannot be read, or its weights are not the architecture's.
    """
    with _in_one_line(ckpt):
        if name in MODEL_TYPES:
            config, _ = cls.config_class.get_config_dict(ckpt, **_of(revision))
            _check_type(name, ckpt, config.get("model_type"))
        model, info = cls.from_pretrained(ckpt, output_loading_info=True, **_of(revision, cls))
    path = _path_of(part, model)
    used = model.get_submodule(path)
    # Names of weights are compared without what a model with a head puts in front.
    (path,) = _renamed([path], model.base_model_prefix)
    prefix = f"{path}." if path else ""
    own = tuple(f"{prefix}{child}." for child, _ in used.named_children())
    missing, unexpected = (_renamed(info[key], model.base_model_prefix) for key in ("missing_keys", "unexpected_keys"))
    # What another head or the pretraining had is not under the model's own modules.
    faults = {
        "lacks": {key for key in missing - unexpected if key.startswith(prefix) and _last(key) not in _UNUSED},
        "has beside the model's": {key for key in unexpected - missing if key.startswith(prefix or own)},
    }
    for what, keys in faults.items():
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise UsageError(
                f"{ckpt} {what} weights: {', '.join(sorted(keys)[:3])}{more}; {name!r} would not be the model that was "
                "saved. Its config.json must be the one that it was trained with"
            )
    used.float()
    keep_steady(used)
    return used


def _of(revision: str | None, cls: Any = None) -> dict[str, Any]:
    """Make the arguments that say what is loaded; classes that find out the architecture would ask on the screen
    whether a repository's own code may run, and are told that it may not."""
    found: dict[str, Any] = {} if revision is None else {"revision": revision}
    return {**found, "trust_remote_code": False} if getattr(cls, "__name__", "").startswith("Auto") else found


def _path_of(part: str, model: nn.Module) -> str:
    """Find the module of a class, by the class's name; the model itself where there is no name."""
    return next((path for path, module in model.named_modules() if type(module).__name__ == part), "") if part else ""


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _renamed(keys: Any, prefix: str) -> set[str]:
    """Name weights as today's torch does, without the prefix that a model with a head gives them."""
    names = {key[len(prefix) + 1 :] if prefix and key.startswith(f"{prefix}.") else key for key in keys}
    for old, new in _RENAMED:
        names = {key[: -len(old)] + new if key.endswith(f".{old}") else key for key in names}
    return names


@contextmanager
def _in_one_line(ckpt: str) -> Iterator[None]:
    try:
        yield
    except (UserError, MemoryError, ImportError):
        raise
    except OSError as error:
        raise MissingFileError(_in_short(ckpt, error)) from error
    except Exception as error:  # safetensors, pickle, torch and transformers each have their own
        raise UsageError(_in_short(ckpt, error)) from error


def _in_short(ckpt: str, error: Exception) -> str:
    return f"{ckpt}: transformers cannot load it: {textwrap.shorten(str(error), 300)}"


def keep_steady(model: nn.Module) -> None:
    """Switch off what changes hidden states, or their number, in training mode and is no dropout: layer drop, as s3prl
    does for its own families (s3prl/upstream/hubert/expert.py:34), and SpecAugment, which they leave out too."""
    for module in model.modules():
        if isinstance(getattr(module, "layerdrop", None), float):
            module.layerdrop = 0.0  # type: ignore[assignment]
        config = getattr(module, "config", None)
        if hasattr(config, "model_type"):  # transformers reads them there
            for option, off in _UNSTEADY.items():
                if hasattr(config, option):
                    setattr(config, option, off)
