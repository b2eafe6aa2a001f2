"""The table and the chart."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pandas
import pytest

from s3prl_fusion.checkpoint import in_full
from s3prl_fusion.cli import main
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.metrics import SLOT_CER, SLOT_F1
from s3prl_fusion.names import resolve
from s3prl_fusion.superb.layout import RunFolder
from s3prl_fusion.superb.scores import chart, report, tables
from s3prl_fusion.superb.scores.scoring import ScoreError
from s3prl_fusion.superb.tasks import TASKS, parse_tasks


@pytest.fixture(autouse=True)
def no_predictions(monkeypatch):
    """The scores here are made up; that one follows from the files beside it is test_superb_kept.py's affair, and what
    those tell of fusing is test_superb_verdict.py's."""
    monkeypatch.setattr("s3prl_fusion.superb.scores.kept.check_follows", lambda run, task, score: None)
    monkeypatch.setattr(report, "verdicts", lambda runs: [])


def fusion_of(upstream: str) -> dict:
    return in_full(resolve(upstream)) if upstream != "fused" else {}


def result(folder: Path, upstream: str, task: str, score: float, fold: str | None = None, **more) -> RunFolder:
    """Write a score file as the score stage does, where the pipeline would."""
    fusion = more.pop("fusion", None) or fusion_of(upstream)
    content = {
        "upstream": upstream,
        "fusion": fusion,
        "made_of": more.pop("made_of", fusion),
        "interface": fusion["interface"]["name"],
        "members": [member["name"] for member in fusion["members"]],
        "task": task,
        "fold": fold,
        "score": score,
        "dev_score": 50.0,
        "chance": 25.0 if task == "er" else 100.0,
        "utterances": 10,
        "train_seconds": 60.0,
        "evaluate_seconds": 15.0,
        "seed": 1337,
        "lr": 1e-4,
        "config_hash": "0123456789ab",
        "featurizer_parameters": 1000,
        "downstream_parameters": 20 if task == "er" else 3000,
        "frozen_parameters": None,
        "s3prl_fusion": "0.1.0",
        "host": "s3prl 0.4.18",
        "torch": "2.8.0",
        "device": "cpu",
        **more,
    }
    variant = f"{task}_lr{content['lr']:g}_seed{content['seed']}"
    path = folder / upstream.replace(" ", "-") / variant / (fold or "") / "score.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return RunFolder(path.parent)


@pytest.fixture
def results(tmp_path):
    return [
        result(tmp_path, "fused_demo", "asr", 40.0, frozen_parameters=5_000_000),
        result(tmp_path, "fused_demo", "er", 60.0, "fold1", frozen_parameters=5_000_000),
        result(tmp_path, "fused_demo", "er", 70.0, "fold2", frozen_parameters=5_000_000),
        result(tmp_path, "fbank", "asr", 90.0),
    ]


def test_one_row_an_upstream_folds_averaged(results):
    table = tables.tabulate(tables.read_runs(results)).set_index("upstream")
    assert list(table.index) == ["fused_demo", "fbank", tables.FLOOR]
    assert table.loc["fused_demo", "ER acc"] == pytest.approx(65.0)
    assert table.loc["fused_demo", "seconds"] == pytest.approx(225.0)
    assert math.isnan(table.loc["fbank", "ER acc"])
    assert list(table["interface"]) == [DEFAULT_INTERFACE, "weighted_sum", ""]
    assert table.loc[tables.FLOOR, ["ASR WER", "ER acc"]].tolist() == [100.0, 25.0]
    assert table.loc["fused_demo", "asr_downstream_parameters"] == 3000
    assert table.loc["fused_demo", "er_downstream_parameters"] == 20
    assert pandas.isna(table.loc["fbank", "frozen_parameters"])


def test_markdown(results):
    tasks = parse_tasks("asr,er")
    lines = tables.main_table(tables.tabulate(tables.read_runs(results)), tasks).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert cells[0][2:4] == ["ASR WER % ↓", "ER acc % ↑"]
    assert cells[2] == [
        "fused_demo",
        DEFAULT_INTERFACE,
        "**40.00**",
        "**65.00**",
        "1,000",
        "3,000 / 20",
        "5,000,000",
        "3:45",
    ]
    assert cells[3] == ["fbank", "weighted_sum", "90.00", "", "1,000", "3,000 /", "", "1:15"]
    assert cells[4] == [tables.FLOOR, "", "100.00", "25.00", "", "", "", ""]


