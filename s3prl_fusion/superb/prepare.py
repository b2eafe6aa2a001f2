"""Check the user's corpora for the tasks at hand, and make what the recipes need, before any training."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..assets import downstream_configs_dir
from ..corpora.base import Corpus, Prepared, Source
from ..corpora.inventory import FOLDER, Inventory, read_known
from ..disk import check_folder
from ..errors import CorpusError, MissingFileError
from ..files import whole_files
from .own_files import shipped_files
from .tasks import TASKS, Task

Sources = Mapping[str, Source]  # by the corpora's names


def corpora_of(tasks: Sequence[Task]) -> list[Corpus]:
    """List the corpora of tasks, each once."""
    return list({task.corpus.name: task.corpus for task in tasks}.values())


def used_by(corpus: Corpus, option: str | None = None) -> str:
    """Name the tasks on a corpus, or those that an option of it is for."""
    tasks = [task for task in TASKS.values() if task.corpus.name == corpus.name]
    return ", ".join(task.name for task in tasks if option is None or option in task.options)


def check_sources(tasks: Sequence[Task], sources: Sources) -> None:
    """Refuse corpora that the tasks need and the user did not give, or that are no folders, and files that are gone.

    Raises:
        CorpusError, MissingFileError: lists all of them.
    """
    problems = []
    for corpus in corpora_of(tasks):
        source = sources.get(corpus.name)
        if source is None:
            needed_by = ", ".join(task.name for task in tasks if task.corpus.name == corpus.name)
            problems.append(f"--{corpus.name} is missing (needed by {needed_by}): {corpus.help}")
        elif not (corpus.root or source.root.is_dir()):
            problems.append(f"--{corpus.name}: {source.root} is not a folder: {corpus.help}")
    if problems:
        raise CorpusError("\n".join(problems))
    given = [item for corpus in corpora_of(tasks) for item in sources[corpus.name].options.items()]
    gone = [f"--{name}: {file} does not exist" for name, files in given for file in files if not file.exists()]
    if gone:
        raise MissingFileError("\n".join(gone))


def prepare(
    tasks: Sequence[Task], sources: Sources, folder: Path, write: bool = True, configs: Path | None = None
) -> Prepared:
    """Check the corpora of `tasks` and write what their recipes need into `folder`.

    Args:
        tasks: the tasks to run.
        sources: the user's corpora.
        folder: where tables and lists go; made when missing.
        write: False only checks that the corpora are given, and tells where things will be.
        configs: folder of the recipes' settings, which may name a dictionary of the user's; the shipped ones'.

    Raises:
        CorpusError, MissingFileError: something is missing or unusable; nothing half-written is left.
    """
    check_sources(tasks, sources)
    folder, configs = folder.resolve(), configs or downstream_configs_dir()
    shipped = {task.name: shipped_files(task, configs / task.config) for task in tasks}
    given = {corpus.name: sources[corpus.name].root.resolve() for corpus in corpora_of(tasks)}
    made = {corpus.name: corpus.root or corpus.converted(given[corpus.name]) for corpus in corpora_of(tasks)}
    roots = {name: folder / made[name] if made[name] else root for name, root in given.items()}
    if folder in given.values():
        raise CorpusError(f"{folder} is the corpus itself, which is only read; choose another folder to write to")
    check_folder("-o", folder)
    for task in tasks if write else ():
        corpus = task.corpus
        products = [path for product in corpus.products for path in corpus.paths(product)]
        with whole_files(folder, keep=[*products, Path(FOLDER, corpus.name)]) as draft:
            root, table = roots[corpus.name], Prepared(draft).inventory(corpus, task.name)
            inventory = Inventory(root, read_known(sorted(table.parent.glob("*.csv"))))
            source = Source(given[corpus.name], sources[corpus.name].options, shipped[task.name], inventory, folder)
            corpus.prepare(source, task.products, draft)
            _tell(corpus, inventory.write(table))
    return Prepared(folder, roots)


def _tell(corpus: Corpus, changed: Sequence[str]) -> None:
    if changed:
        files = "file has" if len(changed) == 1 else "files have"
        where = corpus.given or f"--{corpus.name}"
        print(
            f"{len(changed)} {files} other contents in {where} than before: {', '.join(changed[:3])}"
            f"{' ...' if len(changed) > 3 else ''}; runs on the former ones are not valid any more",
            file=sys.stderr,
        )
