"""Work on many sound files, where a bad one is named and left out, and does not end the others'."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .audio import find_faults, raise_faults
from .errors import CorpusError, UserError


class Skipping:
    """Sound files, of which those that cannot be used are named on stderr as they are found.

    Args:
        files: all of them; each is opened.
        advice: what to do where a file needs more memory than there is.
        others: how many more there are that have been used before.

    Attributes:
        faults: what is wrong, by file.

    Raises:
        CorpusError: not one of all can be used.
    """

    def __init__(self, files: Sequence[Path], advice: str = "", others: int = 0) -> None:
        self.count, self.advice = len(files) + others, advice
        self.faults = find_faults(files, "sound files")
        if len(self.faults) == self.count:
            raise_faults(self.faults, self.count, named=self.count)
        for file, fault in self.faults.items():
            _say(file, fault)

    @contextmanager
    def naming(self, file: Path) -> Iterator[None]:
        """Leave a file out when something is wrong with it, or when a model fails on it.

        What is wrong with the command itself, or with the disk, ends the block as anywhere else.
        """
        try:
            yield
        except (UserError, OSError) as error:
            if not isinstance(error, CorpusError):
                raise
            self._leave_out(file, str(error).removeprefix(f"{file}: "))
        except Exception as error:  # whatever a model raises for one file, and not for others
            # torch has no class of its own for it on a CPU: "can't allocate memory"
            if isinstance(error, MemoryError) or re.search("out of memory|allocate", str(error)):
                self._leave_out(file, f"needs more memory than there is{self.advice}")
            else:
                first = (str(error).splitlines() or [""])[0]
                self._leave_out(file, f"the upstream fails on it: {type(error).__name__}: {first}{self.advice}")

    def _leave_out(self, file: Path, fault: str) -> None:
        self.faults[file] = fault
        _say(file, fault)

    def status(self) -> int:
        """Say how many files are left out; return the exit status, 1 where there are any."""
        if self.faults:
            print(f"{len(self.faults)} of {self.count} sound files are left out; they are named above", file=sys.stderr)
        return 1 if self.faults else 0


def _say(file: Path, fault: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"left out: {file}: {fault}", file=sys.stderr)
