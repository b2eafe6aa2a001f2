"""The command line: `s3prl-fusion COMMAND`. A command is a module of `commands` with ``add_arguments`` and ``main``."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import Sequence

from . import __version__
from .disk import refusal
from .errors import UserError, in_words
from .permissions import OPTION, take_option

# Said here, so that only the command that was named is imported.
COMMANDS = {
    "run": "s3prl's run_downstream with fused upstreams; takes run_downstream's own arguments",
    "superb": "prepare, train, evaluate and score SUPERB's tasks",
    "select": "tell which upstreams to fuse for a task, by short trainings on a sample of train and dev",
    "prepare": "check a corpus and write what a task needs beside it",
    "score": "recompute the score of one expdir from its files",
    "results": "tables and a chart of scores, SUPERB score, published numbers; --compare two experiments",
    "submit": "pack predict.zip for the SUPERB leaderboard, and fill in its form",
    "check": "whether an upstream is right, your own above all: its contract, and what it does at the edges",
    "profile": "multiply-accumulates, parameters, speed and memory of an upstream",
    "list": "names of fused upstreams, their sizes, and the interfaces",
    "extract": "write features of sound files as .npy or .safetensors",
    "cache": "keep frozen members' hidden states on disk: fill, stats, verify, clear",
    "weights": "draw what each layer of each upstream contributes to a trained fusion",
    "hook": "make s3prl's own scripts, s3prl-main and ESPnet know fused upstreams",
    "doctor": "versions, what does not fit together, what is missing, and whether a fused forward works",
}

DESCRIPTION = "SUPERB with fused upstreams, on s3prl."
EPILOG = f"Each command takes {OPTION} NAME, several times: a file, module or hub id of others whose code may run here."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and show what the user can mend as one line.

    Args:
        argv: the arguments after the program's name; ``None`` takes them from the command line.

    Returns:
        The command's exit status; 2 for a mistake of the user's, 130 after Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = _named(argv)
    try:
        argv = take_option(argv)
        name = _named(argv)
        args = build_parser(argv).parse_args(argv[:1] if name == "run" else argv)
        return args.command(argv[1:] if name == "run" else args)
    except BrokenPipeError:
        # Whoever reads the output, such as `head`, has had enough; what is still to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        # What a disk or a permission refuses is the user's to mend too.
        told = error if isinstance(error, UserError) else refusal(error)
        if told is None and getattr(error, "filename", None) is None:
            raise
        print(f"s3prl-fusion {name}: error: {in_words(told or error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; give the same command again to go on where it stopped", file=sys.stderr)
        return 130


def _named(argv: Sequence[str]) -> str | None:
    return next((word for word in argv if not word.startswith("-")), None)


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Make a parser that knows every command's name, and the options of the one that some arguments name.

    The arguments of `run` are run_downstream's affair: they are not parsed here.
    """
    parser = argparse.ArgumentParser("s3prl-fusion", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"s3prl-fusion {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="name")
    for name, text in COMMANDS.items():
        command_parser = commands.add_parser(name, help=text, add_help=name != "run")
        if name == _named(argv):
            command = import_module(f"{__package__}.commands.{name}")
            if hasattr(command, "load_own"):
                command.load_own(argv)  # a user's own tasks have corpora with options of their own
            command_parser.description = command.__doc__
            command.add_arguments(command_parser)
            command_parser.set_defaults(command=command.main)
    return parser
