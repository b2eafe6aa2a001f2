"""Planted scores give the planted recommendation; the Pareto front against brute force; what is written."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import numpy as np
import pandas
import pytest
from test_superb_compare import write_run

from s3prl_fusion.config import FusionConfig, InterfaceConfig, MemberConfig
from s3prl_fusion.errors import UsageError
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.metrics import ratio
from s3prl_fusion.select.choice import choose, enough, over_tasks, sentence
from s3prl_fusion.select.commands import short_name, superb_commands
from s3prl_fusion.select.costs import Cost, MemberCost
from s3prl_fusion.select.picture import pareto
from s3prl_fusion.select.report import report
from s3prl_fusion.select.trials import Scored, Trial, gain
from s3prl_fusion.statistics import Estimate
from s3prl_fusion.superb.scores.tables import percent
from s3prl_fusion.superb.tasks import TASKS

UTTERANCES, TOKENS = 200, 10
MACS = {"wavlm": 6.0e9, "hubert": 5.8e9, "whisper": 2.0e9, "fbank": 1.0e6}
MEMBERS = {name: MemberCost(macs, 1000, 0.1, layers=3, dim=8, rate=320) for name, macs in MACS.items()}


def trial(task: str, members: str, rate: float, seed: int = 0, spread: float = 0.002, **more: object) -> Trial:
    """A trial whose errors, of three seeds, are drawn with a rate, and with what all trials find hard in common."""
    names, folds = tuple(members.split("+")), TASKS[task].folds[:2]
    numbers = np.random.default_rng([seed, *map(ord, members)])
    common = np.random.default_rng(9)
    scored = {}
    for fold in folds:
        hard = common.normal(0, 0.05, size=UTTERANCES)
        each = np.clip(rate + hard + spread * numbers.normal(size=(3, 1)), 0.0, 1.0)
        errors = numbers.binomial(TOKENS, each)
        counts = TOKENS - errors if TASKS[task].metric.higher_is_better else errors
        scored[fold or ""] = Scored(UTTERANCES, [ratio(row, np.full(UTTERANCES, TOKENS)) for row in counts])
    fusion = FusionConfig(tuple(map(MemberConfig, names)), InterfaceConfig("chconv"), normalize=True)
    return replace(Trial(TASKS[task], f"{members}_chconv", names, fusion, scored, 1000), **more)


def costs(*trials: Trial) -> dict[str, Cost]:
    return {one.label: Cost(sum(MACS[name] for name in one.members), 1000, 0.1, 100) for one in trials}


def chosen(*trials: Trial, budget: float | None = None):
    return choose(trials, costs(*trials), budget)


PR = [trial("pr", "wavlm", 0.20), trial("pr", "hubert", 0.24), trial("pr", "whisper", 0.30)]


def test_a_set_that_is_surely_better_is_recommended():
    found = chosen(*PR, trial("pr", "wavlm+whisper", 0.14))
    text = found.gains["wavlm+whisper_chconv"].text(1)
    assert found.clause == f"fuse wavlm + whisper for pr ({text})"
    assert found.gains["wavlm+whisper_chconv"].value == pytest.approx(6.0, abs=1.5)
    assert (found.single.members, found.gains["wavlm_chconv"].value) == (("wavlm",), 0.0)
    assert found.gains["hubert_chconv"].high < 0  # more is better, whatever the metric


def test_where_nothing_adds_the_best_single_is():
    """What may be added is told by the end of the interval: a bad set surely adds nothing, of a like one few know."""
    worse, equal = trial("pr", "wavlm+whisper", 0.24), trial("pr", "wavlm+hubert", 0.198)
    assert chosen(*PR, worse).clause == "for pr use wavlm alone: nothing adds to it"
    found = chosen(*PR, worse, equal)
    gain_of = found.gains["wavlm+hubert_chconv"]
    assert gain_of.low < 0 < gain_of.value and gain_of.high > 1
    assert found.clause == f"for pr use wavlm alone: no gain is shown (at best wavlm + hubert {gain_of.text(1)})"
    slight = Estimate(0.1, np.array([-0.1, 0.7]))
    found = replace(found, gains={**found.gains, "wavlm+hubert_chconv": slight})
    assert found.clause == "for pr use wavlm alone: nothing adds more than 0.7"
    quiet = replace(PR[0], folds={"": Scored(UTTERANCES, PR[0].folds[""].statistics[:1])})
    assert chosen(quiet, replace(equal, folds=quiet.folds)).clause == "for pr use wavlm alone: nothing adds to it"
    assert chosen(*PR).clause == "for pr use wavlm alone: no set of members was trained"


def test_seeds_that_differ_are_no_gain():
    """The same mean gain, once with seeds that agree, once with seeds that do not."""
    assert not chosen(*PR, trial("pr", "wavlm+whisper", 0.165, spread=0.001)).recommended.is_single
    lucky = trial("pr", "wavlm+whisper", 0.165, spread=0.001)
    rows = [0.08, 0.15, 0.265]
    scored = [ratio(np.full(UTTERANCES, TOKENS * rate), np.full(UTTERANCES, TOKENS)) for rate in rows]
    found = chosen(*PR, replace(lucky, folds={"": Scored(UTTERANCES, scored)}))
    assert found.recommended.members == ("wavlm",)


def test_what_a_larger_single_reaches_too_is_no_gain_of_fusing():
    fused = trial("pr", "wavlm+whisper", 0.17)
    control = trial("pr", "wavlm", 0.165, seed=1, label="wavlm_chconv_900", control_of=fused.label)
    found = chosen(*PR, fused, control)
    assert found.recommended.members == ("wavlm",) and found.gains[fused.label].low > 0
    assert "what wavlm + whisper adds, +" in found.clause and "as many parameters for it alone" in found.clause
    weaker = replace(trial("pr", "wavlm", 0.2, seed=1), label=control.label, control_of=fused.label)
    assert chosen(*PR, fused, weaker).recommended is fused


def test_the_next_best_set_does_not_slip_past_the_control():
    """The best set alone has a control; another as large is held against that too, and one as small as the single is
    not."""
    fused = trial("pr", "wavlm+whisper", 0.165, parameters=2000)
    more = {"control_of": fused.label, "parameters": 2000}
    control = trial("pr", "wavlm", 0.165, seed=1, label="wavlm_chconv_900", **more)
    other = trial("pr", "wavlm+hubert", 0.17)
    large = replace(other, parameters=1900)
    assert chosen(*PR, fused, control, large).recommended.members == ("wavlm",)
    assert chosen(*PR, fused, control, other).recommended is other


def test_the_cheaper_of_sets_that_are_not_told_apart():
    large, small = trial("pr", "wavlm+hubert+whisper", 0.139), trial("pr", "wavlm+whisper", 0.141)
    assert chosen(*PR, large, small).recommended is small
    better = trial("pr", "wavlm+hubert+whisper", 0.10)
    assert chosen(*PR, better, small).recommended is better


def test_the_budget():
    fused, small = trial("pr", "wavlm+whisper", 0.10), trial("pr", "hubert+whisper", 0.14)
    assert chosen(*PR, fused, small, budget=7.9e9).recommended is small
    found = chosen(*PR, fused, small, budget=5.9e9)
    assert (found.recommended, found.single) == (PR[1], PR[1])
    assert chosen(*PR, budget=1.0) is None
    assert "for pr nothing can be said: no single member" in sentence({"pr": None})


def test_luck_among_many_sets_is_not_recommended():
    """With Holm's correction sets that are as good as the single are hardly ever taken."""
    wrong = 0
    for seed in range(12):
        single = trial("sid", "wavlm", 0.2, seed)
        sets = [trial("sid", f"wavlm+{name}", 0.2, seed) for name in ("hubert", "whisper", "fbank")]
        wrong += not chosen(single, *sets).recommended.is_single
    assert wrong <= 1


