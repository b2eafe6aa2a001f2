"""One stage of an experiment: a child process with its own log, and a stamp that tells whether it is done."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ...disk import sweep
from ...errors import UsageError
from ...files import read_json, write_sealed
from ...source import content_digest
from ..records import STAMP
from .forks import Forked, ForkServer, Lost

if TYPE_CHECKING:
    from ...config import FusionConfig

BAR = re.compile(r"^(?:\x1b\[A|\s)*(?P<name>[^:%|]+):\s*\d+%\|.*?\|\s*(?P<done>\d+)/(?P<total>\d+)\b")
BAR_SECONDS = 60.0  # how often a moving bar leaves a line in the log
STOP_SECONDS = 10.0  # between asking a child to stop and killing it

Progress = Callable[[str, int, int], None]  # (name of the bar, done, total)


class StageError(RuntimeError):
    """A stage failed. `log` is the file to read."""

    def __init__(self, stage: str, message: str, log: Path) -> None:
        super().__init__(message)
        self.stage, self.log = stage, log

    def __reduce__(self) -> tuple:  # exceptions are made anew from their message alone when they cross processes
        return type(self), (self.stage, str(self), self.log)


class NeverBetter(StageError):
    """A training ended without any checkpoint that is better than none: its learning rate may be to blame."""


class Stopped(RuntimeError):
    """The user asked to stop; what ran can be resumed."""


def tail(path: Path, lines: int = 12) -> list[str]:
    """Return the last non-empty lines of a text file; none when it does not exist."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as log:
        return list(deque((line.rstrip() for line in log if line.strip()), maxlen=lines))


@dataclass(frozen=True)
class Stamp:
    """What is known of a stage: `running` while it runs, `done` when its outputs are whole. Written last."""

    path: Path

    def read(self) -> dict:
        """Return the stamp's content; empty when there is none or it is damaged: then the stage is done again."""
        try:
            return read_json(self.path, STAMP)
        except UsageError:
            return {}

    def write(self, key: str, status: str, seconds: float, **more: object) -> None:
        """Record a status, the wall time so far in seconds, and whatever else is worth keeping."""
        write_sealed(self.path, {"key": key, "status": status, "seconds": round(seconds, 2), **more})

    def is_done(self, key: str, outputs: Sequence[Path]) -> bool:
        """Whether the stage ended under this very key, its outputs still exist, and the files that it has told the
        contents of are the same."""
        content, folder = self.read(), self.path.parent.parent
        done = content.get("status") == "done" and content.get("key") == key
        if not done or not all(path.exists() for path in outputs):
            return False
        files = content.get("files", {})
        return all((folder / name).exists() and content_digest(folder / name) == was for name, was in files.items())


def drop_broken_checkpoints(expdir: Path) -> list[Path]:
    """Delete checkpoints that are cut off or damaged, so that the resume does not trip over them."""
    from ...host.weights import is_whole

    sweep(expdir)
    broken = [path for path in sorted(expdir.glob("*.ckpt")) if not is_whole(path)]
    for path in broken:
        path.unlink()
    return broken


class Children:
    """The running child processes, so that all of them can be stopped at once. Safe to use from several threads."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
        server: ForkServer | None = None,
    ) -> None:
        self._environment = {**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"}
        self._keep_open = tuple(keep_open)
        self._server = server
        self._processes: set[subprocess.Popen | Forked] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._starting = 0  # children that the server has not forked yet

    def run(
        self,
        command: Sequence[str],
        log: Path,
        progress: Progress,
        append: bool = False,
        fusion: FusionConfig | None = None,
    ) -> int:
        """Run a command to its end, its output into `log`.

        Args:
            command: Program and arguments.
            log: Text file; starts with the command. Progress bars are thinned out in it.
            progress: Called for each step of a tqdm bar that the child prints.
            append: Keep what the log holds already.
            fusion: What it loads; children of a server share it.

        Returns:
            The exit status.

        Raises:
            Stopped: `stop` was called.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a" if append else "w", encoding="utf-8") as out:
            out.write(f"$ {shlex.join(command)}\n")
            self.check()
            try:
                status = self._follow(self._fork(command, fusion) or self._start(command), out, progress)
            except Lost:
                out.write("the process that it was forked from is gone: run again in a process of its own\n")
                status = self._follow(self._start(command), out, progress)
        self.check()
        return status

    def _fork(self, command: Sequence[str], fusion: FusionConfig | None) -> Forked | None:
        if self._server is None:
            return None
        with self._lock:
            self._starting += 1
        try:
            return self._server.start(command, self._environment, self._keep_open, fusion)
        finally:
            with self._lock:
                self._starting -= 1

    def _start(self, command: Sequence[str]) -> subprocess.Popen:
        self.check()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            pass_fds=self._keep_open,
            start_new_session=True,  # Ctrl-C reaches us only, and we stop the whole group
        )

    def _follow(self, process: subprocess.Popen | Forked, out: IO[str], progress: Progress) -> int:
        """Copy a child's output to its end."""
        assert process.stdout is not None  # a pipe was asked for
        with self._lock:
            self._processes.add(process)
        try:
            self.check()  # `stop` may not have seen it
            copy_output(process.stdout, out, progress)
            return process.wait()
        finally:
            if process.poll() is None:  # its log cannot be written: it is not left alone
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            with self._lock:
                self._processes.discard(process)
            (process if isinstance(process, Forked) else process.stdout).close()

    def check(self) -> None:
        """Raise Stopped once `stop` was called."""
        if self._stopping:
            raise Stopped

    def stop(self) -> None:
        """Ask every child to end, kill those that do not, and refuse new ones."""
        with self._lock:
            self._stopping = True
            processes, starting = list(self._processes), self._starting
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in processes:
                if process.poll() is None:
                    try:
                        os.killpg(process.pid, number)
                    except ProcessLookupError:
                        continue
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline and any(process.poll() is None for process in processes):
                time.sleep(0.1)
        if self._server is not None and starting:
            self._server.close(kill=True)


def copy_output(stream: IO[bytes], log: IO[str], progress: Progress) -> None:
    """Copy a child's output to its log line by line, reading tqdm's bars on the way."""
    rest, last_bar, decoder = "", 0.0, codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        chunk = os.read(stream.fileno(), 65536)
        rest += decoder.decode(chunk)
        *lines, rest = re.split(r"[\r\n]+", rest) if chunk else [rest, ""]
        for line in lines:
            bar = BAR.match(line)
            if bar:
                progress(bar["name"].strip(), int(bar["done"]), int(bar["total"]))
                if time.monotonic() - last_bar < BAR_SECONDS:
                    continue
                last_bar = time.monotonic()
            if line.strip():
                log.write(line.replace("\x1b[A", "").rstrip() + "\n")
        log.flush()
        if not chunk:
            return
