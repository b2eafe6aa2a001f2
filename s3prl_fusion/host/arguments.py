"""run_downstream's own arguments (s3prl/run_downstream.py:18), which are looked at before s3prl is there."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import UsageError, unknown

# Options that say where and how a run goes on, and not what comes out.
WHERE = ("device", "local_rank", "backend", "verbose", "disable_cudnn", "cache_dir", "upstream_refresh")
_WITH_VALUE = (
    "m:mode t:evaluate_split e:past_exp i:init_ckpt c:config d:downstream v:downstream_variant u:upstream "
    "k:upstream_ckpt g:upstream_model_config n:expname p:expdir :backend :local_rank :hub :device :cache_dir "
    ":upstream_model_name :upstream_revision :push_to_hf_hub :hf_hub_org"
)
_CHOICES = {"mode": ("train", "evaluate", "inference"), "hub": ("torch", "huggingface")}
_SWITCHES = (
    "h:help r:upstream_refresh f:upstream_trainable a:auto_resume :upstream_feature_normalize :verbose :disable_cudnn"
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def make_parser() -> argparse.ArgumentParser:
    """Make a parser of all of them; ``-o`` may be given several times here."""
    parser = _Parser(add_help=False)
    for options, action in ((_WITH_VALUE, "store"), (_SWITCHES, "store_true")):
        for short, _, name in (option.partition(":") for option in options.split()):
            more: dict[str, Any] = {"choices": _CHOICES[name]} if name in _CHOICES else {}
            parser.add_argument(*([f"-{short}"] if short else []), f"--{name}", action=action, **more)
    parser.add_argument("-o", "--override", action="append", default=[])
    parser.add_argument("-s", "--upstream_feature_selection", default="hidden_states")
    parser.add_argument("-l", "--upstream_layer_selection", type=int)
    parser.add_argument("--seed", type=_seed)
    return parser


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):  # numpy takes no others
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {2**32 - 1}")
    return int(text)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; what the installed run_downstream alone knows is left to it.

    Raises:
        UsageError: an option is unknown, lacks its value, or has one of another kind.
    """
    from .hub import s3prl_folder

    parser = make_parser()
    args, strange = parser.parse_known_args(list(words))
    if strange:
        text = (s3prl_folder() / "run_downstream.py").read_text(encoding="utf-8")
        options = {*parser._option_string_actions, *re.findall(r"""["'](--?[A-Za-z]\w*)["']""", text)}
        if not any(word.partition("=")[0] in options for word in strange):
            raise UsageError(unknown("argument of run_downstream", strange[0], options))
    return args


def parse_strictly(words: Sequence[str]) -> argparse.Namespace:
    """Parse arguments that must be run_downstream's.

    Raises:
        UsageError: as `parse`, or one of them is not.
    """
    parser = make_parser()
    args, strange = parser.parse_known_args(list(words))
    if strange:
        raise UsageError(unknown("argument of run_downstream", strange[0], parser._option_string_actions))
    return args


def given(args: argparse.Namespace) -> dict[str, Any]:
    """Pick the arguments that were given, by their long names."""
    parser = make_parser()
    return {name: value for name, value in vars(args).items() if value != parser.get_default(name)}


def split_overrides(texts: Sequence[str]) -> list[str]:
    """Split what ``-o`` says, once or several times, into `key=value` each; to run_downstream, "none" is nothing."""
    return [part.strip() for text in texts if text.lower() != "none" for part in text.split(",,")]


def override(config: dict[str, Any], parts: Sequence[str]) -> list[str]:
    """Put what ``-o`` says of the config into it, in place, as run_downstream will (s3prl/utility/helper.py:71).

    Args:
        config: a recipe's.
        parts: see `split_overrides`.

    Returns:
        The keys.

    Raises:
        UsageError: a part is of another form, names no argument, or a value stands where its key needs a section.
    """
    keys = []
    for part in parts:
        where, _, key = part.partition("=")[0].strip().partition(".")
        if not re.fullmatch(r"(config|args)(\.[^.=\s]+)+\s*=[^=]*", part) or (where == "args" and "." in key):
            raise UsageError(f"-o {part} is not config.KEY=VALUE, for example config.optimizer.lr=1e-3")
        if where == "config":
            set_value(config, key, _value(part.partition("=")[2]))
            keys.append(key)
        elif key not in vars(make_parser().parse_args([])):
            raise UsageError(f"-o {part}: {unknown('argument', key, vars(make_parser().parse_args([])))}")
    return keys


def set_value(config: dict[str, Any], key: str, value: Any) -> None:
    """Set what stands at a key, ``section.section.name``; sections are made where they are missing."""
    *sections, last = key.split(".")
    for section in sections:
        config = config.setdefault(section, {})
        if not isinstance(config, dict):
            raise UsageError(f"the recipe's {key}: {section} has the value {config!r}, and no keys of its own")
    config[last] = value


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Write `given` options as words."""
    return [word for name, value in options.items() for word in (f"--{name}", *([] if value is True else [str(value)]))]
