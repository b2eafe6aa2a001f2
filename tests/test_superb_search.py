"""Several learning rates and seeds: what is trained, what is chosen, and what a failure means; here and as jobs."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from functools import partial

import pytest
from test_superb_pipeline import Fake, upstream_of

from s3prl_fusion.corpora.base import Source
from s3prl_fusion.metrics import WER
from s3prl_fusion.superb.runs import launch, pipeline, search, slurm
from s3prl_fusion.superb.runs.plan import Plan, parse_rates, parse_seeds
from s3prl_fusion.superb.runs.stages import NeverBetter, StageError
from s3prl_fusion.superb.tasks import TASKS

RATES = (1e-2, 1e-3, 1e-4)


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path)


def plan_of(fake: Fake, upstreams=("up",), rates=RATES, seeds=(1, 2)) -> Plan:
    """A plan over the fake runner, for which every model is at hand."""
    (example,) = fake.experiments("up")
    for upstream in upstreams:
        for rate in rates:
            for seed in seeds:
                fake.save_model(upstream, rate or 1e-4, seed)
    return Plan(
        [TASKS["sid"]], list(map(upstream_of, upstreams)), example.settings, example.corpora, rates=rates, seeds=seeds
    )


def run(plan: Plan, start=None):
    return launch.run_plan(plan, start or (lambda experiments, stages: pipeline.run_all(experiments, 2, stages=stages)))


def stages_run(fake: Fake) -> list[tuple[str, str]]:
    return sorted((call[1], call[call.index("-p" if call[1] == "train" else "-e") + 1]) for call in fake.calls())


def test_the_best_dev_score_on_the_first_seed_chooses_and_no_other_is_evaluated(fake):
    fake.dev = {1e-2: 0.1, 1e-3: 0.9, 1e-4: 0.5}
    experiments, failures = run(plan_of(fake))
    assert failures == {}
    assert [experiment.folder.path.name for experiment in experiments] == ["sid_lr0.001_seed1", "sid_lr0.001_seed2"]
    assert all(experiment.folder.result.is_file() for experiment in experiments)
    trained = {path.rsplit("/", 1)[1] for mode, path in stages_run(fake) if mode == "train"}
    assert trained == {"sid_lr0.01_seed1", "sid_lr0.001_seed1", "sid_lr0.0001_seed1", "sid_lr0.001_seed2"}
    evaluated = {path.rsplit("/", 2)[1] for mode, path in stages_run(fake) if mode == "evaluate"}
    assert evaluated == {"sid_lr0.001_seed1", "sid_lr0.001_seed2"}
    calls = len(fake.calls())
    assert run(plan_of(fake)) == (experiments, {})
    assert len(fake.calls()) == calls


def test_a_tie_goes_to_the_lower_rate(fake):
    assert {experiment.lr for experiment in run(plan_of(fake))[0]} == {1e-4}


def test_lower_is_better_where_the_metric_says_so(fake):
    fake.dev = {1e-2: 0.1, 1e-3: 0.9}
    plan = plan_of(fake, rates=(1e-2, 1e-3), seeds=(1337,))
    candidates = plan.candidates()
    assert pipeline.run_all(candidates, jobs=1, stages=["train"]) == {}
    as_errors = [replace(e, task=replace(e.task, metric=WER)) for e in candidates]
    assert search.choose(candidates, {})[0] == {("up", "sid"): 1e-3}
    assert search.choose(as_errors, {})[0] == {("up", "sid"): 1e-2}


def test_the_dev_score_of_a_task_with_folds_is_their_mean(fake):
    plan = plan_of(fake, rates=(1e-2, 1e-3), seeds=(1337,))
    dev = {(1e-2, "fold1"): 90.0, (1e-2, "fold2"): 10.0, (1e-3, "fold1"): 60.0, (1e-3, "fold2"): 50.0}
    candidates = [replace(plan.candidates()[0], lr=rate, fold=fold) for rate, fold in dev]
    for experiment in candidates:
        experiment.stamp("train").write("", "done", 1.0, dev_score=dev[experiment.lr, experiment.fold])
    assert search.choose(candidates, {})[0] == {("up", "sid"): 1e-3}


def test_a_rate_that_diverges_loses_and_a_rate_that_could_not_be_tried_blocks(fake):
    fake.behave(diverges=[1e-2])
    experiments, failures = run(plan_of(fake, seeds=(1,)))
    assert ({experiment.lr for experiment in experiments}, failures) == ({1e-4}, {})
    fake.behave(diverges=RATES)
    experiments, failures = run(plan_of(fake, upstreams=("other",), seeds=(1,)))
    assert experiments == [] and len(failures) == 3
    assert all(isinstance(error, NeverBetter) for error in failures.values())
    fake.behave(broken=["third"])
    experiments, failures = run(plan_of(fake, upstreams=("third", "fourth"), seeds=(1,)))
    assert {experiment.upstream.label for experiment in experiments} == {"fourth"}
    assert set(failures) == {f"third sid_lr{rate:g}_seed1" for rate in RATES}


def test_the_lines_of_a_search_run_by_hand(fake):
    fake.dev = {1e-3: 0.9}
    plan = plan_of(fake, rates=(1e-3, 1e-4))
    lines = plan.lines({"voxceleb1": Source(fake.folder)})
    assert lines[0].endswith(f"prepare sid --corpus {fake.folder} -o {plan.settings.exp / 'data'}")
    comment = lines.index("# from here on: for each upstream and task, only the learning rate with the best dev score")
    assert all("-m train" in line for line in lines[1:comment]) and comment == 3
    assert [line for line in lines[comment:] if "-m train" in line and "seed1 " in line] == []
    assert lines[-1].endswith(f"results {plan.settings.exp} -o {plan.settings.exp}")


@pytest.mark.parametrize("text", ["", "a", "1e-3,x", "0", "-1e-3", "inf", "nan"])
def test_rates_that_are_none(text):
    with pytest.raises(ValueError, match="--lr: got .*; give positive numbers"):
        parse_rates(text)


@pytest.mark.parametrize("text", ["", "a", "1,-2", "1.5", str(2**32), "٣"])
def test_seeds_that_are_none(text):
    with pytest.raises(ValueError, match="--seeds: got .*; give whole numbers"):
        parse_seeds(text)


def test_rates_and_seeds():
    assert parse_rates(None) == [None]
    assert parse_rates("1e-3, 1e-4,0.001") == [1e-3, 1e-4]
    assert parse_seeds("3, 1,3") == [3, 1]


@pytest.fixture
def local(monkeypatch):
    """Jobs on this machine, asked often."""
    pytest.importorskip("submitit")
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.1)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")]))
    return lambda experiments, stages: slurm.run_all(experiments, {"timeout_min": 5}, stages, cluster="local")


def test_jobs_end_as_runs_here_do(fake, local):
    fake.dev = {1e-3: 0.9}
    experiments, failures = run(plan_of(fake, rates=(1e-3, 1e-4), seeds=(1,)), local)
    assert failures == {}
    (experiment,) = experiments
    assert json.loads(experiment.folder.result.read_text(encoding="utf-8"))["lr"] == 1e-3
    calls = len(fake.calls())
    assert local(experiments, pipeline.STAGES) == {}  # nothing is submitted twice
    assert len(fake.calls()) == calls


def test_jobs_take_the_users_name(fake, local):
    (experiment,) = fake.experiments("up")
    assert slurm.run_all([experiment], {"timeout_min": 5, "name": "mine"}, cluster="local") == {}
    assert experiment.folder.result.is_file()


def test_a_failed_job_says_which_stage_and_where_its_log_is(fake, local):
    fake.behave(broken=["bad"])
    failures = local(fake.experiments("bad", "good"), pipeline.STAGES)
    assert list(failures) == ["bad sid"]
    error = failures["bad sid"]
    assert isinstance(error, StageError) and (error.stage, str(error)) == ("train", "exit status 1")
    assert "RuntimeError: the reason" in error.log.read_text(encoding="utf-8")


# What submitit needs of Slurm: jobs run at once, here, and are listed as running until they end.
SBATCH = """#!/bin/bash
export SLURM_JOB_ID=$(($(cat "$QUEUE/last" 2>/dev/null || echo 0) + 1)) SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1
export SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_JOB_NODELIST=here
echo $SLURM_JOB_ID >"$QUEUE/last"
(bash "$1" >/dev/null 2>&1; touch "$QUEUE/$SLURM_JOB_ID.done") >/dev/null 2>&1 &
echo "Submitted batch job $SLURM_JOB_ID"
"""
SRUN = """#!/bin/bash
while [[ $1 == --* || $1 == -* ]]; do if [[ $1 == --output || $1 == --error ]]; then shift; fi; shift; done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State"
for id in $(seq $(cat "$QUEUE/last")); do
    if [[ -e $QUEUE/$id.done ]]; then echo "$id|COMPLETED"; else echo "$id|RUNNING"; fi
