"""What the recipes' YAML files may say: what s3prl's runner reads of each, and kinds that several have.

Names are those of the installed s3prl and torch. s3prl itself evaluates them as code, or looks them up, once models
have loaded and the corpus is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ...schema import (
    ANYTHING,
    SWITCH,
    TEXT,
    Check,
    Kind,
    OneOf,
    Problem,
    Section,
    by_default,
    number,
    several,
    whole,
)
from ..defined import UNKNOWN, Signature, definitions
from ..hub import s3prl_folder

PATH = Kind("a path", TEXT.read, null=True)  # left empty or out: see `_shared.check_paths`
BATCH = whole(1)
WORKERS = whole(0, 1024)
LOADERS = {"train_batch_size": BATCH, "eval_batch_size": BATCH, "num_workers": WORKERS}
CROP = {"max_timestep": whole(1, null=True)}  # samples
SPLITS = several(TEXT)
FOLDERS = several(TEXT, least=1)  # of a split that is needed
STEPS = whole(1)
LR = number(above=0)

RUNNER = Section(
    needed={
        "total_steps": STEPS,
        "gradient_clipping": number(above=0, finite=False),
        "gradient_accumulate_steps": STEPS,
        "log_step": STEPS,
        "eval_step": STEPS,
        "save_step": STEPS,
        "eval_dataloaders": SPLITS,
    },
    more={"max_keep": whole(1), "fp16": SWITCH, "train_dataloader": TEXT, "evaluate_ratio": number(above=0, most=1)},
)
# What the runner cannot use: they want a closure, or sparse gradients.
_NO_OPTIMIZERS = ("Optimizer", "LBFGS", "SparseAdam")


def with_splits(section: Section) -> Check:
    """Let a section have splits by any names, each a list of the corpus's folders, beside its own keys."""

    def check(key: str, value: Any, problems: list[Problem]) -> Any:
        given = value if isinstance(value, dict) else {}
        lists = {name: SPLITS for name in given if isinstance(given[name], list) and name not in section.needed}
        return replace(section, more={**lists, **section.more})(key, value, problems)

    return check


def splits_of(section: dict[str, Any]) -> list[str]:
    """Name the splits of such a section that have a folder."""
    return [name for name, value in section.items() if isinstance(value, list) and value]


def dev_and_test(config: dict[str, Any]) -> list[str]:
    """Name the splits of recipes that have these."""
    return ["dev", "test"]


def makers(section: str) -> dict[str, Signature]:
    """Return the functions that s3prl chooses for an ``optimizer`` or a ``scheduler`` by ``get_<name>``, by that name
    (s3prl/optimizers.py:22)."""
    found, others = definitions(s3prl_folder() / f"{section}s.py"), (section, "grouped_parameters")
    return {name[4:]: of for name, of in found.items() if name.startswith("get_") and name[4:] not in others}


def options(of: Signature, given: Sequence[str], known: Mapping[str, Check]) -> Section:
    """Return the section of what a function or class of s3prl's takes.

    Args:
        of: its parameters.
        given: those that are given in another way.
        known: what stands at some of them, where the default does not tell.
    """
    defaults = of.defaults or {}
    kinds = {name: known.get(name) or by_default(defaults.get(name, UNKNOWN)) for name in of.names}
    open_ones = {name: kind for name, kind in kinds.items() if name not in given}
    needed = {name: kind for name, kind in open_ones.items() if name not in defaults}
    return Section(needed, {name: open_ones[name] for name in open_ones if name not in needed}, of.forwards)


def optimizer(key: str, value: Any, problems: list[Problem]) -> Any:
    """Check an optimizer; see `Check`."""
    getters = makers("optimizer")
    head = Section({"name": OneOf("optimizer", getters), "lr": LR}, others=True)
    before = len(problems)
    head(key, value, problems)
    if len(problems) > before:
        return value
    if value["name"] == "TorchOptim":
        return _torch_optimizer(key, value, problems)
    section = options(getters[value["name"]], ("model_params", "total_steps"), {"lr": LR})
    return Section({"name": ANYTHING}, {**section.needed, **section.more}, section.others)(key, value, problems)


def _torch_optimizer(key: str, value: dict[str, Any], problems: list[Problem]) -> Any:
    known: dict[Any, Any] = {name: cls for name, cls in vars(torch.optim).items() if inspect.isclass(cls)}
    names = [n for n, cls in known.items() if issubclass(cls, torch.optim.Optimizer) and n not in _NO_OPTIMIZERS]
    name, before = value.get("torch_optim_name"), len(problems)
    head = Section({"torch_optim_name": OneOf("optimizer of torch.optim", names)}, others=True)
    head(key, value, problems)
    if len(problems) > before:
        return value
    parameters = inspect.signature(known[name]).parameters
    kinds = {float: number(), int: number(), bool: SWITCH, tuple: several(number())}
    more = {n: kinds.get(type(p.default), ANYTHING) for n, p in parameters.items() if n != "params"}
    Section({"name": ANYTHING, "torch_optim_name": ANYTHING}, {**more, "lr": LR})(key, value, problems)
    own = {name: option for name, option in value.items() if name not in ("name", "torch_optim_name")}
    if len(problems) == before and len(own) > 1:  # the ranges of anything but lr are torch's to know
        try:
            known[name]([torch.nn.Parameter(torch.zeros(1, 1))], **own)
        except (TypeError, ValueError, RuntimeError) as error:
            problems.append(Problem(key, f"{key}: torch.optim.{name} refuses it: {error}"))
    return value


def scheduler(key: str, value: Any, problems: list[Problem]) -> Any:
    """Check a schedule of the learning rate; without one it stays. See `Check`."""
    if not value:
        return value
    getters = makers("scheduler")
    before = len(problems)
    Section({"name": OneOf("scheduler", getters)}, others=True)(key, value, problems)
    if len(problems) > before:
        return value
    known: dict[str, Check] = {"num_warmup_steps": whole(0), "num_cycles": number(above=0), "power": number(above=0)}
    section = options(getters[value["name"]], ("optimizer", "num_training_steps", "last_epoch"), known)
    return Section({"name": ANYTHING, **section.needed}, section.more)(key, value, problems)


def specaug(key: str, value: Any, problems: list[Problem]) -> Any:
    """Check the masking of features; without it there is none. See `Check`."""
    if not value:
        return value
    of = definitions(s3prl_folder() / "downstream" / "specaug.py")["SpecAug"]
    counts = {name: whole(0) for name in of.names if type((of.defaults or {}).get(name)) is int}
    ranges = {name: several(whole(0), exactly=2) for name in of.names if name.endswith("_range")}
    return options(of, (), {**counts, **ranges})(key, value, problems)