def test_enough_resamples_for_the_correction():
    sets = [trial("pr", "wavlm+whisper", 0.2, label=f"{index}") for index in range(40)]
    assert enough(PR) == 1000
    assert 2 / (enough([*PR, *sets]) + 1) * 40 <= 0.05


def test_folds_are_averaged_and_must_agree():
    one, two = trial("er", "wavlm", 0.3), trial("er", "wavlm+whisper", 0.25)
    assert set(one.folds) == {"fold1", "fold2"} and one.score == pytest.approx(70, abs=2)
    assert gain(two, one).value == pytest.approx(two.score - one.score)
    with pytest.raises(UsageError, match="wavlm_chconv has the folds .'fold1'., and wavlm[+]whisper_chconv"):
        gain(replace(one, folds={"fold1": one.folds["fold1"]}), two)


def test_over_tasks():
    """A set that wins as much on one task as it loses on the other is worth nothing in the mean."""
    found = []
    for task, rate in (("pr", 0.10), ("sid", 0.30)):
        singles = [trial(task, "wavlm", 0.2), trial(task, "hubert", 0.25)]
        found.append(chosen(*singles, trial(task, "wavlm+whisper", rate)))
    means = over_tasks(found)
    assert means["wavlm+whisper_chconv"].sign == 0
    assert list(means) == sorted(means, key=lambda label: -means[label].value) and means["hubert_chconv"].high < 0


