"""Upstreams of the user's own: their source is looked at before anything runs, and they are loaded."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..config import MemberConfig
from ..errors import KindError, MissingFileError, UsageError, UserError, unknown
from ..files import read_mapping
from ..imports import beside, load_object
from ..schema import ANYTHING, Problem, Section
from ..upstreams.pretrained import check_ckpt
from ..upstreams.references import EXPERT, EXPERT_CLASS, HUBCONF, Reference, parse
from ..upstreams.repositories import MODEL, Repository, fetch
from .defined import Signature, bound_names, definitions
from .folders import find, own_hooks
from .loading import config_as_file

_ADAPTER = Reference("s3prl_fusion.upstreams.transformers", "TransformersUpstream")
_WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def check_name(name: str) -> None:
    """Refuse a name of a user's own upstream that refers to nothing; its source is read, and not run.

    Raises:
        UserError: there is no such file or module, or no such class or function in it.
    """
    reference = parse(name)
    if isinstance(reference, Repository):
        check(MemberConfig(name))
    elif reference is not None:
        _source(reference, name)


def check(member: MemberConfig) -> None:
    """Refuse a member that is the user's own, see `check_name`, and does not take what it is given.

    Raises:
        UserError: as there; a file is missing, a ckpt is, or an option that it does not know is given.
    """
    reference = parse(member.name)
    if reference is None:
        return
    if isinstance(reference, Repository):
        _check_repository(member, reference)
    _check_files(member)
    if isinstance(reference, Repository):
        reference, member = _meaning(member, reference, code_only=True)
    of = _source(reference, member.name)
    if of is not None:
        _arguments(member, of, reference)


def _check_repository(member: MemberConfig, repository: Repository) -> None:
    if member.ckpt is not None:
        raise UsageError(f"ckpt {member.ckpt!r}: {member.name!r} says its checkpoint itself; leave it out")
    if not repository.runs_code:
        check_ckpt(repository.identity, repository.target)
    elif repository.path and repository.path.is_dir():
        _check_model(member.name, repository.path)


def _check_model(name: str, folder: Path) -> None:
    if not (folder / MODEL).is_file():
        raise MissingFileError(f"{name!r}: {folder} has no {MODEL}, which its {EXPERT} is given")


def _meaning(member: MemberConfig, repository: Repository, code_only: bool = False) -> tuple[Reference, MemberConfig]:
    """Say what loads a repository's upstream, and with what; fetch it, or no more of it than its code."""
    if repository.runs_code:
        folder = repository.path or fetch(repository.pinned(), code_only)
        if not code_only:
            _check_model(member.name, folder)
        return Reference(f"{folder}{os.sep}", ""), replace(member, ckpt=str(folder / MODEL))
    config = member.model_config
    options = read_mapping(config) if isinstance(config, str) else dict(config or {})
    revision = repository.revision if code_only else repository.pinned().revision
    if revision:
        options["revision"] = revision
    target = str(repository.path) if repository.path else repository.target
    return _ADAPTER, replace(member, ckpt=target, model_config=options)


def _source(reference: Reference, name: str) -> Signature | None:
    """Find what is called in the source; None where that does not tell its parameters."""
    file = reference.source()
    if file is None:
        if reference.where in sys.modules:
            return None
        raise _missing(reference, name)
    try:
        names, defined = bound_names(file), definitions(file)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"upstream {name!r}: {file} is not Python: {error}") from error
    public = [known for known in defined if not known.startswith("_")]
    wanted = reference.attribute or (EXPERT_CLASS if reference.is_folder else "")
    if not wanted:
        has = f"it has {', '.join(public)}" if public else "it has none"
        raise UsageError(f"upstream {name!r}: say which class or function of it, {name}:NAME; {has}")
    if names is not None and wanted not in names:
        where = f"{file}: " if reference.is_folder else ""
        raise UsageError(f"upstream {name!r}: {where}{unknown('class or function', wanted, public)}")
    return defined.get(wanted)


def _missing(reference: Reference, name: str) -> UserError:
    """Say what is not there of what a name refers to."""
    path = reference.path
    if path is None:
        return UsageError(
            f"upstream {name!r}: there is no module {reference.where!r}; give the file's path "
            "(path/to/file.py:Name), or add its folder to PYTHONPATH"
        )
    if not reference.is_folder:
        return MissingFileError(f"upstream {name!r}: there is no file {path}; correct the path")
    if not path.is_dir():
        is_there = "is a file, and no Python file" if path.is_file() else "does not exist"
        hub = f", or say hf:{name} or hf-s3prl:{name} of the Hugging Face hub" if name.count("/") == 1 else ""
        return MissingFileError(
            f"upstream {name!r}: {path} {is_there}; give a folder in s3prl's layout, with an {EXPERT} and a "
            f"{HUBCONF}{hub}"
        )
    if reference.attribute:
        return MissingFileError(f"upstream {name!r}: {path} has no {HUBCONF}, in which {reference.attribute} would be")
    return MissingFileError(
        f"upstream {name!r}: {path} has no {EXPERT} with a class {EXPERT_CLASS}, as s3prl's layout has; for a class in "
        "another file say path/to/file.py:NAME"
    )


