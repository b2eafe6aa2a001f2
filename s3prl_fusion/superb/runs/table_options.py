"""What a command line says of a user's own corpus: --table and what belongs to it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...corpora.table import Table
from ...errors import MissingFileError, UsageError, unknown
from ..table_tasks import KINDS, is_table_name, table_name

COLUMNS = ("path", "split", "fold", "start", "end", "id", "text", "phonemes", "label", "speaker")
OPTIONS = ("table_name", "columns", "convert", "trials")  # that say nothing without --table


def add_table(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a user's own corpus."""
    add = parser.add_argument
    kinds = ", ".join(KINDS)
    add(
        "--table",
        metavar="FILE[,FILE...]",
        help=f"your own speech: a .csv, .tsv or .jsonl with path, split and what -t needs ({kinds}), a Kaldi "
        "folder, or one of the Hugging Face datasets library, or .parquet",
    )
    add("--columns", metavar="NAME=COLUMN[,...]", help="what columns are called there, for example text=sentence")
    add("--table-name", metavar="NAME[,NAME...]", help="what to call it (default: as the file)")
    add("--convert", action="store_true", help="make its sound files mono at 16 kHz, once, in the prepared folder")
    add("--trials", metavar="FILE", help="verify's test trials, 'SAME ID ID' lines, SAME is 0 or 1 (default: drawn)")


def tables_of(args: argparse.Namespace) -> list[Table]:
    """Read which tables the user names.

    Raises:
        UsageError, MissingFileError: names and tables do not fit together, or a file is not there.
    """
    if not getattr(args, "table", None):
        given = [name for name in OPTIONS if getattr(args, name, None)]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is for a table of your own; name it with --table FILE")
        return []
    paths = [Path(part.strip()).expanduser().absolute() for part in args.table.split(",") if part.strip()]
    names = [part.strip() for part in (args.table_name or "").split(",") if part.strip()]
    if names and len(names) != len(paths):
        raise UsageError(f"--table-name: got {len(names)} names for {len(paths)} tables")
    names = names or [table_name(path) for path in paths]
    for path, name in zip(paths, names):
        if not is_table_name(name):
            raise UsageError(
                f"{path} would be called {name!r}; give --table-name, of letters, digits, - and _, not ending as a "
                "run's folder does (_lr1, _seed2)"
            )
        if names.count(name) > 1:
            raise UsageError(f"two tables are called {name!r}; give --table-name NAME,NAME")
    lexicons, trials = _files(args, "lexicon"), next(iter(_files(args, "trials")), None)
    columns = _columns(args.columns)
    return [Table(path, name, args.convert, lexicons, trials, columns) for path, name in zip(paths, names)]


def _columns(text: str | None) -> tuple[tuple[str, str], ...]:
    pairs = [tuple(word.strip() for word in part.split("=", 1)) for part in (text or "").split(",") if part.strip()]
    for pair in pairs:
        if len(pair) != 2 or not all(pair):
            raise UsageError(f"--columns: got {text!r}, expected NAME=COLUMN[,NAME=COLUMN...], as text=sentence")
        if pair[0] not in COLUMNS:
            raise UsageError(f"--columns: {unknown('column', pair[0], COLUMNS)}")
    return tuple((ours, theirs) for ours, theirs in pairs)


def table_words(args: argparse.Namespace) -> list[str]:
    """Write these options as the command line has them, with absolute paths."""
    tables = tables_of(args)
    if not tables:
        return []
    joined = {"--table": [str(table.path) for table in tables], "--table-name": [table.name for table in tables]}
    words = [word for option, values in joined.items() for word in (option, ",".join(values))]
    words += ["--convert"] if args.convert else []
    words += ["--columns", args.columns] if args.columns else []
    if tables[0].lexicons and not getattr(args, "librispeech", None):  # whose option that is too
        words += ["--lexicon", ",".join(map(str, tables[0].lexicons))]
    return [*words, *(["--trials", str(tables[0].trials)] if tables[0].trials else [])]


def _files(args: argparse.Namespace, option: str) -> tuple[Path, ...]:
    text = getattr(args, option, None) or ""
    files = tuple(Path(part.strip()).expanduser().absolute() for part in text.split(",") if part.strip())
    gone = [file for file in files if not file.is_file()]
    if gone:
        raise MissingFileError(f"--{option}: {gone[0]} does not exist")
    return files
