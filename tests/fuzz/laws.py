"""The law of every property here: the right result, or one clear line; and counts of which of the two came out.

A property is a test of Hypothesis under `property_of`. It checks what comes out with plain asserts, and returns None
where that was the right result, or the line that refused the input. tools/fuzz.py makes a table of the counts.

Alone, a property fails at its first fault, with a small example of it. Under tools/fuzz.py it goes on: faults are
counted, and the shortest example of each is kept.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis.errors import HypothesisException
from hypothesis.strategies import SearchStrategy

from s3prl_fusion.cli import main
from s3prl_fusion.errors import UserError

RIGHT, REFUSED, FAULT = "right", "refused", "fault"
COUNTS: Counter[tuple[str, str, str]] = Counter()  # of (property, RIGHT | REFUSED | FAULT, kind of message)
EXAMPLES: dict[str, str] = {}  # of faults, by property and kind of message
GOES_ON = "FUZZ_COUNTS" in os.environ
FACTOR = float(os.environ.get("FUZZ_FACTOR", 1))  # of the examples that CI tries
_BAR = re.compile(r"^[^\r\n]*(\d+%\||\d+it \[)[^\r\n]*$")


def property_of(what: str, examples: int, **strategies: SearchStrategy) -> Callable[[Callable], Callable]:
    """Make a property a test, of inputs drawn from strategies, and count what comes out.

    Args:
        what: the inputs, in words: a row of the table.
        examples: how many CI tries.
        strategies: of the arguments.
    """

    def decorate(law: Callable) -> Callable:
        @functools.wraps(law)
        def counted(*args: object, **drawn: object) -> None:
            try:
                refusal = law(*args, **drawn)
            except HypothesisException:
                raise  # an input that does not count
            except Exception as error:
                kind = f"{type(error).__name__}: {kind_of(str(error))}"
                COUNTS[what, FAULT, kind] += 1
                inputs = ", ".join(f"{name}={drawn[name]!r}" for name in strategies)
                example = f"{law.__name__}({inputs})\n{error}"
                EXAMPLES[f"{what} {kind}"] = min(EXAMPLES.get(f"{what} {kind}", example), example, key=len)
                if not GOES_ON:
                    raise
                return
            COUNTS[what, RIGHT if refusal is None else REFUSED, kind_of(refusal or "")] += 1

        slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
        limits = settings(max_examples=max(1, round(FACTOR * examples)), deadline=None, suppress_health_check=slow)
        return limits(given(**strategies)(counted))

    return decorate


def kind_of(message: str) -> str:
    """Leave what was given out of a message: its first clause, without paths, quoted texts and numbers."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "…", message.splitlines()[0] if message else "")
    text = re.sub(r"^s3prl-fusion \w+: error: ", "", text)
    text = re.sub(r"\S*/\S* ?", "PATH ", text)
    text = re.sub(r"\d[\d,.]*", "N", text)
    return re.split(r"; |, first |\\n", text)[0][:70].removeprefix("PATH ").strip()


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit status and what it printed, progress bars aside."""

    status: int
    out: str
    err: str

    @property
    def refusal(self) -> str | None:
        """The line that says what is wrong; None if the command did what was asked.

        Warnings may stand before it. Below it may stand other mistakes, a line each, or the first three of many files.
        """
        assert "Traceback" not in self.err
        lines = self.err.splitlines()
        errors = [line for line in lines if ": error: " in line]
        if self.status == 0:
            assert not errors, self.err
            return None
        if self.status == 1:  # what could be done is done, and the rest is named
            assert lines and "left out" in lines[-1], f"exit status 1: {self.err!r}"
            return lines[-1]
        assert self.status == 2 and len(errors) == 1, f"exit status {self.status}: {self.err!r}"
        below = lines[lines.index(errors[0]) + 1 :]
        assert all(re.match(r"/|-|[a-z]", line) for line in below), f"not a line a mistake: {self.err!r}"
        return errors[0]


def command(*words: object) -> Outcome:
    """Run a command of `s3prl-fusion` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:  # argparse's
            status = int(stop.code or 0)
    lines = [line for line in re.split(r"[\r\n]+", err.getvalue()) if line.strip() and not _BAR.match(line)]
    return Outcome(status, out.getvalue(), "\n".join(lines))


@contextlib.contextmanager
def refusals() -> Iterator[list[str]]:
    """Collect the message of a UserError that ends the block, which must be one line; anything else is raised."""
    said: list[str] = []
    try:
        yield said
    except UserError as error:
        message = str(error)
        assert message.strip() and "\n" not in message.strip(), f"not one line: {message!r}"
        said.append(message)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a new folder, which is removed again."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        yield Path(name)


def contents(root: Path) -> dict[str, bytes]:
    """Read every file below a folder, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def save(path: Path) -> None:
    """Write `COUNTS` and `EXAMPLES` as JSON."""
    rows = [[*key, count] for key, count in sorted(COUNTS.items())]
    path.write_text(json.dumps({"counts": rows, "examples": EXAMPLES}), encoding="utf-8")
