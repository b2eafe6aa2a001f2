"""s3prl-fusion doctor: what it says of this environment, and of broken ones, which are where it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import s3prl_fusion
from s3prl_fusion.cli import main
from s3prl_fusion.commands import doctor
from s3prl_fusion.host import hub, shims

ROOT = Path(s3prl_fusion.__file__).parents[1]


def versions(monkeypatch, **installed: str) -> None:
    monkeypatch.setattr(doctor, "version_of", installed.get)


def test_here_everything_works(capsys):
    status, out = main(["doctor", "--device", "cpu"]), capsys.readouterr().out
    assert status == 0, out
    assert "ok  fused_demo: features of 100 frames x" in out or "ok  fused__fbank__mfcc" in out
    assert hub.host_version() in out and out.endswith("\neverything works\n")
    for shim in shims.active():
        assert f"ok  {shim.name}: {shim.reason} ({shim.source})" in out


@pytest.fixture
def broken(tmp_path):
    """Runs doctor where a module raises something when it is imported."""

    def run(module: str, raised: str) -> subprocess.CompletedProcess:
        (tmp_path / f"{module}.py").write_text(f"raise {raised}\n")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "s3prl_fusion", "doctor", "--device", "cpu"]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    return run


@pytest.mark.parametrize(
    "module, raised, said",
    [
        ("torchaudio", "RuntimeError('different CUDA versions')", "NO  torchaudio: different CUDA versions"),
        ("torchaudio", "OSError('undefined symbol: x')", "NO  torchaudio: undefined symbol: x"),
        ("s3prl", "ImportError('no s3prl')", "pip install --upgrade s3prl-fusion"),
        ("torch", "ImportError('libcudart.so: no such file')", "NO  torch: libcudart.so: no such file"),
        ("huggingface_hub", "ImportError('no hub')", "a package that s3prl needs cannot be imported: no hub"),
    ],
)
def test_it_works_where_nothing_else_does(broken, module, raised, said):
    done = broken(module, raised)
    assert done.returncode == 1 and said in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "to mend, marked NO" in done.stdout
    assert done.stdout.startswith("python ") and "\noptional\n" in done.stdout


@pytest.mark.parametrize(
    "torch, torchaudio, said",
    [
        ("2.15.0", "2.11.0", r"torchaudio ends with 2\.11\.0.*: pip install torch==2\.11\.0 torchaudio==2\.11\.0"),
        ("2.8.0+cu128", "2.11.0", r"do not fit: pip install torchaudio==2\.8\.0$"),
        ("2.11.0+cpu", "2.11.0", r"of different builds \(CPU, CUDA\); take both from one index"),
        ("2.10.0", None, r"it is not installed: pip install torchaudio==2\.10\.0"),
        (None, "2.11.0", r"pip install torch==2\.11\.0 torchaudio==2\.11\.0"),
    ],
)
def test_a_pair_that_does_not_fit_is_explained(torch, torchaudio, said, monkeypatch):
    versions(monkeypatch, torch=torch, torchaudio=torchaudio)
    with pytest.raises(ValueError, match=said):
        raise ValueError(doctor.explain_pair())


def test_what_is_optional_has_a_line_that_installs_it_and_is_no_fault(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    found = list(doctor.optional())
    assert [finding.mark for finding in found] == [doctor.ABSENT] * len(doctor.OPTIONAL)
    assert all(" install " in finding.said for finding in found)


def test_both_hosts_installed_the_one_whose_files_are_there_is_named(monkeypatch):
    import s3prl

    class Fake:
        def __init__(self, name, version):
            self.name, self.version = name, version

        def locate_file(self, path):
            return Path(s3prl.__file__).parent

    version = (Path(s3prl.__file__).parent / "version.txt").read_text().strip()
    for ours, other in (("s3prl", "espnet-s3prl"), ("espnet-s3prl", "s3prl")):
        installed = {ours: Fake(ours, version), other: Fake(other, "9999.1")}
        monkeypatch.setattr(hub, "_distribution", installed.get)
        assert hub.host_version().startswith(f"{ours} {version} (")


def test_features_that_are_not_finite_are_a_fault(monkeypatch):
    def nothing_finite(device):
        raise ArithmeticError("fused_demo gives NaN or infinite features on cpu")

    monkeypatch.setattr(doctor, "fused_forward", nothing_finite)
    device, finding = doctor.forward("cpu")
    assert finding == (doctor.BAD, "forward", "ArithmeticError: fused_demo gives NaN or infinite features on cpu")
