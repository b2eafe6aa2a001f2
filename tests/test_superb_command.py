"""The command line: what it refuses before any training, what it prints, and run_superb.sh."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_superb_pipeline import upstream_of

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cache.config import DIR_VARIABLE
from s3prl_fusion.cli import main
from s3prl_fusion.commands import superb as command
from s3prl_fusion.corpora.base import Prepared
from s3prl_fusion.errors import UsageError
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.superb.runs import auto, launch, options, plan, upstreams
from s3prl_fusion.superb.runs.experiment import Experiment, Settings
from s3prl_fusion.superb.tasks import TASKS

ROOT = Path(__file__).parents[1]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def known_upstreams(monkeypatch):
    """Spare the tests the import of s3prl."""
    monkeypatch.setattr(upstreams, "describe", lambda fusion, given: fusion.to_dict())


def test_importing_the_command_line_is_light():
    code = (
        "import sys, s3prl_fusion.commands.superb, s3prl_fusion.superb.scores.compare;"
        "print([name for name in ('torch', 's3prl', 'pandas', 'librosa') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "-u UPSTREAM is missing; say --demo"),
        (["-u", "fbank"], "-o EXP is missing"),
        (["--demo", "-t", "asr,xx"], "got 'xx'; choose from asr, pr, sid, er"),
        (["--demo", "fused_demo"], "unexpected argument 'fused_demo'"),
        (["--demo", "-u", "fbank", "--interfaces", "hconv"], "'fbank' is not a fused upstream; try 'fused__fbank'"),
        (["--demo", "--interfaces", "hcnv"], "--interfaces: unknown interface 'hcnv'.*did you mean 'hconv'"),
        (["--demo", "-u", "fused", "--interfaces", "hconv"], "the interface of 'fused' stands in its YAML"),
        (["--demo", "--", "--bogus", "1"], "after --: unknown argument of run_downstream '--bogus'"),
        (["--demo", "--", "-u", "x"], "--upstream is what `superb` itself says"),
        (["--demo", "--", "-o", "args.seed=3"], "-o args.seed=3 is not config.KEY=VALUE"),
        (
            ["--demo", "--", "-o", "config.downstream_expert.datarc.file_path=x"],
            "file_path is what `superb` itself fills in",
        ),
        (["--demo", "--", "-o", "config.x"], "-o config.x is not config.KEY=VALUE"),
        (["--demo", "--jobs", "0"], "--jobs: got 0"),
        (["--demo", "--lr", "1e-3,fast"], "--lr: got '1e-3,fast'; give positive numbers"),
        (["--demo", "--seeds", "1,-2"], "--seeds: got '1,-2'; give whole numbers"),
        (["--demo", "--slurm", "partition"], "--slurm: got 'partition'; give KEY=VALUE"),
        (["-u", "fbank", "-o", "exp", "-t", "er"], "--iemocap is missing .needed by er."),
        (["--demo", "-o", "a=b"], "cannot carry the path"),
        (["--demo", "--", "-o"], "after --: argument -o/--override: expected one argument"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(words, match, tmp_path, monkeypatch, capsys, known_upstreams):
    monkeypatch.chdir(tmp_path)
    assert main(["superb", *words]) == 2
    message = capsys.readouterr().err
    assert re.search(match, message), message
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(
    "superb with a wrong device, -o, learning rate or recipe YAML",
    "refused before anything is prepared or trained, by --dry-run too",
)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--device", "banana"], "device 'banana' is none that torch knows"),
        (["--", "--device", "banana"], "device 'banana' is none that torch knows"),
        (["--slurm", "x=1", "--device", "banana"], "device 'banana' is none that torch knows"),
        (["--lr", "1e-3", "--", "-o", "config.optimizer.lr=1"], "-o config.optimizer.lr is what --lr fills in"),
        (["--", "-o", "config.optimizer.lr=fast"], r"sid\.yaml: optimizer\.lr must be a number above 0; got 'fast'"),
        (["--", "-o", "config.optimizer.foo=1"], r"sid\.yaml: optimizer: unknown key 'foo'"),
        (["--", "-o", "config.runner.eval_step=999999"], r"sid\.yaml: runner\.eval_step must be at most total_steps"),
        (["--", "-o", "config.runner.eval_dataloaders=['test']"], "must have dev, by which dev-best.ckpt is chosen"),
        (["--configs", "mine"], r"mine/sid\.yaml: downstream_expert\.datarc has no max_timestep"),
    ],
)
@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_mistakes_of_runs_are_found_before_anything_is_written(
    words, told, dry, tmp_path, monkeypatch, capsys, known_upstreams
):
    monkeypatch.chdir(tmp_path)
    text = (downstream_configs_dir() / "sid.yaml").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sid.yaml").write_text(re.sub("max_timestep.*", "", text))
    assert main(["superb", "--demo", "-t", "sid", *dry, *words]) == 2
    message = capsys.readouterr().err
    assert re.search(told, message), message
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.fault("superb with a lexicon or list that is not there", "told by --dry-run too, with the option")
def test_files_of_corpora_that_are_not_there(tmp_path, monkeypatch, capsys, known_upstreams):
    monkeypatch.chdir(tmp_path)
    words = ["-u", "fbank", "-t", "pr,sid", "-o", "exp", "--librispeech", ".", "--voxceleb1", ".", "--dry-run"]
    assert main(["superb", *words, "--lexicon", "a.txt,b.txt", "--voxceleb1-list", "c.txt"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.partition("--")[2] for line in told] == [
        "lexicon: a.txt does not exist",
        "lexicon: b.txt does not exist",
        "voxceleb1-list: c.txt does not exist",
    ]


@pytest.mark.fault(
    "superb with several mistakes",
    "those of the command line are told together, then those of models and recipes, a line each",
)
def test_mistakes_are_told_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--demo", "-t", "asr,er", "-u", "fused_demo_x,fused_wavlm_y", "--seeds", "x", "--lr", "y"]
    assert main(["superb", *words]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4 and "--lr: got 'y'" in told[0] and "--seeds: got 'x'" in told[1]
    assert "'fused_demo_x'" in told[2] and "'fused_wavlm_y'" in told[3]
    options = ["-o", "config.runner.eval_step=0,,config.optimizer.lr=-1"]
    assert main(["superb", "--demo", "-t", "asr,er", "-u", "fbnk", "--device", "x", "--", *options]) == 2
    told = capsys.readouterr().err
    for line in ("asr.yaml: runner.eval_step", "asr.yaml: optimizer.lr", "er.yaml: optimizer.lr", "'x'", "'fbnk'"):
        assert line in told
    assert len(told.splitlines()) == 6


def test_runs_that_are_done_are_comments_of_a_dry_run(tmp_path, monkeypatch, capsys, known_upstreams):
    monkeypatch.setattr(plan, "is_done", lambda experiment, stage: stage == "train" and experiment.task.name == "sid")
    for task in ("sid", "er"):
        folder = tmp_path / "exp" / "fbank" / task
        (folder / "fold1" if task == "er" else folder).mkdir(parents=True)
        (folder / "fold1" / "x" if task == "er" else folder / "x").touch()
    words = ["--demo", "-t", "sid,er", "-u", "fbank", "-o", str(tmp_path / "exp"), "--dry-run", "--seeds", "1337"]
    assert main(["superb", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    (done,) = [line for line in lines if line.startswith("# done already: ")]
    assert "-m train -u fbank -d voxceleb1" in done and sum("-m train" in line for line in lines) == 2


def test_a_dry_run_does_not_import_s3prl(tmp_path):
    code = (
        "import sys; from s3prl_fusion.cli import main; status = main(sys.argv[1:]);"
        "print([name for name in ('s3prl.hub', 'transformers') if name in sys.modules], status)"
    )
    words = ["superb", "--demo", "-t", "sid", "-u", "fused_demo,fused__fbank__mfcc,wavlm_base_plus", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_unknown_upstreams(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, match in (
        ("fbnk", "did you mean 'fbank'"),
        ("fused__fbank__mfc", "mfcc"),
        ("fused", "-u fused -g fusion.yaml"),
    ):
        assert main(["superb", "--demo", "-u", name]) == 2
        assert match in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_dry_run_prints_every_command_and_does_nothing(tmp_path, monkeypatch, capsys, known_upstreams):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DIR_VARIABLE, raising=False)
    assert command.main(parse("--demo", "--dry-run", "--seeds", "3", "--", "-oconfig.runner.log_step=7")) == 0
    cache, *lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 1 + 4 * 4 * 3 + 1
    exp = str(tmp_path / "exp" / "demo")
    assert cache == ["export", f"{DIR_VARIABLE}={exp}/cache"]
    assert lines[0][2:] == ["s3prl_fusion", "prepare", "demo", "-o", f"{exp}/data"]
    assert lines[-1][2:] == ["s3prl_fusion", "results", exp, "-o", exp]
    trains = [line for line in lines if "train" in line]
    assert {line[line.index("-u") + 1] for line in trains} == set(options.DEMO_UPSTREAMS.split(","))
    assert {line[line.index("-d") + 1] for line in trains} == {"asr", "ctc", "voxceleb1", "emotion"}
    assert all(line[line.index("-o") + 1].endswith(",,config.runner.log_step=7") for line in trains)
    assert all(line[line.index("--seed") + 1] == "3" for line in trains)
    for line in trains:
        assert Path(line[line.index("-c") + 1]).is_file()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given, words", [("", []), ("/mine", []), (None, ["-u", "fused_demo", "--", "-f"]), (None, ["--seeds", "1"])]
)
def test_the_demos_cache_and_seeds_are_its_own_unless_the_user_says(
    given, words, tmp_path, monkeypatch, known_upstreams
):
    """A cache that the user has set, to none too, stays; members that are trained have none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DIR_VARIABLE, given) if given is not None else monkeypatch.delenv(DIR_VARIABLE, raising=False)
    args = parse("--demo", "-t", "sid", *words)
    command.fill_in_demo(args)
    made = options.make_plan(args)
    is_ours = given is None and "-f" not in words
    assert made.settings.environment == ({DIR_VARIABLE: str(tmp_path / "exp/demo/cache")} if is_ours else {})
    assert made.seeds == ([1] if "--seeds" in words else [1337, 1, 2])
    real = parse("-u", "fbank", "-t", "sid", "-o", "exp", "--voxceleb1", str(tmp_path))
    command.fill_in_demo(real)
    made = options.make_plan(real)
    assert (made.settings.environment, made.seeds) == ({}, [1337])


