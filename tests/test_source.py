"""Source files and contents, wherever they are."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from s3prl_fusion import source
from s3prl_fusion.source import code_digest, code_files, content_digest, imported_files


def module_at(path: Path, known: bool = True):
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    if known:
        sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def expert(tmp_path):
    """A folder in s3prl's layout, without a package of its own."""
    folder = tmp_path / "expert"
    for name in ("deep/er.py", "notes.txt", ".hidden.py", "__pycache__/old.py", ".git/hook.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "expert.py").write_text("class UpstreamExpert:\n    def forward(self): ...\n")
    (folder / "hubconf.py").write_text("def entry(): ...\n")
    return folder


class TestCode:
    def test_beside_an_expert_all_python_files_count(self, expert):
        expected = {expert / name for name in ("expert.py", "hubconf.py", "deep/er.py")}
        assert set(code_files(module_at(expert / "expert.py").UpstreamExpert)) == expected
        assert set(code_files(module_at(expert / "hubconf.py").entry)) == expected

    def test_elsewhere_the_file_itself(self, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text("class Mine:\n    def forward(self): ...\n\n\ndef make(): ...\n")
        (tmp_path / "other.py").write_text("")
        module = module_at(path)
        assert code_files(module.Mine) == code_files(module.make) == [path]
        assert code_files(functools.wraps(module.make)(lambda: None)) == [path]

    def test_what_a_file_imports_of_its_own_package(self, tmp_path):
        package = tmp_path / "mine"
        for name in ("__init__.py", "deep/__init__.py", "deep/a.py", "deep/b.py", "c.py", "../torch.py", "../d.py"):
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text("")
        code = "import torch\nimport d\nimport mine.c\nfrom . import b\nfrom .. import gone\nfrom .... import far\n"
        (package / "deep" / "a.py").write_text(code)
        assert imported_files(package / "deep" / "a.py") == [
            package / name for name in ("__init__.py", "c.py", "deep/b.py")
        ]
        (package / "c.py").write_text("no Python (")
        assert len(imported_files(package / "deep" / "a.py")) == 3
        installed = tmp_path / "site-packages" / "a.py"
        installed.parent.mkdir()
        (installed.parent / "b.py").write_text("")
        installed.write_text("import b")
        assert imported_files(installed) == []

    @pytest.mark.parametrize("obj", [int, len, 3, "text"])
    def test_what_has_no_file_has_none(self, obj):
        assert code_files(obj) == []

    def test_a_class_whose_module_is_forgotten_or_has_lost_its_name_to_another(self, expert, tmp_path):
        (tmp_path / "flat").mkdir()
        (tmp_path / "flat" / "expert.py").write_text("class UpstreamExpert:\n    def forward(self): ...\n")
        mine = module_at(expert / "expert.py", known=False).UpstreamExpert
        other = module_at(tmp_path / "flat" / "expert.py").UpstreamExpert
        assert expert / "deep" / "er.py" in code_files(mine) and expert / "deep" / "er.py" not in code_files(other)
        del sys.modules[other.__module__]
        assert tmp_path / "flat" / "expert.py" in code_files(other) and expert / "expert.py" in code_files(mine)

    def test_a_folder_of_links_is_the_folder_itself(self, expert, tmp_path):
        # huggingface_hub's downloads: a link for each file, to one named by its content.
        links = tmp_path / "links"
        links.mkdir()
        for name in ("expert.py", "hubconf.py"):
            (links / name).symlink_to(expert / name)
        found = code_files(module_at(links / "hubconf.py").entry)
        assert set(found) == {links / "expert.py", links / "hubconf.py"}

    def test_the_digest_is_of_names_and_contents(self, expert, tmp_path):
        def of(folder: Path) -> str:
            return code_digest([module_at(folder / "expert.py").UpstreamExpert, int])

        before = of(expert)
        moved = tmp_path / "somewhere" / "else"
        shutil.copytree(expert, moved)
        assert of(moved) == before
        (moved / "notes.txt").write_text("no code")
        assert of(moved) == before
        (moved / "deep" / "er.py").rename(moved / "deep" / "per.py")
        assert of(moved) != before
        (moved / "deep" / "per.py").rename(moved / "deep" / "er.py")
        assert of(moved) == before
        (moved / "hubconf.py").write_text("def entry(): pass\n")
        assert of(moved) != before

    def test_order_and_repeats_do_not_count(self, expert):
        one, other = module_at(expert / "expert.py").UpstreamExpert, json.JSONDecoder
        assert code_digest([one, other]) == code_digest([other, one, one]) != code_digest([one])
        assert code_digest([]) == code_digest([int])


class TestContent:
    def test_of_a_folder_names_and_contents_count(self, expert, tmp_path):
        before = content_digest(expert)
        moved = expert.rename(tmp_path / "moved")
        assert content_digest(str(moved)) == before
        for name in (".hidden.py", "__pycache__/old.py", ".git/hook.py"):
            (moved / name).write_text("x = 1")
        assert content_digest(moved) == before
        (moved / "notes.txt").write_text("x")
        assert content_digest(moved) != before

    def test_a_file_is_read_once_and_again_when_it_is_another(self, tmp_path, monkeypatch):
        reads, opened = [], Path.open
        monkeypatch.setattr(Path, "open", lambda self, *a, **k: reads.append(self) or opened(self, *a, **k))
        path = tmp_path / "model.pt"
        path.write_bytes(b"abc")
        reads.clear()
        first = content_digest(path)
        assert content_digest(path) == content_digest(str(path)) == first and len(reads) == 1
        path.write_bytes(b"xyz")
        os.utime(path, ns=(0, 1))
        assert content_digest(path) != first
        path.write_bytes(b"abc")
        os.utime(path, ns=(0, 2))
        assert content_digest(path) == first

    def test_a_broken_link_is_no_content(self, expert):
        before = content_digest(expert)
        (expert / "link.pt").symlink_to(expert / "nothing")
        assert content_digest(expert) == before

    def test_of_a_file_it_is_its_sha256(self, tmp_path):
        (tmp_path / "abc").write_bytes(b"abc")
        expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert content_digest(tmp_path / "abc") == expected
        with pytest.raises(FileNotFoundError):
            content_digest(tmp_path / "nothing")


def test_only_the_standard_library_is_needed():
    script = "import sys, s3prl_fusion.source; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-S", "-c", script]
    env = {**os.environ, "PYTHONPATH": str(Path(source.__file__).parents[1])}
    loaded = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert "'torch'" not in loaded and "'s3prl'" not in loaded
