"""What the recipes' YAML files may say: what s3prl's runner reads of each, and the models that recipes choose from.

Names are those of the installed s3prl and torch. s3prl itself evaluates them as code, or looks them up, once models
have loaded and the corpus is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ...schema import (
    ANYTHING,
    SWITCH,
    TEXT,
    WIDTH,
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
SPLITS = several(TEXT)
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
        lists = (
            {name: SPLITS for name in splits_of(value) if name not in section.needed} if isinstance(value, dict) else {}
        )
        return replace(section, more={**lists, **section.more})(key, value, problems)

    return check


def splits_of(section: dict[str, Any]) -> list[str]:
    """Name the splits of such a section."""
    return [name for name, value in section.items() if isinstance(value, list)]


def dev_and_test(config: dict[str, Any]) -> list[str]:
    """Name the splits of recipes that have these."""
    return ["dev", "test"]


def _getters(file: str, *others: str) -> dict[str, Signature]:
    """Return the functions that s3prl chooses by ``get_<name>``, by that name."""
    found = definitions(s3prl_folder() / file)
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
    getters = _getters("optimizers.py", "optimizer", "grouped_parameters")
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
    getters = _getters("schedulers.py", "scheduler")
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


def _activations() -> list[str]:
    with_arguments = ("MultiheadAttention", "Threshold")
    return [name for name in torch.nn.modules.activation.__all__ if name not in with_arguments]


def _poolings() -> list[str]:
    return [name for name in definitions(s3prl_folder() / "downstream" / "model.py") if name.endswith("Pooling")]


def _cell(value: Any) -> str:
    if value.upper() not in ("LSTM", "GRU", "RNN"):
        raise ValueError
    return value


@dataclass(frozen=True)
class Model:
    """The section of a recipe's model: the name of one of s3prl's classes, and its options in a section of that name.

    Attributes:
        files: where the classes are, below s3prl's downstream/.
        width: the key of the width of the features that it gets.
        without: classes that these files have for other recipes.
        needed: what else the section must have.
        own: what stands in the sections of classes that take more than their signature says.
        explicit: whether the recipe fails where the chosen class has no section.
    """

    files: Sequence[str]
    width: str = ""
    without: Sequence[str] = ()
    needed: Mapping[str, Check] = field(default_factory=dict)
    own: Mapping[str, Check] = field(default_factory=dict)
    explicit: bool = False

    def __call__(self, key: str, value: Any, problems: list[Problem]) -> Any:
        """See `Check`."""
        classes = {name: of for name, of in self._classes().items() if name not in self.without}
        width = {self.width: WIDTH} if self.width else {}
        head = Section(
            {**width, **self.needed, "select": OneOf("model", classes)}, dict.fromkeys(self._classes(), ANYTHING)
        )
        head(key, value, problems)
        name = value.get("select") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in classes:
            return value
        if name not in value and self.explicit:
            told = f"{key} has no {name}, which must be a mapping of its options (it may be empty: {{}})"
            problems.append(Problem(f"{key}.{name}", told))
            return value
        of = classes[name]
        check = self.own.get(name) or options(of, [*of.names[:2], "upstream_rate"], model_options())
        settings = check(f"{key}.{name}", value.get(name, {}), problems)
        if name == "RNNs" and isinstance(settings, dict):
            _check_lengths(f"{key}.{name}", settings, problems)
        return value

    def _classes(self) -> dict[str, Signature]:
        """Models take a width and give one; the files' other classes are parts of models."""
        found: dict[str, Signature] = {}
        for file in self.files:
            found.update(definitions(s3prl_folder() / "downstream" / file))
        ends = {name: of.names[:2] for name, of in found.items() if of.is_class and len(of.names) > 1}
        return {n: found[n] for n, (a, b) in ends.items() if a.startswith("input_") and b.startswith("output_")}


def _check_lengths(key: str, settings: dict[str, Any], problems: list[Problem]) -> None:
    """Hold the lists of RNNs, one item a layer, against each other."""
    lengths = {name: len(value) for name, value in settings.items() if isinstance(value, list)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        problems.append(Problem(key, f"{key}: the lists must have one item a layer; {told}"))


def model_options() -> dict[str, Check]:
    """Say what stands at the parameters of s3prl's models."""
    net = Model(("model.py",), without=("UtteranceLevel",))
    part = number(least=0, below=1)
    return {
        "hiddens": several(WIDTH, null=True),
        "activation": OneOf("activation of torch.nn", _activations()),
        "pooling": OneOf("pooling", _poolings()),
        "pre_net": lambda key, value, problems: value if value is None else net(key, value, problems),
        "post_net": net,
        "module": Kind("LSTM, GRU or RNN", _cell),
        "bidirection": SWITCH,
        "dim": several(WIDTH, least=1),
        "dropout": several(part, least=1),
        "layer_norm": several(SWITCH, least=1),
        "proj": several(SWITCH, least=1),
        "sample_rate": several(whole(1), least=1),
        "sample_style": OneOf("style", ("drop", "concat")),
        "total_rate": whole(-1),
    }
