"""The search, with a fake runner: a member knows half of the labels, the other half, or nothing."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from s3prl_fusion import MemberConfig
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.corpora.base import Prepared
from s3prl_fusion.host import arguments
from s3prl_fusion.select.choice import choose, enough
from s3prl_fusion.select.costs import MemberCost, costs_of
from s3prl_fusion.select.known import Known
from s3prl_fusion.select.layout import Wanted
from s3prl_fusion.select.plan import Plan
from s3prl_fusion.select.search import Outcome, control, search
from s3prl_fusion.select.sets import Candidate, Member
from s3prl_fusion.superb.runs import pipeline
from s3prl_fusion.superb.runs.experiment import Settings
from s3prl_fusion.superb.runs.stages import StageError
from s3prl_fusion.superb.tasks import TASKS

SID = TASKS["sid"]
# What each member tells of a label's two bits, by the hub entry that stands for it.
ENTRIES = {"low": "fbank", "high": "mfcc", "noise": "linear", "copy": "mel"}
RUNNER = """
import json, random, re, shutil, sys
from pathlib import Path

TOLD = {"fbank": (0,), "mfcc": (1,), "mel": (0,), "linear": ()}
here, args = Path(__file__).parent, sys.argv[1:]
get = lambda flag: args[args.index(flag) + 1]
mode = get("-m")
expdir = Path(get("-p")) if mode == "train" else Path(get("-e")).parent
with (here / "calls.txt").open("a") as calls:
    calls.write(f"{mode} {expdir}" + chr(10))
behaviour = json.loads((here / "behaviour.json").read_text())
upstream = json.loads((expdir / "stages" / "train.json").read_text())["made_of"]["upstream"]
names = [member["name"] for member in upstream["members"]]
if mode == "train":
    if set(names) & set(behaviour.get("broken", [])):
        sys.exit("RuntimeError: the reason")
    counts = {"upstream": 7, "featurizer": 100 * len(names), "downstream": 40}
    said = {"device": "cpu", "upstream_trained": False, "parameters": counts}
    (expdir / "run.json").write_text(json.dumps(said))
    shutil.copy(here / f"{get('--seed')}.ckpt", expdir / "states-1.ckpt")
    if not set(names) & set(behaviour.get("hopeless", [])):
        shutil.copy(here / f"{get('--seed')}.ckpt", expdir / "dev-best.ckpt")