def test_files(results, tmp_path):
    exp = tmp_path / "report"
    table = report.report(results, "Scores", exp)
    names = ["results.csv", "results.json", "results.md", "results.png", "runs.csv"]
    assert sorted(path.name for path in exp.iterdir()) == names
    text = (exp / "results.md").read_text(encoding="utf-8")
    assert text.startswith("# Scores\n")
    assert table.split("\nwritten to")[0] in text
    assert (
        "| fused_demo | ER fold2 | 1337 | 0.0001 | 50.00 | acc 70.00 % | 1,000 | 20 | 1:00 | 0:15 | cpu | 0123456789ab "
        "| 0.1.0 | s3prl 0.4.18 | 2.8.0 |" in text
    )
    assert "ER: fold1, fold2 of 5 folds." in text
    assert "SUPERB" not in text and "published" not in text and "Learning rates" not in text
    content = json.loads((exp / "results.json").read_text(encoding="utf-8"))
    assert [row["ASR WER"] for row in content["table"]] == [40.0, 90.0, 100.0]
    assert content["runs"][1]["config_hash"] == "0123456789ab"
    runs = pandas.read_csv(exp / "runs.csv")
    assert runs["score"].tolist() == [40.0, 60.0, 70.0, 90.0]
    assert pandas.read_csv(exp / "results.csv")["ASR WER"].tolist() == [40.0, 90.0, 100.0]
    assert (exp / "results.png").read_bytes().startswith(b"\x89PNG")


def test_the_chart_says_which_way_is_better(results, tmp_path, monkeypatch):
    from matplotlib import pyplot

    figures = []
    close = pyplot.close
    monkeypatch.setattr(pyplot, "close", figures.append)
    tasks = [TASKS["asr"], TASKS["er"]]
    chart.draw(tables.tabulate(tables.read_runs(results)), tasks, tmp_path / "chart.png")
    panels = figures[0].axes
    assert ["lower is better" in panel.get_title() for panel in panels] == [True, False]
    assert ["higher is better" in panel.get_title() for panel in panels] == [False, True]
    assert [bar.get_width() for bar in panels[0].patches] == [40.0, 90.0]
    assert "not run" in [text.get_text() for text in panels[1].texts]
    close(figures[0])


ER_FOLDS = {"fold1": 1085, "fold2": 1023, "fold3": 1151, "fold4": 1031, "fold5": 1241}


def text_of(runs: list[RunFolder], folder: Path) -> str:
    report.report(runs, "Scores", folder / "report")
    return (folder / "report" / "results.md").read_text(encoding="utf-8")


def rows_under(text: str, heading: str) -> list[str]:
    part = text.split(f"## {heading}")[1].split("## ")[0]
    return [line for line in part.splitlines() if line.startswith("| ")][2:]


def test_published_scores_stand_beside_ours_where_they_mean_the_same(tmp_path):
    ours, papers = fusion_of("fused_wavlm_hubert"), fusion_of("fusion/hubert_wavlm.yaml")
    runs = [
        result(tmp_path, "hubert_wavlm.yaml", "asr", 5.0, fusion=papers, utterances=2620),
        *(
            result(tmp_path, "hubert_wavlm.yaml", "er", 70.0, fold, fusion=papers, utterances=n)
            for fold, n in ER_FOLDS.items()
        ),
        result(tmp_path, "hubert_wavlm.yaml", "sv", 3.0, fusion=papers, utterances=37720),
        result(tmp_path, "fused_wavlm_hubert", "asr", 5.0, fusion=ours, utterances=2620),
        result(tmp_path, "hubert", "asr", 6.5, utterances=2620),
        result(tmp_path, "hubert_base", "sv", 5.5, utterances=37720),
        result(tmp_path, "fbank", "asr", 23.0, utterances=2619),
    ]
    assert f"SV EER: {TASKS['sv'].metric.definition}." in text_of(runs, tmp_path)
    assert rows_under(text_of(runs, tmp_path), "Beside published scores") == [
        "| hubert_wavlm | hconv | ASR WER | 5.00 | 4.86 |  |",
        "| hubert_wavlm | hconv | ER acc | 70.00 | 70.49 |  |",
        "| hubert | weighted_sum | ASR WER | 6.50 |  | 6.42 |",
        "| hubert_base | weighted_sum | SV EER | 5.50 |  | 5.11 |",
    ]


