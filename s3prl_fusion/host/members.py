"""Upstreams from s3prl's hub: what there is, what a member needs, and loading it."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Callable, Iterator, Mapping, Sequence

import yaml
from torch import nn

from ..assets import demo_dir
from ..config import MemberConfig
from ..errors import HostError, MissingFileError, UsageError, unknown
from ..names import is_fused_name
from . import shims

# s3prl's hub has these endings for entries that come without a checkpoint of their own (s3prl/hub.py:46).
NEEDS_CKPT = ("_local", "_url", "_gdriveid", "_custom")
HOSTS = ("s3prl", "espnet-s3prl")  # distributions with a module named s3prl
WHISPER = {
    f"whisper_{size.replace('-', '_').replace('.', '_')}": f"openai/whisper-{size}"
    for size in "tiny tiny.en base base.en small small.en medium medium.en large-v2 large-v3".split()
}


def hub() -> Any:
    """s3prl's hub module.

    Raises:
        HostError: s3prl cannot be imported; the message says why and what to install.
    """
    shims.supply()
    try:
        with quiet_torchaudio(), _quiet_espnet():
            from s3prl import hub as module
    except ImportError as error:
        raise HostError(
            f"s3prl cannot be imported: {error}. Install what s3prl_fusion declares: "
            "pip install --upgrade s3prl-fusion; `s3prl-fusion doctor` says what is wrong"
        ) from error
    return module


def host_version() -> str:
    """Which s3prl Python sees: distribution, version and path."""
    import s3prl

    path = Path(s3prl.__file__).resolve().parent
    version = (path / "version.txt").read_text().strip()
    here = [
        found for found in map(_distribution, HOSTS) if found and Path(found.locate_file("s3prl")).resolve() == path
    ]
    # Installed both, the two share a folder: the files there are of the one that was installed last.
    for found in sorted(here, key=lambda found: _numbers(found.version) != _numbers(version)):
        return f"{found.name} {found.version} ({path})"
    return f"s3prl {version} from a source checkout ({path})"


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


@contextmanager
def quiet_torchaudio() -> Iterator[None]:
    """Hides what torchaudio 2.8 says, in four lines a function, of functions that s3prl calls and 2.9 will not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchaudio|torio")
        warnings.filterwarnings("ignore", category=UserWarning, message=r".*torchaudio\._backend")
        yield


@contextmanager
def _quiet_espnet() -> Iterator[None]:
    """Hides that ESPnet is not installed: its own upstream says it again when it is asked for."""
    logger = logging.getLogger("s3prl.upstream.espnet_hubert.expert")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def entries() -> dict[str, Callable[..., nn.Module]]:
    """Every upstream that a member can name: s3prl's own and the ones that this package adds."""
    found = {name: value for name, value in vars(hub()).items() if _is_entry(name, value)}
    return {**found, **added_entries()}


def _is_entry(name: str, value: Any) -> bool:
    hidden = name.startswith("_") or name in ("options", "load_and_convert_fairseq_ckpt") or is_fused_name(name)
    return not hidden and inspect.isfunction(value)


def added_entries() -> dict[str, Callable[..., nn.Module]]:
    """Hub entries that s3prl lacks: Whisper, and the demo's two tiny models."""
    added: dict[str, Callable[..., nn.Module]] = {"hf_whisper_custom": hf_whisper_custom}
    added.update({name: _whisper_entry(name, ckpt) for name, ckpt in WHISPER.items()})
    return {**added, "demo_hubert": demo_hubert, "demo_whisper": demo_whisper}


def hf_whisper_custom(
    ckpt: str, model_config: str | Mapping[str, Any] | None = None, refresh: bool = False, **options: Any
) -> nn.Module:
    """A Whisper encoder from a local folder or a hub id, see `WhisperUpstream`.

    Args:
        ckpt: what ``WhisperModel.from_pretrained`` reads.
        model_config: `WhisperUpstream`'s options, as a mapping or as a YAML file, e.g. ``pad_to_30s: false``.
        refresh: s3prl passes it to every entry; transformers has a cache of its own.
    """
    from ..upstreams.whisper import WhisperUpstream

    if isinstance(model_config, str):
        model_config = yaml.safe_load(Path(model_config).read_text(encoding="utf-8"))
    return WhisperUpstream(ckpt, **{**(model_config or {}), **options})


