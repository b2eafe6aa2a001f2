"""KS and IC: the corpora as s3prl's recipes read them, what stands in for catalyst, and runs through s3prl's runner."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import official_layouts
import pytest
import soundfile
import torch
import yaml
from tiny_corpora import OPTIMIZER, RUNNER
from torch.utils.data import WeightedRandomSampler

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora import fluent_commands, speech_commands
from s3prl_fusion.corpora.base import Source
from s3prl_fusion.errors import CorpusError, UserError
from s3prl_fusion.host import recipes
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.shims.sampler import DistributedSamplerWrapper
from s3prl_fusion.superb.layout import RunFolder
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.scores.score import score
from s3prl_fusion.superb.tasks import TASKS

NAMES = ("ks", "ic")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("corpora")
    commands = official_layouts.official_fluent_commands(root / "fluent_speech_commands_dataset")
    return {**official_layouts.official_speech_commands(root), "fluent-commands": commands}


@pytest.fixture(scope="module")
def configs(corpora, tmp_path_factory) -> dict[str, Path]:
    """Each task's shipped settings, of two steps, on its miniature corpus."""
    folder, found = tmp_path_factory.mktemp("configs"), {}
    for name in NAMES:
        task = TASKS[name]
        prepared = prepare([task], {task.corpus.name: Source(corpora[task.corpus.name])}, folder / name)
        config = yaml.safe_load((downstream_configs_dir() / task.config).read_text())
        config["runner"].update(RUNNER)
        config["optimizer"] = {**OPTIMIZER, "lr": 0.02}
        datarc = config["downstream_expert"]["datarc"]
        datarc.update({key: 4 for key in datarc if key.endswith("batch_size")}, num_workers=0)
        for key, product in task.paths.items():
            datarc[key.rpartition(".")[2]] = prepared.value(task.corpus, product)
        found[name] = folder / task.config
        found[name].write_text(yaml.safe_dump(config))
    return found


@pytest.fixture
def mended(registered, configs):
    """A function from a task's name to its config, for whose corpus s3prl's recipe is mended."""
    patches = Patches()

    def mend(name: str) -> dict:
        config = yaml.safe_load(configs[name].read_text())
        recipes.mend(TASKS[name].downstream, config, patches)
        return config

    yield mend
    patches.undo()


def expert(name: str, config: dict, folder: Path):
    from importlib import import_module

    module = import_module(f"s3prl.downstream.{TASKS[name].downstream}.expert")
    return module.DownstreamExpert(upstream_dim=8, downstream_expert=config["downstream_expert"], expdir=str(folder))


@pytest.mark.parametrize("name", NAMES)
def test_trained_and_evaluated_it_scores_by_its_files_and_needs_no_corpus_afterwards(
    name, configs, corpora, tmp_path, monkeypatch
):
    task, expdir = TASKS[name], tmp_path / "exp"
    words = ["-u", "fused__fbank__mfcc", "-d", task.downstream, "-c", str(configs[name]), "-p", str(expdir)]
    try:
        assert main(["run", "-m", "train", *words, "--device", "cpu"]) == 0
        evaluate = ["run", "-m", "evaluate", "-t", "test", "-e", str(expdir / task.best_ckpt), "--device", "cpu"]
        with (expdir / "evaluate.log").open("w") as log, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", log)
            assert main(evaluate) == 0
        found = score(RunFolder(expdir))
        assert found["task"] == name
        assert found["utterances"] == {"ks": 12, "ic": 2}[name]
        assert found["chance"] == pytest.approx({"ks": 100 / 12, "ic": 50}[name])
        utterance = {"ks": "_silence_-1000b99a_nohash_0.wav", "ic": "test-0"}[name]
        assert (expdir / task.reference).read_text().startswith(utterance + task.separator)
    finally:
        s3prl_fusion.unregister()
    speech = [torch.randn(16000, generator=torch.Generator().manual_seed(0))]
    moved = {folder: folder.rename(folder.with_name(f"{folder.name}-elsewhere")) for folder in corpora.values()}
    try:
        (said,) = s3prl_fusion.load_experiment(expdir).predict(speech)
    finally:
        for folder, elsewhere in moved.items():
            elsewhere.rename(folder)
    known = {"ks": [speech_commands.CLASSES], "ic": fluent_commands.intents(corpora["fluent-commands"]).values()}
    assert all(value in values for value, values in zip(said.split(","), known[name], strict=True))


def test_clips_are_split_as_s3prl_splits_them(corpora, registered):
    from s3prl.downstream.speech_commands.expert import split_dataset

    root = corpora["speech-commands"]
    train, dev = (sorted(part) for part in split_dataset(root))
    found = speech_commands.read_clips(root)
    noise = [(word, clip) for word, clip in found["train"] if word == speech_commands.SILENCE]
    assert [clip for _, clip in noise] == [root / "_background_noise_" / "white_noise.wav"]
    assert sorted(clip for _, clip in found["dev"]) == sorted(clip for _, clip in dev)
    assert sorted(clip for _, clip in found["train"] if clip != noise[0][1]) == sorted(clip for _, clip in train)
    assert (speech_commands.UNKNOWN, root / "bed" / "10000000_nohash_0.wav") in found["train"]