def test_superb_scores_need_the_official_test_sets(tmp_path):
    folds = dict(ER_FOLDS)
    runs = [
        result(tmp_path, "hubert", "asr", 6.42, utterances=2620),
        result(tmp_path, "hubert", "sid", 81.42, utterances=8251),
        *(result(tmp_path, "hubert", "er", 64.92, fold, utterances=n) for fold, n in folds.items()),
        result(tmp_path, "hubert", "sf", 88.53, utterances=2800, more={"CER": 25.2}),
        result(tmp_path, "fbank", "sid", 50.0, utterances=8250),
    ]
    # By hand: (6.42 - 23.18) / (3.62 - 23.18), (81.42 - 20.058174) / (90.3 - 20.058174), and so on; of SF the mean of
    # (88.53 - 69.64) / (89.81 - 69.64) and (25.2 - 52.94) / (21.76 - 52.94).
    assert rows_under(text_of(runs, tmp_path), "SUPERB score") == [
        "| hubert | weighted_sum | 856.9 | 873.6 | 860.7 | 913.1 |  |"
    ]


def test_both_scores_of_a_task_are_columns_with_what_they_are(tmp_path):
    text = text_of([result(tmp_path, "hubert", "sf", 88.53, more={"CER": 25.2})], tmp_path)
    assert "| upstream | interface | SF F1 % ↑ | SF CER % ↓ |" in text
    assert "| hubert | weighted_sum | 88.53 | 25.20 |" in text
    for metric in (SLOT_F1, SLOT_CER):
        assert f"SF {metric.name}: {metric.definition}.\n" in text


def test_seeds_give_a_mean_and_a_spread(tmp_path):
    runs = [
        *(result(tmp_path, "up", "asr", score, seed=seed) for seed, score in ((1, 40.0), (2, 44.0), (3, 42.0))),
        *(result(tmp_path, "up", "er", score, fold, seed=1) for fold, score in (("fold1", 60.0), ("fold2", 70.0))),
        *(result(tmp_path, "up", "er", score, fold, seed=2) for fold, score in (("fold1", 62.0), ("fold2", 72.0))),
        result(tmp_path, "up", "er", 99.0, "fold1", seed=3),  # without its other fold: no score
    ]
    row = tables.tabulate(tables.read_runs(runs)).iloc[0]
    assert (row["ASR WER"], row["ASR WER spread"], row["ASR WER seeds"]) == (42.0, 2.0, 3)
    assert (row["ER acc"], row["ER acc seeds"]) == (66.0, 2)
    assert row["ER acc spread"] == pytest.approx(math.sqrt(2))
    text = text_of(runs, tmp_path)
    assert "SV EER" not in text
    assert "| up | weighted_sum | 42.00 ± 2.00 | 66.00 ± 1.41 |" in text
    assert "mean and standard deviation over seeds" in text


def test_the_learning_rate_with_the_best_dev_score_counts_and_the_others_are_told(tmp_path):
    runs = [
        result(tmp_path, "up", "asr", 30.0, lr=1e-3, dev_score=20.0),
        result(tmp_path, "up", "asr", 25.0, lr=1e-4, dev_score=22.0),
    ]
    for rate, dev in ((1e-3, 20.0), (1e-4, 22.0), (1e-5, 60.0)):  # the last was tried, but not evaluated
        stamp = tmp_path / "up" / f"asr_lr{rate:g}_seed1337" / "stages" / "train.json"
        stamp.parent.mkdir(parents=True, exist_ok=True)
        content = {"status": "done", "upstream": "up", "task": "asr", "seed": 1337, "lr": rate, "dev_score": dev}
        stamp.write_text(json.dumps(content), encoding="utf-8")
    # A seed that only the chosen rate was trained on says nothing about the rates.
    other = tmp_path / "up" / "asr_lr0.001_seed2" / "stages" / "train.json"
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({**content, "seed": 2, "lr": 1e-3, "dev_score": 99.0}), encoding="utf-8")
    text = text_of(runs, tmp_path)
    assert "| up | weighted_sum | 30.00 |" in text
    assert rows_under(text, "Learning rates") == [
        "| up | ASR WER % ↓ | 1e-05: 60.00, 0.0001: 22.00, 0.001: **20.00** |"
    ]


def test_the_same_run_twice_is_refused(tmp_path):
    runs = [result(tmp_path / exp, "up", "asr", 40.0) for exp in ("a", "b")]
    with pytest.raises(ScoreError, match=r"a/up.* and .*b/up.* are the same task, fold and seed"):
        tables.read_runs(runs)


