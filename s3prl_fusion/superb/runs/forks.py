"""Child processes forked from a server, where all that they import is imported, and their members are loaded, once.

What a process of its own would do is done: the same command line, environment, threads, random numbers and exit status.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...config import FusionConfig

PROGRAM = (sys.executable, "-m", "s3prl_fusion")
SWITCH = "S3PRL_FUSION_FORK"
STALE = "stale"  # what a server says that must not fork any more, see `fork_server.Server.is_stale`
_SERVERS = 4  # so many are started, one after the other, before every child is a process of its own
_DISTRIBUTED = ("LOCAL_RANK", "RANK", "WORLD_SIZE")


class Lost(RuntimeError):
    """A child has ended, and so has the server, which alone knew its exit status."""


class ForkServer:
    """Starts children of one program, `PROGRAM`; others, and where nothing can be forked, are left to the caller.

    Its process is started when it is first needed, anew for another environment, and ends with `close`. Safe to use
    from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = _SERVERS if _can_fork() else 0
        self._process: subprocess.Popen | None = None
        self._control: socket.socket | None = None
        self._environment: Mapping[str, str] = {}

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        keep_open: Sequence[int] = (),
        fusion: FusionConfig | None = None,
    ) -> Forked | None:
        """Start a child in a session of its own, that reads nothing.

        Args:
            command: program and arguments.
            environment: all of the child's.
            keep_open: file descriptors that it inherits.
            fusion: what it will load, which the server then has loaded for it, and for others.

        Returns:
            The child; None where it must be a process of its own.
        """
        if tuple(command[: len(PROGRAM)]) != PROGRAM or environment.get(SWITCH) == "0":
            return None
        if any(name in environment for name in _DISTRIBUTED):
            return None
        # Its interface may be code of others, which the child alone has to run.
        what = {**fusion.to_dict(), "interface": "weighted_sum"} if fusion else None
        wanted = {"words": list(command[len(PROGRAM) :]), "environment": dict(environment), "fusion": what}
        while True:
            sent = self._send(json.dumps(wanted).encode(), environment, keep_open)
            if sent is None:
                return None
            server, child = sent
            answer = child.read_line()
            if answer.isdigit():
                child.pid = int(answer)
                return child
            child.close()
            self._retire(server, again=answer == STALE)

    def _send(
        self, wanted: bytes, environment: Mapping[str, str], keep_open: Sequence[int]
    ) -> tuple[subprocess.Popen, Forked] | None:
        """Ask a server for a child; None where there is none to be had."""
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        child = Forked(ours, read)
        try:
            with self._lock:
                server = self._running(environment)
                if server is None or self._control is None:
                    child.close()
                    return None
                with contextlib.suppress(OSError):  # it has just ended: there will be no answer
                    socket.send_fds(self._control, [b"+"], [theirs.fileno(), write, *keep_open])
        finally:
            theirs.close()
            os.close(write)
        child.ask(wanted)
        return server, child

    def _running(self, environment: Mapping[str, str]) -> subprocess.Popen | None:
        if self._process is not None and environment == self._environment:
            return self._process
        self._drop()
        if self._left == 0:
            return None
        self._left -= 1
        self._control, theirs = socket.socketpair()
        # Asking NVML whether there is a GPU leaves CUDA to the children: once begun, it does not survive a fork.
        own = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **environment}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=own,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._environment = environment
        return self._process

    def _retire(self, server: subprocess.Popen, again: bool) -> None:
        """Use a server no longer; start another only if ``again``."""
        with self._lock:
            if not again:
                self._left = 0
            if self._process is server:
                self._drop()

    def _drop(self) -> None:
        if self._control is not None:
            self._control.close()  # it ends by itself, once the children that it has have ended
        self._process = self._control = None

    def close(self, kill: bool = False) -> None:
        """Let the server end, after its children; with ``kill`` at once. There is no other after it."""
        with self._lock:
            process, self._left = self._process, 0
            self._drop()
        if process is not None and kill:
            process.kill()
        if process is not None:
            process.wait()


def _can_fork() -> bool:
    """Tell whether processes can be forked, and their ends waited for: elsewhere than on Linux libraries forbid it."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(socket, "send_fds")


class Forked:
    """What `subprocess.Popen` is for a child of the server, as far as the pipeline needs it.

    Attributes:
        pid: its process, and its group's.
        stdout: what it prints.
    """

    def __init__(self, channel: socket.socket, output: int) -> None:
        self.pid = 0
        self.stdout = os.fdopen(output, "rb", buffering=0)
        self._channel, self._lock = channel, threading.Lock()
        self._status: int | None = None
        self._ended = False

    def ask(self, wanted: bytes) -> None:
        """Send what is wanted; the answer is the next line that can be read."""
        with contextlib.suppress(OSError):  # nobody listens any more: then there is no answer
            self._channel.sendall(wanted)
            self._channel.shutdown(socket.SHUT_WR)

    def read_line(self) -> str:
        """Read what the server says next; empty where it has ended."""
        line = b""
        with contextlib.suppress(OSError):
            while not line.endswith(b"\n") and (byte := self._channel.recv(1)):
                line += byte
        return line.decode().strip()

    def poll(self) -> int | None:
        """Return the exit status, as Popen does; None while it runs. That of a child that is lost is that of a kill."""
        with self._lock:
            if not self._ended and select.select([self._channel], [], [], 0)[0]:
                answer = self.read_line()
                self._status, self._ended = int(answer) if answer else None, True
            return -9 if self._ended and self._status is None else self._status

    def wait(self) -> int:
        """Return the exit status once it has ended.

        Raises:
            Lost: nobody knows it.
        """
        while self.poll() is None:
            select.select([self._channel], [], [])
        if self._status is None:
            raise Lost
        return self._status

    def close(self) -> None:
        """Let go of its output and of the way to the server."""
        self.stdout.close()
        self._channel.close()