def test_real_emotions_run_five_folds(tmp_path, capsys, known_upstreams):
    args = parse("-u", "a,b", "-t", "er", "--iemocap", str(tmp_path), "-o", str(tmp_path / "exp"), "--dry-run")
    assert command.main(args) == 0
    assert capsys.readouterr().out.count("-m train") == 2 * 5
    assert not (tmp_path / "exp").exists()


def test_interfaces_multiply_upstreams():
    args = parse("-u", "fused_demo,fused__fbank__mfcc", "--interfaces", "weighted_sum,hconv")
    fixed = [
        "fused_demo_weighted_sum",
        "fused_demo_hconv",
        "fused__fbank__mfcc__weighted_sum",
        "fused__fbank__mfcc__hconv",
    ]
    assert upstreams.choose_upstreams(args) == (fixed, [])
    args.interfaces += ",auto"
    assert upstreams.choose_upstreams(args) == (fixed, ["fused_demo", "fused__fbank__mfcc"])


def test_jobs_and_threads(monkeypatch):
    monkeypatch.setattr("s3prl_fusion.superb.runs.launch.usable_cores", lambda: 8)
    assert launch.choose_jobs(parse("--demo", "--device", "cpu")) == launch.MAX_JOBS
    assert launch.choose_jobs(parse("--demo", "--device", "cuda")) == 1
    assert launch.choose_jobs(parse("-u", "x", "--device", "cpu")) == 1
    assert launch.choose_jobs(parse("--demo", "--jobs", "2")) == 2
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert launch.thread_limits(4) == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}