def dominated(points: list[tuple[float, float]], index: int) -> bool:
    cost, merit = points[index]
    return any(c <= cost and m >= merit and (c, m) != (cost, merit) for c, m in points)


@pytest.mark.parametrize("seed", range(10))
def test_pareto_front_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    points = [(float(c), float(m)) for c, m in rng.integers(0, 6, size=(15, 2))]  # with equal ones
    front = pareto(points)
    assert set(front) == {index for index in range(15) if not dominated(points, index)}
    assert [points[index][0] for index in front] == sorted(points[index][0] for index in front)


@pytest.mark.parametrize(
    ("members", "interface", "name"),
    [
        (["wavlm_base_plus"], DEFAULT_INTERFACE, "fused_wavlm"),
        (["wavlm_large", "hubert_large_ll60k"], "chconv", "fused_wavlm_hubert_large_chconv"),
        (["fbank", "no_alias"], "chconv", "fused__fbank__no_alias__chconv"),
        (["no_alias"], DEFAULT_INTERFACE, "fused__no_alias"),
    ],
)
def test_names_that_mean_the_fusion(members, interface, name):
    fusion = FusionConfig(tuple(map(MemberConfig, members)), InterfaceConfig(interface), normalize=True)
    assert short_name(fusion) == name and FusionConfig.from_name(name) == fusion
    assert short_name(replace(fusion, normalize=False)) is None
    assert short_name(replace(fusion, interface=InterfaceConfig(interface, 700))) is None
    assert short_name(replace(fusion, members=(MemberConfig(members[0], layers=(0,)),))) is None


def test_commands_train_what_is_recommended(tmp_path):
    named = [trial(task, "fbank", 0.2) for task in ("pr", "asr")]
    own = replace(trial("sid", "fbank", 0.2), fusion=FusionConfig((MemberConfig("fbank", layers=(0,)),)))
    commands = superb_commands([chosen(one) for one in (*named, own)], ["--librispeech", "/a b"], tmp_path)
    first, second = map(shlex.split, commands)
    assert first == "s3prl-fusion superb -t pr,asr -u fused_fbank_chconv -o exp --librispeech".split() + ["/a b"]
    assert FusionConfig.from_yaml(second[second.index("-u") + 1]) == own.fusion


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    fused = trial("pr", "wavlm+whisper", 0.14)
    control = trial("pr", "wavlm", 0.2, seed=1, label="wavlm_chconv_900", control_of=fused.label)
    trials = [*PR, fused, control, trial("sid", "whisper", 0.3), trial("sid", "whisper+wavlm", 0.35)]
    missing = [
        {"task": "pr", "label": "x", "members": "wavlm + fbank", "interface": "chconv", "why_not": "redundant"},
        {
            "task": "asr",
            "label": "x",
            "members": "wavlm",
            "interface": "chconv",
            "why_not": "never better than nothing",
        },
    ]
    redundancies = {(("wavlm",), "whisper"): 0.61, (("whisper",), "wavlm"): 0.4, (("wavlm",), "fbank"): 0.99}
    text = report(trials, missing, MEMBERS, redundancies, folder, ["--librispeech", "/data"], budget=9e9)
    return folder, text, trials


