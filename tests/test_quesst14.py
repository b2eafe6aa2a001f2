"""QbE: paths and values by hand and by dtw-python, the choice of states through s3prl's runner, killed and resumed."""

from __future__ import annotations

import argparse
import math
import re
import shutil
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import official_layouts
import pytest
import torch
import torch.nn.functional as F
import yaml

import s3prl_fusion
from s3prl_fusion import dtw, stdlist
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora import quesst14
from s3prl_fusion.errors import MissingFileError, UsageError
from s3prl_fusion.host.recipes import _dev_search, quesst14_dtw
from s3prl_fusion.host.recipes._states import StateFeaturizer
from s3prl_fusion.host.shims import sox
from s3prl_fusion.metrics import MTWV, ScoreError
from s3prl_fusion.superb.layout import RunFolder
from s3prl_fusion.superb.scores.report import report
from s3prl_fusion.superb.scores.score import score
from s3prl_fusion.superb.submit import submission
from s3prl_fusion.superb.tasks import TASKS
from s3prl_fusion.upstreams import fused

QBE = TASKS["qbe"]


def local_costs(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    """As the recipe has them, frame by frame."""
    query, document = query.astype(float), document.astype(float)
    cosine = np.array([[q @ d / np.linalg.norm(q) / np.linalg.norm(d) for d in document] for q in query])
    cost = np.exp(1 - cosine) - 1
    low, high = cost.min(axis=1, keepdims=True), cost.max(axis=1, keepdims=True)
    return (cost - low) / (high - low)


def cheapest(cost: np.ndarray) -> float:
    """Tries every path."""
    rows, frames = cost.shape
    paths = (np.cumsum([start, *steps]) for start in range(frames) for steps in product((0, 1, 2), repeat=rows - 1))
    return min(cost[np.arange(rows), path].sum() for path in paths if path[-1] < frames) / rows


def some(rng: np.random.Generator, *lengths: int, width: int = 6) -> list[np.ndarray]:
    return [rng.normal(size=(length, width)).astype(np.float32) for length in lengths]


def test_a_score_is_the_cheapest_of_all_paths():
    rng = np.random.default_rng(0)
    queries, documents = some(rng, 5, 7, 4, 6), some(rng, 1, 2, 3, 6)
    wanted = dtw.Queries(queries)
    for document in documents[1:]:
        expected = [-cheapest(local_costs(query, document)) if len(query) >= 5 else 0 for query in queries]
        assert wanted.scores(document) == pytest.approx(expected, abs=1e-12)
    assert not wanted.scores(documents[0]).any()  # each row has one distance, which is the least


def test_blocks_of_queries_change_nothing(monkeypatch):
    queries, (document,) = some(np.random.default_rng(1), *range(3, 20)), some(np.random.default_rng(2), 30)
    whole = dtw.Queries(queries).scores(document)
    monkeypatch.setattr(dtw, "BLOCK", 12)
    assert dtw.Queries(queries).scores(document) == pytest.approx(whole, abs=1e-12)


def test_scores_are_those_of_dtw_python():
    peer = pytest.importorskip("dtw")
    rng = np.random.default_rng(3)
    queries, documents = some(rng, 5, 40, 3, 17), some(rng, 4, 100, 61)
    options = {"step_pattern": "asymmetric", "open_begin": True, "open_end": True}
    for document in documents:
        expected = [
            -peer.dtw(x=local_costs(query, document), **options).normalizedDistance if len(query) >= 5 else 0
            for query in queries
        ]
        assert dtw.Queries(queries).scores(document) == pytest.approx(expected, abs=1e-6)


def test_features_that_are_not_finite_are_refused():
    (query, document) = some(np.random.default_rng(4), 6, 8)
    with pytest.raises(UsageError, match="not finite"):
        dtw.Queries([query]).scores(np.full_like(document, np.nan))


def truth(queries: int, documents: int, searched: int, **targets: str) -> dict[str, str]:
    return {name: f"{queries} {documents} {searched} {found}" for name, found in targets.items()}


@pytest.mark.parametrize(
    ("scores", "reference", "percent"),
    [
        ({"q": "a 3 b 2 c 1"}, truth(1, 3, 3, q="a b"), 100),
        ({"q": "a 1 b 2 c 3"}, truth(1, 3, 3, q="a"), 0),  # a false alarm costs more than it brings: find nothing
        ({"q": "a 2 b 3 c 1"}, truth(1, 1001, 3, q="a"), 100 - 1.249),  # one of 1,000 others is found too
        ({"q": "a 3 b 2 c 1"}, truth(1, 1002, 3, q="a c"), 100 - 1.249),  # the second brings more than b costs
        ({"q": "a 3 b 2 c 1"}, truth(1, 14, 3, q="a c"), 50),  # b costs 12.49 / 12, and c brings half
        ({"q": "a 3 b 2 c 1"}, truth(4, 3, 3, q="a b"), 25),  # of the four queries of all languages
        ({"q": "a 3 b 2"}, truth(1, 1001, 2, q="z"), 0),  # z, of another language, is not searched
        ({"q": "a 3 b 2", "r": "a 5 b 4"}, truth(2, 1001, 2, q="a", r="b"), 100 - 1.249 / 2),  # one threshold
        ({"q": "a 1 b 1"}, truth(1, 2, 2, q="a"), 0),  # equal scores are on one side
        ({"q": "a 2 b 1", "r": "a 9 b 8"}, truth(1, 2, 2, q="a", r=""), 100),  # r is in none, and does not count
    ],
)
def test_values_worked_by_hand(scores, reference, percent):
    assert MTWV.score(scores, reference) == pytest.approx(percent)


def value_of(names: list[str], scores: dict, targets: dict, queries: float, documents: int) -> float:
    """The definition, threshold by threshold, for queries that may be there several times."""
    pooled = {score for found in scores.values() for score in found.values()}
    names = [name for name in names if targets[name]]
    best = 0.0 if names else math.nan
    for threshold in pooled if names else ():
        value = 0.0
        for name in names:
            found = {document for document, score in scores[name].items() if score >= threshold}
            missed = len(targets[name] - found) / len(targets[name])
            value += 1 - missed - 12.49 * len(found - targets[name]) / (documents - len(targets[name]))
        best = max(best, value / len(names))
    return 100 * best * sum(map(bool, targets.values())) / queries


def test_resamples_are_scored_as_if_their_queries_were_all():
    rng = np.random.default_rng(5)
    names, places = [f"q{i}" for i in range(5)], [f"d{i}" for i in range(12)]
    scores = {name: dict(zip(places, rng.integers(0, 9, size=12).astype(float))) for name in names}
    targets = {name: set(rng.choice(places, size=i % 4, replace=False)) for i, name in enumerate(names)}
    hypotheses = {name: " ".join(f"{d} {score}" for d, score in found.items()) for name, found in scores.items()}
    reference = truth(6, 300, 12, **{name: " ".join(sorted(found)) for name, found in targets.items()})
    draws = rng.integers(5, size=(20, 5))
    weights = np.stack([np.bincount(draw, minlength=5) for draw in draws])
    expected = [value_of([names[i] for i in draw], scores, targets, 6, 300) for draw in draws]
    assert MTWV.resampled(hypotheses, reference)(weights) == pytest.approx(expected, nan_ok=True)
    assert MTWV.resampled(hypotheses, reference)(np.ones((1, 5)))[0] == pytest.approx(
        value_of(names, scores, targets, 6, 300)
    )


@pytest.mark.fault("scores of QbE that lack a document, or are none", "refused: the query is named")
@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ("a 1", "query 'q' has scores of 1 documents; 2 were searched"),
        ("a 1 a 2", "query 'q' has scores of 1 documents; 2 were searched"),
        ("a 1 b x", "query 'q': a score is no number"),
        ("a 1 b nan", "a score is not finite"),
    ],
)
def test_scores_that_cannot_be_used(scores, match):
    with pytest.raises(ScoreError, match=match):
        MTWV.score({"q": scores}, truth(1, 2, 2, q="a"))


