"""The paired bootstrap against s3prl's metrics on the drawn utterances, against scipy's, and by its laws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from s3prl_fusion import metrics
from s3prl_fusion import statistics as module
from s3prl_fusion.metrics import Texts
from s3prl_fusion.superb.scores import scoring
from s3prl_fusion.superb.scores.compare import compare, compare_table
from s3prl_fusion.superb.tasks import TASKS

COLUMNS = "task metric first second difference low high p utterances seeds_first seeds_second".split()
LABELS = ("ang", "hap", "neu", "sad")


def write_run(folder: Path, task: str, hypotheses: Texts, references: Texts, **content: object) -> Path:
    """The folder of one run, as the recipe's evaluation and the score stage leave it."""
    row = TASKS[task]
    content = {"upstream": "up", "interface": "hconv", "fold": None, "seed": 1337, "lr": 1e-4, **content}
    content = {"task": task, "dev_score": 50.0, "score": row.metric.score(hypotheses, references), **content}
    folder.mkdir(parents=True)
    (folder / "score.json").write_text(json.dumps(content))
    for pattern, texts in ((row.hypothesis, hypotheses), (row.reference, references)):
        lines = [f"{utterance}{row.separator}{text}\n" for utterance, text in texts.items()]
        (folder / row.file(pattern, content["fold"])).write_text("".join(lines))
    return folder


def labels(rng: np.random.Generator, count: int) -> dict[str, str]:
    return {f"u{index:04}": str(rng.choice(LABELS)) for index in range(count)}


def guesses(rng: np.random.Generator, references: Texts, right: float) -> dict[str, str]:
    """Labels that are right with a probability."""
    return {key: label if rng.random() < right else "no" for key, label in references.items()}


def slots(rng: np.random.Generator) -> str:
    """A text with some slots, of which two may be of one type."""
    parts = [f"B-{rng.choice(list('xyz'))} {'AB'[: rng.integers(1, 3)]} E-" for _ in range(rng.integers(0, 4))]
    return " AND ".join(["PLAY", *(part + part[2] for part in parts)])


def texts_of(task: str, rng: np.random.Generator, count: int = 40) -> tuple[dict[str, str], dict[str, str]]:
    """Made-up hypotheses and references of a task, not in sorted order."""
    keys = [f"u{index}" for index in rng.permutation(count)]
    if task == "sv":
        kinds = ["0", "1", *map(str, rng.integers(2, size=count - 2))]
        scores = [f"{rng.normal() + int(kind):.1f}" for kind in kinds]  # rounded: some are equal
        return dict(zip(keys, scores)), dict(zip(keys, kinds))
    if task == "sf":
        hypotheses, references = ({key: slots(rng) for key in keys} for _ in range(2))
        return hypotheses, references
    if TASKS[task].metric.higher_is_better:
        references = {key: str(rng.choice(LABELS)) for key in keys}
        return guesses(rng, references, 0.6), references
    hypotheses, references = (
        {key: " ".join(rng.choice(list("ABC"), size=rng.integers(1, 9))) for key in keys} for _ in range(2)
    )
    return hypotheses, references


def drawn_score(task: str, hypotheses: Texts, references: Texts, keys: list[str]) -> float:
    """s3prl's own metric on a list of utterances with repetitions."""
    from s3prl.downstream.ctc.metric import slot_type_f1
    from s3prl.metric.common import accuracy, compute_eer, wer

    ours, theirs = ([texts[key] for key in keys] for texts in (hypotheses, references))
    if task == "sv":
        return 100.0 * float(compute_eer([int(kind) for kind in theirs], [float(score) for score in ours])[0])
    if task == "sf":
        return 100.0 * slot_type_f1(ours, theirs)
    return 100.0 * (accuracy if TASKS[task].metric.higher_is_better else wer)(ours, theirs)


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.read is None])
def test_all_weights_one_give_the_score(task):
    hypotheses, references = texts_of(task, np.random.default_rng(0))
    once, twice = (
        TASKS[task].metric.resampled(hypotheses, references)(np.full((3, 40), times)) for times in (1.0, 2.0)
    )
    assert list(once) == [TASKS[task].metric.score(hypotheses, references)] * 3
    assert once == pytest.approx(twice)
    assert once[0] == pytest.approx(drawn_score(task, hypotheses, references, list(references)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 6])
def test_equal_error_rate_is_s3prls(seed, decimals):
    from s3prl.metric.common import compute_eer

    rng = np.random.default_rng(seed)
    kinds = rng.integers(2, size=200)
    scores = (rng.normal(size=200) + seed * kinds).round(decimals)  # seed 4: hardly an error
    hypotheses, references = ({str(trial): str(x) for trial, x in enumerate(side)} for side in (scores, kinds))
    expected = 100.0 * float(compute_eer(list(kinds), list(scores))[0])
    assert metrics.EER.score(hypotheses, references) == expected


