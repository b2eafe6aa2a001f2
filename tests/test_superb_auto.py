"""`--interfaces auto`: what is tried, what is chosen on dev, and that everything reads the row like any other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from forked import Server
from pipelines import command, prepare
from test_superb_pipeline import Fake
from test_superb_search import run, stages_run

from s3prl_fusion import FusionConfig, InterfaceConfig, MemberConfig, load_experiment
from s3prl_fusion.metrics import WER, ScoreError
from s3prl_fusion.names import resolve
from s3prl_fusion.superb.layout import find_scored
from s3prl_fusion.superb.runs import auto, pipeline
from s3prl_fusion.superb.runs.experiment import Upstream
from s3prl_fusion.superb.runs.plan import Plan
from s3prl_fusion.superb.runs.stages import NeverBetter
from s3prl_fusion.superb.scores import report, tables
from s3prl_fusion.superb.scores.compare import compare
from s3prl_fusion.superb.scores.score import score
from s3prl_fusion.superb.submit import submission
from s3prl_fusion.superb.tasks import TASKS

SETS = {"both": ("a", "b"), "a": ("a",), "b": ("b",)}


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path)


def candidate(name: str, interface: str = "hconv") -> Upstream:
    """An upstream that nobody loads. The fake runner does not tell its interface, which is then a weighted sum's."""
    fusion = FusionConfig(tuple(map(MemberConfig, SETS[name])), InterfaceConfig(interface))
    return Upstream(f"{name}_{interface}", fusion, fusion.to_dict())


def plan_of(fake: Fake, rows=(), rates=(None,), seeds=(1, 2), interfaces=("hconv",), tasks=("sid",)) -> Plan:
    """A plan over the fake runner, with one row of auto: both members, and each alone."""
    (example,) = fake.experiments("up")
    tried = [candidate(name, interface) for name in SETS for interface in interfaces]
    for upstream in tried:
        for rate in rates:
            for seed in seeds:
                fake.save_model(upstream.name, rate or 1e-4, seed)
    row = auto.Auto("both", {"members": "both"}, tuple(tried))
    settings, corpora = example.settings, example.corpora
    return Plan([TASKS[task] for task in tasks], list(rows), settings, corpora, rates=rates, seeds=seeds, autos=[row])


def evaluated(fake: Fake) -> set[str]:
    return {path.split("/exp/")[1].rsplit("/", 1)[0] for mode, path in stages_run(fake) if mode == "evaluate"}


def test_the_mean_dev_score_of_all_seeds_chooses_and_no_other_test_set_is_opened(fake):
    """On the first seed alone, both members would be best."""
    fake.dev = {("both_hconv", 1): 0.9, ("both_hconv", 2): 0.1, ("a_hconv", 1): 0.4, ("a_hconv", 2): 0.4}
    fake.dev.update({("b_hconv", 1): 0.8, ("b_hconv", 2): 0.5})
    experiments, failures = run(plan_of(fake))
    assert failures == {}
    assert [str(e.folder.path.relative_to(fake.folder / "exp")) for e in experiments] == [
        "both__auto/sid_seed1",
        "both__auto/sid_seed2",
    ]
    assert evaluated(fake) == {"b_hconv/sid_seed1", "b_hconv/sid_seed2"}
    told = json.loads(experiments[0].folder.result.read_text(encoding="utf-8"))["auto"]
    assert (told["upstream"], told["chosen"], told["seeds"]) == ("both", "b_hconv", [1, 2])
    assert {one["upstream"]: one["dev_score"] for one in told["candidates"]} == pytest.approx(
        {"both_hconv": 50.0, "a_hconv": 40.0, "b_hconv": 65.0}
    )
    with pytest.raises(ScoreError, match="sid_seed1 is made of the run that was chosen; give the `superb` command"):
        score(experiments[0].folder)
    calls = len(fake.calls())
    assert run(plan_of(fake)) == (experiments, {})
    assert len(fake.calls()) == calls


