"""The command line: what it prints, what it completes, and one run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.errors import MissingFileError, UserError, unknown
from s3prl_fusion.host.arguments import parse
from s3prl_fusion.host.hub import host_version
from s3prl_fusion.host.runner import complete_arguments, run

NEW = ["-m", "train", "-u", "fbank", "-d", "asr", "-p", "exp"]


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"s3prl-fusion {s3prl_fusion.__version__}\n"


def test_an_unknown_command_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main(["runn"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and all(command in error for command in ("'runn'", "run", "superb", "list"))


HEAVY = ("torch", "s3prl", "transformers", "pandas", "librosa", "matplotlib")
WATCHED = (
    f"import atexit, sys; atexit.register(lambda: print([name for name in {HEAVY} if name in sys.modules]));"
    "from s3prl_fusion.cli import main; sys.exit(main(sys.argv[1:]))"
)
TRAIN = "run -m train -d asr -p exp -c asr.yaml"


@pytest.mark.parametrize(
    "argv, status, told",
    [
        ("--help", 0, "COMMAND"),
        ("superb --help", 0, "--librispeech"),
        ("list", 0, "fused_wavlm_hubert"),
        ("list fused_wavlm_hubrt", 2, "did you mean 'hubert'"),
        (f"{TRAIN} -u fused_wavlm_hubrt", 2, "did you mean 'hubert'"),
        (f"{TRAIN} -u fused -g key.yaml", 2, "unknown key 'interfaces'"),
        (f"{TRAIN} -u fused -g interface.yaml", 2, "did you mean 'hconv'"),
        ("run -m train -d asr -p exp -c arr.yaml -u fbank", 2, "-c arr.yaml does not exist"),
        ("superb --demo -u fused_wavlm_hubrt", 2, "did you mean 'hubert'"),
        ("profile -u fused_wavlm_hubrt", 2, "did you mean 'hubert'"),
        ("extract speech.wav -u fused_wavlm_hubrt -o features", 2, "did you mean 'hubert'"),
    ],
)
def test_help_and_mistakes_are_told_without_torch(argv, status, told, tmp_path):
    for name, text in {
        "key": "interfaces: hconv",
        "interface": "interface: hconf",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(f"members: [fbank]\n{text}\n")
    (tmp_path / "speech.wav").touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WATCHED, *argv.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status and told in (done.stderr if status else done.stdout)
    assert done.stdout.splitlines()[-1] == "[]"


def test_run_passes_its_arguments_on_untouched(monkeypatch):
    from s3prl_fusion.host import runner

    passed = []
    monkeypatch.setattr(runner, "run", lambda argv, *rest: passed.append(argv))
    argv = ["-m", "train", "--version", "--help", "-o", "config.a=1,,args.b='x y'"]
    assert main(["run", *argv]) == 0 and passed == [argv]


class TestCompletedArguments:
    def completed(self, argv, tmp_path) -> dict:
        added = complete_arguments(argv)[len(argv) :]
        return dict(zip(added[::2], added[1::2]))

    def test_the_device_is_cuda_where_there_is_one(self, tmp_path, monkeypatch):
        for available, device in ((True, "cuda"), (False, "cpu")):
            monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
            assert self.completed(NEW, tmp_path)["--device"] == device

    @pytest.mark.parametrize("given", [["--device", "cuda:1"], ["--device=cuda:1"]])
    def test_a_given_device_is_kept(self, given, tmp_path):
        assert "--device" not in self.completed([*NEW, *given], tmp_path)

    @pytest.mark.parametrize("given", [["-c", "mine.yaml"], ["--config", "mine.yaml"], ["--config=mine.yaml"]])
    def test_a_given_config_is_kept(self, given, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("mine.yaml").write_text((downstream_configs_dir() / "asr.yaml").read_text())
        assert "-c" not in self.completed([*NEW, *given], tmp_path)

    @pytest.mark.parametrize(
        "downstream, given",
        [("asr", "asr.yaml"), ("voxceleb1", "demo/sid.yaml"), ("emotion", "downstream_configs/demo/er.yaml")],
    )
    def test_a_config_that_ships_with_the_package_is_found_by_its_name(self, downstream, given, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = Path(self.completed([*NEW, "-d", downstream, "-c", given], tmp_path)["-c"])
        assert (
            found.is_file() and found.parts[-1] == Path(given).name and found.is_relative_to(downstream_configs_dir())
        )

    def test_a_file_of_the_same_name_in_the_current_folder_comes_first(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("asr.yaml").write_text((downstream_configs_dir() / "asr.yaml").read_text())
        assert "-c" not in self.completed([*NEW, "-c", "asr.yaml"], tmp_path)

    def test_a_config_that_is_nowhere_lists_the_ones_that_ship(self, tmp_path):
        with pytest.raises(MissingFileError, match=r"-c arr\.yaml does not exist; .*asr\.yaml, demo/asr\.yaml"):
            complete_arguments([*NEW, "-c", "arr.yaml"])

    @pytest.mark.parametrize("given", ["fusion/whisper_wavlm.yaml", "downstream_configs/fusion/hubert.yaml"])
    def test_a_fusion_yaml_that_ships_with_the_package_is_found_by_its_name(self, given, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = self.completed(["-u", "fused", "-g", given, "-d", "asr", "-p", "exp"], tmp_path)["-g"]
        assert Path(found).samefile(downstream_configs_dir() / "fusion" / Path(given).name)

    def test_a_fusion_yaml_that_is_nowhere_lists_the_ones_that_ship(self, tmp_path):
        with pytest.raises(MissingFileError, match=r"-g mine\.yaml does not exist; .*fusion/hubert_wavlm\.yaml"):
            complete_arguments(["-u", "fused", "-g", "mine.yaml", "-d", "asr", "-p", "exp"])

    @pytest.mark.parametrize(
        "upstream, told",
        [("b.yaml", 'args.upstream="{}/b.yaml"'), ("fused_wavlm_hubert", None), ("hubert", None)],
    )
    def test_of_an_experiment_that_goes_on_only_a_yaml_may_be_elsewhere(self, upstream, told, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "exp").mkdir()
        (tmp_path / "exp" / "states-2.ckpt").touch()
        (tmp_path / "b.yaml").write_text("members: [fbank]\n")
        argv = ["-a", "-u", upstream, "-p", "exp", "-o", "config.runner.total_steps=1"]
        override = self.completed(argv, tmp_path).get("-o")
        assert override == (told and f"config.runner.total_steps=1,,{told.format(tmp_path)}")

    @pytest.mark.fault("run with several -o", "all of them count; s3prl takes the last alone")
    def test_all_overrides_count(self, tmp_path):
        argv = [*NEW, "-o", "config.runner.log_step=7", "-o", "config.runner.save_step=7 ,, args.verbose=True"]
        told = "config.runner.log_step=7,,config.runner.save_step=7,,args.verbose=True"
        assert self.completed(argv, tmp_path)["-o"] == told
        assert "-o" not in self.completed([*NEW, "-o", "none"], tmp_path)

    @pytest.mark.fault(
        "run with an argument, a value or a device that there is not, or an -o or a YAML with a mistake",
        "refused in one line before s3prl is imported",
    )
    @pytest.mark.parametrize(
        "more, told",
        [
            (["--bogus", "1"], "unknown argument of run_downstream '--bogus'"),
            (["--devise", "cpu"], "unknown argument of run_downstream '--devise'.*did you mean '--device'"),
            (["stray"], "unknown argument of run_downstream 'stray'"),
            (["-m", "trian"], "argument -m/--mode: invalid choice: 'trian'"),
            (["--seed", "-1"], "argument --seed: '-1' is no whole number from 0 to 4294967295"),
            (["--seed", "4294967296"], "argument --seed: '4294967296' is no whole number"),
            (["--device", "banana"], "device 'banana' is none that torch knows"),
            (["--device", "meta"], "device 'meta' cannot be used here"),
            (["-o", "optimizer.lr=1"], "-o optimizer.lr=1 is not config.KEY=VALUE"),
            (["-o", "config.optimizer.lr"], "-o config.optimizer.lr is not config.KEY=VALUE"),
            (["-o", "args.exdir=x"], "-o args.exdir=x: unknown argument 'exdir'.*did you mean 'expdir'"),
            (["-o", "config.optimizer.lr=fast"], r"asr\.yaml: optimizer\.lr must be a number above 0; got 'fast'"),
            (["-o", "config.runner.total_steps.x=1"], "total_steps has the value 200000, and no keys of its own"),
            (["-l", "3"], "'fbank' has hidden states 0 to 0; its layers ask for 3"),
            (["-u", "fbnk"], "unknown upstream 'fbnk'.*did you mean 'fbank'"),
            (["-c", "mine.yaml"], r"mine\.yaml: it has no optimizer\nmine\.yaml: it has no downstream_expert"),
            (["-c", "list.yaml"], r"list\.yaml must be a mapping of keys to values; got \[1\]"),
            (["-c", "twice.yaml"], r"twice\.yaml is not valid YAML: line 2: the key 'runner' is there twice"),
        ],
    )
    def test_mistakes(self, more, told, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        runner = (downstream_configs_dir() / "asr.yaml").read_text().split("optimizer:")[0]
        Path("mine.yaml").write_text(runner)
        Path("list.yaml").write_text("[1]\n")
        Path("twice.yaml").write_text("runner: {}\nrunner: {}\n")
        with pytest.raises(UserError, match=told):
            run([*NEW, *more])
        assert not Path("exp").exists()

    def test_what_the_installed_s3prl_alone_knows_is_left_to_it(self, tmp_path, monkeypatch):
        (tmp_path / "run_downstream.py").write_text('parser.add_argument("--brand_new")\n')
        monkeypatch.setattr("s3prl_fusion.host.hub.s3prl_folder", lambda: tmp_path)
        assert parse(["--brand_new", "3", "--seed", "7"]).seed == 7
        with pytest.raises(UserError, match="'--brand_old'; .*did you mean '--brand_new'|did you mean '--brand_new'"):
            parse(["--brand_old", "3"])

    def test_the_arguments_come_first_and_as_they_are(self, tmp_path):
        argv = [*NEW, "-o", "config.runner.total_steps=1", "--seed", "7", "-f"]
        assert complete_arguments(argv)[: len(argv)] == argv


def test_the_host_is_named_with_version_and_path():
    import s3prl

    assert str(Path(s3prl.__file__).parent) in host_version() and host_version().startswith(("s3prl ", "espnet-s3prl "))


def test_unknown_names_list_all_of_few_and_the_near_ones_of_many():
    assert (
        unknown("fruit", "aple", ["apple", "fig"])
        == "unknown fruit 'aple'; choose from apple, fig (did you mean 'apple'?)"
    )
    many = [f"entry{i:03d}" for i in range(100)]
    assert unknown("entry", "entry0x7", many).startswith("unknown entry 'entry0x7' (did you mean 'entry")
    assert unknown("entry", "zzz", many) == "unknown entry 'zzz'; 100 are known, none is near"


def test_a_run_in_a_process_of_its_own_from_an_empty_folder(recipe_configs, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    args = ["-m", "train", "-u", "fused__fbank__mfcc", "-d", "asr", "-c", str(recipe_configs["asr"]), "-p", "exp"]
    command = [sys.executable, "-m", "s3prl_fusion.run_downstream", *args, "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[s3prl_fusion] ") and (tmp_path / "exp" / "states-2.ckpt").is_file()


def test_a_mistake_ends_the_process_with_2(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "s3prl_fusion", "run", "-m", "train", "-u", "fused_wavlm", "-d", "asr"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "s3prl-fusion run: error: -p EXPDIR" in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("argv", ["superb --demo -u fbank", "run -m train -u fbank -d asr -p exp"])
def test_a_missing_s3prl_is_told_in_one_line(argv, tmp_path):
    without = "import sys; sys.modules['s3prl'] = None; from s3prl_fusion.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", without, *argv.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    told = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(told) == 1 and "s3prl" in told[0] and "pip install" in told[0], done.stderr


def test_programming_errors_stay_tracebacks(monkeypatch):
    from s3prl_fusion.commands import list as command

    monkeypatch.setattr(command, "presets", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_a_reader_that_has_had_enough_is_no_error():
    line = f"set -o pipefail; {sys.executable} -m s3prl_fusion list --verbose | head -1"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("name")
