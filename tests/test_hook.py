"""The opt-in hook, in an environment of its own: s3prl's own scripts know fused names, and nothing else changes."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
import torchaudio

from s3prl_fusion.cli import main
from s3prl_fusion.errors import HostError
from s3prl_fusion.host import hook, startup
from s3prl_fusion.host.register import SEAMS

# Imported here, the hook watches this process too: other tests need s3prl as it is.
if startup.Hook in sys.meta_path:
    sys.meta_path.remove(startup.Hook)


# Without a GPU it is the CPU unasked.
CPU = ["--device", "cpu"] if torch.cuda.is_available() else []


class Environment:
    """A virtual environment that sees this one's packages, where the hook may be installed."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / "bin" / "python"
        self.site = Path(sysconfig.get_path("purelib", "posix_prefix", {"base": str(folder)}))
        root = Path(hook.__file__).resolve().parents[2]
        # addsitedir minds the .pth files there: setuptools has one, which gives Python 3.12 and later their distutils.
        here = sysconfig.get_path("purelib")
        (self.site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n{root}\n")

    def run(self, *args: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "S3PRL_FUSION"))
        }
        environment.update(variables, OMP_NUM_THREADS="1")
        command = [str(self.python), *args]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self.site.parent, check=False
        )

    def listing(self) -> set[str]:
        return {path.relative_to(self.site).as_posix() for path in self.site.rglob("*") if path.name != "__pycache__"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("hook") / "venv")


@pytest.fixture
def hooked(environment):
    hook.install(environment.site)
    yield environment
    hook.remove(environment.site)


ASK = "import sys; from s3prl import hub; print(hasattr(hub, 'fused_wavlm_hubert'), 's3prl_fusion' in sys.modules)"


def test_the_watched_modules_are_the_seams():
    assert set(startup.WATCHED) == set(SEAMS)


def test_fused_names_are_known_wherever_s3prl_is_imported(hooked):
    done = hooked.run("-c", ASK)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_the_unmodified_run_downstream_trains_a_fused_upstream(hooked, recipe_configs, tmp_path):
    args = ["-m", "train", "-u", "fused__fbank__mfcc", "-d", "asr", "-c", str(recipe_configs["asr"])]
    done = hooked.run("-m", "s3prl.run_downstream", *args, "-p", str(tmp_path / "exp"), *CPU)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "exp" / "states-2.ckpt").is_file()
    assert "frozen parameters: 0 (upstream); trained:" in done.stdout


def test_s3prl_nn_fuses_too(hooked):
    code = (
        "from s3prl.nn import Featurizer, S3PRLUpstream\n"
        "print(type(Featurizer(S3PRLUpstream('fused__fbank__mfcc'))).__name__)"
    )
    assert hooked.run("-c", code).stdout.split()[-1] == "FusionNNFeaturizer"


def test_registering_by_hand_as_well_changes_nothing(hooked):
    code = (
        "import s3prl.downstream.runner as runner, s3prl_fusion as sf\n"
        "before = runner.Featurizer; sf.register(); print(before is runner.Featurizer)\n"
        "sf.unregister(); print(runner.Featurizer.__module__)"
    )
    assert hooked.run("-c", code).stdout.split()[-2:] == ["True", "s3prl.upstream.interfaces"]


# Beside newer packages, s3prl needs s3prl_fusion to be imported at all.
alone = pytest.mark.skipif(not hasattr(torchaudio, "_backend"), reason="s3prl does not import by itself here")


@alone
def test_an_environment_variable_switches_it_off(hooked):
    assert hooked.run("-c", ASK, S3PRL_FUSION_HOOK="0").stdout.split() == ["False", "False"]


def test_python_starts_as_before_until_s3prl_is_imported(environment):
    code = "import sys; print(*sorted(sys.modules), sep='\\n')"
    before = set(environment.run("-c", code).stdout.split())
    hook.install(environment.site)
    try:
        after = environment.run("-c", code)
    finally:
        hook.remove(environment.site)
    assert set(after.stdout.split()) - before == {hook.MODULE} and not after.stderr


@pytest.mark.parametrize("flag", ["-S", "-I"])
def test_python_starts_without_its_site_too(hooked, flag):
    done = hooked.run(flag, "-c", "print('started')")
    assert (done.stdout, done.stderr) == ("started\n", "")


@alone
def test_s3prl_works_where_s3prl_fusion_is_gone(hooked):
    code = "import sys; sys.modules['s3prl_fusion'] = None\nimport s3prl.downstream.runner, s3prl.nn\n" + ASK
    done = hooked.run("-c", code)
    assert done.returncode == 0 and done.stdout.split()[0] == "False"
    assert done.stderr.count("s3prl_fusion's hook does not work: ModuleNotFoundError") == 1
    assert "`s3prl-fusion hook remove`" in done.stderr and "Traceback" not in done.stderr


def test_remove_leaves_no_trace(environment):
    before = environment.listing()
    hook.install(environment.site)
    environment.run("-c", "pass")
    assert environment.listing() > before
    hook.remove(environment.site)
    assert environment.listing() == before
    assert hook.remove(environment.site) == []


def test_installing_twice_is_installing_once(hooked):
    once = hooked.listing()
    hook.install(hooked.site)
    assert hooked.listing() == once


def test_status_says_where_whether_it_is_on_and_of_this_version(environment, monkeypatch):
    monkeypatch.delenv(hook.SWITCH, raising=False)
    assert hook.status(environment.site) == f"not installed in {environment.site}"
    hook.install(environment.site)
    try:
        assert hook.status(environment.site) == f"installed in {environment.site}: on"
        monkeypatch.setenv(hook.SWITCH, "0")
        assert hook.status(environment.site).endswith("switched off by S3PRL_FUSION_HOOK=0")
        (environment.site / f"{hook.MODULE}.py").write_text("# of an older version\n")
        assert "of another version of s3prl_fusion: install it again" in hook.status(environment.site)
    finally:
        hook.remove(environment.site)


def test_a_folder_that_cannot_be_written_to_is_refused_and_left_clean(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=r"cannot write to .*file: .*Use a virtual environment of your own"):
        hook.install(tmp_path / "file")


def test_the_command_says_what_it_did(environment, monkeypatch, capsys):
    monkeypatch.setattr(hook, "folder", lambda: environment.site)
    for action, said in (("install", ": on"), ("status", ": on"), ("remove", "removed "), ("status", "not installed")):
        assert main(["hook", action]) == 0
        assert said in capsys.readouterr().out