def test_a_list_of_terms_is_read_as_it_was_written(tmp_path):
    path = tmp_path / stdlist.NAME
    stdlist.write(path, {"q": {"a": 2.00004, "b": -0.5}, "r": {"a": 2.1}})
    assert stdlist.read(path) == {"q": "a 2.0000 b -0.5000", "r": "a 2.1000"}
    decisions = [term.get("decision") for term in ElementTree.parse(path).iter("term")]
    assert decisions == ["YES", "NO", "YES"]  # by the score as it is, not as it is written
    for content in (path.read_text()[:-20], path.read_text().replace('"r"', '"q"'), "<stdlist/>"):
        path.write_text(content)
        with pytest.raises(ScoreError, match=f"{re.escape(str(path))}: (no whole list|query 'q' is there|no query)"):
            stdlist.read(path)


def test_telephone_speech_is_brought_to_16_khz():
    time = np.arange(4000) / 8000
    wav = torch.from_numpy(np.sin(2 * np.pi * 440 * time)[None]).float()
    found, rate = sox.apply_effects_tensor(wav, 8000, [["channels", "1"], ["rate", "16000"], ["gain", "-3.0"]])
    expected = 10 ** (-3 / 20) * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
    assert rate == 16000 and found.shape == (1, 8000)
    np.testing.assert_allclose(found[0, 500:-500], expected[500:-500], atol=1e-3)


