"""`s3prl-fusion` in processes that are forked, so that s3prl is imported once; killed at a file operation, if asked.

A server for tests that run pipelines many times. `python forked.py` reads requests on stdin and answers on stdout, a
line of JSON each; the pipeline's own children, its trainings and evaluations, are forked in the same way.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import s3prl_fusion

SLOTS = 16
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
SECONDS = 300


class Shared:
    """What all processes of a run see: how many file operations there were, and which processes there are."""

    def __init__(self) -> None:
        self.numbers = (ctypes.c_long * (SLOTS + 1)).from_buffer(mmap.mmap(-1, 8 * (SLOTS + 1)))

    def enter(self) -> None:
        """Note this process."""
        slot = next(i for i in range(1, SLOTS + 1) if self.numbers[i] == 0)
        self.numbers[slot] = os.getpid()

    def processes(self) -> list[int]:
        """List the processes that were noted, the last first."""
        return [pid for pid in reversed(self.numbers[1:]) if pid]

    def kill(self) -> None:
        """Kill all of them, this one last."""
        for pid in sorted(self.processes(), key=lambda pid: pid == os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def watch(self, folder: str, kill_at: int, delay: float) -> None:
        """Count the operations that write, rename or remove below a folder; kill at one of them, or a little later."""

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
                return
            if not str(args[0]).startswith(folder) or (event == "open" and not (args[2] or 0) & WRITES):
                return
            self.numbers[0] += 1
            if self.numbers[0] == kill_at:
                threading.Timer(delay, self.kill).start() if delay else self.kill()

        sys.addaudithook(hook)


class Forked:
    """What `subprocess.Popen` is for the pipeline's children, as far as it needs that."""

    def __init__(self, command: Sequence[str], shared: Shared, env: dict[str, str]) -> None:
        read, write = os.pipe()
        self.pid, self._status = os.fork(), None
        if self.pid == 0:
            os.setsid()
            os.environ.update(env)
            shared.enter()
            os.close(read)
            run(list(command[3:]), write)
        os.close(write)
        self.stdout = os.fdopen(read, "rb")

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self) -> int:
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


def run(words, output):
    """Run a command with its output in a file descriptor, and end this process."""
    from s3prl_fusion.cli import main

    status = 1
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    try:
        status = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command.

    Args:
        request: its `words`; the `folder` whose file operations count; `log`, the file for its output; and perhaps
            `kill_at`, the operation, and `delay`, in seconds.

    Returns:
        Its exit `status`, negative if it was killed, and the number of `operations`.
    """
    from s3prl_fusion.superb.runs import stages

    shared = Shared()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        shared.enter()
        shared.watch(request["folder"], request.get("kill_at", 0), request.get("delay", 0))
        stages.subprocess = type(sys)("subprocess")
        vars(stages.subprocess).update(vars(subprocess))
        stages.subprocess.Popen = lambda command, env, **_: Forked(command, shared, env)
        run(request["words"], os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    deadline = time.monotonic() + SECONDS
    while any(map(alive, shared.processes())) and time.monotonic() < deadline:
        time.sleep(0.005)
    return {"status": status, "operations": shared.numbers[0]}


def alive(pid: int) -> bool:
    """Tell whether a process runs; who was killed may wait for somebody to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from importlib import import_module

    import torch

    from s3prl_fusion.host import shims

    shims.supply()
    torch.set_num_threads(1)
    for name in ("pandas", "matplotlib.pyplot", "s3prl.hub", "s3prl.downstream.runner", "s3prl.run_downstream"):
        import_module(name)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")


class Server:
    """The other side of `serve`."""

    def __init__(self) -> None:
        root = str(Path(s3prl_fusion.__file__).parents[1])
        path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "S3PRL_FUSION_FORK": "0"},
        )

    def __call__(self, *words: object, folder: Path, log: Path, **kill: float) -> dict[str, Any]:
        """Run a command, see `answer`."""
        request = {"words": [str(word) for word in words], "folder": str(folder), "log": str(log), **kill}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait(timeout=30)


if __name__ == "__main__":
    serve()