def test_a_score_that_is_undefined_is_nan():
    weights = np.array([[0, 2, 1], [3, 0, 0], [1, 1, 1]])
    references, scores = {"a": "1", "b": "0", "c": "0"}, {"a": "0.9", "b": "0.1", "c": "0.2"}
    assert np.isnan(metrics.equal_error_rate(scores, references)(weights)).tolist() == [True, True, False]
    references, words = {"a": "", "b": "ONE TWO", "c": "THREE"}, {"a": "A", "b": "ONE", "c": "THREE"}
    percent = metrics.error_rate(words, references)(weights)
    assert percent == pytest.approx([40.0, np.nan, 200 / 3], nan_ok=True)


@pytest.mark.parametrize("task", ["asr", "er", "sv"])
def test_brute_force_over_the_drawn_utterances(task, tmp_path):
    rng = np.random.default_rng(1)
    folds = ("fold1", "fold2") if task == "er" else (None,)
    runs: dict[str, list] = {"first": [], "second": []}  # per side: (fold, hypotheses, references), one a seed
    for fold in folds:
        hypotheses, references = texts_of(task, rng, 30 if fold == "fold1" else 40)
        other, third = (dict(zip(hypotheses, rng.permutation(list(hypotheses.values())))) for _ in range(2))
        for side, seed, texts in (("first", 1, hypotheses), ("second", 1, other), ("second", 2, third)):
            write_run(
                tmp_path / side / task / f"seed{seed}" / (fold or ""), task, texts, references, fold=fold, seed=seed
            )
            runs[side].append((fold, texts, references))
    [row] = compare(tmp_path / "first", tmp_path / "second", resamples=50, seed=7).to_dict("records")

    draws = np.random.default_rng(7)
    differences = np.zeros(50)
    for fold in folds:
        keys = sorted(next(references for name, _, references in runs["first"] if name == fold))
        for index, drawn in enumerate(draws.integers(len(keys), size=(50, len(keys)))):
            chosen = [keys[number] for number in drawn]
            first, second = (
                np.mean([drawn_score(task, hyp, ref, chosen) for name, hyp, ref in runs[side] if name == fold])
                for side in ("first", "second")
            )
            differences[index] += (first - second) / len(folds)
    # The second has two seeds: one of them is drawn, and what it differs by from the mean of both is added.
    scores = [drawn_score(task, hyp, ref, list(ref)) for _, hyp, ref in runs["second"]]
    by_seed = np.mean([scores[::2], scores[1::2]], axis=1)
    differences -= (by_seed - by_seed.mean())[np.random.default_rng([7, 1]).integers(2, size=50)]
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=1e-8)
    assert row["p"] == pytest.approx(min(1.0, 2 * (min((differences <= 0).sum(), (differences >= 0).sum()) + 1) / 51))
    assert (row["seeds_first"], row["seeds_second"]) == (1, 2)
    for side in ("first", "second"):
        scores = [drawn_score(task, hyp, ref, list(ref)) for _, hyp, ref in runs[side]]
        assert row[side] == pytest.approx(np.mean(scores))
    assert row["difference"] == pytest.approx(row["first"] - row["second"])
    assert row["utterances"] == (70 if task == "er" else 40)


def pair(tmp_path: Path, rng: np.random.Generator, count: int = 300) -> tuple[Path, Path]:
    """Two runs of SID on the same clips; the first is right 70 % of the time, the second 60 %."""
    references = labels(rng, count)
    runs = [guesses(rng, references, right) for right in (0.7, 0.6)]
    first, second = (write_run(tmp_path / str(index), "sid", run, references) for index, run in enumerate(runs))
    return first, second


def test_scipy_gives_the_same_interval(tmp_path):
    from scipy.stats import bootstrap

    first, second = pair(tmp_path, np.random.default_rng(2))
    references = scoring.read_texts(first / "test_truth.txt")
    hits = [
        np.array([label == references[key] for key, label in scoring.read_texts(run / "test_predict.txt").items()])
        for run in (first, second)
    ]
    theirs = bootstrap(
        hits,
        lambda x, y, axis: 100.0 * (x.mean(axis=axis) - y.mean(axis=axis)),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=3000,
        random_state=np.random.default_rng(3),  # its name in every supported scipy; `rng` since 1.15
    )
    ours = compare(first, second, resamples=3000).iloc[0]
    # The standard error of a 2.5th percentile of 3000 draws is 5 % of their standard deviation.
    tolerance = 4 * 0.05 * np.sqrt(2) * theirs.standard_error
    assert [ours["low"], ours["high"]] == pytest.approx(list(theirs.confidence_interval), abs=tolerance)
    assert ours["high"] - ours["low"] > 10 * tolerance