# --- the corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return official_layouts.official_quesst14(tmp_path_factory.mktemp("corpus") / "quesst14Database")


def test_the_ground_truth_counts_all_languages(corpus):
    found = quesst14.reference(corpus, "dev")
    assert found["quesst14_dev_0001"] == "3 7 6 quesst14_00001 quesst14_00002"
    assert found["quesst14_dev_0004"] == "3 7 6"  # no document has it
    assert "quesst14_dev_0003" not in found  # of another language


def test_lists_are_read_as_s3prl_reads_them(corpus, registered):
    from s3prl.dataio.corpus.quesst14 import Quesst14

    stock = Quesst14(str(corpus))
    assert quesst14.read_english(corpus, "utterances") == stock.docs
    assert quesst14.read_english(corpus, "dev") == stock.valid_queries
    assert quesst14.read_english(corpus, "eval") == stock.test_queries


def spoil(corpus: Path, name: str, before: str, after: str) -> None:
    path = corpus / "scoring" / name
    path.write_text(path.read_text().replace(before, after))


TRUTH = "groundtruth_quesst14_dev/quesst14_dev"


@pytest.mark.fault("QUESST 2014 with lists or ground truth that are damaged", "refused: the file or line is named")
@pytest.mark.parametrize(
    ("name", "before", "after", "match"),
    [
        ("language_key_dev.lst", " nnenglish", "", r"language_key_dev.lst:1: got .*expected a line as"),
        ("language_key_dev.lst", "nnenglish", "czech", "language_key_dev.lst has no file of nnenglish"),
        ("language_key_utterances.lst", "00002.wav", "00001.wav", r"utterances.lst:2: .*00001.wav is there twice"),
        (f"{TRUTH}.rttm", "quesst14_00001 1", "quesst14_99999 1", r"dev.rttm:2: quesst14_99999 has quesst14_dev_0001"),
        (f"{TRUTH}.rttm", "LEXEME", "SPEAKER", "no document has any of the 3 English queries of dev"),
        (f"{TRUTH}.tlist.xml", "</termlist>", "", r"tlist.xml is no whole XML file"),
        (
            f"{TRUTH}.tlist.xml",
            "dev_0001",
            "dev_0009",
            "of which quesst14.ecf.xml or quesst14_dev.tlist.xml knows nothing",
        ),
    ],
)
def test_what_is_wrong_is_named(name, before, after, match, corpus, tmp_path, capsys):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    spoil(root, name, before, after)
    assert main(["prepare", "qbe", "--corpus", str(root), "-o", str(tmp_path / "data")]) == 2
    assert re.search(match, capsys.readouterr().err)


@pytest.mark.fault("QUESST 2014 without a file, or its parent folder in its place", "refused, with what to pass")
def test_what_is_missing_is_named(corpus, tmp_path, capsys):
    root = shutil.copytree(corpus, tmp_path / "corpus" / "quesst14Database")
    prepare = ["prepare", "qbe", "-o", str(tmp_path / "data"), "--corpus"]
    assert main([*prepare, str(root.parent)]) == 2
    assert f"pass that: --corpus {root}" in capsys.readouterr().err
    (root / "Audio" / "quesst14_00001.wav").unlink()
    assert main([*prepare, str(root)]) == 2
    assert "1 of 12 English files are missing, first" in capsys.readouterr().err
    (root / "scoring" / "groundtruth_quesst14_eval" / "quesst14.ecf.xml").unlink()
    with pytest.raises(MissingFileError, match=r"must have one \*.ecf.xml; it has 0"):
        quesst14.reference(root, "test")