else:
    known = {bit for name in names for bit in TOLD[name]}
    rng = random.Random(f'{expdir.parent.name}/{expdir.name}')
    share = 0.0 if set(names) & set(behaviour.get("harmful", [])) and len(names) > 1 else 0.97
    truth, said = [], []
    for i in range(120):
        bits = [i % 2, i // 2 % 2]
        told = [bits[b] if b in known and rng.random() < share else rng.randrange(2) for b in range(2)]
        truth.append(10001 + bits[0] + 2 * bits[1])
        said.append(10001 + told[0] + 2 * told[1])
    for kind, labels in (("predict", said), ("truth", truth)):
        lines = "".join(f"c{i} id{label}" + chr(10) for i, label in enumerate(labels))
        (expdir / f"test_{kind}.txt").write_text(lines)
    print(f"test acc: {sum(a == b for a, b in zip(said, truth)) / len(truth)}")
"""


class Fake:
    """A plan whose trainings are the fake runner's."""

    def __init__(self, folder: Path, *members: str, **more: object) -> None:
        self.folder = folder
        (folder / "runner.py").write_text(RUNNER)
        self.behave()
        for name in ("configs", "data"):
            (folder / name).mkdir()
        (folder / "configs" / "sid.yaml").write_text((downstream_configs_dir() / "sid.yaml").read_text())
        (folder / "data" / "iden_split.txt").write_text("".join(f"3 c{i}.wav\n" for i in range(120)))
        for seed in (1, 2, 3):
            self._save(seed)
        runner = (sys.executable, str(folder / "runner.py"))
        settings = Settings(folder / "exp", folder / "configs", runner=runner)
        plan = Plan(
            tasks=[SID],
            members=[Member(name, MemberConfig(ENTRIES[name])) for name in members],
            interfaces=["weighted_sum"],
            seeds=(1, 2, 3),
            max_members=3,
            budget=None,
            exhaustive=False,
            settings=settings,
            configs=folder / "configs",
            corpora=Prepared(folder / "data", {"voxceleb1": Path("/vox")}),
            wanted=Wanted(3600),
            cache=CacheConfig(str(folder / "cache")),
            steps=None,
            rate=None,
            given=arguments.parse_strictly([]),
        )
        self.plan = replace(plan, **more)
        cost = MemberCost(1e6, 10, 0.1, layers=3, dim=8, rate=160)
        self.known = Known(dict.fromkeys(members, cost), {})

    def behave(self, **behaviour: object) -> None:
        (self.folder / "behaviour.json").write_text(json.dumps(behaviour))

    def _save(self, seed: int) -> None:
        data = {"file_path": "/vox", "meta_data": str(self.folder / "data" / "iden_split.txt")}
        states = {
            "Args": argparse.Namespace(upstream="fused", downstream="voxceleb1", seed=seed),
            "Config": {"optimizer": {"lr": 1e-3}, "downstream_expert": {"datarc": data}},
            "Featurizer": {"weights": torch.zeros(5)},
            "Downstream": {"best_score": torch.tensor([0.25])},
        }
        torch.save(states, self.folder / f"{seed}.ckpt")

    def start(self, experiments, stages):
        return pipeline.run_all(experiments, 2, stages=stages)

    def search(self):
        return search(self.plan, self.start, self.known)

    def calls(self) -> list[str]:
        return (self.folder / "calls.txt").read_text().splitlines()


def names(outcome, trained: bool = True) -> list[str]:
    return ["+".join(one.candidate.names) for one in outcome.tried if bool(one.runs) == trained]


def chosen(fake, outcome):
    trials = outcome.trials(SID)
    costs = costs_of(fake.known.costs, {one.label: (one.members, one.fusion) for one in trials})
    return choose(trials, costs, fake.plan.budget, enough(trials))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    fake = Fake(tmp_path_factory.mktemp("planted"), "noise", "low", "copy", "high")
    r2 = {(("low",), "copy"): 0.999, (("copy",), "low"): 0.999, (("low",), "high"): 0.1}
    r2.update({(("low", "high"), "copy"): 0.999, (("copy", "high"), "low"): 0.999})
    fake.known = Known(fake.known.costs, r2)
    return fake, fake.search()


def test_the_planted_answer_is_found(planted):
    """Half of the labels is in one member, half in the other: these two, and neither noise nor a copy."""
    fake, outcome = planted
    choice = chosen(fake, outcome)
    winner = choice.recommended
    assert {"high"} < set(winner.members) <= {"high", "low", "copy"} and len(winner.members) == 2
    assert choice.gains[winner.label].low > 30 and winner.score > 90
    assert any("noise" in one.members and len(one.members) == 3 for one in choice.trials)


def test_a_copy_is_told_to_be_redundant_and_not_trained(planted):
    _, outcome = planted
    left = {one.candidate.names: one.why_not for one in outcome.tried if not one.runs}
    assert left
    assert all({"low", "copy"} <= set(names) for names in left)
    assert all(why.endswith("foretells it, R2 0.999") for why in left.values())


def test_only_sets_around_the_best_are_trained(planted):
    fake, outcome = planted
    trained = names(outcome)
    assert len(trained) == len(set(trained))
    assert {"noise", "low", "copy", "high"} < set(trained)
    (best,) = outcome.best(SID, 1).members
    assert all(best in name.split("+") for name in trained if "+" in name)
    assert len(fake.calls()) == 3 * 2 * len(trained)


def test_given_again_nothing_runs_again(planted):
    fake, outcome = planted
    before = fake.calls()
    assert fake.search() == outcome
    assert fake.calls() == before


def test_the_capacity_control_is_the_best_single_with_as_many_parameters(planted, monkeypatch):
    fake, outcome = planted
    monkeypatch.setattr("s3prl_fusion.select.capacity.head_of", lambda ckpt, rate: lambda width: width)
    outcome = Outcome(list(outcome.tried))
    before = chosen(fake, outcome)
    control(fake.plan, fake.start, fake.known, outcome)
    (wide,) = [one for one in outcome.tried if one.control_of]
    assert wide.control_of == before.recommended.label and len(wide.runs) == 3
    assert wide.candidate.names == before.single.members
    # 3 weights, a Linear of 8 + 1 by the width, and a head of the width
    assert abs(3 + 10 * wide.candidate.output_dim - 240) <= 0.02 * 240
    fusion = yaml.safe_load((fake.plan.settings.exp / "fusions" / f"{wide.candidate.label}.yaml").read_text())
    assert fusion["interface"] == {"name": "weighted_sum", "output_dim": wide.candidate.output_dim}
    assert chosen(fake, outcome).recommended.label == before.recommended.label


def test_nothing_grows_from_what_has_lost(tmp_path):
    fake = Fake(tmp_path, "low", "noise", "high")
    fake.behave(harmful=["fbank", "linear", "mfcc"])
    outcome = fake.search()
    assert {len(one.candidate.members) for one in outcome.tried} == {1, 2}


def test_sets_over_the_budget_are_not_tried(tmp_path):
    fake = Fake(tmp_path, "low", "noise", "high", budget=2.5e6, max_members=3, seeds=(1, 2, 3))
    expensive = replace(fake.known.costs["high"], macs=2e6)
    fake.known = Known({**fake.known.costs, "high": expensive}, {})
    fake.behave(harmful=["mfcc"])
    outcome = fake.search()
    left = {"+".join(one.candidate.names): one.why_not for one in outcome.tried if not one.runs}
    assert all("over the budget" in why for why in left.values())
    assert all(fake.known.macs(one.candidate) <= 2.5e6 for one in outcome.tried if one.runs)
    assert left


def test_what_never_learns_is_told_and_what_fails_is_a_failure(tmp_path):
    fake = Fake(tmp_path, "low", "noise", "high", max_members=2)
    fake.behave(hopeless=["linear"], broken=["mfcc"])
    outcome = fake.search()
    told = {"+".join(one.candidate.names): one.why_not for one in outcome.tried}
    assert told["low"] == "" and told["noise"] == "never better than nothing"
    assert told["high"].startswith("failed: exit status 1")
    assert {label.split("_")[0] for label in outcome.failures} == {"high", "low+high"}


def test_exhaustive_tries_every_set(tmp_path):
    fake = Fake(tmp_path, "low", "noise", "high", exhaustive=True)
    fake.known = Known(fake.known.costs, {(("low",), "high"): 1.0})

    def start(experiments, stages):
        return {one.label: StageError("train", "nothing runs here", tmp_path) for one in experiments}

    outcome = search(fake.plan, start, fake.known)
    assert len(set(names(outcome, trained=False))) == 7
    assert {one.why_not for one in outcome.tried} == {"failed: nothing runs here"}


def test_a_candidate_is_called_by_its_members():
    members = tuple(Member(name, MemberConfig(ENTRIES[name])) for name in ("low", "high"))
    assert Candidate(members, "hconv").label == "low+high_hconv"
    assert Candidate(members[:1], "hconv", 99).label == "low_hconv_99"
