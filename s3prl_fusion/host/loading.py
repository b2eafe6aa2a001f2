"""Loading an upstream of s3prl's hub: what stock lets pass is refused, or mended, while its entry is called."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any

import yaml
from torch import nn

from ..errors import UsageError, UserError
from ..upstreams import pretrained
from .confined import trusting
from .downloads import Downloads
from .patches import Patches
from .weights import Damaged


def load(name: str, entry: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
    """Call a hub entry.

    Args:
        name: the entry's.
        entry: the function or class.
        options: its keyword arguments.

    Raises:
        UserError: its checkpoint cannot be had, or cannot be what the entry loads.
    """
    patches = Patches()
    try:
        downloads = Downloads(patches)
        _mend_transformers(patches)
        unloaded = _watch(patches)
        try:
            member = _call(entry, options)
        except Exception as error:  # of torch.load, load_state_dict, or the entry's own reading of what it has loaded
            if isinstance(error, _PASSED) and not isinstance(error, Damaged):
                raise
            if not downloads.remove_broken():
                raise _refused(name, options, downloads, error) from error
            unloaded.clear()
            member = _call(entry, options)
    finally:
        patches.undo()
    # transformers 4 loads module by module; what it loads is looked at in `pretrained.load_model`.
    models = [module for module in member.modules() if hasattr(module, "base_model_prefix")]
    elsewhere = {id(part) for model in models for part in model.modules()}
    for module, missing in unloaded.values():
        if id(module) not in elsewhere:
            _check_loaded(name, options, module, missing)
    pretrained.keep_steady(member)
    return member


def _call(entry: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
    with trusting(options.get("ckpt") is None):
        return entry(**options)


@contextmanager
def config_as_file(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Let ``model_config`` be the path of a file, as s3prl's entries read it: a mapping is written to one."""
    config = options.get("model_config")
    if not isinstance(config, Mapping):
        yield dict(options)
        return
    with NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(dict(config), file)
        file.flush()
        yield {**options, "model_config": file.name}


_PASSED = (UserError, ImportError, MemoryError)


def _refused(name: str, options: dict[str, Any], downloads: Downloads, error: Exception) -> Exception:
    """Say which file an entry could not load; an error of one without any stays what it is."""
    files = [str(options[key]) for key in ("ckpt", "model_config") if isinstance(options.get(key), str)]
    files = [str(path) for path in downloads.files] or files
    if not files:
        return error
    said = textwrap.shorten(str(error) if isinstance(error, Damaged) else f"{type(error).__name__}: {error}", 300)
    return UsageError(
        f"{name!r} cannot load {', '.join(files)}: {said}. Is it a checkpoint of this architecture, and whole? "
        "`s3prl-fusion list` shows entries; fetch it again if it is damaged"
    )


def _mend_transformers(patches: Patches) -> None:
    """Let s3prl's two entries for transformers' models load these as `upstreams.pretrained` does. Stock takes any
    architecture, begins anew what it lacks, and takes another model's settings where a folder has none
    (s3prl/upstream/hf_hubert/expert.py:17)."""
    from s3prl.upstream.hf_hubert import expert as hubert
    from s3prl.upstream.hf_wav2vec2 import expert as wav2vec2

    for name, module, cls in (
        ("hf_hubert_custom", hubert, hubert.HubertModel),
        ("hf_wav2vec2_custom", wav2vec2, wav2vec2.Wav2Vec2Model),
    ):
        patches.set(module.UpstreamExpert, "__init__", _init(name, module, cls))


def _init(name: str, module: Any, cls: Any) -> Callable[..., None]:
    def init(self: Any, ckpt: str, **options: Any) -> None:
        pretrained.check_ckpt(name, ckpt)
        nn.Module.__init__(self)
        self.extracter = pretrained.load_extractor(module.Wav2Vec2FeatureExtractor, ckpt)
        self.model = pretrained.load_model(name, cls, ckpt)

    return init


def _watch(patches: Patches) -> dict[int, tuple[nn.Module, set[str]]]:
    """Note, by module, the weights that load_state_dict(strict=False) does not find, which several of s3prl's families
    call without a look at what it returns (s3prl/upstream/decoar/expert.py:34)."""
    seen: dict[int, tuple[nn.Module, set[str]]] = {}
    stock = nn.Module.load_state_dict

    def load_state_dict(self: nn.Module, state_dict: Any, strict: bool = True, **options: Any) -> Any:
        found = stock(self, state_dict, strict, **options)
        before = seen.get(id(self), (self, set(found.missing_keys)))[1]
        seen[id(self)] = (self, before & set(found.missing_keys))
        return found

    patches.set(nn.Module, "load_state_dict", load_state_dict)
    return seen


def _check_loaded(name: str, options: dict[str, Any], module: nn.Module, missing: set[str]) -> None:
    """Refuse a checkpoint that has less than half of a module's weights: it is of something else. Less may be what the
    pretraining alone used, which s3prl drops."""
    weights = {key for key, _ in module.named_parameters()}
    lost = sorted(missing & weights)
    if 2 * len(lost) > len(weights):
        raise UsageError(
            f"{name!r} finds {len(lost)} of its {len(weights)} weights nowhere in {options.get('ckpt')}, among them "
            f"{', '.join(lost[:3])}: it is a checkpoint of another architecture; say its entry"
        )