done
"""


@pytest.fixture
def queue(tmp_path, monkeypatch, local):
    """A Slurm of three small scripts."""
    folder = tmp_path / "slurm-bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT), ("scontrol", "#!/bin/sh\necho here\n")):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))
    monkeypatch.setenv("QUEUE", str(folder))
    return folder


def test_a_second_call_waits_for_the_jobs_of_the_first(fake, queue, monkeypatch):
    """The first is killed while its job runs; the second must not submit another for the same folder."""
    fake.behave(sleep=4)
    experiments, options = fake.experiments("up"), slurm.parse_options("slurm_partition=gpu")
    first = partial(slurm.run_all, experiments, options)
    with monkeypatch.context() as patch:
        patch.setattr(slurm, "_wait", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            first()
    assert not experiments[0].folder.result.is_file()
    assert first() == {}
    assert experiments[0].folder.result.is_file()
    assert (queue / "last").read_text(encoding="utf-8").strip() == "1"
    assert [call[1] for call in fake.calls()] == ["train", "evaluate"]


def test_options_of_slurm():
    pytest.importorskip("submitit")
    options = slurm.parse_options("slurm_partition=gpu, timeout_min=600")
    assert options == {**slurm.DEFAULTS, "slurm_partition": "gpu", "timeout_min": 600}
    assert slurm.parse_options("name=mine")["name"] == "mine"
    with pytest.raises(ValueError, match="--slurm: got 'gpu'; give KEY=VALUE"):
        slurm.parse_options("gpu")
    with pytest.raises(ValueError, match="--slurm: .*partition"):
        slurm.parse_options("slurm_partitoin=gpu")


def test_slurm_without_submitit(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(ValueError, match=r"--slurm needs submitit: pip install 's3prl-fusion\[slurm\]'"):
        slurm.parse_options("")
