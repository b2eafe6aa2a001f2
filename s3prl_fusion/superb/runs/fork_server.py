"""The process that `forks.ForkServer` starts: it imports what runs need, loads their members, and forks them.

Until a child is forked there is one thread, and CUDA is not begun: neither survives a fork.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from ...config import FusionConfig
from ...host import members
from ...host.register import register
from .forks import PROGRAM, STALE

# What a process of its own would use; the children are told.
THREADS = torch.get_num_threads()
torch.set_num_threads(1)

_FDS = 16  # that come with a request, at most
# What every run imports, and some not before it trains.
_MODULES = ("s3prl.run_downstream", "torch._dynamo", "pandas", "s3prl_fusion.commands.run", "s3prl_fusion.corpora.demo")
_GPU_MEMORY = "/dev/nvidia-uvm"  # open where CUDA has begun


@dataclass(frozen=True)
class Job:
    """What a child is to do: a command line of the program."""

    words: list[str]
    environment: Mapping[str, str]

    def __call__(self) -> int:
        """Run it as a process of its own would."""
        os.environ.clear()
        os.environ.update(self.environment)
        torch.set_num_threads(THREADS)
        sys.argv = [sys.argv[0], *self.words]
        return import_module(f"{PROGRAM[-1]}.__main__").main(self.words)


class Server:
    """Forks children as it is asked to, and tells how they end.

    Args:
        control: where requests come from: a byte each, with the file descriptors of the child's channel, of its output,
            and of what it inherits beside.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._events = selectors.DefaultSelector()
        self._events.register(control, selectors.EVENT_READ, self._answer)
        self._children: dict[int, tuple[int, socket.socket]] = {}  # by the file descriptor that tells of its end
        self._code = dict(_stamps())
        self._threads, self._settings = _count_threads(), _settings()

    def serve(self) -> Job | None:
        """Answer until nobody asks any more and all children have ended; in a child, return what it is to do."""
        while self._events.get_map():
            for key, _ in self._events.select():
                job = key.data(key.fd)
                if job is not None:
                    return job
        return None

    def _answer(self, _: int) -> Job | None:
        request, fds, _, _ = socket.recv_fds(self._control, 1, _FDS)
        if not request:
            self._events.unregister(self._control)
            return None
        channel, output = socket.socket(fileno=fds[0]), fds[1]
        wanted = json.loads(b"".join(iter(lambda: channel.recv(65536), b"")))
        pid = self._fork(wanted)
        if pid == 0:
            self._become_child(channel, output)
            return Job(wanted["words"], wanted["environment"])
        for fd in fds[1:]:
            os.close(fd)
        if pid is None:
            channel.sendall(f"{STALE}\n".encode())
            channel.close()
        else:
            end = os.pidfd_open(pid)
            self._children[end] = pid, channel
            self._events.register(end, selectors.EVENT_READ, self._reap)
        return None

    def _fork(self, wanted: Mapping[str, Any]) -> int | None:
        """Load what the child will, and fork, unless the child would not be what a process of its own is."""
        if wanted["fusion"] and "--cache_dir" not in wanted["words"]:  # which members are downloaded to
            with contextlib.suppress(Exception):  # of whatever kind a member's code raises: the child will tell it
                members.keep(FusionConfig.from_dict(wanted["fusion"]))
        self._code = {**_stamps(), **self._code}
        if self.is_stale():
            return None
        gc.collect()
        gc.freeze()  # a collection in a child then writes to none of the pages that all share
        return os.fork()

    def _become_child(self, channel: socket.socket, output: int) -> None:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        self._events.close()
        self._control.close()
        for end, (_, other) in self._children.items():
            os.close(end)
            other.close()
        # It stays open until this process ends: who waits for it sees that also where the server is gone.
        channel.sendall(f"{os.getpid()}\n".encode())
        channel.detach()

    def _reap(self, end: int) -> None:
        pid, channel = self._children.pop(end)
        self._events.unregister(end)
        os.close(end)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):  # nobody listens any more
            channel.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        channel.close()

    def is_stale(self) -> bool:
        """Tell whether a process that is started now would be another one than one that is forked: code has changed
        since, or a member's has changed settings of torch, or begun threads or CUDA, which a child would lack."""
        if _settings() != self._settings:
            return True
        changed = any(_stamp(file) != stamp for file, stamp in self._code.items())
        return changed or _count_threads() > self._threads or _has_cuda()


def _stamps() -> dict[str, tuple[int, int]]:
    """Return size and time of change of each file that code of this package, of s3prl and of the user came from."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return {file: _stamp(file) for file in files if file and _may_change(file)}


def _may_change(file: str) -> bool:
    return "site-packages" not in file or "s3prl" in file


def _stamp(file: str) -> tuple[int, int]:
    try:
        stat = os.stat(file)
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _settings() -> tuple[object, ...]:
    """Return settings of torch that a member's code might change for all."""
    return torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_device()


def _count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _has_cuda() -> bool:
    if torch.cuda.is_initialized():
        return True
    return any(os.path.realpath(f"/proc/self/fd/{fd}") == _GPU_MEMORY for fd in os.listdir("/proc/self/fd"))


def prepare() -> None:
    """Import what runs need, and register the names."""
    register()
    for name in _MODULES:
        import_module(name)


def main() -> int:
    """Serve; a child comes out of it with its job, and nothing of the server is left on its stack."""
    prepare()
    job: Callable[[], int] | None = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    return job() if job else 0


if __name__ == "__main__":
    sys.exit(main())
