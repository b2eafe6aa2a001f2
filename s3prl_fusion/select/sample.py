"""The sampled corpora: DIR/sample, in the layouts that the recipes read, so that these run on it unchanged.

What the recipes take for their test set is a part of dev there. No file of a test set is laid out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..corpora.base import Prepared
from ..corpora.inventory import content_of
from ..errors import UsageError
from ..files import read_json, whole_folder, write_json, write_whole
from ..identity import digest
from ..superb.tasks import TASKS, Task
from .corpora import iemocap, librispeech, table, voxceleb1
from .layout import Layout, Wanted, known_files

FOLDER = "sample"  # below DIR
_STAMP = "sample.json"
_SAMPLERS: Mapping[tuple[str, str], Callable[[Prepared, Task, Wanted], Layout]] = {  # by downstream and corpus
    ("asr", "librispeech"): librispeech.lay_out,
    ("ctc", "librispeech"): librispeech.lay_out,
    ("voxceleb1", "voxceleb1"): voxceleb1.lay_out_sid,
    ("emotion", "iemocap"): iemocap.lay_out,
    ("sv_voxceleb1", "voxceleb1"): voxceleb1.lay_out_sv,
}


def check_tasks(tasks: Sequence[Task]) -> None:
    """Refuse tasks whose corpus nobody knows how to sample without its test set, such as the user's own.

    Raises:
        UsageError: names them.
    """
    strange = [task.name for task in tasks if not _sampler(task)]
    if strange:
        known = ", ".join(task.name for task in TASKS.values() if _sampler(task))
        raise UsageError(
            f"-t {','.join(strange)}: select knows how to sample the corpora of {known} alone; leave it out"
        )


def _sampler(task: Task) -> Callable[[Prepared, Task, Wanted], Layout] | None:
    if task.corpus.given:
        return table.lay_out
    return None if task.source else _SAMPLERS.get((task.downstream, task.corpus.name))


def folds(task: Task) -> Sequence[str | None]:
    """List the folds of a task's sample: of several, the first one's test set stays shut, and each of the others holds
    out a part of what the first one trains on."""
    return task.folds[1:] or task.folds


def where(exp: Path, tasks: Sequence[Task]) -> Prepared:
    """Tell where the sample is, or will be."""
    folder = exp / FOLDER
    return Prepared(folder, {task.corpus.name: folder / (task.corpus.root or task.corpus.name) for task in tasks})


def make(prepared: Prepared, tasks: Sequence[Task], exp: Path, wanted: Wanted) -> Prepared:
    """Lay the sample of some tasks out, if it is not there as it should be.

    Args:
        prepared: the whole corpora.
        tasks: what reads the sample.
        exp: DIR.
        wanted: how much, and the seed.

    Raises:
        CorpusError: a corpus has too few clips.
    """
    layouts = [(task, lay_out(prepared, task, wanted)) for task in tasks if (lay_out := _sampler(task))]
    found, key = where(exp, tasks), _key(prepared, layouts)
    stamp = found.folder / _STAMP
    with_links = {path: source for _, layout in layouts for path, source in layout.links.items()}

    def is_there() -> bool:
        whole = stamp.is_file() and read_json(stamp).get("key") == key
        return whole and all((found.folder / path).is_file() for path in with_links)

    if not is_there():
        with whole_folder(found.folder, unless=is_there) as draft:
            for path, source in with_links.items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                os.symlink(source.resolve(), draft / path)
            for _, layout in layouts:
                for path, text in layout.texts.items():
                    write_whole(draft / path, text)
            write_json(draft / _STAMP, {"key": key, "seed": wanted.seed, "seconds": wanted.seconds})
    for task, layout in layouts:
        _note(found, task, layout)
    return found


def _key(prepared: Prepared, layouts: Sequence[tuple[Task, Layout]]) -> str:
    """Digest what is laid out: where it comes from, and what is known of its contents."""
    return digest(
        [
            [
                task.name,
                {path: str(source) for path, source in layout.links.items()},
                layout.texts,
                content_of(prepared.inventory(task.corpus, task.name)) or prepared.version,
            ]
            for task, layout in layouts
        ]
    )


def _note(found: Prepared, task: Task, layout: Layout) -> None:
    """Write what a task reads of the sample beside it, by content: a run is made of that."""
    inventory = known_files(found, task)
    inventory.count_samples([found.folder / path for path in sorted(layout.links)], f"sample for {task.title}")
    if layout.said is not None:
        inventory.note("said", layout.said)
    inventory.write(found.inventory(task.corpus, task.name))
