"""What corpora have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..assets import downstream_configs_dir
from .inventory import FOLDER, Inventory

ROOT = "root"  # the corpus itself, among the names of what a recipe's config wants


@dataclass(frozen=True)
class Option:
    """A file that a corpus may be given beside its folder.

    Attributes:
        help: one line.
        several: whether there may be more than one, separated by commas.
        short: what `prepare`, which knows the task, calls it too.
    """

    help: str
    several: bool = False
    short: str = ""


@dataclass(frozen=True)
class Source:
    """A corpus as the user points to it.

    Attributes:
        root: its folder.
        options: the files of its options.
        shipped: the files that ship with this package and the task at hand uses, such as ``char.dict``, by their
            names: where they are, or where the file is that the user's recipe settings name in the place of one, or
            of a product.
        inventory: what the task at hand reads of it.
        folder: where what is made of it lies at last.
    """

    root: Path
    options: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    shipped: Mapping[str, Path] = field(default_factory=dict)
    inventory: Inventory = field(default_factory=Inventory, compare=False)
    folder: Path = Path()

    def files(self, option: str) -> Sequence[Path]:
        """List the files of an option; none where it was not given."""
        return self.options.get(option, ())

    def file(self, option: str) -> Path | None:
        """Return the file of an option that has one."""
        return next(iter(self.files(option)), None)

    def count_samples(self, files: Sequence[Path], what: str, speech: bool = True) -> list[int]:
        """Return the lengths of the sound files that a task needs, in samples. A run is also what is in them.

        Args:
            files: of the corpus. Those that have not changed since an earlier preparation are not looked at again.
            what: a progress bar's name.
            speech: whether they must be mono at 16 kHz.

        Raises:
            CorpusError: some are unusable, see `audio.count_samples`.
        """
        return self.inventory.count_samples(files, what, speech=speech)


@dataclass(frozen=True)
class Corpus:
    """A corpus.

    Attributes:
        name: of the command line's option: ``--<name> DIR``.
        folder: what DIR has to hold; a few words.
        help: where to get it, and how to point to it.
        products: what is made beside it: name -> path below the folder for it; a list is a list in a config too.
        prepare: checks the corpus and makes products: ``prepare(source, products, folder)``. Raises CorpusError or
            MissingFileError. Audio is checked with ``source.count_samples``.
        options: by name, as the command line writes it without the dashes before it.
        root: path below the folder of products where recipes find it, if that is made too; such a corpus has no option.
        converted: the same for a corpus that may have to be converted: the user's folder -> that path, or "" for a
            folder that recipes can read as it is.
        given: what that is made of, absolute.
        words: what the command line says of it.
        replaceable: products in whose place a recipe's settings may name a file of the user's, and that file's usual
            name, by which a placeholder is known.
    """

    name: str
    folder: str
    help: str
    products: Mapping[str, str | Sequence[str]]
    prepare: Callable[[Source, Collection[str], Path], None]
    options: Mapping[str, Option] = field(default_factory=dict)
    root: str = ""
    converted: Callable[[Path], str] = lambda given: ""
    given: Path | None = None
    words: Sequence[str] = ()
    replaceable: Mapping[str, str] = field(default_factory=dict)

    def paths(self, product: str) -> list[Path]:
        """Say where a product lies, relative to the folder of products."""
        given = self.products[product]
        return [Path(given)] if isinstance(given, str) else [Path(path) for path in given]

    @property
    def folders(self) -> set[str]:
        """What the products take of their folder: the first part of each one's path."""
        return {path.parts[0] for product in self.products for path in self.paths(product)}


@dataclass(frozen=True)
class Prepared:
    """Where recipes find corpora, and what was made beside them.

    Attributes:
        folder: of the products, absolute.
        roots: by the corpora's names, absolute.
        version: of what is made here and may change: the demo's layout.
    """

    folder: Path
    roots: Mapping[str, Path] = field(default_factory=dict)
    version: str = ""

    def value(self, corpus: Corpus, name: str) -> str | list[str]:
        """Write what a recipe's config wants: the corpus's folder (`ROOT`), a product, or a file that ships with this
        package, such as ``char.dict``."""
        if name == ROOT:
            return str(self.roots[corpus.name])
        if name not in corpus.products:
            return str(downstream_configs_dir() / name)
        paths = [str(self.folder / path) for path in corpus.paths(name)]
        return paths[0] if isinstance(corpus.products[name], str) else paths

    def inventory(self, corpus: Corpus, task: str) -> Path:
        """Name the table of what a task reads of a corpus."""
        return self.folder / FOLDER / corpus.name / f"{task}.csv"

    def made(self, corpus: Corpus, products: Collection[str]) -> list[Path]:
        """List the files and folders of some products."""
        return [self.folder / path for product in products for path in corpus.paths(product)]


def warn_count(what: str, got: int, official: int, unit: str = "utterances") -> None:
    """Say on stderr how far a corpus is from the official one; small copies are allowed."""
    if got != official:
        difference = f"{abs(got - official):,} {'fewer' if got < official else 'more'} than the official {official:,}"
        print(
            f"warning: {what} has {got:,} {unit}, {difference}; scores on it do not compare with published ones",
            file=sys.stderr,
        )
