"""run_downstream's own arguments (s3prl/run_downstream.py:18), which are looked at before s3prl is there."""

from __future__ import annotations

import argparse
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
            parser.add_argument(*([f"-{short}"] if short else []), f"--{name}", action=action)
    parser.add_argument("-o", "--override", action="append", default=[])
    parser.add_argument("-s", "--upstream_feature_selection", default="hidden_states")
    parser.add_argument("-l", "--upstream_layer_selection", type=int)
    parser.add_argument("--seed", type=int)
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; what is unknown is left to run_downstream.

    Raises:
        UsageError: an option lacks its value, or has one of another kind.
    """
    return make_parser().parse_known_args(list(words))[0]


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
    """Split what ``-o`` says, once or several times, into `key=value` each."""
    return [part.strip() for text in texts for part in text.split(",,")]


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Write `given` options as words."""
    return [word for name, value in options.items() for word in (f"--{name}", *([] if value is True else [str(value)]))]
