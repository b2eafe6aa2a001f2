"""The models that recipes choose from by name, and what their options may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...schema import ANYTHING, SWITCH, TEXT, WIDTH, Check, Kind, OneOf, Problem, Section, number, several, whole
from ..defined import Signature, definitions
from ..hub import s3prl_folder
from ._settings import options


def _activations() -> list[str]:
    with_arguments = ("MultiheadAttention", "Threshold")
    return [name for name in torch.nn.modules.activation.__all__ if name not in with_arguments]


def _poolings() -> list[str]:
    return [name for name in definitions(s3prl_folder() / "downstream" / "model.py") if name.endswith("Pooling")]


def _cell(value: Any) -> str:
    if TEXT.read(value).upper() not in ("LSTM", "GRU", "RNN"):
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
