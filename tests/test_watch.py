"""`import s3prl_fusion` is enough for s3prl to be importable: what it needs is supplied then, and not before."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.util import find_spec

import pytest

from s3prl_fusion.host import shims, watch


class Asking:
    """A finder that asks the others, as the hook in site-packages does."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] != "fake_host":
            return None
        others = [finder for finder in sys.meta_path if finder is not cls and hasattr(finder, "find_spec")]
        return next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)


@pytest.fixture(params=[False, True], ids=["alone", "beside another finder that asks"])
def host(request, tmp_path, monkeypatch):
    """A package in s3prl's place, which needs what `supply` gives; returns what was supplied."""
    (tmp_path / "fake_host").mkdir()
    (tmp_path / "fake_host" / "__init__.py").touch()
    (tmp_path / "fake_host" / "hub.py").write_text("import sys; sys.modules['needed'].entry\n")
    supplied = []

    def supply() -> None:
        supplied.append(True)
        monkeypatch.setitem(sys.modules, "needed", type("Needed", (), {"entry": 1}))

    monkeypatch.setattr(watch, "PACKAGE", "fake_host")
    monkeypatch.setattr(shims, "supply", supply)
    monkeypatch.syspath_prepend(tmp_path)
    finders = [finder for finder in sys.meta_path if finder is not watch.Watch]
    monkeypatch.setattr(sys, "meta_path", [*([Asking] if request.param else []), *finders])
    watch.watch()
    yield supplied
    for name in ("fake_host", "fake_host.hub"):
        sys.modules.pop(name, None)


def test_what_it_needs_is_supplied_once_and_the_finder_is_gone(host):
    importlib.import_module("fake_host.hub")
    assert host == [True] and watch.Watch not in sys.meta_path


def test_looking_for_it_supplies_nothing(host):
    assert find_spec("fake_host").origin.endswith("__init__.py")
    assert not host and watch.Watch in sys.meta_path


def test_its_parts_are_watched_too(host):
    watch.Watch.supply()  # as if the package had been imported before
    host.clear()
    importlib.import_module("fake_host")
    watch.watch()
    importlib.import_module("fake_host.hub")
    assert host == [True]


def test_what_cannot_be_supplied_is_said(host, monkeypatch, capsys):
    def refuse() -> None:
        raise RuntimeError("torchaudio does not fit torch")

    monkeypatch.setattr(shims, "supply", refuse)
    with pytest.raises(KeyError):
        importlib.import_module("fake_host.hub")
    assert capsys.readouterr().err == "s3prl_fusion: torchaudio does not fit torch\n"


@pytest.mark.slow
@pytest.mark.fault(
    "s3prl.hub imported before `sf.register()`, beside torchaudio 2.9 or later",
    "works once s3prl_fusion is imported; s3prl alone ends in an AttributeError of torchaudio",
)
def test_s3prls_hub_before_register():
    code = (
        "import sys, s3prl_fusion; assert 'torch' not in sys.modules; import s3prl.hub; print(s3prl.hub.fbank.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split()[-1:] == ["fbank"], done.stderr