def test_what_is_told(written):
    folder, text, trials = written
    first = text.splitlines()[0]
    assert first.startswith("Within 9e+09 multiply-accumulates a second of speech: for asr nothing can be said")
    assert "; fuse wavlm + whisper for pr (+" in first
    assert "; for sid use whisper alone: nothing adds to it." in first
    assert "| not trained: redundant |" in text and "0.61 whisper" in text
    assert f"| **wavlm + whisper** | chconv | {percent(trials[3].score, trials[3].spread)} |" in text
    assert "s3prl-fusion superb -t pr -u " in text and "-o exp --librispeech /data" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {12, 4}
    assert (folder / "select.md").read_text().endswith(text.rpartition("\nwritten to")[0])


def test_all_numbers(written):
    folder, _, trials = written
    frame = pandas.read_csv(folder / "select.csv").set_index("label")
    content = json.loads((folder / "select.json").read_text())
    assert content["recommended"] == {"pr": "wavlm+whisper_chconv", "sid": "whisper_chconv"}
    row, member = frame.loc["wavlm+whisper_chconv"], content["members"]["wavlm"]
    assert row["gain"] == pytest.approx(PR[0].score - trials[3].score, rel=1e-4)
    assert row["gain_low"] < row["gain"] < row["gain_high"] and row["over_control_low"] > 0 and row["p"] <= 0.05
    assert row["macs"] == pytest.approx(8e9, rel=0.01) and member["macs"] == 6.0e9
    assert frame.loc["wavlm_chconv_900", "control_of"] == "wavlm+whisper_chconv"
    assert len(content["trials"]) == len(frame) == len(trials) + 2
    assert content["redundancy"][0] == {"from": ["wavlm"], "to": "whisper", "R2": 0.61}


def test_pictures(written):
    from matplotlib import image

    folder, *_ = written
    for name in ("pr", "sid"):
        inked = image.imread(folder / f"select_{name}.png")[..., :3].min(axis=-1) < 0.9
        assert inked.shape[0] > 500 and 0.005 < inked.mean() < 0.2


def test_trials_are_read_from_runs(tmp_path):
    from types import SimpleNamespace

    from s3prl_fusion.superb.layout import RunFolder

    references = {f"u{index}": "a b" for index in range(4)}
    wrong = {**references, "u1": "a"}
    counts = {"featurizer_parameters": 30, "downstream_parameters": 12}
    runs = [
        write_run(tmp_path / f"{seed}", "pr", texts, references, seed=seed, **counts)
        for seed, texts in ((2, wrong), (1, references))
    ]
    fusion = FusionConfig((MemberConfig("fbank"),))
    candidate = SimpleNamespace(label="fbank_chconv", names=("fbank",), fusion=lambda: fusion)
    tried = SimpleNamespace(
        candidate=candidate, task=TASKS["pr"], runs=tuple(map(RunFolder, runs)), why_not="", control_of=""
    )
    found = Trial.read(tried)
    assert (found.seeds, found.parameters, found.is_single) == ([0.0, 12.5], 42, True)
    assert (found.score, found.merit) == (6.25, -6.25)