@pytest.mark.fault("OMP_NUM_THREADS alone, set for `superb`", "its runs have as many threads")
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_of_threads_that_the_user_sets_holds(name, monkeypatch):
    for other in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "5")
    assert launch.thread_limits(1) == {}


def test_two_pipelines_never_share_a_folder(tmp_path):
    with launch.only_one(tmp_path / "exp"):
        with pytest.raises(ValueError, match="exp is in use by another"):
            with launch.only_one(tmp_path / "exp"):
                pass
    with launch.only_one(tmp_path / "exp"):
        pass


def test_a_run_left_behind_keeps_the_folder(tmp_path):
    with launch.only_one(tmp_path / "exp") as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=lock)
    try:
        with pytest.raises(ValueError, match="or by a run that one left behind"):
            with launch.only_one(tmp_path / "exp"):
                pass
    finally:
        child.kill()
        child.wait()
    with launch.only_one(tmp_path / "exp"):
        pass


def test_an_experiment_folder_that_cannot_be(tmp_path, monkeypatch, capsys, known_upstreams):
    (tmp_path / "file").write_text("")
    assert main(["superb", "--demo", "-o", str(tmp_path / "file" / "exp")]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_task_without_all_of_its_folds_has_no_score(tmp_path, monkeypatch):
    shared = Settings(exp=tmp_path, configs=tmp_path)
    corpora = Prepared(Path("/data"))
    experiments = [Experiment(upstream_of("fbank"), TASKS["er"], fold, shared, corpora) for fold in ("fold1", "fold2")]
    experiments.append(Experiment(upstream_of("fbank"), TASKS["sid"], None, shared, corpora))
    shown = []
    monkeypatch.setattr("s3prl_fusion.superb.scores.report.report", lambda results, *rest: shown.extend(results))
    command.show_results(experiments, {"fbank er fold2"}, tmp_path, "Scores")
    assert shown == [experiments[-1].folder]


# run_superb.sh

FAKE_PYTHON = """#!/bin/sh
# A Python without s3prl_fusion, whose venv has one whose pip works or not.
case "$1 $2" in
    "-c "*"metadata"*) exit 1 ;;
    "-c "*) exit 0 ;;
    "-m venv") mkdir -p "$4/bin" && cp "$FAKE_VENV_PYTHON" "$4/bin/python" ;;
esac
"""
FAKE_VENV_PYTHON = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$1 $2" in "-m pip") exit "$PIP_STATUS" ;; esac
"""


@pytest.fixture
def shell(tmp_path):
    """Call a copy of run_superb.sh with fake Pythons, from another folder."""
    checkout = tmp_path / "a checkout"
    (checkout / "tools").mkdir(parents=True)
    for name in ("run_superb.sh", "setup.py", "tools/python"):
        shutil.copy(ROOT / name, checkout / name)
    for name, text in (("python", FAKE_PYTHON), ("venv_python", FAKE_VENV_PYTHON)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)

    def call(*words: str, pip_status: int = 0) -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            "PYTHON": str(tmp_path / "python"),
            "FAKE_VENV_PYTHON": str(tmp_path / "venv_python"),
            "CALLS": str(tmp_path / "calls.txt"),
            "PIP_STATUS": str(pip_status),
        }
        line = [str(checkout / "run_superb.sh"), *words]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)

    call.checkout, call.calls = checkout, tmp_path / "calls.txt"
    return call


def test_shell_installs_once_and_passes_arguments_on(shell):
    assert shell("--demo", "-o", "my exp").returncode == 0
    assert shell("--demo").returncode == 0
    assert shell.calls.read_text(encoding="utf-8").splitlines() == [
        f"-m pip install --disable-pip-version-check -e {shell.checkout}[test,lint]",
        "-m s3prl_fusion superb --demo -o my exp",
        "-m s3prl_fusion superb --demo",
    ]


def test_shell_takes_no_half_made_environment_for_a_whole_one(shell):
    done = shell("--demo", pip_status=1)
    assert done.returncode == 1
    assert "the installation failed" in done.stderr
    assert shell("--demo").returncode == 0
    pip, again, run = shell.calls.read_text(encoding="utf-8").splitlines()
    assert pip == again and run == "-m s3prl_fusion superb --demo"


def test_shell_without_python(shell, monkeypatch):
    line = [str(shell.checkout / "run_superb.sh"), "--demo"]
    done = subprocess.run(line, env={**os.environ, "PYTHON": "/nowhere/python"}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no /nowhere/python; install Python" in done.stderr


@pytest.fixture
def yamls(tmp_path, monkeypatch):
    """A current folder with a.yaml, b.yaml and x/a.yaml."""
    monkeypatch.chdir(tmp_path)
    files = {"a": "[fbank, mfcc]", "b": "[fbank]", "x/a": "[mfcc]", "data": "[mfcc]", "c__auto": "[mfcc]"}
    for name, members in files.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"members: {members}\n")
    return tmp_path


def upstreams_of(lines: list[str]) -> dict[str, str]:
    """{experiment folder: -u} of the printed trainings."""
    words = [shlex.split(line) for line in lines if " train " in line]
    return {Path(line[line.index("-p") + 1]).parent.name: line[line.index("-u") + 1] for line in words}


def test_upstreams_are_yamls_and_names_mixed(yamls, capsys):
    argv = ["superb", "--demo", "-t", "sid", "--dry-run", "-u", "a.yaml,b.yaml,fused__mfcc,fbank"]
    assert main(argv) == 0
    expected = {"a": f"{yamls}/a.yaml", "b": f"{yamls}/b.yaml", "fused__mfcc": "fused__mfcc"}
    assert upstreams_of(capsys.readouterr().out.splitlines()) == {**expected, "fbank": "fbank"}
    assert main([*argv[:-1], "a.yaml,fused__fbank", "--interfaces", "hconv,chconv"]) == 0
    assert set(upstreams_of(capsys.readouterr().out.splitlines())) == {
        *("a_hconv", "a_chconv"),
        *("fused__fbank__hconv", "fused__fbank__chconv"),
    }
    assert main([*argv[:-1], "fused", "--", "-g", "a.yaml"]) == 0
    assert upstreams_of(capsys.readouterr().out.splitlines()) == {"fused": "fused"}
    assert not (yamls / "exp").exists()


def test_what_auto_tries_is_run_once_and_told_before(yamls, capsys):
    """A candidate that is a row, by whatever name, or in EXP already, keeps its name."""
    (yamls / "exp" / "fused__tera__weighted_sum").mkdir(parents=True)
    argv = ["superb", "--demo", "-t", "sid", "--dry-run", "-o", "exp", "-u", "a.yaml,fused__tera__linear"]
    assert main([*argv, "--interfaces", f"auto,{DEFAULT_INTERFACE}", "--seeds", "1,2"]) == 0
    told, _, *lines = capsys.readouterr().out.splitlines()
    number = 3 * len(auto.INTERFACES)
    assert told == (
        f"# a, auto: {number} candidates, {2 * number} trainings for each task and fold; "
        "only what is best on dev is evaluated"
    )
    tried = set(upstreams_of(lines))
    rows = {f"a_{DEFAULT_INTERFACE}", f"fused__tera__linear__{DEFAULT_INTERFACE}"}
    assert rows | {"a_fbank", "fused__tera__weighted_sum"} <= tried
    assert not tried & {"a", "fused__tera__linear", "fused_tera_weighted_sum"}
    start = lines.index("# from here on: for each task of auto, only the candidate with the best dev score")
    assert not [line for line in lines[start:] if "-m train" in line]


@pytest.mark.parametrize(
    "names, told",
    [
        ("a.yaml,x/a.yaml", "two upstreams would be called 'a'; rename one of the YAMLs"),
        ("b.yaml,fused__fbank", "b and fused__fbank are one and the same; leave one out"),
        ("c__auto.yaml", "EXP/c__auto is a folder of ours; rename the YAML"),
        ("data.yaml", "EXP/data is a folder of ours; rename the YAML"),
        ("c.yaml", "-u c.yaml does not exist"),
        ("fbank,fused", "the upstream 'fused' needs a fusion YAML"),
    ],
)
def test_yamls_that_cannot_be(yamls, names, told, capsys):
    for words in ([], *([] if names == "fbank,fused" else [["--interfaces", "auto"]])):
        assert main(["superb", "--demo", "--dry-run", "-u", names, *words]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.fault("superb with several fusion YAMLs, one of which names a member that there is not", "refused by YAML")
def test_a_members_mistake_is_told_by_its_yaml(tmp_path):
    for name, member in (("a", "mfcc"), ("b", "mfccc")):
        (tmp_path / f"{name}.yaml").write_text(f"members: [fbank, {member}]")
    args = parse("-u", f"{tmp_path}/a.yaml,{tmp_path}/b.yaml")
    fusions = upstreams.resolve_names(upstreams.choose_upstreams(args)[0], options.run_arguments(args))
    with pytest.raises(UsageError, match=rf"^-u {tmp_path}/b\.yaml: members\[1\]: unknown upstream 'mfccc'"):
        upstreams.resolve_upstreams(fusions, options.run_arguments(args))
