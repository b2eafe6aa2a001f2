"""What is found out about an upstream, as lines of a report."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError

OK, WARNING, FAILS = "ok", "warning", "fails"
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Finding:
    """A line of the report.

    Attributes:
        what: was looked at.
        mark: `OK`; `WARNING` for what may surprise; `FAILS` where the contract is broken.
        said: what was found, and what that means; for people.
        values: the numbers behind it.
    """

    what: str
    mark: str
    said: str
    values: Mapping[str, Any] = field(default_factory=dict)


def reasons(findings: Iterable[Finding]) -> list[str]:
    """Say why an upstream cannot be used, a clause each; nothing where it can."""
    return [f"{finding.what}: {finding.said}" for finding in findings if finding.mark == FAILS]


def explained(error: BaseException) -> str:
    """Say what an upstream raised, and where in its own code; what we raise ourselves speaks for itself."""
    if isinstance(error, UserError):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    said = f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return f"{said} ({frames[-1].filename}:{frames[-1].lineno})" if frames else said


def _is_theirs(file: str) -> bool:
    """Tell whether a file is neither ours nor of torch, where an error that somebody causes comes to light."""
    path = Path(file)
    return path.is_file() and _PACKAGE not in path.resolve().parents and "torch" not in path.parts