# --- runs


@pytest.fixture(scope="module")
def config(corpus, tmp_path_factory) -> Path:
    """The shipped settings, on the miniature corpus."""
    settings = yaml.safe_load((downstream_configs_dir() / QBE.config).read_text())
    settings["downstream_expert"]["datarc"].update(dataset_root=str(corpus), num_workers=0)
    settings["downstream_expert"]["max_workers"] = 2
    path = tmp_path_factory.mktemp("configs") / QBE.config
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def fusion(tiny_hubert, tmp_path_factory) -> Path:
    """Four hidden states of one rate, and one of another."""
    path = tmp_path_factory.mktemp("fusion") / "pair.yaml"
    path.write_text(yaml.safe_dump({"members": [{"name": "hf_hubert_custom", "ckpt": str(tiny_hubert)}, "mfcc"]}))
    return path


def run(*words: object) -> int:
    try:
        return main(["run", *map(str, words), "--device", "cpu"])
    finally:
        s3prl_fusion.unregister()


def train(fusion: object, config: Path, expdir: Path, *more: object) -> int:
    return run("-m", "train", "-u", fusion, "-d", "quesst14_dtw", "-c", config, "-p", expdir, *more)


def evaluate(expdir: Path, patch: pytest.MonkeyPatch, *more: object) -> None:
    with (expdir / "evaluate.log").open("w") as log, patch.context() as quiet:
        quiet.setattr("sys.stdout", log)
        words = more or ("-t", "test", "-e", expdir / QBE.best_ckpt)
        assert run("-m", "evaluate", *words) == 0


@pytest.fixture(scope="module")
def trained(fusion, config, tmp_path_factory) -> Path:
    """An experiment after its search on dev, evaluated and scored."""
    expdir = tmp_path_factory.mktemp("exp") / "pair" / "qbe"
    with pytest.MonkeyPatch.context() as patch:
        assert train(fusion, config, expdir) == 0
        evaluate(expdir, patch)
    score(RunFolder(expdir))
    return expdir


def states(expdir: Path) -> dict:
    return torch.load(expdir / QBE.best_ckpt, weights_only=False)


def test_every_state_their_mean_and_the_best_of_each_member_are_tried(trained):
    (found,) = [RunFolder(trained)]
    kept = score(found)
    tried = {one["states"]: one["dev_score"] for one in kept["states"]["tried"]}
    single = [f"hf_hubert_custom {i}" for i in range(4)]
    best = max(single, key=lambda name: tried[name])
    assert list(tried) == [*single, "mfcc 0", "weighted_sum", f"{best} + mfcc 0"]
    assert kept["dev_score"] == max(tried.values()) == tried[kept["states"]["chosen"]]
    assert (kept["lr"], kept["featurizer_parameters"], kept["utterances"]) == (None, 0, 3)
    assert not (trained / _dev_search.FOLDER).exists()
    shown = report([found], "title")
    assert f"- {kept['upstream']}" not in shown and f", QbE: {kept['states']['chosen']}, the best on dev of 7" in shown
    assert f"**{kept['states']['chosen']}: " in shown


def test_the_chosen_states_are_searched_with_as_s3prl_does(trained, corpus, monkeypatch):
    """Features through `load_experiment`, without the corpus at hand; scores by the definition."""
    elsewhere = corpus.rename(corpus.with_name("elsewhere"))
    try:
        experiment = s3prl_fusion.load_experiment(trained)
    finally:
        elsewhere.rename(corpus)
    names = {"utterances": [], "eval": []}
    for name, found in names.items():
        for file in quesst14.read_english(corpus, name):
            wav, _ = sox.apply_effects_file(file, [["channels", "1"], ["rate", "16000"], ["gain", "-3.0"]])
            found.append((file.stem, experiment.features([wav[0]])[0]))
    everything = torch.cat([frames for found in names.values() for _, frames in found])
    mean, deviation = everything.mean(0), everything.std(0)
    for query, frames in names["eval"]:
        raw = np.array(
            [
                dtw.Queries([((frames - mean) / deviation).numpy()]).scores(((document - mean) / deviation).numpy())[0]
                for _, document in names["utterances"]
            ]
        )
        expected = (raw - raw.mean()) / raw.std()
        fields = stdlist.read(trained / stdlist.NAME)[query].split()
        assert fields[::2] == [name for name, _ in names["utterances"]]
        assert [float(value) for value in fields[1::2]] == pytest.approx(list(expected), abs=2e-4)


