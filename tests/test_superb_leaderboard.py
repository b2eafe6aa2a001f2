"""The SUPERB score against values from the leaderboard's own code."""

from __future__ import annotations

import pytest

from s3prl_fusion.superb.scores.leaderboard import BOUNDS, PUBLISHED, superb_score, task_scores
from s3prl_fusion.superb.tasks import TASKS

COLUMNS = "PR PER,SID acc,KS acc,QbE MTWV,IC acc,ASR WER,SV EER,ER acc,SD DER,SF CER,SF F1".split(",")
FBANK = (82.01, 20.058174, 41.3826674, 0.58, 9.649354219, 23.18, 9.56, 48.23672168, 10.05, 52.94, 69.64)
HUBERT_BASE = (5.41, 81.42, 96.3, 7.36, 98.34, 6.42, 5.11, 64.92, 5.88, 25.2, 88.53)
VECTORS = {
    "FBANK": (FBANK, 0.0),
    "wav2vec 2.0 Base": ((5.74, 75.18, 96.23, 2.33, 92.35, 6.43, 6.02, 63.43, 6.08, 24.77, 88.3), 818.1),
    "wav2vec 2.0 Large": ((4.75, 86.14, 96.66, 4.89, 95.28, 3.75, 5.65, 65.64, 5.62, 27.31, 87.11), 913.6),
    "HuBERT Base": (HUBERT_BASE, 941.0),
    "HuBERT Large": ((3.53, 90.33, 95.29, 3.53, 98.76, 3.62, 5.98, 67.62, 5.75, 21.76, 89.81), 918.6),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_leaderboards_scores(name):
    row, expected = VECTORS[name]
    assert superb_score(dict(zip(COLUMNS, row))) == pytest.approx(expected, abs=0.05)


def test_a_tasks_score():
    scores = task_scores(dict(zip(COLUMNS, HUBERT_BASE)))
    assert scores["SV"] == pytest.approx(1000.0)
    assert scores["PR"] == pytest.approx(1000 * (82.01 - 5.41) / (82.01 - 3.53))
    slot_filling = [(88.53 - 69.64) / (89.81 - 69.64), (52.94 - 25.2) / (52.94 - 21.76)]
    assert scores["SF"] == pytest.approx(1000 * sum(slot_filling) / 2)


def test_a_missing_task_means_no_total():
    metrics = dict(zip(COLUMNS, HUBERT_BASE))
    del metrics["SF CER"]
    assert superb_score(metrics) is None
    assert "SF" not in task_scores(metrics)
    assert superb_score(metrics, ("PR", "ASR")) == pytest.approx(
        (task_scores(metrics)["PR"] + 1000 * 16.76 / 19.56) / 2
    )


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="unknown metric 'SR acc'; choose from PR PER, "):
        task_scores({"SR acc": 1.0})


def test_the_names_are_the_tasks_columns():
    import s3prl.hub

    columns = {task.column for task in TASKS.values()}
    assert columns <= BOUNDS.keys()
    for upstream, row in PUBLISHED.items():
        assert row.keys() <= columns
        assert hasattr(s3prl.hub, upstream)


@pytest.mark.parametrize("lacking", ["", "QbE", "SF"])
def test_ten_tasks_on_their_official_test_sets_give_a_total(lacking):
    import pandas

    from s3prl_fusion.superb.scores.tables import superb_table

    tasks = [task for task in TASKS.values() if task.submitted]
    assert {column for task in tasks for column in task.columns} == {*COLUMNS}
    runs = pandas.DataFrame(
        {"label": "up", "task": task.name, "fold": fold or "", "utterances": count - (task.title == lacking)}
        for task in tasks
        for fold, count in task.official.items()
    )
    table = pandas.DataFrame([{"upstream": "up", "interface": "hconv", **dict(zip(COLUMNS, HUBERT_BASE))}])
    text = superb_table(table, runs)
    scores = task_scores(dict(zip(COLUMNS, HUBERT_BASE)))
    expected = ["" if task.title == lacking else f"{scores[task.title]:.1f}" for task in tasks]
    cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert cells == ["up", "hconv", *expected, "" if lacking else "941.0"]
