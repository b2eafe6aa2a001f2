"""Files that appear whole or not at all: what a kill leaves, two that write at once, and what a disk refuses."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s3prl_fusion import disk, files
from s3prl_fusion.disk import refusal
from s3prl_fusion.errors import DiskError

WRITER = """
import sys, time
from pathlib import Path
from s3prl_fusion import disk, files

target = Path(sys.argv[2])
with getattr(files, sys.argv[1])(target) as temporary:
    (temporary / "list.txt" if temporary.is_dir() else temporary).write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["whole_file", "whole_files"])
def writer(request, tmp_path):
    """Another process in the middle of writing, and what it writes."""
    target = tmp_path / "data"
    child = subprocess.Popen([sys.executable, "-c", WRITER, request.param, str(target)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"half\n"
    yield child, target
    child.kill()
    child.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.fault("a process that is killed while it writes", "what it leaves is removed by the next one that starts")
def test_what_a_kill_leaves_is_removed_by_the_next_start(writer):
    child, target = writer
    (left,) = names(target.parent)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert names(target.parent) == [left]
    code = "import sys; from s3prl_fusion.files import write_whole; write_whole(sys.argv[1], 'x')"
    subprocess.run([sys.executable, "-c", code, str(target.parent / "other")], check=True)
    assert names(target.parent) == ["other"]


@pytest.mark.fault("two processes that write the same file at once", "each has a temporary file that the other leaves")
def test_what_another_process_is_writing_is_left_alone(writer):
    child, target = writer
    (theirs,) = names(target.parent)
    disk.sweep(target.parent)
    with files.whole_file(target.parent / "data") as ours:
        assert ours.name != theirs
        disk.sweep(target.parent)
        assert names(target.parent) == sorted([theirs, ours.name])
        ours.write_text("whole")
    assert (target.parent / "data").read_text() == "whole"
    assert names(target.parent) == sorted([theirs, "data"])


def test_files_of_others_are_no_leftovers(tmp_path):
    kept = [".data.tmp", "data.0123456789abcdef.tmp", ".data.12345.tmp", ".0123456789abcdef.tmp"]
    for name in kept:
        (tmp_path / name).write_text("")
    (tmp_path / ".a name.ckpt.0123456789abcdef.tmp").write_text("")
    (tmp_path / ".data.fedcba9876543210.tmp" / "in it").mkdir(parents=True)
    disk.sweep(tmp_path)
    assert names(tmp_path) == sorted(kept)


def test_a_disk_without_locks(tmp_path, monkeypatch):
    def flock(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    (tmp_path / ".data.fedcba9876543210.tmp").write_text("whose?")
    assert disk.fcntl is not None
    monkeypatch.setattr(disk.fcntl, "flock", flock)
    for _ in range(2):
        files.write_whole(tmp_path / "data", "x")
    assert names(tmp_path) == [".data.fedcba9876543210.tmp", "data"]


def test_a_name_of_the_greatest_length(tmp_path):
    name = "ö" * 120 + ".npy"
    files.write_whole(tmp_path / name, "x")
    assert names(tmp_path) == [name]


def fail(code: int):
    def write(_: Path) -> None:
        raise OSError(code, os.strerror(code))  # as a write to a file that is open has it: without a name

    return write


@pytest.mark.fault("a disk that is full while a file is written", "one line: the file, and to make room")
@pytest.mark.parametrize(
    "code, advice",
    [
        (errno.ENOSPC, "the disk is full; make room, or choose a folder on another one"),
        (errno.EDQUOT, "your quota is used up; make room"),
        (errno.EROFS, "the disk is read-only; choose a folder that can be written to"),
        (errno.EACCES, "not allowed; change its permissions"),
    ],
)
def test_what_a_disk_refuses_is_said_with_the_path_and_the_next_step(tmp_path, code, advice):
    target = tmp_path / "folder" / "data"
    for write in (lambda: files.write_with(target, fail(code)), lambda: _whole_files(target, fail(code))):
        with pytest.raises(DiskError, match=rf"^{target}: {re.escape(os.strerror(code))}: {advice}") as raised:
            write()
        assert "\n" not in str(raised.value)
        assert not target.exists() and not list(tmp_path.rglob("*.tmp"))


def _whole_files(folder: Path, write) -> None:
    with files.whole_files(folder) as draft:
        write(draft)


@pytest.mark.fault("a checkpoint or sound file for which the disk has no room", "one line: the file, and to make room")
def test_a_writer_that_does_not_say_what_is_wrong(tmp_path, monkeypatch):
    def write(path: Path) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")  # torch's, on tmpfs

    with pytest.raises(RuntimeError, match="enforce"):
        files.write_with(tmp_path / "a.ckpt", write)
    monkeypatch.setattr(disk, "is_full", lambda folder: folder == tmp_path)
    with pytest.raises(DiskError, match=f"^{tmp_path}/a.ckpt: No space left on device: the disk is full; make room"):
        files.write_with(tmp_path / "a.ckpt", write)


def test_a_refusal_below_a_draft_names_what_it_will_be(tmp_path):
    with pytest.raises(DiskError, match=rf"^{tmp_path}/data/below/list\.txt: No space left on device"):
        with files.whole_files(tmp_path / "data") as draft:
            files.write_with(draft / "below" / "list.txt", fail(errno.ENOSPC))
    assert names(tmp_path) == []


def test_a_full_device():
    with pytest.raises(OSError) as raised:
        with open("/dev/full", "w") as device:
            device.write("x")
    assert str(refusal(raised.value, "a.txt")).startswith("a.txt: No space left on device: the disk is full; make room")
    assert str(refusal(raised.value)).startswith("the disk is full; make room")
    assert refusal(OSError(errno.ECONNRESET, "reset"), "a.txt") is None


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (ValueError("mine"), FileNotFoundError(errno.ENOENT, "gone", "b"), OSError("without a number")):
        with pytest.raises(type(error)) as raised:
            with files.whole_file(tmp_path / "a"):
                raise error
        assert raised.value is error
    assert names(tmp_path) == []


@pytest.mark.fault("a file where an output folder is to be", "refused: the option, the file that is in the way")
def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(DiskError, match=f"^-o {folder}: {tmp_path / 'file'} is a file, and a folder is needed"):
            disk.check_folder("-o", folder)
        with pytest.raises(DiskError, match=f"{tmp_path / 'file'}.*: a file is in the place of a folder"):
            files.write_whole(folder / "data", "x")
        with pytest.raises(DiskError, match=f"{tmp_path / 'file'}.*: a file is in the place of a folder"):
            _whole_files(folder / "data", lambda draft: None)
    disk.check_folder("-o", tmp_path / "new" / "folder")


@pytest.mark.fault("a read-only output folder", "refused before anything is done: the option and the folder")
def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(DiskError, match=f"^-o {tmp_path / 'new'}: {tmp_path} cannot be written to"):
        disk.check_folder("-o", tmp_path / "new")


def test_many_writers_of_one_file(tmp_path):
    code = (
        "import sys; from s3prl_fusion import disk, files\n"
        "for i in range(200): disk.sweep(files.Path(sys.argv[1]).parent); files.write_whole(sys.argv[1], 'x' * 1000)"
    )
    started = time.monotonic()
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "data")]) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0], f"after {time.monotonic() - started:.1f} s"
    assert names(tmp_path) == ["data"] and (tmp_path / "data").read_text() == "x" * 1000


@pytest.mark.fault("a home that cannot be written to, as in a container", "one line: the folder, and XDG_CACHE_HOME")
def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DiskError, match=r"file/s3prl_fusion/demo cannot be written to .*; set XDG_CACHE_HOME"):
        files.make_cache_dir("demo")
