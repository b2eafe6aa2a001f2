"""A task's sample as it will lie on the disk: links to sound files, and the tables that its recipe reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..corpora.base import Prepared
from ..corpora.inventory import Inventory, read_known
from ..errors import CorpusError
from ..superb.tasks import Task
from ..waveforms import SAMPLE_RATE
from .draw import Clip, draw, part

TRAIN = 0.6  # of a sample's hours; the rest is dev
CHOOSE = 1 / 3  # of dev's utterances, by which the checkpoint is chosen; the others give the score
LONGEST = 20.0  # seconds: the states of whole clips are kept, and a batch is padded to its longest
SEED = 1337  # of the draws


@dataclass(frozen=True)
class Wanted:
    """What is asked of a sample: seconds of speech at most, drawn with a seed."""

    seconds: float
    seed: int = SEED


@dataclass(frozen=True)
class Layout:
    """What is laid out for one task; all paths are below the folder of samples.

    Attributes:
        links: path -> the sound file that it leads to.
        texts: path -> what is in the file.
        said: what else counts for a run, such as transcripts.
    """

    links: Mapping[str, Path]
    texts: Mapping[str, str]
    said: object = None


def seconds_of(prepared: Prepared, task: Task, files: Sequence[Path]) -> list[float]:
    """Tell how long sound files of a prepared corpus are; those that have not changed since are not opened again."""
    inventory = known_files(prepared, task)
    return [samples / SAMPLE_RATE for samples in inventory.count_samples(files, f"lengths of {task.corpus.name}")]


def known_files(prepared: Prepared, task: Task) -> Inventory:
    """Make an inventory of what a task reads, that knows what it has read before."""
    table = prepared.inventory(task.corpus, task.name)
    return Inventory(prepared.roots[task.corpus.name], read_known([table] if table.is_file() else []))


def short(clips: Iterable[Clip]) -> list[Clip]:
    """Leave out what is longer than `LONGEST`."""
    return [clip for clip in clips if clip.seconds <= LONGEST]


def three_parts(train: Iterable[Clip], dev: Iterable[Clip], wanted: Wanted, what: str) -> dict[str, list[Clip]]:
    """Draw what is trained on, and of dev what chooses the checkpoint and what gives the score.

    Returns:
        Clips under the names ``train``, ``choose`` and ``score``.

    Raises:
        CorpusError: a part would be empty.
    """
    drawn = draw(short(dev), (1 - TRAIN) * wanted.seconds, wanted.seed)
    choose, score = part(drawn, CHOOSE, wanted.seed) if len(drawn) > 1 else ([], [])
    parts = {"train": draw(short(train), TRAIN * wanted.seconds, wanted.seed), "choose": choose, "score": score}
    check_parts(parts, what)
    return parts


def check_parts(parts: Mapping[str, Sequence[Clip]], what: str) -> None:
    """Refuse a sample with nothing in one of its parts.

    Raises:
        CorpusError: says which.
    """
    empty = [name for name, clips in parts.items() if not clips]
    if empty:
        raise CorpusError(
            f"the sample of {what} has no clip to {' or '.join(empty)}: give more --hours, or a corpus with more clips "
            f"of at most {LONGEST:g} s in train and dev"
        )
