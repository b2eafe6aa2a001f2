"""The table and the chart."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas
import pytest

from s3prl_fusion.superb import report
from s3prl_fusion.superb.tasks import TASKS, parse_tasks


def result(folder: Path, upstream: str, task: str, score: float, fold: str | None = None, frozen=None) -> Path:
    """Write a score file as the score stage does."""
    content = {
        "upstream": upstream,
        "interface": "hconv" if upstream.startswith("fused") else "weighted_sum",
        "task": task,
        "fold": fold,
        "score": score,
        "chance": 25.0 if task == "er" else 100.0,
        "utterances": 10,
        "train_seconds": 60.0,
        "evaluate_seconds": 15.0,
        "seed": 1337,
        "featurizer_parameters": 1000,
        "downstream_parameters": 20 if task == "er" else 3000,
        "frozen_parameters": frozen,
    }
    path = folder / f"{upstream}-{task}-{fold}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def results(tmp_path):
    return [
        result(tmp_path, "fused_demo", "asr", 40.0, frozen=5_000_000),
        result(tmp_path, "fused_demo", "er", 60.0, "fold1", frozen=5_000_000),
        result(tmp_path, "fused_demo", "er", 70.0, "fold2", frozen=5_000_000),
        result(tmp_path, "fbank", "asr", 90.0),
    ]


def test_one_row_an_upstream_folds_averaged(results):
    tasks = parse_tasks("asr,er")
    table = report.tabulate(report.read_runs(results), tasks).set_index("upstream")
    assert list(table.index) == ["fused_demo", "fbank", report.FLOOR]
    assert table.loc["fused_demo", "ER acc"] == pytest.approx(65.0)
    assert table.loc["fused_demo", "seconds"] == pytest.approx(225.0)
    assert math.isnan(table.loc["fbank", "ER acc"])
    assert list(table["interface"]) == ["hconv", "weighted_sum", ""]
    assert table.loc[report.FLOOR, ["ASR WER", "ER acc"]].tolist() == [100.0, 25.0]
    assert table.loc["fused_demo", "asr_downstream_parameters"] == 3000
    assert table.loc["fused_demo", "er_downstream_parameters"] == 20
    assert pandas.isna(table.loc["fbank", "frozen_parameters"])


def test_markdown(results):
    tasks = parse_tasks("asr,er")
    lines = report.main_table(report.tabulate(report.read_runs(results), tasks), tasks).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert cells[0][2:4] == ["ASR WER % ↓", "ER acc % ↑"]
    assert cells[2] == ["fused_demo", "hconv", "**40.00**", "**65.00**", "1,000", "3,000 / 20", "5,000,000", "3:45"]
    assert cells[3] == ["fbank", "weighted_sum", "90.00", "", "1,000", "3,000 /", "", "1:15"]
    assert cells[4] == [report.FLOOR, "", "100.00", "25.00", "", "", "", ""]


def test_files(results, tmp_path):
    tasks = parse_tasks("asr,er")
    main = report.report(results, tasks, tmp_path / "exp", "Scores")
    exp = tmp_path / "exp"
    assert sorted(path.name for path in exp.iterdir()) == ["results.csv", "results.md", "results.png", "runs.csv"]
    text = (exp / "results.md").read_text(encoding="utf-8")
    assert text.startswith("# Scores\n")
    assert main in text
    assert "| fused_demo | ER fold2 | acc 70.00 % | 1,000 | 20 | 1:00 | 0:15 |" in text
    runs = pandas.read_csv(exp / "runs.csv")
    assert runs["score"].tolist() == [40.0, 60.0, 70.0, 90.0]
    assert pandas.read_csv(exp / "results.csv")["ASR WER"].tolist() == [40.0, 90.0, 100.0]
    assert (exp / "results.png").read_bytes().startswith(b"\x89PNG")


def test_the_chart_says_which_way_is_better(results, tmp_path, monkeypatch):
    from matplotlib import pyplot

    figures = []
    close = pyplot.close
    monkeypatch.setattr(pyplot, "close", figures.append)
    tasks = list(TASKS.values())[::3]
    report.draw(report.tabulate(report.read_runs(results), tasks), tasks, tmp_path / "chart.png")
    panels = figures[0].axes
    assert ["lower is better" in panel.get_title() for panel in panels] == [True, False]
    assert ["higher is better" in panel.get_title() for panel in panels] == [False, True]
    assert [bar.get_width() for bar in panels[0].patches] == [40.0, 90.0]
    assert "not run" in [text.get_text() for text in panels[1].texts]
    close(figures[0])


def test_the_papers_scores_stand_beside_ours_where_it_has_one(tmp_path):
    tasks = parse_tasks("asr,er")
    runs = [
        result(tmp_path, "fused_wavlm_hubert", "asr", 5.0),
        result(tmp_path, "fused_wavlm_hubert", "er", 70.0),
        result(tmp_path, "fbank", "asr", 90.0),
    ]
    report.report(runs, tasks, tmp_path / "exp", "Scores")
    text = (tmp_path / "exp" / "results.md").read_text(encoding="utf-8").split("## Beside the paper")[1]
    rows = [line for line in text.splitlines() if line.startswith("| fused") or line.startswith("| fbank")]
    assert rows == [
        "| fused_wavlm_hubert | hconv | ASR WER | 5.00 | 4.86 |",
        "| fused_wavlm_hubert | hconv | ER acc | 70.00 | 70.49 |",
    ]
