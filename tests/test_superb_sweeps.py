"""Runs that are forked from one server: each is what it is in a process of its own, and ends alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pipelines
import pytest
import yaml

import s3prl_fusion
from s3prl_fusion.cli import main
from s3prl_fusion.superb.runs import forks
from s3prl_fusion.superb.runs.forks import PROGRAM, ForkServer
from s3prl_fusion.superb.runs.stages import Children, Stopped

MOVING = ("%|", "$ ", "/pytest-of-", "[SpeakerClassifiDataset]")  # in lines that tell time, place or a cache


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """A cache folder of our own, and the suite's one thread also for children."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MKL_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        yield
    s3prl_fusion.unregister()


class OneServer(ForkServer):
    """A server for several tests: the variable of the environment that names the test makes no other."""

    def start(self, command, environment, *args):
        return super().start(command, {k: v for k, v in environment.items() if k != "PYTEST_CURRENT_TEST"}, *args)


@pytest.fixture(scope="module")
def server():
    with OneServer() as server:
        yield server


def in_this_process(self, command, log: Path, progress, append=False, fusion=None) -> int:
    """Run a stage with nothing shared."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out, redirect_stdout(out), redirect_stderr(out):
        try:
            return main(command[len(PROGRAM) :])
        finally:
            s3prl_fusion.unregister()


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "live"])
def test_forked_runs_end_with_the_weights_and_scores_of_runs_that_share_nothing(
    cached, server, tiny_hubert, wavlm_ckpt, tmp_path, monkeypatch
):
    options = pipelines.prepare(tmp_path)
    members = [{"name": "hf_hubert_custom", "ckpt": tiny_hubert}, {"name": "wavlm_local", "ckpt": wavlm_ckpt}, "fbank"]
    monkeypatch.setattr(ForkServer, "close", lambda *args, **options: None)  # the next test goes on with it
    monkeypatch.setattr(forks, "ForkServer", lambda: server)
    for name in ("forked", "alone"):
        command = pipelines.command(tmp_path / name, options)
        cache = {"cache": str(tmp_path / name / "cache")} if cached else {}
        command[command.index("-u") + 1].write_text(yaml.safe_dump({"members": members, **cache}))
        if name == "alone":
            monkeypatch.setattr(Children, "run", in_this_process)
        assert main(list(map(str, [*command, "--jobs", "1"]))) == 0
    assert pipelines.outcome(tmp_path / "forked") == pipelines.outcome(tmp_path / "alone")
    server_is_the_first_one(server)


def server_is_the_first_one(server: ForkServer) -> None:
    """Nothing of what was run made another server necessary, or processes of their own."""
    assert server._left == forks._SERVERS - 1 and server._process.poll() is None


class Script:
    """Commands of the program that run a Python file: a user's own interface, named in a fusion YAML."""

    def __init__(self, folder: Path, server: ForkServer) -> None:
        self.folder, self.children = folder, Children({}, (), server)

    def run(self, name: str, code: str) -> tuple[int, str]:
        """Run code in a child; return its exit status and its log."""
        (self.folder / f"{name}.py").write_text(f"from s3prl_fusion.interfaces.weighted_sum import *\n{code}\n")
        fusion = {"members": ["fbank"], "interface": f"{name}.py:WeightedSum"}
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(fusion))
        log = self.folder / f"{name}.log"
        status = self.children.run([*PROGRAM, "list", "-v", str(self.folder / f"{name}.yaml")], log, print)
        return status, log.read_text(encoding="utf-8")


ENDS = {
    "well": ("print('here')", 0, "here"),
    "abort": ("import os; print('here', flush=True); os.abort()", -signal.SIGABRT, "here"),
    "exit": ("import os; os._exit(7)", 7, ""),
    "kill": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    "memory": ("raise MemoryError('too large')", 1, "MemoryError: too large"),
    "mistake": ("raise ValueError('no such thing')", 2, "no such thing"),
}


@pytest.mark.parametrize(("code", "status", "text"), ENDS.values(), ids=ENDS)
def test_a_child_ends_alone_and_tells_how(code, status, text, server, tmp_path):
    script = Script(tmp_path, server)
    ended, log = script.run("one", code)
    assert ended == status and text in log
    ended, log = script.run("two", "print('after it')")
    assert ended == 0 and "after it" in log
    server_is_the_first_one(server)


def test_a_child_has_what_a_process_of_its_own_has(server, tmp_path):
    lock = (tmp_path / "lock").open("w")
    code = f"""
import json, os, signal, sys, torch
told = {{
    "environment": dict(os.environ) == {{**json.load(open({str(tmp_path / "environment.json")!r}))}},
    "threads": torch.get_num_threads(),
    "session": os.getsid(0) == os.getpid(),
    "read": sys.stdin.read(),
    "lock": {str(tmp_path / "lock")!r} in [os.path.realpath("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")],
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "folder": os.getcwd(),
}}
print("told", json.dumps(told))
"""
    script = Script(tmp_path, server)
    script.children = Children({}, (lock.fileno(),), server)
    del script.children._environment["PYTEST_CURRENT_TEST"]
    (tmp_path / "environment.json").write_text(json.dumps(script.children._environment))
    status, log = script.run("one", code)
    assert status == 0, log
    line = next(line for line in log.splitlines() if line.startswith("told "))
    assert json.loads(line[5:]) == {
        "environment": True,
        "threads": 1,
        "session": True,
        "read": "",
        "lock": True,
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,  # nohup and "&" ignore it
        "folder": os.getcwd(),
    }


