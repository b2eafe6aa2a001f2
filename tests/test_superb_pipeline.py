"""Stages with a fake runner: what is skipped, resumed, set aside, reported."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from s3prl_fusion import FusionConfig, MemberConfig
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.corpora.base import Prepared
from s3prl_fusion.superb.runs.experiment import Experiment, Settings, Upstream, commands
from s3prl_fusion.superb.runs.pipeline import run_all, summary
from s3prl_fusion.superb.runs.progress import Display
from s3prl_fusion.superb.runs.stages import BAR, Children, Stopped, drop_broken_checkpoints
from s3prl_fusion.superb.tasks import TASKS
from s3prl_fusion.text import seconds_text

# Behaves like s3prl's runner as far as the pipeline can see; what goes wrong is said in BEHAVIOUR.
RUNNER = """
import json, os, shutil, sys, time
from pathlib import Path

here = Path(__file__).parent
behaviour = json.loads((here / "behaviour.json").read_text())
args = sys.argv[1:]
get = lambda flag: args[args.index(flag) + 1]
with (here / "calls.txt").open("a") as calls:
    calls.write(json.dumps(args) + chr(10))
mode = get("-m")
with (here / "shared.txt").open("a") as log:
    log.write(os.environ.get("SHARED", "") + chr(10))
expdir = Path(get("-p")) if mode == "train" else Path(get("-e")).parent
if mode == "train":
    resumed = "-a" in args and list(expdir.glob("states-*.ckpt"))
    with (here / "resumed.txt").open("a") as log:
        log.write(f"{bool(resumed)}" + chr(10))
    print("overall:  50%|#####     | 1/2 [00:01<00:01,  1.00it/s]", end=chr(13), flush=True)
    rate = float(dict(item.split("=") for item in get("-o").split(",,")).get("config.optimizer.lr", "1e-4"))
    model = here / f"{get('-u')} {rate:g} {get('--seed')}.ckpt"
    shutil.copy(model, expdir / "states-1.ckpt")
    counts = {"upstream": 7, "featurizer": 5, "downstream": 12, **behaviour.get("counts", {}).get(get("-u"), {})}
    (expdir / "run.json").write_text(json.dumps({"device": "cpu", "upstream_trained": False, "parameters": counts}))
    if behaviour.get("sleep"):
        time.sleep(behaviour["sleep"])
    if get("-u") in behaviour.get("broken", []):
        print("RuntimeError: the reason", flush=True)
        sys.exit(1)
    if behaviour.get("learns", True) and rate not in behaviour.get("diverges", []):
        shutil.copy(model, expdir / "dev-best.ckpt")
else:
    if behaviour.get("writes", True):
        (expdir / "test_predict.txt").write_text("a id10001" + chr(10) + "b id10001" + chr(10))
        (expdir / "test_truth.txt").write_text("a id10001" + chr(10) + "b id10002" + chr(10))
    print(f"test acc: {behaviour.get('logged', 0.5)}")
"""


def upstream_of(name: str, **made_of) -> Upstream:
    """An upstream that nobody loads."""
    return Upstream(name, FusionConfig((MemberConfig(name),)), {"members": [{"name": name}], **made_of})


def write_config(path: Path, steps: int) -> None:
    """SID's config, for so many steps."""
    config = yaml.safe_load((downstream_configs_dir() / "sid.yaml").read_text(encoding="utf-8"))
    config["runner"].update(total_steps=steps, eval_step=1)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