def test_identical_experiments_do_not_differ(tmp_path):
    first, _ = pair(tmp_path, np.random.default_rng(4))
    frame = compare(first, first, resamples=100)
    assert list(frame.columns) == COLUMNS
    assert frame.loc[0, ["difference", "low", "high", "p"]].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert "| no difference shown |" in compare_table(frame)


def test_swapped_experiments_swap_the_sign(tmp_path):
    first, second = pair(tmp_path, np.random.default_rng(5))
    one, other = (compare(*sides, resamples=200).iloc[0] for sides in ((first, second), (second, first)))
    swapped = [-other["difference"], -other["high"], -other["low"], other["p"]]
    assert one[["difference", "low", "high", "p"]].tolist() == pytest.approx(swapped)
    assert (one["first"], one["second"]) == (other["second"], other["first"])


def test_folds_keep_their_size(tmp_path):
    """All of fold1 right, all of fold2 wrong: half, whichever utterances are drawn within the folds."""
    references = labels(np.random.default_rng(6), 20)
    for fold, right in (("fold1", 1.0), ("fold2", 0.0)):
        rng = np.random.default_rng(0)
        write_run(tmp_path / "a/er" / fold, "er", guesses(rng, references, right), references, fold=fold)
        write_run(tmp_path / "b/er" / fold, "er", guesses(rng, references, 0.0), references, fold=fold)
    row = compare(tmp_path / "a", tmp_path / "b/er", resamples=100).iloc[0]
    assert row[["first", "second", "low", "high", "p"]].tolist() == [50.0, 0.0, 50.0, 50.0, 2 / 101]
    assert (module.draw(np.random.default_rng(0), 100, 20).sum(axis=1) == 20).all()


def test_chunks_change_nothing(tmp_path, monkeypatch):
    first, second = pair(tmp_path, np.random.default_rng(7), count=50)
    whole = compare(first, second, resamples=101)
    monkeypatch.setattr(module, "CHUNK", 120)
    assert compare(first, second, resamples=101).equals(whole)
    assert not compare(first, second, resamples=101, seed=1).equals(whole)


def test_a_resample_of_one_kind_of_trial_is_drawn_again(tmp_path):
    references = {"a": "1", "b": "0", "c": "0"}
    runs = [{"a": "0.5", "b": "0.1", "c": "0.9"}, {"a": "0.1", "b": "0.5", "c": "0.9"}]
    first, second = (write_run(tmp_path / str(index), "sv", run, references) for index, run in enumerate(runs))
    row = compare(first, second, resamples=200).iloc[0]
    assert np.isfinite(row[["low", "high", "p"]].to_numpy(float)).all()
    assert f"SV EER: {TASKS['sv'].metric.definition}." in compare_table(compare(first, second, resamples=10))


def test_the_interval_covers_the_true_difference(tmp_path):
    rng = np.random.default_rng(8)
    covered = []
    for index in range(60):
        row = compare(*pair(tmp_path / str(index), rng, count=120), resamples=200).iloc[0]
        covered.append(row["low"] <= 10.0 <= row["high"])
    assert 0.85 <= np.mean(covered) <= 1.0


def test_tasks_that_both_have_in_the_order_of_the_tables(tmp_path):
    rng = np.random.default_rng(9)
    for task in ("sid", "asr", "pr"):
        hypotheses, references = texts_of(task, rng)
        for side in ("a", "b"):
            if (side, task) != ("b", "pr"):
                write_run(tmp_path / side / task, task, hypotheses, references)
    frame = compare(tmp_path / "a", tmp_path / "b", resamples=10)
    assert list(frame["metric"]) == ["ASR WER", "SID acc"]


def test_the_chosen_rate_is_compared(tmp_path):
    references = labels(np.random.default_rng(10), 20)
    for rate, right, dev in ((1e-3, 1.0, 40.0), (1e-4, 0.0, 60.0)):
        run = guesses(np.random.default_rng(0), references, right)
        write_run(tmp_path / f"a/sid/lr{rate}", "sid", run, references, lr=rate, dev_score=dev)
    write_run(tmp_path / "a/sid.old1", "sid", references, references)
    write_run(tmp_path / "b", "sid", references, references)
    row = compare(tmp_path / "a", tmp_path / "b", resamples=10).iloc[0]
    assert (row["first"], row["second"]) == (0.0, 100.0)


