"""run_downstream's own arguments (s3prl/run_downstream.py:18), which are looked at before s3prl is there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from ..errors import UsageError, unknown

# Options that say where and how a run goes on, and not what comes out.
WHERE = ("device", "local_rank", "backend", "verbose", "disable_cudnn", "cache_dir", "upstream_refresh")


def make_parser() -> argparse.ArgumentParser:
    """Make a parser of all of them; ``-o`` may be given several times here."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("-h", "--help", action="store_true")
    add("-m", "--mode")
    add("-t", "--evaluate_split")
    add("-o", "--override", action="append", default=[])
    for short, name in zip("eicdvukgnp", _FILES_AND_NAMES):
        add(f"-{short}", f"--{name}")
    add("-r", "--upstream_refresh", action="store_true")
    add("-f", "--upstream_trainable", action="store_true")
    add("-s", "--upstream_feature_selection", default="hidden_states")
    add("-l", "--upstream_layer_selection", type=int)
    add("-a", "--auto_resume", action="store_true")
    for name in ("upstream_feature_normalize", "verbose", "disable_cudnn"):
        add(f"--{name}", action="store_true")
    for name in _VALUES:
        add(f"--{name}")
    add("--seed", type=int)
    return parser


_FILES_AND_NAMES = (
    *("past_exp", "init_ckpt", "config", "downstream", "downstream_variant"),
    *("upstream", "upstream_ckpt", "upstream_model_config", "expname", "expdir"),
)
_VALUES = (
    *("backend", "local_rank", "hub", "device", "cache_dir"),
    *("upstream_model_name", "upstream_revision", "push_to_hf_hub", "hf_hub_org"),
)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; what is unknown is left to run_downstream."""
    return make_parser().parse_known_args(list(words))[0]


def parse_strictly(words: Sequence[str], where: str) -> argparse.Namespace:
    """Parse arguments that must be run_downstream's.

    Args:
        words: the arguments.
        where: what they follow, for the message.

    Raises:
        UsageError: one of them is not.
    """
    parser = make_parser()
    parser.error = lambda message: _refuse(f"{where}: {message}")  # type: ignore[method-assign]
    args, strange = parser.parse_known_args(list(words))
    if strange:
        options = [option for action in parser._actions for option in action.option_strings]
        _refuse(f"{where}: {unknown('argument of run_downstream', strange[0], options)}")
    return args


def _refuse(message: str) -> NoReturn:
    raise UsageError(message)


def given(args: argparse.Namespace) -> dict[str, object]:
    """Return the arguments that were given, by their long names."""
    parser = make_parser()
    return {name: value for name, value in vars(args).items() if value != parser.get_default(name)}


def words_of(options: dict[str, object]) -> list[str]:
    """Write `given` options as words; of several ``-o``, run_downstream heeds the last one only."""
    words = []
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, list):
            words += [f"--{name}", ",,".join(value)]
        else:
            words += [f"--{name}", str(value)]
    return words