def test_stopping_ends_a_child_and_nothing_starts_after_it(server, tmp_path, monkeypatch):
    monkeypatch.setattr(ForkServer, "close", lambda *args, **options: None)
    script, pid = Script(tmp_path, server), tmp_path / "pid.txt"
    outcome: list[object] = []

    def work() -> None:
        try:
            script.run("one", f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
        except Stopped:
            outcome.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    number = int(waited_for(pid))
    script.children.stop()
    thread.join(timeout=100)
    assert outcome == ["stopped"]
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    with pytest.raises(Stopped):
        script.run("two", "")


def waited_for(path: Path) -> str:
    """Return what a child writes, once it has."""
    deadline = time.monotonic() + 60
    while not (path.is_file() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.fault("the process that `superb` forks its runs from is killed", "they go on, in processes of their own")
def test_a_run_whose_server_is_killed_is_done_again_in_a_process_of_its_own(tmp_path, server):
    script, marks = Script(tmp_path, server), tmp_path / "marks"
    marks.mkdir()
    code = f"import os, time; from pathlib import Path; mark = Path({str(marks)!r}, str(os.getpid())); mark.touch()"
    code += "\nif len(list(mark.parent.iterdir())) == 1: time.sleep(2)"
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.extend(script.run("one", code)))
    thread.start()
    while not list(marks.iterdir()):
        time.sleep(0.02)
    server._process.kill()
    thread.join(timeout=100)
    assert outcome[0] == 0 and "run again in a process of its own" in outcome[1]
    assert len(list(marks.iterdir())) == 2
    assert server.start([*PROGRAM, "list"], dict(os.environ)) is None  # nor does any other run depend on one


def test_what_is_no_command_of_the_program_or_one_of_several_processes_is_not_forked(monkeypatch):
    with ForkServer() as server:
        assert server.start([sys.executable, "-c", "pass"], {}) is None
        for name, value in (("S3PRL_FUSION_FORK", "0"), ("LOCAL_RANK", "0")):
            assert server.start([*PROGRAM, "list"], {name: value}) is None
        assert server._process is None
        monkeypatch.setattr(sys, "platform", "darwin")
        assert ForkServer().start([*PROGRAM, "list"], {}) is None


def test_a_server_whose_code_or_settings_have_changed_forks_no_more(tmp_path, monkeypatch):
    import torch

    from s3prl_fusion.superb.runs import fork_server

    file = tmp_path / "expert.py"
    file.write_text("RATE = 1")
    module = type(sys)("expert")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "expert", module)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one = fork_server.Server(theirs)
        assert not one.is_stale()
        torch.set_grad_enabled(False)
        try:
            assert one.is_stale()
        finally:
            torch.set_grad_enabled(True)
        assert not one.is_stale()
        file.write_text("RATE = 10")
        assert one.is_stale()


@pytest.mark.slow
def test_forked_runs_are_those_of_processes_of_their_own_also_in_what_they_say(tiny_hubert, wavlm_ckpt, tmp_path):
    options = pipelines.prepare(tmp_path)
    members = [{"name": "hf_hubert_custom", "ckpt": tiny_hubert}, {"name": "wavlm_local", "ckpt": wavlm_ckpt}, "fbank"]
    for name, switch in (("forked", "1"), ("alone", "0")):
        command = pipelines.command(tmp_path / name, options)
        cache = str(tmp_path / name / "cache")
        command[command.index("-u") + 1].write_text(yaml.safe_dump({"members": members, "cache": cache}))
        environment = {**os.environ, forks.SWITCH: switch}
        subprocess.run([*PROGRAM, *map(str, command), "--jobs", "2"], env=environment, check=True)
    assert pipelines.outcome(tmp_path / "forked") == pipelines.outcome(tmp_path / "alone")
    for one, other in zip(pipelines.runs(tmp_path / "forked"), pipelines.runs(tmp_path / "alone")):
        for stage in ("train", "evaluate"):
            logs = [told(one / f"{stage}.log", tmp_path / "forked"), told(other / f"{stage}.log", tmp_path / "alone")]
            assert logs[0] == logs[1]


def told(log: Path, folder: Path) -> list[str]:
    """A log's lines, without those that tell time and place."""
    lines = log.read_text(encoding="utf-8").replace(str(folder), "FOLDER").splitlines()
    return [line for line in lines if line.strip() and not any(word in line for word in MOVING)]