def _whisper_entry(name: str, hub_id: str) -> Callable[..., nn.Module]:
    def entry(ckpt: str | None = None, **kwargs: Any) -> nn.Module:
        return hf_whisper_custom(ckpt or hub_id, **kwargs)

    entry.__name__ = name
    entry.__doc__ = f"The encoder of {hub_id}."
    return entry


def demo_hubert(*args: Any, **kwargs: Any) -> nn.Module:
    """The demo's self-supervised tiny HuBERT, through s3prl's ``hf_hubert_custom``."""
    return hub().hf_hubert_custom(str(demo_dir() / "upstreams" / "hubert"))


def demo_whisper(*args: Any, **kwargs: Any) -> nn.Module:
    """The demo's supervised tiny Whisper-style encoder."""
    return hf_whisper_custom(str(demo_dir() / "upstreams" / "whisper"), pad_to_30s=False)


def check_members(members: Sequence[MemberConfig]) -> None:
    """Refuses members that cannot load, before any does.

    Raises:
        ValueError: a name is unknown, an entry without a checkpoint of its own gets none, or a device is not there.
        FileNotFoundError: a local checkpoint or model config is not there.
    """
    known = entries()
    for i, member in enumerate(members):
        key = f"members[{i}]"
        if is_fused_name(member.name):
            raise UsageError(f"{key}: {member.name!r} is a fused upstream itself; list its members instead")
        if member.name not in known:
            raise UsageError(f"{key}: " + unknown("upstream", member.name, known))
        if member.ckpt is None and member.name.endswith(NEEDS_CKPT):
            what = "model_config" if member.name == "baseline_local" else "ckpt"
            if getattr(member, what) is None:
                raise UsageError(
                    f"{key}: {member.name!r} has no checkpoint of its own; give the member a {what}, "
                    "in a fusion YAML: {name: " + member.name + f", {what}: PATH" + "}"
                )
        for what in ("ckpt", "model_config"):
            value = getattr(member, what)
            local = what == "model_config" or member.name.endswith("_local")
            if local and isinstance(value, str) and not Path(value).exists():
                raise MissingFileError(f"{key}: {what} {value!r} of {member.name!r} does not exist; correct the path")
        if member.device is not None:
            _check_device(key, member.device)


def _check_device(key: str, device: str) -> None:
    from .checks import check_device  # which imports this module

    try:
        check_device(device)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from error


def load_members(members: Sequence[MemberConfig]) -> list[nn.Module]:
    """Loads every member through its hub entry, after `check_members`; what differs in layers alone is loaded once."""
    check_members(members)
    known = entries()
    loaded: list[nn.Module] = []
    for i, member in enumerate(members):
        same = next((j for j in range(i) if members[j].runs_as(member)), None)
        loaded.append(_load(known[member.name], member) if same is None else loaded[same])
        _keep_every_layer(loaded[-1])
    return loaded


def _keep_every_layer(member: nn.Module) -> None:
    """Switches layer drop off, as s3prl does for most of its families (s3prl/upstream/hubert/expert.py:34): in training
    mode it changes the number of hidden states."""
    for module in member.modules():
        if isinstance(getattr(module, "layerdrop", None), float):
            module.layerdrop = 0.0


def _load(entry: Callable[..., nn.Module], member: MemberConfig) -> nn.Module:
    """Calls an entry as run_downstream does (s3prl/downstream/runner.py:149), leaving out what is not given.

    s3prl's entries read model_config from a file: a mapping is written to one for them.
    """
    options: dict[str, Any] = {} if member.ckpt is None else {"ckpt": member.ckpt}
    if member.model_config is None:
        return entry(**options)
    if isinstance(member.model_config, str) or member.name.startswith(("hf_whisper", "whisper_")):
        return entry(model_config=member.model_config, **options)
    with NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(dict(member.model_config), file)
        file.flush()
        return entry(model_config=file.name, **options)
