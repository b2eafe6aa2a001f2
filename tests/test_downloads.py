"""s3prl's downloads: whole or not kept, from a server of our own on this machine."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from s3prl_fusion import MemberConfig
from s3prl_fusion.host import downloads
from s3prl_fusion.host.members import stock_loader


class Handler(BaseHTTPRequestHandler):
    """Gives the server's ``content``; of the first ``cuts`` answers half, and the connection ends."""

    def do_GET(self) -> None:
        self.server.asked.append(self.command)
        content = self.server.content
        self.send_response(200)
        if self.server.says_size:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.cuts:
            self.server.cuts -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(wavlm_ckpt):
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.content, found.cuts, found.asked, found.says_size = Path(wavlm_ckpt).read_bytes(), 0, [], True
    found.url = f"http://127.0.0.1:{found.server_port}/wavlm.pt"
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """s3prl's download folder, of this test alone."""
    from s3prl.util import download

    monkeypatch.setattr(download, "_download_dir", tmp_path / "download")
    return tmp_path / "download"


def load(server) -> torch.nn.Module:
    return stock_loader(MemberConfig("wavlm_url", ckpt=server.url))()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix != ".lock"]


def test_a_whole_file_is_fetched_once(server, folder, capsys):
    assert load(server).state_dict().keys() == load(server).state_dict().keys()
    assert server.asked == ["GET"]
    (file,) = files(folder)
    assert file.read_bytes() == server.content and file.name.endswith(".wavlm.pt")
    stock_loader(MemberConfig("wavlm_url", ckpt=server.url))(refresh=False)
    assert server.asked == ["GET"]


@pytest.mark.fault("a download that breaks off half way", "begun again once, else refused; half a file is never kept")
@pytest.mark.parametrize("cuts", [1, 2])
def test_what_breaks_off_is_begun_again_and_never_kept(cuts, server, folder, capsys):
    server.cuts = cuts
    if cuts == 1:
        load(server)
        (file,) = files(folder)
        assert file.read_bytes() == server.content
    else:
        with pytest.raises(FileNotFoundError, match=rf"{server.url} cannot be fetched: the connection broke off after"):
            load(server)
        assert not files(folder)
    assert f"{server.url}: the connection broke off after" in capsys.readouterr().err
    assert load(server) is not None


@pytest.mark.fault("half a file that an earlier download has left", "named, removed and fetched again")
@pytest.mark.parametrize("kept", [0, 3, 5000, -1])
def test_half_a_file_of_before_is_fetched_again(kept, server, folder, capsys):
    load(server)
    (file,) = files(folder)
    file.write_bytes(server.content[:kept])
    capsys.readouterr()
    load(server)
    assert file.read_bytes() == server.content and server.asked[-1] == "GET"
    assert f"{file} is damaged" in capsys.readouterr().err


@pytest.mark.fault("a downloaded checkpoint that has lost bits, or its end, since", "named, removed and fetched again")
@pytest.mark.parametrize("form", ["zip", "older"])
def test_a_damaged_file_of_before_is_fetched_again(form, server, folder, wavlm_ckpt, tmp_path, capsys):
    torch.save(torch.load(wavlm_ckpt), tmp_path / "a.pt", _use_new_zipfile_serialization=form == "zip")
    server.content = (tmp_path / "a.pt").read_bytes()
    load(server)
    (file,) = files(folder)
    damaged = bytearray(server.content)
    if form == "zip":
        damaged[100:160] = bytes(60)
    file.write_bytes(damaged if form == "zip" else damaged[: len(damaged) // 2])
    load(server)
    assert file.read_bytes() == server.content and f"{file} is damaged" in capsys.readouterr().err


def test_a_whole_file_that_the_entry_cannot_load_is_kept_and_named(server, folder, hubert_ckpt):
    server.content = Path(hubert_ckpt).read_bytes()
    with pytest.raises(ValueError, match=r"'wavlm_url' cannot load .*wavlm\.pt: KeyError: 'cfg'"):
        load(server)
    assert files(folder) and server.asked == ["GET"]


def test_a_server_that_says_no_size_or_nothing(server, folder):
    server.says_size = False
    load(server)
    server.shutdown()
    server.server_close()
    missing = MemberConfig("wavlm_url", ckpt=server.url.replace("wavlm.pt", "other.pt"))
    with pytest.raises(FileNotFoundError, match=r"other\.pt cannot be fetched: .*put the file yourself at"):
        stock_loader(missing)()
    with pytest.raises(FileNotFoundError, match="no-url cannot be fetched: unknown url type"):
        stock_loader(MemberConfig("wavlm_url", ckpt="no-url"))()


def test_several_processes_fetch_it_once(server, folder):
    target = folder / "x.pt"
    folder.mkdir()
    threads = [threading.Thread(target=partial(downloads.fetch_once, server.url, target)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["GET"] and target.read_bytes() == server.content