def test_dev_is_scored_as_an_evaluation_scores_it(trained, tmp_path, monkeypatch):
    expdir = shutil.copytree(trained, tmp_path / "qbe")
    evaluate(expdir, monkeypatch, "-t", "dev", "-e", expdir / QBE.best_ckpt)
    (value,) = re.findall(r"^dev mtwv: (\S+)$", (expdir / "evaluate.log").read_text(), re.MULTILINE)
    assert 100 * float(value) == pytest.approx(100 * float(states(trained)["Downstream"]["best_score"]))


def test_a_choice_is_states_one_after_the_other_or_the_mean_of_all():
    upstream = s3prl_fusion.FusedUpstream(s3prl_fusion.FusionConfig.from_name("fused__fbank__mfcc"))
    featurizer = StateFeaturizer(upstream)
    wavs = [torch.randn(8000, generator=torch.Generator().manual_seed(0)), torch.randn(6000)]
    states = upstream(wavs)["hidden_states"]
    (wide, narrow), frames = states, [50, 38]
    for choice, expected in (
        ([1], narrow),
        ([0, 1], torch.cat([wide, narrow], dim=-1)),
        (
            [],
            (F.layer_norm(wide, (240,)) + F.interpolate(F.layer_norm(narrow, (39,)), size=240, mode="linear")) / 2,
        ),
    ):
        featurizer.choose(choice)
        found = featurizer(wavs, {"hidden_states": states})
        assert featurizer.output_dim == found[0].size(1)
        for one, sequence, count in zip(found, expected, frames):
            torch.testing.assert_close(one, sequence[:count])
    again = StateFeaturizer(upstream)
    again.load_state_dict(featurizer.state_dict())
    assert not again.chosen.any()


def test_stocks_own_search_gives_the_same_list(corpus, config, tmp_path, monkeypatch):
    pytest.importorskip("dtw"), pytest.importorskip("lxml")
    from importlib import import_module

    records = {"features": [torch.from_numpy(each) for each in some(np.random.default_rng(6), 6, 4, 9, *range(12, 18))]}
    records["audio_names"] = [
        path.stem for name in ("dev", "utterances") for path in quesst14.read_english(corpus, name)
    ]
    settings = yaml.safe_load(config.read_text())["downstream_expert"]
    try:
        s3prl_fusion.register()
        module = import_module("s3prl.downstream.quesst14_dtw.expert")
        stock = module.DownstreamExpert(upstream_dim=6, downstream_expert=settings, expdir=str(tmp_path))
        stock.test_dataset = argparse.Namespace(n_queries=3)
        stock.log_records("dev", records={"features": records["features"], "audio_names": records["audio_names"]})
        theirs = stdlist.read(tmp_path / stdlist.NAME)
        quesst14_dtw.log_records(stock, "dev", records)
    finally:
        s3prl_fusion.unregister()
    for query, text in stdlist.read(tmp_path / stdlist.NAME).items():
        ours, his = ({d: float(x) for d, x in zip(*[iter(t.split())] * 2)} for t in (text, theirs[query]))
        assert ours == pytest.approx(his, abs=2e-4)


def test_killed_and_started_again_it_keeps_what_was_found(trained, fusion, config, tmp_path, monkeypatch):
    monkeypatch.setattr(_dev_search, "CHUNK", 2)
    stock, calls = dtw.Queries.scores, []

    def scores(self, document):
        calls.append(document)
        if len(calls) == 20:  # of 36: six documents with six choices
            raise KeyboardInterrupt
        return stock(self, document)

    monkeypatch.setattr(dtw.Queries, "scores", scores)
    expdir = tmp_path / "qbe"
    assert train(fusion, config, expdir, "-a") == 130
    kept = sorted(file.name for file in (expdir / _dev_search.FOLDER).glob("single-*"))
    assert kept == ["single-0.npz"] and not (expdir / QBE.best_ckpt).exists()
    (expdir / _dev_search.FOLDER / "single-2.npz").write_bytes(b"damaged")
    before = len(calls)
    assert train(fusion, config, expdir, "-a") == 0
    assert len(calls) - before == 4 * 6 + 6  # and the best of each, joined
    one, other = states(expdir), states(trained)
    assert torch.equal(one["Featurizer"]["chosen"], other["Featurizer"]["chosen"])
    assert one["Downstream"] == other["Downstream"]