def _check_files(member: MemberConfig) -> None:
    ckpt, config = member.ckpt, member.model_config
    if ckpt is not None and "://" not in ckpt and not Path(ckpt).exists():
        if Path(ckpt).is_absolute() or ckpt.startswith((".", "~")) or Path(ckpt).suffix in _WEIGHTS:
            raise MissingFileError(f"ckpt {ckpt!r} of {member.name!r} does not exist; correct the path")
    if isinstance(config, str) and not Path(config).exists():
        raise MissingFileError(f"model_config {config!r} of {member.name!r} does not exist; correct the path")


def _arguments(member: MemberConfig, of: Signature, reference: Reference) -> dict[str, Any]:
    """Say what a class or function is called with.

    Its parameter ``model_config`` gets what s3prl would give; without one, it gets the options as keyword arguments. In
    s3prl's layout, ``**kwargs`` lead to such a parameter.

    Raises:
        UsageError: it does not take something, or needs something else.
    """
    given = {} if member.ckpt is None else {"ckpt": member.ckpt}
    if given and "ckpt" not in of.names and not of.variadic:
        raise UsageError(f"ckpt {member.ckpt!r}: {member.name!r} takes none; leave it out")
    if not given and "ckpt" in of.needed:
        raise UsageError(f"{member.name!r} needs a ckpt; give it one: -k CKPT, or ckpt: PATH in a fusion YAML")
    config = member.model_config
    if "model_config" in of.names or (reference.is_folder and of.variadic):
        if config is None and "model_config" in of.needed:
            raise UsageError(f"{member.name!r} needs a model_config; give it one: -g FILE, or in a fusion YAML")
        return given if config is None else {**given, "model_config": config}
    options = read_mapping(config) if isinstance(config, str) else dict(config or {})
    needed = {name: ANYTHING for name in of.needed if name != "ckpt"}
    kinds = {name: ANYTHING for name in of.names if name not in ("ckpt", *needed)}
    problems: list[Problem] = []
    Section(needed, kinds, others=of.variadic and of.reads)("model_config", options, problems)
    if problems:
        raise UsageError(f"{member.name!r}: {problems[0].line}")
    return {**given, **options}


def load(member: MemberConfig, refresh: bool = False) -> nn.Module:
    """Import a class or function and call it, after `check`.

    Args:
        member: it.
        refresh: run_downstream's ``-r``, for what takes it.

    Raises:
        UserError: it does not take what it is given, or raises something, or gives no module.
    """
    reference, origin = parse(member.name), ""
    if isinstance(reference, Repository):
        origin = str(reference.pinned()) if reference.runs_code and not reference.path else ""
        reference, member = _meaning(member, reference)
    assert reference is not None
    with _telling(member.name, reference, "imported"):
        make = find(reference, origin) if reference.is_folder else load_object("upstream", str(reference), nn.Module)[0]
    if not callable(make):
        raise KindError(f"upstream {member.name!r} must be a class or a function; got {make!r}")
    of = _described(make)
    arguments = _arguments(member, of, reference)
    if refresh and "refresh" in of.names:
        arguments["refresh"] = refresh
    path = reference.path.resolve() if reference.path else None
    place = beside(path if path.is_dir() else path.parent) if path else nullcontext()
    with config_as_file(arguments) as written, place, own_hooks(), _telling(member.name, reference, "made"):
        upstream = make(**written)
    if not isinstance(upstream, nn.Module):
        raise KindError(
            f"upstream {member.name!r} must be or return a torch.nn.Module, whose call maps a list of waveforms to a "
            f"dict with hidden_states; got {type(upstream).__name__}"
        )
    return upstream


def check_rate(member: MemberConfig, upstream: nn.Module) -> None:
    """Raise UsageError for a user's own upstream that run_downstream's own featurizer cannot ask for its rate."""
    if parse(member.name) and not callable(getattr(upstream, "get_downsample_rates", None)):
        raise UsageError(
            f"upstream {member.name!r} has no get_downsample_rates(key) -> int, the samples of a frame; define it, or "
            "make it the member of a fusion YAML, where the rate is measured"
        )


def _described(make: Callable[..., Any]) -> Signature:
    """Describe what can be called, once it is imported."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # of what is built in
        return Signature(variadic=True, reads=True)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    defaults = {p.name: p.default for p in named if p.default is not p.empty}
    variadic = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return Signature(tuple(p.name for p in named), defaults, variadic, variadic=variadic, reads=True)


@contextmanager
def _telling(name: str, reference: Reference, done: str) -> Iterator[None]:
    """Say where the user's own code raises something, in a line."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = {str(file.resolve()) for file in reference.all_files()}
        place = next((f for f in reversed(frames) if str(Path(f.filename).resolve()) in own), frames[-1])
        needs = reference.path / "requirements.txt" if reference.path and isinstance(error, ImportError) else None
        advice = f"; pip install -r {needs}" if needs and needs.is_file() else ""
        raise UsageError(
            f"upstream {name!r} raises {type(error).__name__} where it is {done}: {error} "
            f"({place.filename}, line {place.lineno}){advice}"
        ) from error
