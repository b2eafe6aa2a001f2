"""What the modules about the corpora share. Corpora stay where they are, and are only read.

What is made from them lands in one folder: `len_for_bucket/<split>.csv`, `lexicon.txt` (librispeech.py),
`iden_split.txt`, `sv_{train_speakers,dev_trials,test_trials}.txt` (voxceleb1.py) and
`meta_data/Session<k>/{train,test}_meta_data.json` (iemocap.py).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import CorpusError

__all__ = ["Corpora", "CorpusError", "warn_count"]


@dataclass(frozen=True)
class Corpora:
    """Where everything is that the configs name; None where no task asked for it."""

    char_dict: Path
    phonemes: Path
    librispeech: Path | None = None
    buckets: Path | None = None
    lexicons: Sequence[Path] = ()
    voxceleb1: Path | None = None
    speaker_list: Path | None = None
    sv_speakers: Path | None = None
    sv_dev_trials: Path | None = None
    sv_test_trials: Path | None = None
    iemocap: Path | None = None
    emotions: Path | None = None
    version: str = ""  # of what is made here and may change: the demo's layout

    def files(self, field: str) -> list[Path]:
        """A field as a list, also where it is one path."""
        value = getattr(self, field)
        return [value] if isinstance(value, Path) else list(value)

    def made(self, task: Any) -> list[Path]:
        """What was made for a task beside its corpus."""
        fields = [field for field in task.paths.values() if field != task.corpus]
        return [path for field in fields for path in self.files(field)]

    def value(self, field: str) -> str | list[str]:
        """A field as it stands in a config: a path, or a list of paths."""
        value = getattr(self, field)
        return str(value) if isinstance(value, Path) else [str(path) for path in value]


def warn_count(what: str, got: int, official: int, unit: str = "utterances") -> None:
    """Say on stderr how far a corpus is from the official one; small copies are allowed."""
    if got != official:
        difference = f"{abs(got - official):,} {'fewer' if got < official else 'more'} than the official {official:,}"
        print(
            f"warning: {what} has {got:,} {unit}, {difference}; scores on it do not compare with published ones",
            file=sys.stderr,
        )
