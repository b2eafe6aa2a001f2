"""What a task reads of its corpus: each file's size, time of change and content, in a table beside what is prepared.

A file whose size and time are what they were has been checked before. Where they are not, its content counts: a corpus
may be copied, and a file that was replaced is seen.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..audio import count_samples
from ..files import reading_threads, write_whole
from ..identity import CONTENT, digest
from ..source import content_digest

FOLDER = "inventory"  # below the folder of what is prepared: <corpus>/<task>.csv


class Entry(NamedTuple):
    """A file as it was looked at: its size in bytes, when it was changed (ns), its length in samples, its sha256."""

    size: int
    changed: int
    samples: int
    content: str


class Inventory:
    """The files that a task reads of a corpus.

    Args:
        root: the corpus's folder.
        known: what was read before, by paths below the root, see `read_known`.
    """

    def __init__(self, root: Path = Path(), known: Mapping[str, Entry] | None = None) -> None:
        self.root, self._known = root, dict(known or {})
        self._entries: dict[str, Entry] = {}
        self._notes: dict[str, str] = {}

    def count_samples(
        self, files: Sequence[Path], what: str, names: Sequence[str] | None = None, speech: bool = True
    ) -> list[int]:
        """Do as `audio.count_samples`, but look only at files that are new or have changed, and remember all of them.

        Args:
            files: which.
            what: a progress bar's name.
            names: the files' paths below the root, where they will be found; by default they are there.
            speech: whether they must be mono at 16 kHz.

        Raises:
            CorpusError: files are unusable.
        """
        with reading_threads() as pool:
            stats = [(stat.st_size, stat.st_mtime_ns) for stat in pool.map(os.stat, files)]
        names = names or [os.path.relpath(file, self.root) for file in files]
        seen = [self._known.get(name) for name in names]
        same = [entry if entry and entry[:2] == stat else None for entry, stat in zip(seen, stats)]
        fresh = [file for file, entry in zip(files, same) if entry is None]
        counted = iter(count_samples(fresh, what, speech) if fresh else ())
        found = [entry or Entry(*stat, next(counted), "") for entry, stat in zip(same, stats)]
        self._entries.update(zip(names, found))
        return [entry.samples for entry in found]

    def note(self, name: str, value: Any) -> None:
        """Remember something else that was read, such as transcripts: what it says, wherever it stands.

        Args:
            name: what to call it.
            value: dicts, lists, texts and numbers.
        """
        self._notes[name] = digest(value)

    def write(self, path: Path) -> list[str]:
        """Write the table, if anything was read; files that are new or have changed are read through for it.

        Returns:
            The files, relative to the root, that were known with another content.
        """
        if not self._entries and not self._notes:
            return []
        new = [name for name, entry in self._entries.items() if not entry.content]
        for name, content in zip(new, self._contents(new)):
            self._entries[name] = self._entries[name]._replace(content=content)
        rows = sorted((name, *entry) for name, entry in self._entries.items())
        out = io.StringIO()
        out.write(f"{CONTENT}{_summary(self._entries)}-{digest(self._notes)}\n")
        csv.writer(out, lineterminator="\n").writerows([("path", *Entry._fields), *rows])
        write_whole(path, out.getvalue())
        known = {name: entry.content for name, entry in self._known.items()}
        return [name for name in new if known.get(name, self._entries[name].content) != self._entries[name].content]

    def _contents(self, names: Sequence[str]) -> list[str]:
        from tqdm import tqdm

        with reading_threads() as pool:
            read = pool.map(content_digest, [self.root / name for name in names])
            return list(tqdm(read, total=len(names), desc=f"contents of {self.root.name}", leave=False))


def _summary(entries: Mapping[str, Entry]) -> str:
    return digest(sorted((name, entry.samples, entry.content) for name, entry in entries.items()))


def read_known(tables: Iterable[Path]) -> dict[str, Entry]:
    """Read tables of one corpus, by the files' paths below its root; one that is damaged tells nothing."""
    known: dict[str, Entry] = {}
    for table in tables:
        try:
            with table.open(encoding="utf-8", newline="") as lines:
                head = lines.readline()
                rows = csv.reader(islice(lines, 1, None))
                found = {name: Entry(int(size), int(changed), int(n), text) for name, size, changed, n, text in rows}
        except (ValueError, csv.Error):
            continue
        if head.startswith(f"{CONTENT}{_summary(found)}-"):
            known.update(found)
    return known


def content_of(table: Path) -> str | None:
    """Return the digest of all that a table lists; None where there is none."""
    if not table.is_file():
        return None
    with table.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline().strip()
