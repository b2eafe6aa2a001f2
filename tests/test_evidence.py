"""docs/evidence.md: its tables are what benchmarks/evidence makes of its CSV, and the CSV is whole."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE, CSV = ROOT / "docs" / "evidence.md", ROOT / "docs" / "evidence" / "runs.csv"
SETS = ["demo_hubert", "demo_whisper", "demo_hubert+demo_whisper"]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def made_up(errors: dict[tuple[str, str], float], task: str = "sid", seeds: int = 3, utterances: int = 200):
    """Runs that are wrong in a share of the utterances, by (set, interface), and as wrong on dev."""
    from evidence import rows

    rng = np.random.default_rng(0)
    table = []
    for number, ((members, interface), share) in enumerate(errors.items()):
        for seed in range(seeds):
            wrong = (rng.random(utterances) < share).astype(int)
            row = dict.fromkeys(rows.COLUMNS, 1)
            row.update(task=task, members=members, interface=interface, options="", normalize="on", seed=seed, fold="")
            row.update(identity=f"{number}-{seed}", test_score=100 * (1 - wrong.mean()), dev_score=100 * (1 - share))
            row.update(errors=" ".join(map(str, wrong)), lengths=" ".join(["1"] * utterances))
            table.append(row)
    return rows.put(rows.read(Path("none")), table)


def between(name: str, page: Path = PAGE) -> str:
    text = page.read_text(encoding="utf-8")
    return re.search(rf"<!-- {name} table: begin -->\n(.*?)<!-- {name} table: end -->", text, flags=re.DOTALL).group(1)


def test_the_tables_are_what_the_csv_gives():
    from evidence import rows
    from evidence.cells import Evidence
    from evidence.page import TABLES

    evidence = Evidence(rows.read(CSV))
    differing = [name for name, table in TABLES.items() if between(name) != table(evidence)]
    assert differing == [], "PYTHONPATH=benchmarks python -m evidence --page makes them anew"
    assert sorted(TABLES) == sorted(re.findall(r"<!-- (\S+) table: begin", PAGE.read_text(encoding="utf-8")))


def test_the_table_of_selects_validation_is_what_the_csvs_give():
    from evidence import rows, validation
    from evidence.cells import Evidence

    table = validation.validation(validation.read(CSV.with_name("select.csv")), Evidence(rows.read(CSV)))
    assert between("validation", ROOT / "docs" / "select.md") == table, "make validation makes it anew"


def test_every_run_of_the_csv_is_complete():
    from evidence import rows

    from s3prl_fusion.superb.tasks import TASKS

    runs = rows.read(CSV)
    assert not runs.duplicated(rows.KEY).any() and runs["identity"].is_unique
    for task, same in runs.groupby("task"):
        assert same["test_set"].nunique() == same["lengths"].nunique() == 1
        for run in same.itertuples():
            errors, lengths = (np.array(text.split(), dtype=int) for text in (run.errors, run.lengths))
            rate = 100 * errors.sum() / lengths.sum()
            assert len(errors) == len(lengths)
            assert run.test_score == pytest.approx(
                100 - rate if TASKS[task].metric.higher_is_better else rate, abs=1e-5
            )


def test_every_cell_has_the_first_seeds_of_the_list():
    from evidence import rows
    from evidence.runs import SEEDS

    for _, seeds in rows.read(CSV).groupby(rows.CELL)["seed"]:
        assert set(seeds) == set(SEEDS[: len(seeds)])


@pytest.mark.parametrize(
    "name, said, right, errors, lengths, score",
    [
        ("sid", {"b": "1", "a": "2"}, {"a": "2", "b": "2"}, "0 1", "1 1", 50.0),
        ("pr", {"b": "X Y", "a": "Z"}, {"a": "Z Z", "b": "X Y Z"}, "1 1", "2 3", 40.0),
    ],
)
def test_a_row_has_the_errors_of_each_utterance(name, said, right, errors, lengths, score, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from evidence import rows
    from evidence.runs import Wanted

    from s3prl_fusion.superb.layout import RunFolder
    from s3prl_fusion.superb.tasks import TASKS

    task, folder = TASKS[name], RunFolder(tmp_path)
    for file, texts in ((folder.hypothesis(task, None), said), (folder.reference(task, None), right)):
        file.write_text("".join(f"{key} {text}\n" for key, text in texts.items()), encoding="utf-8")
    kept = dict.fromkeys(("featurizer_parameters", "downstream_parameters", "frozen_parameters", "train_seconds"), 1)
    monkeypatch.setattr(rows.kept, "read", lambda run: {**kept, "dev_score": 1.0, "score": score, "test_set": "t"})
    recipe = {"runner": {"total_steps": 5}}
    run = SimpleNamespace(task=task, folder=folder, fold=None, seed=3, key=str, recipe=lambda: recipe)
    row = rows.row_of(run, Wanted(("demo_hubert",), "hconv", {"output_dim": 9}, normalize=False))
    assert list(row) == rows.COLUMNS
    assert (row["errors"], row["lengths"], row["test_score"], row["train_steps"]) == (errors, lengths, score, 5)
    assert [row[key] for key in rows.CELL[1:]] == ["demo_hubert", "hconv", "output_dim=9", "off"]


def test_a_row_that_is_run_again_goes_first_and_comes_in_its_place():
    from evidence import rows

    table = made_up({(SETS[0], "hconv"): 0.5})
    again = dict(table.iloc[1], identity="another")
    left = rows.without(table, [again])
    assert list(left["seed"]) == [0, 2]
    assert list(rows.put(left, [again])["identity"]) == ["0-0", "0-2", "another"]
    assert list(rows.put(table, [again])["identity"]) == ["0-0", "0-2", "another"]
    assert list(rows.without(rows.read(Path("none")), [again])) == rows.COLUMNS


@pytest.mark.parametrize("share, verdict", [(0.1, "better"), (0.3, "not told apart"), (0.6, "worse")])
def test_fusing_is_held_against_the_single_that_is_best_on_dev(share, verdict):
    from evidence.cells import Evidence
    from evidence.page import fixed
    from evidence.rule import judge

    errors = dict(zip(product(SETS, ["hconv"]), [0.5, 0.3, share]))
    evidence = Evidence(made_up(errors))
    (cell,) = judge(evidence, fixed(evidence, "hconv")).cells
    assert (cell.verdict, cell.single.members) == (verdict, ("demo_whisper",))
    assert cell.gain.value == pytest.approx(100 * (0.3 - share), abs=5)
    assert cell.gain.low < cell.gain.value < cell.gain.high


def test_what_dev_chooses_is_never_worse_than_a_single_that_it_could_choose():
    from evidence.cells import Evidence
    from evidence.page import outcome_cells
    from evidence.rule import judge

    evidence = Evidence(made_up(dict(zip(product(SETS, ["hconv"]), [0.5, 0.3, 0.6]))))
    outcome = judge(evidence, lambda task, members: evidence.auto(task, members, ["hconv"]))
    assert outcome.cells[0].fused is outcome.cells[0].single
    assert outcome_cells("auto", outcome)[1:6] == ["no", "1", "0", "0", "0 of 1"]


def test_the_rule_is_met_by_what_is_better_than_hconv_and_than_the_singles():
    from evidence.cells import Evidence
    from evidence.page import fixed, outcome_cells
    from evidence.rule import judge

    errors = dict.fromkeys(product(SETS, ["hconv"]), 0.5)
    evidence = Evidence(made_up({**errors, (SETS[-1], "mine"): 0.1}))
    mine, hconv = (judge(evidence, fixed(evidence, name)) for name in ("mine", "hconv"))
    assert (mine.is_met, hconv.is_met) == (True, False)
    assert hconv.over_hconv.value == 0.0
    assert outcome_cells("mine", mine)[1:6] == ["yes", "1", "0", "1", "1 of 1"]


def test_a_control_has_as_many_trained_parameters_as_the_set(monkeypatch):
    from evidence import capacity
    from evidence.cells import Evidence

    from s3prl_fusion.config import InterfaceConfig
    from s3prl_fusion.costs import count_parameters
    from s3prl_fusion.select.costs import interface_of

    def trained(members, interface):
        built = interface_of(capacity.sizes(members), interface)
        return count_parameters(built), 7 + 5 * built.output_dim

    runs = made_up(
        {(SETS[0], "hconv"): 0.5, (SETS[1], "hconv"): 0.3, (SETS[2], "hconv"): 0.2, (SETS[2], "chconv"): 0.2}
    )
    for index, row in runs.iterrows():
        parameters = trained(row["members"].split("+"), InterfaceConfig(row["interface"]))
        runs.loc[index, ["featurizer_params", "head_params"]] = parameters
    monkeypatch.setattr(capacity, "DEFAULT_INTERFACE", "chconv")
    evidence = Evidence(runs)
    ((member, width),) = capacity.controls(evidence, "sid")
    assert member == "demo_whisper"
    fused = evidence.get("sid", SETS[2].split("+"), "chconv")
    assert sum(trained([member], InterfaceConfig("hconv", width))) == pytest.approx(fused.trained, rel=0.02)


def test_ranks_agree_where_select_says_what_full_training_says():
    import pandas
    from evidence import validation
    from evidence.cells import Evidence

    errors = dict(zip(product(SETS, ["weighted_sum", "hconv"]), np.linspace(0.1, 0.6, 6)))
    runs = made_up(errors, utterances=2000).assign(train_steps=10)
    tried = pandas.DataFrame(
        [{"task": "sid", "members": m, "interface": i, "score": 1 - e} for (m, i), e in errors.items()]
    )
    tried = tried.assign(seeds=3, steps=1, select_cpu_seconds=9.0, full_run_cpu_seconds=3.0)
    row = validation.validation(tried, Evidence(runs)).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[1:5]] == ["SID acc", "1", "6", "+1.00 [1.00, 1.00]"]
    assert row.endswith("| 18 of 300 (6%) | 9 of 90 (10%) |")


def test_labels_of_what_is_run_are_unlike_each_other():
    from evidence.cells import Evidence
    from evidence.runs import PARTS

    evidence = Evidence(made_up(dict.fromkeys(product(SETS, ["weighted_sum", "hconv"]), 0.5)))
    wanted = [
        cell for part in ("core", "default", "not_normalized", "candidates") for cell in PARTS[part](evidence, "sid")
    ]
    assert len({cell.label for cell in wanted}) == len({tuple(cell.words.values()) for cell in wanted})
    assert all(cell.fusion.member_names == list(cell.members) for cell in wanted)
