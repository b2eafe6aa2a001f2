"""Which score files count, and which learning rate."""

from __future__ import annotations

import pandas
import pytest

from s3prl_fusion.files import write_json
from s3prl_fusion.superb.layout import RunFolder, find_scored
from s3prl_fusion.superb.scores.results import chosen_rates
from s3prl_fusion.superb.scores.scoring import ScoreError
from s3prl_fusion.superb.tasks import TASKS


def find_results(folder) -> list:
    return [run.result for run in find_scored(folder)]


def touch(root, *folders: str) -> list:
    paths = [root / folder / "score.json" for folder in folders]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    return paths


def test_all_below_sorted_without_what_was_set_aside(tmp_path):
    counted = touch(tmp_path, "b/asr", "a/er/seed1/fold2", "a/er/seed1/fold1", "a.older/sid", "a/my.old/pr")
    touch(tmp_path, "a/er.old1/seed1/fold1", "a/er/seed1/fold1.old12", "a.old2/er/fold1")
    assert find_results(tmp_path) == sorted(counted)
    assert find_results(tmp_path / "a/er/seed1/fold2") == [counted[1]]
    assert find_results(tmp_path / "nothing") == []


def test_a_folder_that_was_set_aside_can_be_asked_for(tmp_path):
    assert touch(tmp_path, "a/er.old1/fold1") == find_results(tmp_path / "a/er.old1")


def test_the_stamp_of_the_score_stage_is_no_result(tmp_path):
    run = RunFolder.of(tmp_path, "fbank", TASKS["asr"])
    write_json(run.stamp("score"), {})
    assert find_results(tmp_path) == []
    run.result.write_text("{}")
    assert find_results(tmp_path) == [run.result]


def runs_of(task: str, *rows: tuple[float, float | None], upstream: str = "up") -> pandas.DataFrame:
    """One run for each (rate, dev score)."""
    shared = {"identity": upstream, "upstream": upstream, "task": task}
    return pandas.DataFrame([{**shared, "lr": lr, "dev_score": dev} for lr, dev in rows])


@pytest.mark.parametrize(
    ("task", "rows", "kept"),
    [
        ("er", [(1e-3, 60.0), (1e-4, 50.0)], [0]),  # accuracy: the higher one
        ("asr", [(1e-3, 60.0), (1e-4, 50.0)], [1]),  # error rate: the lower one
        ("er", [(1e-4, 70.0), (1e-3, 60.0), (1e-4, 40.0)], [1]),  # the mean decides, not the best run
        ("er", [(1e-3, 60.0), (1e-4, 50.0), (1e-3, 60.0)], [0, 2]),
        ("er", [(1e-3, 60.0), (1e-4, 60.0)], [1]),  # a tie
        ("asr", [(1e-3, 60.0), (1e-4, 60.0)], [1]),
        ("er", [(1e-3, 0.1), (1e-4, 0.3), (1e-3, 0.2), (1e-4, 0.2), (1e-3, 0.3), (1e-4, 0.1)], [1, 3, 5]),
        ("er", [(1e-4, None), (1e-4, None)], [0, 1]),  # nothing to choose
    ],
)
def test_the_best_rate_on_dev(task, rows, kept):
    assert list(chosen_rates(runs_of(task, *rows)).index) == kept


def test_each_upstream_and_task_has_its_own_rate():
    parts = [
        runs_of("er", (1e-3, 60.0), (1e-4, 50.0)),
        runs_of("asr", (1e-3, 60.0), (1e-4, 50.0)),
        runs_of("er", (1e-3, 20.0), (1e-4, 50.0), upstream="other"),
    ]
    runs = pandas.concat(parts, ignore_index=True)
    pandas.testing.assert_frame_equal(chosen_rates(runs), runs.loc[[0, 3, 5]])
    pandas.testing.assert_frame_equal(chosen_rates(runs.drop(columns="lr")), runs.drop(columns="lr"))


def test_rates_without_dev_scores_cannot_be_told_apart():
    with pytest.raises(ScoreError, match="up er: several learning rates, and a run .* no lr or dev_score"):
        chosen_rates(runs_of("er", (1e-3, 60.0), (1e-4, None)))