@pytest.mark.parametrize(
    "counts, best",
    [
        ({"a_hconv": {"upstream": 3}, "b_hconv": {"upstream": 5}}, "a_hconv"),
        ({"a_hconv": {"featurizer": 4}, "b_hconv": {"featurizer": 2}}, "b_hconv"),
        ({"both_hconv": {"upstream": 14}}, "a_hconv"),  # all the same: the one that is listed first
    ],
)
def test_a_tie_goes_to_the_cheaper_one(fake, counts, best):
    fake.behave(counts=counts)
    plan = plan_of(fake, seeds=(1,))
    assert pipeline.run_all(plan.tried(), jobs=2, stages=["train"]) == {}
    ((choice,), _) = auto.choose(plan.autos, plan.tried(), {})
    assert choice.best.upstream.label == best


def test_lower_is_better_where_the_metric_says_so(fake):
    fake.dev = {("a_hconv", 1): 0.1, ("b_hconv", 1): 0.9}
    plan = plan_of(fake, seeds=(1,))
    assert pipeline.run_all(plan.tried(), jobs=2, stages=["train"]) == {}
    as_errors = [replace(e, task=replace(e.task, metric=WER)) for e in plan.tried()]
    for runs, best in ((plan.tried(), "b_hconv"), (as_errors, "a_hconv")):
        assert auto.choose(plan.autos, runs, {})[0][0].best.upstream.label == best


def test_with_several_rates_each_candidate_has_its_best_one(fake):
    """The rate is chosen on the first seed, as everywhere; the candidate on all of them."""
    fake.dev = {1e-3: 0.3, 1e-4: 0.2, ("b_hconv", 1): 0.6, ("b_hconv", 2): 0.5}
    (first, second), failures = run(plan_of(fake, rates=(1e-3, 1e-4)))
    assert failures == {} and evaluated(fake) == {"b_hconv/sid_lr0.0001_seed1", "b_hconv/sid_lr0.0001_seed2"}
    trained = [path.split("/exp/")[1] for mode, path in stages_run(fake) if mode == "train"]
    assert len(trained) == 3 * (2 + 1) and "a_hconv/sid_lr0.001_seed2" in trained
    told = json.loads(first.folder.result.read_text(encoding="utf-8"))["auto"]
    assert {one["upstream"]: one["lr"] for one in told["candidates"]} == {
        "both_hconv": 1e-3,
        "a_hconv": 1e-3,
        "b_hconv": 1e-4,  # of equals the lower one
    }


def test_what_never_got_better_loses_and_what_could_not_be_tried_is_in_the_way(fake):
    fake.behave(broken=["a_hconv"])
    experiments, failures = run(plan_of(fake, seeds=(1,)))
    assert experiments == [] and list(failures) == ["a_hconv sid_seed1"]
    fake.behave()
    fake.dev = {("a_hconv", 1): 0.9}
    plan = plan_of(fake, seeds=(1,))
    runs = plan.tried()
    assert pipeline.run_all(runs, jobs=2, stages=["train"]) == {}
    runs[1].stamp("train").write("", "running", 1.0)
    lost = NeverBetter("train", "no dev-best.ckpt", runs[1].folder.log("train"))
    ((choice,), in_the_way) = auto.choose(plan.autos, runs, {runs[1].label: lost})
    assert choice.best.upstream.label == "both_hconv" and in_the_way == {}
    assert [one.dev_score for one in choice.tried] == [25.0, None, 25.0]
    for e in runs:
        e.stamp("train").write("", "running", 1.0)
    assert auto.choose(plan.autos, runs, {e.label: lost for e in runs}) == ([], {e.label: lost for e in runs})


def test_a_candidate_that_is_a_row_itself_runs_once_and_has_both_rows(fake):
    fake.dev = {("a_hconv", 1): 0.9}
    experiments, failures = run(plan_of(fake, rows=[candidate("a")], seeds=(1,)))
    assert failures == {} and [e.upstream.label for e in experiments] == ["a_hconv", "both__auto"]
    assert len([mode for mode, _ in stages_run(fake) if mode == "train"]) == 3
    table = tables.tabulate(tables.read_runs(find_scored(fake.folder / "exp")))
    rows = {(row["upstream"], row["interface"]): row["SID acc"] for _, row in table.iloc[:-1].iterrows()}
    assert rows == {("a_hconv", "weighted_sum"): 50.0, ("both__auto", "auto: hconv of a"): 50.0}
    (submitted,) = submission.choose_runs(submission.find_upstream(fake.folder / "exp", "both__auto"))
    assert (submitted.task.name, submitted.seed, submitted.dev_score) == ("sid", 1, pytest.approx(90.0))