def test_classes_are_those_of_s3prl(registered):
    from s3prl.downstream.speech_commands.dataset import CLASSES

    assert list(speech_commands.CLASSES) == CLASSES


def test_the_order_of_clips_is_not_the_disks(mended, tmp_path, monkeypatch):
    def order() -> list:
        made = expert("ks", config, tmp_path)
        data = [made.train_dataset.data, made.dev_dataset.data, made.test_dataset.data]
        return [*data, made.train_dataset.sample_weights]

    config = mended("ks")
    expected, stock = order(), {name: getattr(Path, name) for name in ("iterdir", "glob")}
    for name, function in stock.items():
        monkeypatch.setattr(Path, name, lambda *args, of=function: reversed(list(of(*args))))
    found = order()
    assert found == expected
    counts = Counter(word for word, _ in found[0])
    assert found[3] == [len(found[0]) / counts[word] for word, _ in found[0]]


def test_silence_is_cut_where_it_comes_again(mended, tmp_path):
    data = expert("ks", mended("ks"), tmp_path).train_dataset
    index = next(index for index, (word, _) in enumerate(data.data) if word == speech_commands.SILENCE)
    random.seed(3)
    cuts = {data[index][0].tobytes() for _ in range(300)}
    whole, _ = soundfile.read(data.data[index][1], dtype="float32")
    expected = [whole[start : start + 16000] * 10 ** (-3 / 20) for start in range(0, len(whole) - 16000 + 1, 1600)]
    assert cuts == {cut.astype("float32").tobytes() for cut in expected}


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_what_is_drawn(processes):
    def draws(epoch: int) -> list[list[int]]:
        found = []
        for rank in range(processes):
            torch.manual_seed(rank)
            drawn = WeightedRandomSampler([1.0, 2.0, 3.0, 4.0, 0.0], 12)
            sampler = DistributedSamplerWrapper(drawn, num_replicas=processes, rank=rank)
            sampler.set_epoch(epoch)
            found.append(list(sampler))
            assert len(found[-1]) == len(sampler) == 12 // processes
        return found

    whole = list(WeightedRandomSampler([1.0, 2.0, 3.0, 4.0, 0.0], 12, generator=torch.Generator().manual_seed(5)))
    parts = draws(5)
    assert [parts[index % processes][index // processes] for index in range(12)] == whole
    assert draws(5) == parts != draws(6)


def test_intents_are_numbered_as_s3prl_numbers_them(mended, corpora, tmp_path):
    made = expert("ic", mended("ic"), tmp_path)
    known = fluent_commands.intents(corpora["fluent-commands"])
    for slot, values in known.items():
        assert [made.Sy_intent[slot][index] for index in range(len(values))] == values
    assert made.values_per_slot == [len(values) for values in known.values()]


def _copy(corpora: dict[str, Path], name: str, where: Path) -> Path:
    folders = [path for key, path in corpora.items() if key.startswith(name)]
    return [Path(shutil.copytree(folder, where / folder.name)) for folder in folders][0]


def _replace(old: str, new: str):
    def change(root: Path) -> None:
        table = root / "data" / "test_data.csv"
        assert old in table.read_text()
        table.write_text(table.read_text().replace(old, new))

    return change


def _shorten(root: Path) -> None:
    clip = root / "_background_noise_" / "white_noise.wav"
    soundfile.write(clip, soundfile.read(clip)[0][:9000], 16000)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("ks", lambda root: shutil.rmtree(root / "go"), "no train clip of go; get Google's Speech Commands"),
        ("ks", lambda root: shutil.rmtree(root / "_background_noise_"), "no _background_noise_.*of which silence"),
        ("ks", _shorten, r"white_noise.wav lasts 9,000 samples; a second of it, 16,000"),
        ("ks", lambda root: shutil.rmtree(root.parent / speech_commands.ARCHIVE), "--speech-commands-test is missing"),
        (
            "ks",
            lambda root: (root.parent / speech_commands.ARCHIVE / "go").rename(
                root.parent / speech_commands.ARCHIVE / "went"
            ),
            "went is none of the test set's folders, yes, no",
        ),
        ("ic", lambda root: (root / "data" / "valid_data.csv").unlink(), "no .*valid_data.csv; ask Fluent.ai"),
        ("ic", _replace("action,", "act,"), "lacks the columns action"),
        ("ic", _replace("activate,lights", "activate,"), r"test_data.csv:2: path, action, object and location must be"),
        (
            "ic",
            _replace(",activate,lights", ",open,lights"),
            r"test-0.wav has the action 'open', which no training row",
        ),
        ("ic", _replace("test-1.wav", "test-7.wav"), "1 clips do not exist, first .*test-7.wav"),
    ],
)
@pytest.mark.fault("a corpus of commands with something missing or wrong in it", "refused: the file or folder is named")
def test_what_is_wrong_with_a_corpus_is_named(name, change, match, corpora, tmp_path):
    task = TASKS[name]
    root = _copy(corpora, task.corpus.name, tmp_path)
    change(root)
    with pytest.raises((CorpusError, UserError), match=match):
        prepare([task], {task.corpus.name: Source(root)}, tmp_path / "data")