def test_with_a_cache_members_run_once(config, tmp_path, monkeypatch):
    stock, ran = fused.FusedUpstream.run_member, []

    def run_member(self, i, wavs):
        ran.extend((i, len(wav)) for wav in wavs)
        return stock(self, i, wavs)

    monkeypatch.setattr(fused.FusedUpstream, "run_member", run_member)
    path = tmp_path / "cached.yaml"
    path.write_text(yaml.safe_dump({"members": ["fbank", "mfcc"], "cache": {"dir": str(tmp_path / "cache")}}))
    assert train(path, config, tmp_path / "exp") == 0
    # Both members on three queries and six documents; besides there is a second of noise, which tells their widths.
    assert sum(samples != 16000 for _, samples in ran) == 2 * (3 + 6)


def test_a_search_is_not_taken_over_by_another_upstream(trained, config, tmp_path, monkeypatch):
    """Its scores would be of other features."""
    expdir = tmp_path / "qbe"
    (expdir / _dev_search.FOLDER).mkdir(parents=True)
    (expdir / _dev_search.FOLDER / "made_of").write_text("another")
    (expdir / _dev_search.FOLDER / "single-0.npz").write_bytes(b"of another")
    assert train("fused__fbank__mfcc", config, expdir, "-a") == 0
    assert states(expdir)["Featurizer"]["chosen"].shape == (2,)


@pytest.mark.fault("QbE, which trains nothing, told to train an upstream or a single state", "refused before it loads")
@pytest.mark.parametrize("option", [("-f",), ("-l", "0"), ("-s", "last_hidden_state")])
def test_nothing_is_trained(option, config, tmp_path, capsys):
    assert train("fbank", config, tmp_path / "exp", *option) == 2
    assert "tries every hidden state on dev: leave -f, -s and -l out" in capsys.readouterr().err


def test_one_state_of_a_stock_upstream_is_evaluated_as_s3prl_does(config, tmp_path, monkeypatch):
    words = ("-t", "dev", "-u", "fbank", "-d", "quesst14_dtw", "-c", config, "-p", tmp_path, "-l", "0")
    evaluate(tmp_path, monkeypatch, *words)
    assert re.search(r"^dev mtwv: [01]\.\d+$", (tmp_path / "evaluate.log").read_text(), re.MULTILINE)
    assert len(stdlist.read(tmp_path / stdlist.NAME)) == 3


def test_what_is_submitted_is_complete(trained, tmp_path):
    runs = submission.choose_runs(trained.parent, seed=7)  # whatever seed the other tasks have
    files = submission.collect(runs)
    assert list(files) == ["predict/qbe_public/benchmark.stdlist.xml"]
    submission.write(files, "form", tmp_path / "predict.zip")
    lists = trained / stdlist.NAME
    content = lists.read_text()
    tree = ElementTree.parse(lists)
    tree.getroot().remove(tree.getroot()[0])
    try:
        tree.write(lists)
        with pytest.raises(ValueError, match="hypotheses and references differ: 1 missing"):
            submission.choose_runs(trained.parent)
        with pytest.raises(submission.SubmissionError, match="2 utterances that are not those of"):
            submission.write(files, "form", tmp_path / "other.zip")
    finally:
        lists.write_text(content)


def test_there_is_one_run_whatever_seeds_and_rates_there_are(corpus, tmp_path, capsys):
    words = ["-u", "fused__fbank__mfcc", "-t", "qbe", "--lr", "1e-3,1e-4", "--seeds", "1,2", "--quesst14", str(corpus)]
    assert main(["superb", *words, "-o", str(tmp_path / "exp"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert re.findall(r" run -m (train|evaluate) ", told) == ["train", "evaluate"]
    assert "fused__fbank__mfcc/qbe " in told and "optimizer" not in told and "_seed" not in told