def yaml_fusion(*members: str | dict, interface: str = "hconv", **more) -> dict:
    named = [{"name": member} if isinstance(member, str) else member for member in members]
    return {"members": named, "interface": {"name": interface}, **more}


@pytest.mark.fault(
    "results of two YAMLs of one name, or of the same members under two interfaces",
    "a row each; labels say what differs",
)
@pytest.mark.parametrize(
    "fusions, labels",
    [
        ([yaml_fusion("fbank", "mfcc"), yaml_fusion("fbank")], ["fused (fbank + mfcc)", "fused (fbank)"]),
        (
            [yaml_fusion("fbank", "mfcc"), yaml_fusion("fbank", "mfcc", interface="chconv")],
            ["fused (fbank + mfcc), hconv", "fused (fbank + mfcc), chconv"],
        ),
        (
            [yaml_fusion("mfcc", normalize=True), yaml_fusion("mfcc")],
            ["fused (mfcc)", "fused (mfcc), not normalized"],
        ),
        (
            [yaml_fusion({"name": "hf_whisper_custom", "ckpt": f"/{name}"}) for name in ("tiny.en", "tiny")],
            ["fused (hf_whisper_custom (tiny.en))", "fused (hf_whisper_custom (tiny))"],
        ),
        (
            [yaml_fusion({"name": "tera", "layers": layers}) for layers in ([0], [1, 2])],
            ["fused (tera), tera layers: [0]", "fused (tera), tera layers: [1, 2]"],
        ),
    ],
)
def test_rows_are_told_apart_by_what_the_fusion_is(tmp_path, fusions, labels):
    """One is better at another rate: none may vanish."""
    runs = [
        result(tmp_path / str(i), "fused", "asr", 40.0, fusion=fusion, dev_score=50.0 + i, lr=10.0 ** -(i + 3))
        for i, fusion in enumerate(fusions)
    ]
    table = tables.tabulate(tables.read_runs(runs))
    assert list(table["upstream"]) == [*labels, tables.FLOOR]


def test_rows_that_differ_in_content_alone_have_a_few_digits_more(tmp_path):
    fusion = yaml_fusion({"name": "tera_local", "ckpt": "/tera.ckpt"})
    runs = [
        result(tmp_path / code, "fused", "asr", 40.0, fusion=fusion, made_of={**fusion, "code": code}) for code in "ab"
    ]
    found = [row for row in tables.tabulate(tables.read_runs(runs))["upstream"] if row != tables.FLOOR]
    assert len(set(found)) == 2
    assert all(re.fullmatch(r"fused \(tera_local \(tera.ckpt\)\) \[\w{6}\]", row) for row in found)


def test_score_files_of_an_earlier_release_are_read(tmp_path):
    old = [result(tmp_path / name, "fused", "asr", 40.0, fusion=yaml_fusion(name)) for name in ("fbank", "mfcc")]
    for run in old:
        content = json.loads(run.result.read_text())
        run.result.write_text(json.dumps({key: content[key] for key in content if key not in ("fusion", "made_of")}))
    table = tables.tabulate(tables.read_runs(old))
    assert list(table["upstream"]) == ["fused (fbank)", "fused (mfcc)", tables.FLOOR]


def test_nothing_is_written_into_the_folders_that_are_read(results, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main(["results", str(tmp_path / "fused_demo"), str(tmp_path / "fbank")]) == 0
    assert f"| fused_demo | {DEFAULT_INTERFACE} | **40.00** | **65.00** |" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command(results, tmp_path, capsys):
    assert main(["results", str(tmp_path), "-o", str(tmp_path / "report")]) == 0
    assert f"| fused_demo | {DEFAULT_INTERFACE} | **40.00** | **65.00** |" in capsys.readouterr().out
    assert (tmp_path / "report" / "results.png").is_file()
    for words, match in (
        ([], "EXP is missing"),
        ([str(tmp_path / "nowhere")], "nowhere has no score.json in it or below"),
        ([str(tmp_path), "--compare", "a", "b"], "--compare takes two experiments and no others"),
        (["--compare", str(tmp_path / "fbank"), str(tmp_path / "nowhere")], "nowhere: no score.json"),
    ):
        assert main(["results", *words]) == 2
        assert match in capsys.readouterr().err