def test_another_choice_leaves_nothing_of_the_one_before(fake):
    fake.dev = {("a_hconv", seed): 0.9 for seed in (1, 2)}
    run(plan_of(fake))
    fake.dev = {("both_hconv", 3): 0.9}
    (row,), _ = run(plan_of(fake, seeds=(3,)))
    assert [folder.path for folder in find_scored(fake.folder / "exp" / "both__auto")] == [row.folder.path]
    assert (fake.folder / "exp" / "a_hconv" / "sid_seed2" / "score.json").is_file()


def test_a_run_without_a_score_is_no_choice(fake):
    fake.dev = {("a_hconv", seed): 0.9 for seed in (1, 2)}
    fake.behave(writes=False)
    experiments, failures = run(plan_of(fake))
    assert experiments == [] and set(failures) == {"a_hconv sid_seed1", "a_hconv sid_seed2"}
    assert not (fake.folder / "exp" / "both__auto").exists()


def test_what_is_tried_for_names_and_yamls(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"members": ["fbank", {"name": "mfcc", "layers": [0]}], "interface": "gumbel"}))
    for name, interfaces in (
        ("fused_wavlm_hubert", auto.INTERFACES),
        ("fused_whisper_wavlm_large_gumbel", ("gumbel", *auto.INTERFACES)),
        ("fused__fbank__mfcc", auto.INTERFACES),
        (str(path), ("gumbel", *auto.INTERFACES)),
    ):
        fusion = resolve(name)
        sets = [fusion.members, *((member,) for member in fusion.members)]
        found = auto.candidates(name, fusion)
        expected = [(members, interface) for members in sets for interface in interfaces]
        for (members, interface), spelled in zip(expected, found):
            meant = [resolve(text) for text in spelled]
            assert {(one.members, one.interface.name) for one in meant} == {(members, interface)}, spelled
        assert len(found) == len(expected) == 3 * len(interfaces)
    assert len(auto.candidates("fused_wavlm", resolve("fused_wavlm"))) == len(auto.INTERFACES)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.mark.slow
def test_a_real_one_is_read_by_everything(tmp_path, server):
    """Chosen, shown, compared and loaded: the row's folder is like any run's."""
    words, log = command(tmp_path / "a", prepare(tmp_path)), tmp_path / "log"
    words += ["--interfaces", "auto", "--seeds", "2"]
    assert server(*words, folder=tmp_path, log=log)["status"] == 0, log.read_text(encoding="utf-8")
    exp, row = tmp_path / "a" / "exp", tmp_path / "a" / "exp" / "pair__auto"
    told = json.loads((row / "sid_seed2" / "score.json").read_text(encoding="utf-8"))["auto"]
    assert len(told["candidates"]) == 3 * len(auto.INTERFACES)
    chosen = next(one for one in told["candidates"] if one["upstream"] == told["chosen"])
    assert chosen["dev_score"] == max(one["dev_score"] or 0 for one in told["candidates"])
    assert f"| pair__auto | auto: {chosen['interface']} of " in log.read_text(encoding="utf-8")
    assert "Chosen by auto" in (exp / "results.md").read_text(encoding="utf-8")
    assert len(find_scored(exp)) == 2  # the row's run, and the one that it is
    compared = compare(row, exp / told["chosen"], resamples=10).iloc[0]
    assert (compared["difference"], compared["seeds_first"]) == (0.0, 1)
    shutil.rmtree(exp / told["chosen"])  # the row stands for itself
    assert report.report(find_scored(row), "Scores").startswith("# Scores")
    assert load_experiment(row / "sid_seed2").upstream.fusion.member_names == chosen["members"]
