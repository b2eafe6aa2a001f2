"""A dictionary or vocabulary of the user's own, in the place of the shipped one: in every step from prepare on."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import tiny_corpora
import yaml
from official_layouts import official_librispeech
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir, own_file
from s3prl_fusion.cli import main
from s3prl_fusion.errors import UsageError
from s3prl_fusion.host.ckpt import find_ckpt, read_ckpt
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.recipes import mend
from s3prl_fusion.superb.own_files import own_digest, recipe_files
from s3prl_fusion.superb.runs import options, upstreams
from s3prl_fusion.superb.scores.score import config_hash
from s3prl_fusion.superb.tasks import TASKS

KEYS = {"asr": "downstream_expert.datarc.dict_path", "pr": "downstream_expert.text.vocab_file"}
NAMES = {"asr": "char.dict", "pr": "phoneme.txt"}
GERMAN = "| 9\n" + "".join(f"{letter} 1\n" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜẞ")


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder of recipe settings that name files of the user's beside them."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "german.dict").write_text(GERMAN, encoding="utf-8")
    shutil.copy(downstream_configs_dir() / "phoneme.txt", folder / "phones.txt")
    (folder / "phones.txt").open("a").write("PF\n")
    for task, name in (("asr", "german.dict"), ("pr", "phones.txt")):
        write(folder, task, name)
    return folder


def write(folder: Path, task: str, value: str | None) -> None:
    config = yaml.safe_load((downstream_configs_dir() / f"{task}.yaml").read_text(encoding="utf-8"))
    section, key = KEYS[task].split(".")[1:]
    config["downstream_expert"][section][key] = value
    if value is None:
        del config["downstream_expert"][section][key]
    (folder / f"{task}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture
def libri(tmp_path) -> Path:
    root = official_librispeech(tmp_path / "LibriSpeech")
    for table in root.rglob("*.trans.txt"):
        table.write_text(table.read_text().replace("HELLO", "GRÖSSE"), encoding="utf-8")
    return root


@pytest.fixture
def lexicon(tmp_path) -> Path:
    path = tmp_path / "german.txt"
    lines = [f"{word} {phonemes}\n" for word, phonemes in tiny_corpora.LEXICON.items()]
    path.write_text("".join([*lines, "GRÖSSE PF AH0\n"]), encoding="utf-8")
    return path


@pytest.fixture
def known_upstreams(monkeypatch):
    """Spare the tests the import of s3prl."""
    monkeypatch.setattr(upstreams, "describe", lambda fusion, given: fusion.to_dict())


def test_which_file_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = downstream_configs_dir() / "char.dict"
    usual = ["char.dict", "/path/to/char.dict", "./downstream/asr/char.dict", "/old/env/downstream_configs/char.dict"]
    assert [own_file(value, "char.dict") for value in (None, "", *usual, str(shipped))] == [None] * 7
    for value in ("./german.dict", "/mine/char.dict", "own/char.dict"):
        assert own_file(value, "char.dict") == Path(value)
    (tmp_path / "char.dict").write_text(GERMAN, encoding="utf-8")
    assert own_file("char.dict", "char.dict") == Path("char.dict")
    assert own_digest(tmp_path / "char.dict", "char.dict")
    shutil.copy(shipped, tmp_path / "copy.dict")
    assert own_digest(tmp_path / "copy.dict", "char.dict") is None  # it says the same


@pytest.mark.fault("a dict_path or vocab_file of the user's own in a recipe's YAML", "used, where it was replaced")
@pytest.mark.parametrize("task", ["asr", "pr"])
def test_the_yamls_own_file_is_found(own, tmp_path, monkeypatch, task):
    shipped = downstream_configs_dir() / NAMES[task]
    name = {"asr": "german.dict", "pr": "phones.txt"}[task]
    for value, found in (
        (name, own / name),
        (str(own / name), own / name),
        (NAMES[task], shipped),
        (f"/path/to/{NAMES[task]}", shipped),
        (None, shipped),
    ):
        write(own, task, value)
        assert recipe_files(TASKS[task], own / f"{task}.yaml") == {KEYS[task]: found}
    shutil.copy(own / name, own / NAMES[task])
    write(own, task, NAMES[task])
    assert recipe_files(TASKS[task], own / f"{task}.yaml") == {KEYS[task]: own / NAMES[task]}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / NAMES[task]).write_text("")
    (own / NAMES[task]).unlink()
    assert recipe_files(TASKS[task], own / f"{task}.yaml") == {KEYS[task]: shipped}
    (tmp_path / "elsewhere" / "x.txt").write_text("")
    write(own, task, "x.txt")
    assert recipe_files(TASKS[task], own / f"{task}.yaml") == {KEYS[task]: tmp_path / "elsewhere" / "x.txt"}


@pytest.mark.fault("a recipe's YAML that names a dictionary that is not there", "refused, where the shipped was taken")
@pytest.mark.parametrize("task", ["asr", "pr"])
@pytest.mark.parametrize("value", ["lost.txt", "./lost/NAME", 7])
def test_a_file_that_is_not_there(own, tmp_path, libri, capsys, known_upstreams, task, value):
    value = value.replace("NAME", NAMES[task]) if isinstance(value, str) else value
    write(own, task, value)
    where = ["--configs", str(own), "-o", str(tmp_path / "out")]
    assert main(["prepare", task, "--corpus", str(libri), *where]) == 2
    told = capsys.readouterr().err
    assert f"{KEYS[task]} is {value!r}" in told if isinstance(value, str) else "got 7" in told
    assert f"{task}.yaml: {KEYS[task]}" in told
    assert main(["superb", "-t", task, "-u", "fbank", "--librispeech", str(libri), *where]) == 2
    told_again = capsys.readouterr().err
    assert told_again.endswith(told.partition("error: ")[2]) if isinstance(value, str) else "got 7" in told_again
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["asr", "pr"])
def test_prepare_holds_texts_against_it(own, libri, lexicon, tmp_path, capsys, task):
    words = ["prepare", task, "--corpus", str(libri), "-o", str(tmp_path / "data")]
    words += ["--lexicon", str(lexicon)] if task == "pr" else []
    assert main(words) == 2
    assert ("'Ö' (U+00D6)" if task == "asr" else "GRÖSSE uses 'PF'") in capsys.readouterr().err
    assert main([*words, "--configs", str(own)]) == 0
    assert f"{KEYS[task]}: {own}" in capsys.readouterr().out


def test_a_vocabulary_that_cmudict_does_not_fit(own, tmp_path, capsys):
    (own / "phones.txt").write_text("HH\nAH\nL\nOW\n")
    root = official_librispeech(tmp_path / "LibriSpeech")
    words = ["prepare", "pr", "--corpus", str(root), "-o", str(tmp_path / "data"), "--configs", str(own)]
    assert main(words) == 2
    assert f"CMUdict: HELLO uses 'AH0', which {own / 'phones.txt'} does not list" in capsys.readouterr().err


def test_every_command_of_the_benchmark_is_told(own, libri, tmp_path, capsys, known_upstreams):
    words = ["-u", "fbank", "-t", "asr,pr", "-o", str(tmp_path / "exp"), "--librispeech", str(libri), "--dry-run"]
    for configs in ([], ["--configs", str(own)]):
        assert main(["superb", *words, *configs]) == 0
        lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
        shown = {"asr": own / "german.dict", "pr": own / "phones.txt"}
        for task in ("asr", "pr"):
            path = shown[task] if configs else downstream_configs_dir() / NAMES[task]
            told = [line[line.index("-o") + 1] for line in lines if "run" in line and f"fbank/{task}" in str(line)]
            assert len(told) == 2 and all(f'config.{KEYS[task]}="{path}"' in text for text in told)
        prepared = [line for line in lines if "prepare" in line]
        assert len(prepared) == 2 and all((line[-2:] == ["--configs", str(own)]) == bool(configs) for line in prepared)


def test_its_content_is_part_of_what_a_run_is(own, libri, tmp_path, capsys, known_upstreams):
    def keys(configs: list[str]) -> list[str]:
        words = ["-u", "fbank", "-t", "asr,pr", "-o", str(tmp_path / "exp"), "--librispeech", str(libri), *configs]
        from s3prl_fusion.commands.superb import add_arguments

        parser = options.argparse.ArgumentParser()
        add_arguments(parser)
        return [experiment.key("train") for experiment in options.make_plan(parser.parse_args(words)).experiments()]

    shipped, mine = keys([]), keys(["--configs", str(own)])
    assert not set(shipped) & set(mine)
    (own / "german.dict").write_text(GERMAN.replace("Ö", "Ø"), encoding="utf-8")
    assert [one == other for one, other in zip(mine, keys(["--configs", str(own)]))] == [False, True]
    for task in ("asr", "pr"):
        write(own, task, f"/path/to/{NAMES[task]}")
    assert keys(["--configs", str(own)]) == shipped


def test_its_content_is_part_of_the_hash_of_the_settings(own):
    config = yaml.safe_load((downstream_configs_dir() / "asr.yaml").read_text(encoding="utf-8"))
    datarc = config["downstream_expert"]["datarc"]

    def hashed(path: Path | str) -> str:
        datarc["dict_path"] = str(path)
        return config_hash(config, TASKS["asr"])

    shipped = hashed(downstream_configs_dir() / "char.dict")
    assert shipped == hashed("/old/env/downstream_configs/char.dict") == hashed("/path/to/char.dict")
    assert shipped != (mine := hashed(own / "german.dict"))
    shutil.copy(own / "german.dict", own / "moved.dict")
    assert mine == hashed(own / "moved.dict") and mine != hashed("/gone/german.dict") != shipped


@pytest.mark.fault("a dictionary of one's own, edited or gone after the training", "refused: the file is named")
def test_it_trains_evaluates_and_predicts(own, lexicon, tmp_path, monkeypatch):
    """A head as wide as it, references in its letters; and never another file of the same name in its place."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    libri = tiny_corpora.librispeech(tmp_path / "libri")
    for table in libri["root"].rglob("*.trans.txt"):
        table.write_text(table.read_text().replace("HELLO", "GRÖSSE"), encoding="utf-8")
    (own / "german.dict").rename(own / "char.dict")
    none = {"root": "", "list": "", "meta": ""}
    paths = tiny_corpora.write_configs(tmp_path / "tiny", own, libri, none, none)
    expdir, device = tmp_path / "exp", ["--device", "cpu"]
    try:
        train = ["-m", "train", "-u", "fbank", "-d", "asr", "-c", str(paths["asr"]), "-p", str(expdir)]
        assert main(["run", *train, *device]) == 0
        assert main(["run", "-m", "evaluate", "-t", "test-clean", "-e", str(expdir), *device]) == 0
    finally:
        s3prl_fusion.unregister()
    assert "GRÖSSE" in (expdir / TASKS["asr"].reference).read_text(encoding="utf-8")
    states = read_ckpt(find_ckpt(expdir))
    assert [*states["Downstream"].values()][-1].numel() == 4 + 31
    assert len(s3prl_fusion.load_experiment(expdir).predict(wavs(16000))) == 1
    (own / "char.dict").write_text(GERMAN.replace("A 1\nB 1", "B 1\nA 1"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"own/char\.dict .* is not what the experiment was trained with; give"):
        s3prl_fusion.load_experiment(expdir)
    (own / "char.dict").rename(own / "away.dict")
    with pytest.raises(FileNotFoundError, match=r"datarc\.dict_path is .*own/char\.dict', which does not exist"):
        s3prl_fusion.load_experiment(expdir)


@pytest.mark.parametrize(("recipe", "section"), [("asr", "datarc"), ("ctc", "text")])
def test_a_recipe_alone_takes_no_other_in_its_place(own, tmp_path, recipe, section):
    """Whatever it is called; s3prl's own default and the bare name mean the shipped one."""
    task = {"asr": "asr", "ctc": "pr"}[recipe]
    libri = tiny_corpora.librispeech(tmp_path / "libri")
    none = {"root": "", "list": "", "meta": ""}
    paths = tiny_corpora.write_configs(tmp_path / "tiny", downstream_configs_dir(), libri, none, none)
    config, patches = yaml.safe_load(paths[recipe].read_text()), Patches()
    settings, key = config["downstream_expert"][section], KEYS[task].rpartition(".")[2]
    for value in (f"./own/{NAMES[task]}", f"/elsewhere/{NAMES[task]}"):
        settings[key] = value
        with pytest.raises(FileNotFoundError, match=rf"{key} is '{value}', which does not exist"):
            mend(recipe, config, patches)
    patches.undo()