class Fake:
    """The fake runner's folder, and experiments that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.dev = folder, {}
        (folder / "runner.py").write_text(textwrap.dedent(RUNNER), encoding="utf-8")
        (folder / "configs").mkdir()
        write_config(folder / "configs" / "sid.yaml", steps=2)
        self.list_clips("3 a.wav\n3 b.wav\n")
        self.behave()

    def behave(self, **behaviour) -> None:
        (self.folder / "behaviour.json").write_text(json.dumps(behaviour), encoding="utf-8")

    def list_clips(self, lines: str) -> None:
        """Write what `prepare` would: the list of clips."""
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "data" / "iden_split.txt").write_text(lines, encoding="utf-8")

    def experiments(self, *upstreams: str, seed: int = 1337, lr: float | None = None, **settings) -> list[Experiment]:
        shared = Settings(
            exp=self.folder / "exp",
            configs=self.folder / "configs",
            runner=(sys.executable, str(self.folder / "runner.py")),
            **settings,
        )
        corpora = Prepared(self.folder / "data", {"voxceleb1": Path("/vox")})
        for upstream in upstreams:
            self.save_model(upstream, lr or 1e-4, seed)
        return [
            Experiment(upstream_of(upstream), TASKS["sid"], None, shared, corpora, seed, lr) for upstream in upstreams
        ]

    def save_model(self, upstream: str, rate: float, seed: int) -> None:
        """What the runner will find that it has trained."""
        states = {
            "Args": argparse.Namespace(upstream=upstream, downstream="voxceleb1", seed=seed),
            "Config": {
                "optimizer": {"lr": rate},
                "downstream_expert": {
                    "datarc": {"file_path": "/vox", "meta_data": str(self.folder / "data" / "iden_split.txt")}
                },
            },
            "Featurizer": {"weights": torch.zeros(5)},
            "Downstream": {
                "best_score": torch.tensor([self.dev.get((upstream, seed), self.dev.get(rate, 0.25))]),
                "linear.weight": torch.zeros(3, 4),
            },
        }
        torch.save(states, self.folder / f"{upstream} {rate:g} {seed}.ckpt")

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.txt"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []

    def resumed(self) -> list[str]:
        return (self.folder / "resumed.txt").read_text(encoding="utf-8").split()


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path)


def test_train_evaluate_score(fake, capsys):
    (experiment,) = fake.experiments("up")
    assert run_all([experiment], jobs=1) == {}
    result = json.loads(experiment.folder.result.read_text(encoding="utf-8"))
    assert (result["score"], result["chance"], result["utterances"], result["metric"]) == (50.0, 50.0, 2, "acc")
    assert (result["featurizer_parameters"], result["downstream_parameters"]) == (5, 12)
    assert (result["frozen_parameters"], result["finetuned_parameters"]) == (7, 0)
    assert (result["dev_score"], result["seed"], result["lr"], result["device"]) == (25.0, 1337, 1e-4, "cpu")
    assert [call[call.index("-m") + 1] for call in fake.calls()] == ["train", "evaluate"]
    assert "up sid: acc 50.00 %" in capsys.readouterr().err
    assert "test acc: 0.5" in experiment.folder.log("evaluate").read_text(encoding="utf-8")


def test_runs_have_the_environment_of_their_settings(fake):
    run_all(fake.experiments("up", environment={"SHARED": "cache"}), jobs=1, environment={"OTHER": "1"})
    assert (fake.folder / "shared.txt").read_text(encoding="utf-8").split() == ["cache", "cache"]


def test_a_done_stage_is_skipped(fake):
    (experiment,) = fake.experiments("up")
    run_all([experiment], jobs=1)
    run_all(fake.experiments("up"), jobs=1)
    assert len(fake.calls()) == 2
    experiment.stamp("evaluate").path.unlink()
    run_all([experiment], jobs=1)
    assert [call[1] for call in fake.calls()] == ["train", "evaluate", "evaluate"]
    experiment.outputs("evaluate")[0].unlink()
    run_all([experiment], jobs=1)
    assert [call[1] for call in fake.calls()] == ["train", "evaluate", "evaluate", "evaluate"]


def test_a_moved_experiment_stays_done(fake):
    run_all(fake.experiments("up"), jobs=1)
    (fake.folder / "exp").rename(fake.folder / "moved")
    (experiment,) = fake.experiments("up")
    moved = Settings(fake.folder / "moved", experiment.settings.configs, runner=experiment.settings.runner)
    assert run_all([Experiment(upstream_of("up"), experiment.task, None, moved, experiment.corpora)], jobs=1) == {}
    assert len(fake.calls()) == 2


@pytest.mark.fault(
    "a recipe's settings, or a list of its corpus, that changed after a run of `superb`",
    "the run is set aside and made anew; what has changed is said",
)
@pytest.mark.parametrize(
    "change, why",
    [
        ("config", "recipe.runner.total_steps was 2, is 3"),
        ("override", "recipe.runner.gradient_clipping was 1, is 7"),
        ("upstream", "the source code of upstream.members[0] (up) has changed"),
        ("corpus", "corpus.iden_split.txt was "),
        ("release", "s3prl_fusion was '0.2', is '0.0'"),
    ],
)
def test_what_decides_a_result_is_told_and_then_run_again_beside_the_old_folder(fake, monkeypatch, change, why):
    def experiment(code: str, **settings) -> Experiment:
        (found,) = fake.experiments("up", **settings)
        return replace(found, upstream=replace(found.upstream, made_of={"members": [{"name": "up", "code": code}]}))

    first = experiment("a")
    assert first.changes() == []
    run_all([first], jobs=1)
    assert experiment("a").changes() == []
    override = "config.runner.gradient_clipping=7,,config.runner.log_step=7"  # only the first decides anything
    settings = {"options": {"override": [override]}} if change == "override" else {}
    other = experiment("b" if change == "upstream" else "a", **settings)
    if change == "config":
        write_config(other.config, steps=3)
    elif change == "corpus":
        fake.list_clips("1 c.wav\n3 a.wav\n3 b.wav\n")
    elif change == "release":
        monkeypatch.setattr("s3prl_fusion.superb.runs.experiment.__version__", "0.0.0")
    (told,) = other.changes()
    assert told.startswith(why)
    assert run_all([other], jobs=1) == {}
    assert fake.resumed() == ["False", "False"] and other.changes() == []
    old = other.folder.path.with_name("sid.old1")
    assert (old / "score.json").is_file() and (old / "dev-best.ckpt").is_file()


@pytest.mark.fault("`--device` added to a finished run of `superb`", "the run stays done")
@pytest.mark.parametrize("option", ["device", "verbose", "backend"])
def test_where_a_run_goes_on_decides_nothing(fake, option):
    (experiment,) = fake.experiments("up")
    run_all([experiment], jobs=1)
    (other,) = fake.experiments("up", device="cpu", options={option: "cpu"})
    (at_the_same_values,) = fake.experiments("up", options={"override": ["config.runner.total_steps = 2"]})
    assert other.changes() == at_the_same_values.changes() == []
    assert run_all([other], jobs=1) == {} and len(fake.calls()) == 2


def test_a_folder_of_somebody_else_is_set_aside(fake):
    (experiment,) = fake.experiments("up")
    experiment.folder.path.mkdir(parents=True)
    (experiment.folder.path / "states-900.ckpt").write_bytes(b"mine")
    assert run_all([experiment], jobs=1) == {}
    assert fake.resumed() == ["False"]
    assert (experiment.folder.path.with_name("sid.old1") / "states-900.ckpt").read_bytes() == b"mine"


def test_an_interrupted_training_resumes(fake):
    (experiment,) = fake.experiments("up")
    fake.behave(broken=["up"])
    failures = run_all([experiment], jobs=1)
    assert list(failures) == ["up sid"]
    assert experiment.stamp("train").read()["status"] == "running"
    fake.behave()
    assert run_all([experiment], jobs=1) == {}
    assert fake.resumed() == ["False", "True"]
    assert "RuntimeError: the reason" in experiment.folder.log("train").read_text(encoding="utf-8")  # the log goes on
    assert not experiment.folder.path.with_name("sid.old1").exists()


def test_a_checkpoint_cut_off_by_a_kill_is_dropped(fake):
    (experiment,) = fake.experiments("up")
    fake.behave(broken=["up"])
    run_all([experiment], jobs=1)
    states = experiment.folder.path / "states-1.ckpt"
    states.write_bytes(states.read_bytes()[:200])
    fake.behave()
    assert run_all([experiment], jobs=1) == {}
    assert fake.resumed() == ["False", "False"]
    assert drop_broken_checkpoints(experiment.folder.path) == []


def damaged(path: Path, how: str) -> None:
    """Cut a checkpoint off, or flip one bit of its weights."""
    data = bytearray(path.read_bytes())
    data[data.rindex(b"\x80\x3e") + 1] ^= 1  # of the best score, 0.25
    path.write_bytes(data[: len(data) // 2] if how == "half" else data)


@pytest.mark.fault("superb again after a run's best checkpoint was cut off or damaged", "trained on from before it")
@pytest.mark.parametrize("how", ["half", "flip"])
def test_a_damaged_best_checkpoint_is_trained_again_from_the_last_one_before_it(fake, how):
    (experiment,) = fake.experiments("up")
    assert run_all([experiment], jobs=1) == {}
    folder, model = experiment.folder, torch.load(fake.folder / "up 0.0001 1337.ckpt", weights_only=False)
    shutil.copy(folder.path / "states-1.ckpt", folder.path / "states-2.ckpt")
    torch.save({**model, "Downstream": {"best_score": torch.tensor([0.125])}}, folder.path / "states-0.ckpt")
    damaged(folder.best_ckpt(experiment.task), how)
    experiment.stamp("score").path.unlink()
    seen = run_all([experiment], jobs=1)
    assert seen == {} and fake.resumed() == ["False", "True"] and folder.result.is_file()
    # What the runner then wrote anew, after the one that it went on from.
    assert sorted(path.name for path in folder.path.glob("states-*")) == ["states-0.ckpt", "states-1.ckpt"]
    assert "dev-best.ckpt was damaged or gone: trained again from states-0" in folder.log("train").read_text()
    assert not folder.path.with_name("sid.old1").exists()


@pytest.mark.fault("the same, where no checkpoint from before it is left", "set aside, trained from the start")
def test_a_damaged_best_checkpoint_without_one_before_it(fake):
    (experiment,) = fake.experiments("up")
    assert run_all([experiment], jobs=1) == {}
    damaged(experiment.folder.best_ckpt(experiment.task), "half")
    assert run_all([experiment], jobs=1) == {} and run_all([experiment], jobs=1) == {}
    assert fake.resumed() == ["False", "False"]
    assert experiment.folder.path.with_name("sid.old1").is_dir()


@pytest.mark.fault("superb again after a bit of the last states-*.ckpt has changed", "the one before is gone on from")
def test_a_damaged_state_is_dropped(fake):
    (experiment,) = fake.experiments("up")
    fake.behave(broken=["up"])
    run_all([experiment], jobs=1)
    folder = experiment.folder
    shutil.copy(folder.path / "states-1.ckpt", folder.path / "states-9.ckpt")
    damaged(folder.path / "states-9.ckpt", "flip")
    fake.behave()
    assert run_all([experiment], jobs=1) == {} and fake.resumed() == ["False", "True"]
    assert [path.name for path in folder.path.glob("states-*")] == ["states-1.ckpt"]


@pytest.mark.fault(
    "a stamp of a stage that is cut or holds something else", "that stage is done again; what is there is set aside"
)
@pytest.mark.parametrize(
    "stage, text",
    [
        ("train", ""),
        ("train", "[]"),
        ("train", '{"made_of": [], "seconds": "x"}'),
        ("evaluate", "null"),
        ("score", "3"),
    ],
)
def test_a_damaged_stamp(stage, text, fake):
    (experiment,) = fake.experiments("up")
    run_all([experiment], jobs=1)
    experiment.stamp(stage).path.write_text(text)
    assert run_all([experiment], jobs=1) == {}
    assert len(fake.calls()) == {"train": 4, "evaluate": 3, "score": 2}[stage]
    assert experiment.folder.path.with_name("sid.old1").is_dir() == (stage == "train")


@pytest.mark.fault("a run.json that is cut or holds something else", "the run fails in one line, with the file")
@pytest.mark.parametrize("text", ["[]", '{"parameters": []}', '{"fusion": {"members": [3]}}'])
def test_a_damaged_run_json(text, fake):
    (experiment,) = fake.experiments("up")
    run_all([experiment], jobs=1)
    experiment.folder.run_file.write_text(text)
    experiment.stamp("score").path.unlink()
    (error,) = run_all([experiment], jobs=1).values()
    assert re.fullmatch(rf"{experiment.folder.run_file} is damaged: [^\n]*; remove it, .*", str(error))


def test_a_failure_does_not_stop_the_others(fake):
    experiments = fake.experiments("bad", "good")
    fake.behave(broken=["bad"])
    failures = run_all(experiments, jobs=2)
    assert list(failures) == ["bad sid"]
    assert experiments[1].folder.result.is_file()
    text = summary(failures, len(experiments))
    assert "1 of 2 runs failed" in text
    assert str(experiments[0].folder.log("train")) in text
    assert "| RuntimeError: the reason" in text


@pytest.mark.fault("a disk that is full in one run of `superb`", "that run fails, by its folder; the others go on")
@pytest.mark.parametrize("stage", ["train", "evaluate", "score"])
def test_a_full_disk_ends_its_own_run_only(fake, monkeypatch, stage):
    full, fine = fake.experiments("full", "fine")
    write_bytes = Path.write_bytes

    def fills_up(self: Path, content: bytes) -> int:
        if full.folder.path in self.parents and self.name.startswith(f".{full.folder.stamp(stage).name}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(self, content)

    monkeypatch.setattr("s3prl_fusion.files.Path.write_bytes", fills_up)
    failures = run_all([full, fine], jobs=1)
    assert list(failures) == ["full sid"] and failures["full sid"].stage == stage
    told = rf"{full.folder.path}/.*{stage}\.json: No space left on device: the disk is full; make room"
    assert re.match(told, str(failures["full sid"]))
    assert fine.folder.result.is_file()


def test_a_child_whose_log_cannot_be_written_is_not_left_running(tmp_path):
    log, pid = tmp_path / "log.txt", tmp_path / "pid.txt"
    log.symlink_to("/dev/full")
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); print('up', flush=True); time.sleep(60)"
    with pytest.raises(OSError, match="No space left"):
        Children().run([sys.executable, "-c", code], log, print)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("behaviour", "stage", "match"),
    [
        ({"learns": False}, "train", r"no dev-best\.ckpt: the dev acc never rose above 0"),
        ({"writes": False}, "evaluate", r"did not write .*test_predict\.txt"),
        ({"logged": 0.75}, "score", r"files give 50\.0000 %, but the recipe logged 75\.0000 %"),
        ({"logged": "nonsense"}, "score", "nonsense"),
    ],
)
def test_what_a_stage_refuses(fake, behaviour, stage, match):
    fake.behave(**behaviour)
    (experiment,) = fake.experiments("up")
    (error,) = run_all([experiment], jobs=1).values()
    assert error.stage == stage
    assert re.search(match, str(error))
    assert not experiment.folder.result.exists()


def test_commands_run_by_hand(fake, tmp_path):
    (experiment,) = fake.experiments(
        "up", options={"override": ["config.runner.log_step=7"], "verbose": True}, device="cpu"
    )
    experiment.folder.path.mkdir(parents=True)
    for line in commands(experiment):
        subprocess.run(["sh", "-c", line], check=True, cwd=tmp_path, capture_output=True)
    assert json.loads(experiment.folder.result.read_text(encoding="utf-8"))["score"] == 50.0
    train, evaluate = fake.calls()
    assert train.count("-o") == 1
    assert train[train.index("-o") + 1].endswith(",,config.runner.log_step=7")
    assert "--verbose" in train
    assert "--verbose" not in evaluate
    assert train[train.index("--device") + 1] == "cpu"
    assert experiment.outputs("evaluate")[0].is_file()


def test_overrides_are_understood_by_s3prl(fake):
    from argparse import Namespace

    from s3prl.utility.helper import override

    (experiment,) = fake.experiments("up")
    args, config = Namespace(expdir="old"), {"downstream_expert": {"datarc": {"file_path": "", "meta_data": ""}}}
    override(experiment.overrides(), args, config)
    assert args.expdir == str(experiment.folder.path)
    assert config["downstream_expert"]["datarc"] == {
        "file_path": "/vox",
        "meta_data": f"{fake.folder}/data/iden_split.txt",
    }
    odd = Settings(fake.folder / "a=b", experiment.settings.configs)
    with pytest.raises(ValueError, match="cannot carry the path .*a=b"):
        Experiment(upstream_of("up"), experiment.task, None, odd, experiment.corpora).overrides()


def test_seeds_and_learning_rates_have_their_own_folders(fake):
    experiments = [
        *fake.experiments("up"),
        *fake.experiments("up", seed=2),
        *fake.experiments("up", lr=1e-3),
        *fake.experiments("up", lr=1e-05, seed=2),
    ]
    names = ["sid", "sid_seed2", "sid_lr0.001", "sid_lr1e-05_seed2"]
    assert [experiment.folder.path.name for experiment in experiments] == names
    assert run_all(experiments, jobs=2) == {}
    results = [json.loads(experiment.folder.result.read_text(encoding="utf-8")) for experiment in experiments]
    assert [(result["seed"], result["lr"]) for result in results] == [(1337, 1e-4), (2, 1e-4), (1337, 1e-3), (2, 1e-5)]


def test_folds_have_their_own_folders():
    settings, corpora = Settings(Path("/e"), Path("/c")), Prepared(Path("/d"))
    task = TASKS["er"]
    folders = [Experiment(upstream_of("up"), task, fold, settings, corpora).folder.path for fold in task.folds]
    assert folders == [Path(f"/e/up/er/fold{k}") for k in range(1, 6)]
    fold2 = Experiment(upstream_of("up"), task, "fold2", settings, corpora)
    assert fold2.outputs("evaluate")[0].name == "test_fold2_predict.txt"


def test_bars_are_read():
    match = BAR.match("\x1b[Aoverall:  12%|█▏        | 24/200 [00:10<01:15,  2.33it/s]")
    assert (match["name"], match["done"], match["total"]) == ("overall", "24", "200")
    assert BAR.match("test-clean: 100%|##########| 43/43 [00:10<00:00]")["name"] == "test-clean"
    assert BAR.match("dev-clean wer: 45.0") is None


def test_stop_ends_every_child(tmp_path):
    import threading

    children, log = Children(), tmp_path / "log.txt"
    outcome = []

    def work() -> None:
        try:
            children.run([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], log, print)
        except Stopped:
            outcome.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    while not (log.is_file() and "up\n" in log.read_text(encoding="utf-8")):
        time.sleep(0.05)
    children.stop()
    thread.join(timeout=60)
    assert outcome == ["stopped"]
    with pytest.raises(Stopped):
        children.run(["true"], log, print)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_children_and_says_how_to_go_on(fake, number):
    fake.behave(sleep=60)
    script = textwrap.dedent(
        f"""
        import signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        from test_superb_pipeline import Fake
        from s3prl_fusion.cli import main
        from s3prl_fusion.commands import superb
        from s3prl_fusion.superb.runs import pipeline

        fake = Fake.__new__(Fake)
        fake.folder, fake.dev = Path({str(fake.folder)!r}), {{}}
        superb.run = lambda args: len(pipeline.run_all(fake.experiments("up"), jobs=1))
        sys.exit(main(["superb"]))
        """
    )
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    while not (fake.folder / "resumed.txt").is_file():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"give the same command again" in stderr
    assert fake.experiments("up")[0].stamp("train").read()["status"] == "running"


def test_plain_lines_when_there_is_no_terminal(capsys):
    display = Display(stages=3, slots=1)
    display.start(0, "up asr train")
    display.step(0, 5, 100)
    display.end(0, 1, "up asr: WER 40.00 %")
    display.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["[0:00] [0/3 stages] up asr train starts", "[0:00] [1/3 stages] up asr: WER 40.00 %"]


def test_live_bars_on_a_terminal():
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    display = Display(stages=3, slots=2, stream=stream)
    display.start(1, "up asr train")
    display.step(1, 5, 100)
    display.end(1, 1, "up asr: WER 40.00 %")
    display.close()
    text = stream.getvalue()
    assert "up asr train   5%" in text
    assert "5/100" in text
    assert "up asr: WER 40.00 %\n" in text


def test_seconds_text():
    assert [seconds_text(value) for value in (0.4, 75, 3700)] == ["0:00", "1:15", "1:01:40"]


@pytest.mark.fault("Ctrl-C during one of several runs of `superb`", "no run begins after it")
def test_nothing_starts_once_stopped(fake, capfd, monkeypatch):
    first, second = fake.experiments("up"), fake.experiments("other")

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    def slow(self, command, *args, **options):  # the first run lasts until it is stopped
        while not self._stopping:
            time.sleep(0.01)
        raise Stopped

    monkeypatch.setattr(Children, "run", slow)
    monkeypatch.setattr("s3prl_fusion.superb.runs.pipeline.wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_all([*first, *second], jobs=1)
    assert "other sid" not in capfd.readouterr().err and not second[0].folder.path.exists()