@pytest.mark.parametrize(("task", "arrow", "better"), [("sid", "↑", "second"), ("asr", "↓", "first")])
def test_the_table(task, arrow, better, tmp_path):
    references = {f"u{index}": "A" for index in range(1200)}
    wrong = {key: "B" if index % 3 else "A" for index, key in enumerate(references)}
    runs = (wrong, references) if task == "sid" else (references, wrong)
    for side, run in zip("ab", runs):
        write_run(tmp_path / side, task, run, references)
    table = compare_table(compare(tmp_path / "a", tmp_path / "b", resamples=1000, seed=3))
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[:3]]
    assert len({len(cells) for cells in lines}) == 1
    score, side, first, second, difference, interval, p, utterances, seeds = lines[2]
    assert (score, side) == (f"{TASKS[task].column} {arrow}", better)
    numbers = ("33.33", "100.00") if task == "sid" else ("0.00", "66.67")
    assert (first, second, difference, p, utterances, seeds) == (*numbers, "-66.67", "< 0.01", "1,200", "1 / 1")
    low, high = (float(value) for value in interval.strip("[]").split(", "))
    assert -70.0 < low < -66.67 < high < -63.0
    assert f"first: `{tmp_path / 'a'}`, second: `{tmp_path / 'b'}`" in table
    assert "1,000 resamples with seed 3, percentile interval" in table


class TestErrors:
    """Experiments that cannot be paired."""

    @pytest.fixture
    def references(self):
        return labels(np.random.default_rng(11), 10)

    @pytest.fixture
    def good(self, tmp_path, references):
        for fold in ("fold1", "fold2"):
            write_run(tmp_path / "good/er" / fold, "er", references, references, fold=fold)
        return tmp_path / "good"

    def fails(self, good: Path, other: Path, match: str) -> None:
        for sides in ((good, other), (other, good)):
            with pytest.raises(metrics.ScoreError, match=match):
                compare(*sides, resamples=10)

    def test_nothing_there(self, good, tmp_path):
        self.fails(good, tmp_path / "nothing", "nothing: no score.json in it or below; give EXP/<upstream>")

    def test_no_task_in_common(self, good, tmp_path, references):
        other = write_run(tmp_path / "b", "sid", references, references)
        self.fails(good, other, "no task in common: (er and sid|sid and er)")

    def test_several_upstreams(self, good, tmp_path, references):
        write_run(good / "other", "sid", references, references, upstream="hubert")
        self.fails(tmp_path, tmp_path, "has the upstreams hubert, up; name one of them: EXP/<upstream>")

    def test_a_fold_is_missing(self, good, tmp_path, references):
        other = write_run(tmp_path / "b/er/fold1", "er", references, references, fold="fold1")
        self.fails(good, other, r"ER: seed 1337 in .*fold1 lacks \['fold2'\]; both experiments need the same folds")

    def test_a_seed_lacks_a_fold(self, good, references):
        write_run(good / "er/seed2/fold1", "er", references, references, fold="fold1", seed=2)
        self.fails(good, good, r"ER: seed 2 in .*fold1 lacks \['fold2'\]")

    def test_one_run_twice(self, good, references):
        write_run(good / "copy", "er", references, references, fold="fold1")
        self.fails(good, good, "copy and .*er/fold1 are the same task, fold and seed")

    @pytest.mark.parametrize("change", [{"u0003": "other"}, {"v": "sad"}])
    def test_other_references(self, change, good, tmp_path, references):
        changed = {**references, **change}
        for fold, texts in (("fold1", references), ("fold2", changed)):
            write_run(tmp_path / "b/er" / fold, "er", texts, texts, fold=fold)
        match = rf"ER fold2: .*truth.txt and .*truth.txt differ in 1 utterances, \['{next(iter(change))}'\]"
        self.fails(good, tmp_path / "b", match)

    def test_an_incomplete_hypothesis(self, good):
        path = good / "er/fold2/test_fold2_predict.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
        self.fails(good, good, r"fold2/test_fold2_predict.txt: .* 1 missing \['u0000'\].*evaluate this run again")
        path.unlink()
        self.fails(good, good, "fold2/test_fold2_predict.txt is gone.*evaluate this run again")

    def test_files_of_another_evaluation(self, good):
        path = good / "er/fold2/test_fold2_predict.txt"
        path.write_text("".join(f"{line.split()[0]} no\n" for line in path.read_text().splitlines()))
        self.fails(good, good, r"test_fold2_predict.txt gives 0\.0000 %, and .*score.json says 100\.0000 %")

    def test_no_resamples(self, good):
        with pytest.raises(ValueError, match="resamples: got 0"):
            compare(good, good, resamples=0)
