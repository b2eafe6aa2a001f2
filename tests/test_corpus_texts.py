"""What people's corpora say: letters that no head knows, odd names, odd encodings, lines that are missing or doubled.

Each is read as it was meant, or refused by file and line before anything trains; in `prepare`, and in recipes alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import numpy as np
import pytest
import tiny_corpora
import yaml
from official_layouts import clip, official, official_iemocap, official_librispeech, official_voxceleb1

import s3prl_fusion
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.corpora import iemocap, librispeech, lines, symbols, transcripts, voxceleb1
from s3prl_fusion.corpora.base import Source
from s3prl_fusion.errors import CorpusError, UserError
from s3prl_fusion.host import recipes
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.recipes import _asr_data, _ctc_data, _sv_data
from s3prl_fusion.superb.prepare import prepare
from s3prl_fusion.superb.scores.scoring import read_texts
from s3prl_fusion.superb.tasks import TASKS

TABLE = Path("train-clean-100/19/198/19-198.trans.txt")  # 4 lines
STRANGE = [  # a line of it, and what its letters are called
    ("GRÖSSE", "'Ö' (U+00D6)"),
    ("HOUSE 42!", "'4' (U+0034), '2' (U+0032), '!' (U+0021)"),
    ("DON’T", "'’' (U+2019)"),
    ("O\u0308L", "(U+0308)"),
    ("ZERO\u200bWIDTH", r"'\u200b' (U+200B)"),
    ("A|B", "'|' (U+007C)"),
]


@pytest.fixture
def libri(tmp_path) -> Path:
    return official_librispeech(tmp_path / "LibriSpeech")


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> SimpleNamespace:
    """All corpora, the recipes' tiny configs over them as dictionaries, and a cache of our own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    libri, voxceleb = tiny_corpora.librispeech(tmp_path / "libri"), tiny_corpora.voxceleb1(tmp_path / "voxceleb")
    emotions = tiny_corpora.iemocap(tmp_path / "emotions")
    paths = tiny_corpora.write_configs(tmp_path / "tiny", downstream_configs_dir(), libri, voxceleb, emotions)
    configs = {name: yaml.safe_load(path.read_text()) for name, path in paths.items()}
    return SimpleNamespace(libri=libri, voxceleb=voxceleb, emotions=emotions, configs=configs, paths=paths)


@pytest.fixture
def patches():
    made = Patches()
    yield made
    made.undo()


def put(path: Path, number: int, line: str) -> None:
    """Replaces a line, which is counted from 1."""
    found = path.read_text(encoding="utf-8").split("\n")
    found[number - 1] = line
    path.write_text("\n".join(found), encoding="utf-8")


def refused(capsys, *words: object) -> str:
    try:
        assert main([*map(str, words)]) == 2
    finally:
        s3prl_fusion.unregister()
    (told,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return told


class TestLetters:
    @pytest.mark.fault("a transcript with letters that ASR's dictionary lacks", "refused: file, line and letters named")
    @pytest.mark.parametrize(("text", "letters"), STRANGE)
    def test_prepare_names_the_letters_and_the_line(self, libri, tmp_path, capsys, text, letters):
        put(libri / TABLE, 3, f"19-198-0002 {text}")
        told = refused(capsys, "prepare", "asr", "--corpus", libri, "-o", tmp_path / "data")
        assert f"1 transcripts have letters that {downstream_configs_dir() / 'char.dict'} lacks" in told
        assert f"{libri / TABLE}:3: " in told and letters in told
        assert not (tmp_path / "data").exists()

    def test_the_first_three_places_and_all_letters_are_told(self):
        texts = [transcripts.Transcript(text, f"t.txt:{i}") for i, text in enumerate("1A B2 3 44 FINE".split(), 1)]
        with pytest.raises(CorpusError) as error:
            symbols.check_letters(texts, set("ABEFIN|"), "d")
        assert "4 transcripts" in str(error.value) and "t.txt:3: '3'" in str(error.value)
        assert "t.txt:4" not in str(error.value) and "in all '1' (U+0031), '2' (U+0032)" in str(error.value)

    def test_a_dictionary_of_small_letters_is_told(self):
        with pytest.raises(CorpusError, match=r"'A' \(U\+0041\), 'B' \(U\+0042\)\. Texts are put in capital letters"):
            symbols.check_letters([transcripts.Transcript("AB", "t.txt:1")], {"a", "b", "|"}, "d")

    @pytest.mark.fault("such a transcript, and the recipe run without prepare", "refused before the model loads")
    @pytest.mark.parametrize("split", ["train", "dev-clean"])
    def test_the_recipe_alone_refuses_too(self, tiny, tmp_path, capsys, split):
        (table,) = (tiny.libri["root"] / tiny.configs["asr"]["downstream_expert"]["datarc"][split][0]).rglob("*.txt")
        name = table.read_text().split()[0]
        put(table, 1, f"{name} GRÖSSE")
        exp = ["-p", tmp_path / "exp", "--device", "cpu"]
        told = refused(capsys, "run", "-m", "train", "-u", "fbank", "-d", "asr", "-c", tiny.paths["asr"], *exp)
        assert f"{table}:1: 'Ö' (U+00D6)" in told and "char.dict lacks" in told
        assert not list((tmp_path / "exp").glob("*.ckpt"))

    def test_no_id_is_beyond_the_head(self, tiny):
        """The dictionary, whose length is the head's, is as long after the data set has been made as before."""
        dictionary, datarc = self.dictionary(), tiny.configs["asr"]["downstream_expert"]["datarc"]
        size = len(dictionary)
        data = [_asr_data.LetterDataset(split, 3, dictionary, **datarc) for split in ("train", "dev-clean")]
        labels = [label for dataset in data for label in dataset.labels.values()]
        assert len(dictionary) == size and max(map(np.max, labels)) < size
        (table,) = (tiny.libri["root"] / "dev-clean").rglob("*.txt")
        table.write_text(table.read_text() + "2-7-0001x HELLÖ\n")
        clip(table.with_name("2-7-0001x.flac"), 0)
        with (Path(datarc["bucket_file"]) / "dev-clean.csv").open("a") as bucket:
            bucket.write("dev-clean/2/7/2-7-0001x.flac,16000,0\n")
        with pytest.raises(CorpusError, match=r"trans\.txt:3: 'Ö'"):
            _asr_data.LetterDataset("dev-clean", 3, dictionary, **datarc)
        assert len(dictionary) == size

    @staticmethod
    def dictionary():
        from s3prl.downstream.asr.dictionary import Dictionary

        return Dictionary.load(str(downstream_configs_dir() / "char.dict"))

    @pytest.mark.fault("a lexicon with phonemes that PR's vocabulary lacks", "refused: file, line and phoneme named")
    def test_phonemes_are_named_with_their_line(self, tiny, libri, tmp_path, capsys):
        lexicon = tiny.libri["lexicon"]
        lexicon.write_text(lexicon.read_text().replace("D EY1", "D FACE"))
        told = refused(capsys, "prepare", "pr", "--corpus", libri, "-o", tmp_path / "data", "--lexicon", lexicon)
        assert f"{lexicon}:4: DAY uses 'FACE', which" in told and "phoneme.txt does not list" in told
        with pytest.raises(CorpusError, match=r"lexicon\.txt:4: DAY uses 'FACE', which the recipe's vocabulary"):
            recipes.check_texts("ctc", tiny.configs["ctc"], ["train"])

    @pytest.mark.fault("a word of the dev set without pronunciation, without prepare", "refused before the model loads")
    def test_words_of_every_split_that_a_run_uses_are_checked(self, tiny):
        (table,) = (tiny.libri["root"] / "dev-clean").rglob("*.txt")
        put(table, 2, "2-7-0001 WORLD BRZLGRMPF")
        recipes.check_texts("ctc", tiny.configs["ctc"], ["train", "test"])
        with pytest.raises(UserError, match=r"BRZLGRMPF; BRZLGRMPF is said in .*2-7\.trans\.txt:2"):
            recipes.check_texts("ctc", tiny.configs["ctc"], ["train", "dev"])

    @pytest.mark.parametrize("recipe", ["asr", "ctc"])
    def test_a_split_that_the_config_does_not_have(self, tiny, recipe):
        with pytest.raises(UserError, match="unknown split 'deb'; choose from"):
            recipes.check_texts(recipe, tiny.configs[recipe], ["deb"])


class TestClasses:
    @pytest.mark.fault("a speaker that SID's head has no class for", "refused: file and line named")
    @pytest.mark.parametrize("speaker", ["id10000", "id11252", "id09901", "id12000"])
    def test_speakers(self, tiny, tmp_path, capsys, patches, speaker):
        root, listed = tiny.voxceleb["root"], tiny.voxceleb["list"]
        shutil.move(root / "dev" / "wav" / "id10002", root / "dev" / "wav" / speaker)
        listed.write_text(listed.read_text().replace("1 id10002", f"1 {speaker}"))
        message = f"{listed}:4: the recipe's head knows the speakers id10001 to id11251; got '1 {speaker}/"
        told = refused(capsys, "prepare", "sid", "--corpus", root, "-o", tmp_path / "data", "--list", listed)
        assert message in told
        with pytest.raises(UserError, match=message):
            recipes.mend("voxceleb1", tiny.configs["voxceleb1"], patches)

    @pytest.mark.fault("emotion labels that are no class of the head", "refused: the table is named")
    @pytest.mark.parametrize(
        ("part", "change", "told"),
        [
            ("train", lambda table: table["labels"].update(sad=7), "labels the numbers 0 to N-1; got"),
            ("train", lambda table: table["labels"].update(sad="3"), "must have labels"),
            (
                "train",
                lambda table: table["meta_data"][2].update(label="bored"),
                "has the label 'bored'; choose from neu",
            ),
            ("test", lambda table: table["labels"].update(sad=2, ang=3), "has other labels than train_meta_data.json"),
            ("test", lambda table: table.update(meta_data=[]), "meta_data must have rows"),
            ("test", lambda table: table.pop("labels"), "must have labels"),
            ("test", lambda table: table["meta_data"].append(dict(table["meta_data"][0], path="x/y z.wav")), "white"),
        ],
    )
    def test_emotions(self, tiny, patches, part, change: Callable, told):
        path = tiny.emotions["meta"] / "Session1" / f"{part}_meta_data.json"
        table = json.loads(path.read_text())
        change(table)
        path.write_text(json.dumps(table))
        with pytest.raises(UserError, match=told) as error:
            recipes.mend("emotion", tiny.configs["emotion"], patches)
        assert str(path) in str(error.value) or told == "white"

    def test_labels_stay_below_the_heads_size(self, tiny, patches, tmp_path):
        for name in ("voxceleb1", "emotion"):
            expert = build(name, tiny.configs[name], patches, tmp_path)
            size = list(expert.model.parameters())[-1].numel()
            found = [
                label for split in ("train", "dev", "test") for _, *row in batches(expert, split) for label in row[0]
            ]
            assert found and 0 <= min(found) <= max(found) < size


def build(recipe: str, config: dict, patches: Patches, expdir: Path):
    from importlib import import_module

    recipes.mend(recipe, config, patches)
    module = import_module(f"s3prl.downstream.{recipe}.expert")
    return module.DownstreamExpert(upstream_dim=4, upstream_rate=320, expdir=str(expdir), **config)


def batches(expert, split: str) -> list:
    return [tuple(map(list, batch)) for batch in expert.get_dataloader(split)]


class TestNames:
    @pytest.mark.fault("a name with dots, 102-202-0003.v2.flac", "read whole: every utterance is scored under it")
    @pytest.mark.fault("eval_batch_size: 3 and four test utterances", "all four are scored")
    @pytest.mark.parametrize("recipe", ["asr", "ctc"])
    def test_every_utterance_is_evaluated_under_its_whole_name(self, tiny, tmp_path, recipe):
        """Names that would be the same one if they were cut, or if capital letters did not count."""
        (table,) = (tiny.libri["root"] / "test-clean").rglob("*.txt")
        names = ["102-202-0003", "102-202-0003.v2", "102-202-0003.V2", "102-202-0003.v2.größe"]
        for file in table.parent.glob("*.flac"):
            file.unlink()
        rows = [f"{(table.parent / name).relative_to(tiny.libri['root'])}.flac" for name in names]
        for i, row in enumerate(rows):
            clip(tiny.libri["root"] / row, i)
        table.write_text("".join(f"{name} HELLO\n" for name in names), encoding="utf-8")
        bucket = "\n".join(["file_path,length,label", *(f"{row},16000," for row in rows)])
        (tiny.libri["buckets"] / "test-clean.csv").write_text(bucket, encoding="utf-8")
        config = tiny.configs[recipe]
        config["downstream_expert"].get("datarc", {})["eval_batch_size"] = 3
        config["runner"]["eval_dataloaders"] = ["dev-clean" if recipe == "asr" else "dev"]
        tiny.paths[recipe].write_text(yaml.safe_dump(config))
        task = TASKS["asr" if recipe == "asr" else "pr"]
        run(recipe, tiny.paths[recipe], tmp_path / "exp", task.eval_split)
        for file in (task.hypothesis, task.reference):
            assert sorted(read_texts(tmp_path / "exp" / file)) == sorted(names)

    @pytest.mark.parametrize(("recipe", "split"), [("voxceleb1", "dev"), ("voxceleb1", "test"), ("emotion", "test")])
    def test_evaluation_batches_hold_every_clip(self, tiny, patches, tmp_path, recipe, split):
        datarc = tiny.configs[recipe]["downstream_expert"]["datarc"]
        datarc["eval_batch_size"] = 3
        expert = build(recipe, tiny.configs[recipe], patches, tmp_path)
        names = [name for _, *row in batches(expert, split) for name in row[-1]]
        assert len(names) == len(set(names)) == {"voxceleb1": 2, "emotion": 4}[recipe]

    @pytest.mark.parametrize("bucket_size", [1, 2, 3, 4, 5, 7, 8, 9])
    def test_asrs_batches_hold_every_utterance_once(self, libri, tmp_path, bucket_size):
        dataset = self.letters(libri, tmp_path, bucket_size)
        names = [name for i in range(len(dataset)) for name in dataset[i][2]]
        assert len(names) == len(set(names)) == 8 and all(dataset.batches)

    @pytest.mark.parametrize("bucket_size", [1, 2, 3, 4, 5, 6, 8, 9])
    def test_asrs_batches_are_stocks(self, libri, tmp_path, bucket_size):
        """But for a last batch of one utterance, which stock leaves out: of 8 utterances, with size 7."""
        from s3prl.downstream.asr.dataset import SequenceDataset

        ours = self.letters(libri, tmp_path, bucket_size)
        datarc = {"libri_root": str(libri), "bucket_file": str(tmp_path / "buckets"), "train": ["train-clean-100"]}
        stock = SequenceDataset("train", bucket_size, TestLetters.dictionary(), **datarc)
        assert len(ours) == len(stock)
        for i in range(len(ours)):
            for mine, theirs in zip(ours[i][:2], stock[i][:2]):
                assert all(np.array_equal(one, other) for one, other in zip(mine, theirs))
            assert ours[i][2] == stock[i][2]

    @staticmethod
    def letters(libri, tmp_path, bucket_size):
        librispeech.write_buckets(libri, tmp_path / "buckets", ["train-clean-100"])
        datarc = {"libri_root": str(libri), "bucket_file": str(tmp_path / "buckets"), "train": ["train-clean-100"]}
        return _asr_data.LetterDataset("train", bucket_size, TestLetters.dictionary(), **datarc)

    @pytest.mark.parametrize("split", ["train", "dev"])
    @pytest.mark.parametrize("long", [False, True])
    def test_prs_batches_are_stocks(self, tmp_path, monkeypatch, split, long):
        from s3prl.downstream.ctc import data

        if long:
            monkeypatch.setattr(_ctc_data, "LONG", 18000)
        stock = data.collect_audio_batch
        items = [(tmp_path / f"a-{i}.wav", [i, 1]) for i in range(4)]
        for i, (file, _) in enumerate(items):
            clip(file, i, [1.2, 1.0, 1.3, 1.2][i])
        ours = _ctc_data.collate([items], split)
        theirs = stock([items], split, half_batch_size_wav_len=18000 if long else 300000)
        assert ours[2] == theirs[2] and len(ours[2]) == (2 if long and split == "train" else 4)
        for mine, other in zip(ours[:2], theirs[:2]):
            assert all(np.array_equal(one, two) and one.dtype == two.dtype for one, two in zip(mine, other))

    @pytest.mark.fault("a name with a space, or one that is not UTF-8", "refused: a line `NAME TEXT` cannot hold it")
    @pytest.mark.parametrize("name", ["19 198 0002", "19-198\u00a00002", "19-198-\udcff"])
    def test_names_that_lines_cannot_hold(self, libri, tmp_path, capsys, name):
        file = libri / TABLE.with_name("19-198-0002.flac")
        file.rename(file.with_name(f"{name}.flac"))
        put(libri / TABLE, 3, "19-198-0002x GOOD")
        for task in ("asr", "pr"):
            told = refused(capsys, "prepare", task, "--corpus", libri, "-o", tmp_path / "data")
            assert f"the name {name!r} has white space, or letters that are not UTF-8; rename it" in told

    @pytest.mark.parametrize("what", ["speaker_list", "trials"])
    def test_clips_that_recipes_would_call_the_same(self, tmp_path, what):
        path = tmp_path / "list.txt"
        a, b = "id10001/a-b/c.wav", "id10001/a/b-c.wav"
        path.write_text({"speaker_list": f"1 {a}\n2 {b}\n", "trials": f"0 {a} {b}\n1 {a} {a}\n"}[what])
        read = {"speaker_list": voxceleb1.read_speaker_list, "trials": voxceleb1.read_trials}[what]
        with pytest.raises(CorpusError, match=f"{a} and {b} have one name, id10001-a-b-c"):
            read(path)

    def test_clips_with_dots_keep_their_names(self):
        assert voxceleb1.clip_name("dev/wav/id10001/a.b/00001.v2.wav") == "id10001-a.b-00001.v2"


def run(recipe: str, config: Path, expdir: Path, split: str) -> None:
    """Trains two steps, and evaluates what they leave."""
    device = ["--device", "cpu"]
    train = ["-m", "train", "-u", "fbank", "-d", recipe, "-c", config, "-p", expdir, *device]
    try:
        assert main(["run", *map(str, train)]) == 0
        assert main(["run", "-m", "evaluate", "-t", split, "-e", str(expdir), *device]) == 0
    finally:
        s3prl_fusion.unregister()


class TestLines:
    @pytest.mark.fault("a transcript with blank lines", "read")
    @pytest.mark.fault("a transcript that is called text.trans.txt", "read")
    @pytest.mark.fault("names and texts that tabs or several spaces separate, Windows line ends", "read")
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda table: table.write_text(f"\n \n{table.read_text()}\n\n"),
            lambda table: table.rename(table.with_name("text.trans.txt")),
            lambda table: table.write_text(table.read_text().replace("0 HELLO WORLD", "0\tHELLO   WORLD ")),
            lambda table: table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n")),
            lambda table: table.write_text("\ufeff" + table.read_text(), encoding="utf-8"),
            lambda table: table.write_text(table.read_text().lower()),
        ],
    )
    @pytest.mark.parametrize("recipe", ["asr", "ctc"])
    def test_what_is_read(self, tiny, tmp_path, recipe, spoil):
        split = tiny.libri["root"] / "train-clean-100"
        before = [text.text for text in transcripts.read_utterances(split).values()]
        assert before[0] == "HELLO WORLD"
        (table,) = split.rglob("*.txt")
        spoil(table)
        assert [text.text for text in transcripts.read_utterances(split).values()] == before
        recipes.check_texts(recipe, tiny.configs[recipe], ["train"])

    @pytest.mark.fault("a name without text, or with two texts, in a transcript", "refused: file and line named")
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("1-7-0002", ":3: 1-7-0002 has no text; add it"),
            ("1-7-0002  ", ":3: 1-7-0002 has no text; add it"),
            ("1-7-0001 GOOD DAY", ":3: 1-7-0001 has a transcript twice, the first at "),
            ("", "1 audio files have no transcript, first "),
        ],
    )
    @pytest.mark.parametrize("recipe", ["asr", "ctc"])
    def test_what_is_refused(self, tiny, tmp_path, capsys, recipe, line, told):
        root = tiny.libri["root"]
        table = root / "train-clean-100/1/7/1-7.trans.txt"
        put(table, 3, line)
        with pytest.raises(CorpusError) as error:
            recipes.check_texts(recipe, tiny.configs[recipe], ["train"])
        task = {"asr": "asr", "ctc": "pr"}[recipe]
        for message in (str(error.value), refused(capsys, "prepare", task, "--corpus", root, "-o", tmp_path / "data")):
            assert told in message and str(table.parent) in message

    @pytest.mark.fault("a table of ASR's that is missing, or lists a file that is", "refused: the file is named")
    def test_tables(self, tiny):
        datarc = tiny.configs["asr"]["downstream_expert"]["datarc"]
        datarc["train"].append("train-clean-360")
        table = tiny.libri["buckets"] / "train-clean-360.csv"
        with pytest.raises(UserError, match=f"{table} does not exist"):
            recipes.check_texts("asr", tiny.configs["asr"], ["train"])
        for text, told in (
            (
                "file_path,length\ntrain-clean-360/1/7/x.flac,16000\n",
                "1 of 5 files of train do not exist, first .*x.flac",
            ),
            ("file_path,length\ntrain-clean-360/1/7/x.flac,\n", "train-clean-360.csv must have the columns"),
            ("file_path,length\nx.flac,long\n", "train-clean-360.csv must have the columns"),
            ("file,samples\nx.flac,1\n", "train-clean-360.csv must have the columns"),
            ("", "train-clean-360.csv must have the columns"),
        ):
            table.write_text(text)
            with pytest.raises(UserError, match=told):
                recipes.check_texts("asr", tiny.configs["asr"], ["train"])

    @pytest.mark.fault("blank lines in VoxCeleb1's lists", "read")
    def test_blank_lines_in_lists(self, tmp_path):
        root = official_voxceleb1(tmp_path / "VoxCeleb1")
        for name, read in (("iden_split.txt", voxceleb1.read_speaker_list), ("veri_test.txt", voxceleb1.read_trials)):
            before = read(root / name)
            (root / name).write_text("\n" + (root / name).read_text().replace("\n", "\n\n"))
            assert read(root / name) == before

    @pytest.mark.fault("a file of IEMOCAP's labels that is empty or cut off", "refused: the file is named")
    @pytest.mark.parametrize("content", [b"", b"% [START_TIME - END_TIME] TURN_NAME\n", "[6.2".encode("utf-16")])
    def test_a_dialog_without_labels(self, tmp_path, content):
        path = official_iemocap(tmp_path) / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
        path.write_bytes(content)
        with pytest.raises(CorpusError, match=f"{path} (labels nothing|has no line)"):
            iemocap.read_session(tmp_path, "Session2")

    def test_an_utterance_that_two_dialogs_label(self, tmp_path):
        path = official_iemocap(tmp_path) / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
        shutil.copy(path, path.with_name("copy.txt"))
        with pytest.raises(CorpusError, match="Ses02F_impro01_F000 of .* have one name"):
            iemocap.read_session(tmp_path, "Session2")

    @pytest.mark.fault("SV's list of speakers names one without folder, or twice", "refused: file and line named")
    @pytest.mark.parametrize(("line", "told"), [("id10009", "there is no folder"), ("id10001", "is there twice")])
    def test_speakers_of_sv(self, tmp_path, line, told):
        root = official_voxceleb1(tmp_path / "VoxCeleb1")
        listed = tmp_path / "speakers.txt"
        listed.write_text(f"id10001\n\n{line}\n")
        with pytest.raises(UserError, match=rf"speakers\.txt:3: .*{told}"):
            _sv_data._read_speakers(listed, root / "dev" / "wav")


def latin1(path: Path) -> None:
    """Puts a letter into the last line that is none in UTF-8."""
    path.write_bytes(path.read_bytes().rstrip(b"\n") + "É\n".encode("latin1"))


def utf16(path: Path) -> None:
    path.write_text(path.read_text(), encoding="utf-16")


def windows(path: Path) -> None:
    """What Notepad makes of a text."""
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


def lexicon(folder: Path) -> tuple[Path, Callable]:
    path = folder / "lexicon.txt"
    path.write_text("HELLO HH AH0 L OW1\nDAY D EY1\n")
    return path, lambda: transcripts.read_lexicon([path])


def transcript(folder: Path) -> tuple[Path, Callable]:
    root = official_librispeech(folder)
    read = lambda: [text.text for text in librispeech.read_split(root, "train-clean-100").values()]  # noqa: E731
    return root / TABLE, read


def speaker_list(folder: Path) -> tuple[Path, Callable]:
    path = official_voxceleb1(folder) / "iden_split.txt"
    return path, lambda: voxceleb1.find_listed(folder, path)


def trials(folder: Path) -> tuple[Path, Callable]:
    path = official_voxceleb1(folder) / "veri_test.txt"
    return path, lambda: voxceleb1.check_trials(folder, path)


def trial_clips(folder: Path) -> tuple[Path, Callable]:
    path = official_voxceleb1(folder) / "veri_test.txt"
    return path, lambda: _sv_data.TrialClips({}, folder, str(path)).pair_table


def speakers(folder: Path) -> tuple[Path, Callable]:
    path = official_voxceleb1(folder) / "speakers.txt"
    path.write_text("id10001\nid10002\n")
    return path, lambda: _sv_data._read_speakers(path, folder / "dev" / "wav")


def buckets(folder: Path) -> tuple[Path, Callable]:
    root = official_librispeech(folder)
    librispeech.write_buckets(root, folder / "buckets", ["dev-clean"])
    datarc = {"libri_root": str(root), "bucket_file": str(folder / "buckets"), "dev-clean": ["dev-clean"]}
    return folder / "buckets" / "dev-clean.csv", lambda: _asr_data.read_split(datarc, "dev-clean")


def labels(folder: Path) -> tuple[Path, Callable]:
    path = official_iemocap(folder) / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("[")))
    return path, lambda: iemocap.read_session(folder, "Session2")


GIVEN = [lexicon, transcript, speaker_list, trials, trial_clips, speakers, buckets, labels]


def letters(folder: Path) -> tuple[Path, Callable]:
    return Path(shutil.copy(downstream_configs_dir() / "char.dict", folder / "own.dict")), symbols.read_letters


def phonemes(folder: Path) -> tuple[Path, Callable]:
    return Path(shutil.copy(downstream_configs_dir() / "phoneme.txt", folder / "own.txt")), symbols.read_phonemes


class TestEncodings:
    @pytest.mark.fault("a lexicon, transcript, list or table of labels in Latin-1 or UTF-16", "refused: file and line")
    @pytest.mark.parametrize("make", GIVEN)
    def test_other_encodings_name_the_line(self, tmp_path, make):
        path, read = make(tmp_path)
        count = path.read_text().count("\n")
        latin1(path)
        with pytest.raises(CorpusError, match=f"{path}:{count}: not UTF-8; convert it: iconv -f latin1"):
            read()

    @pytest.mark.parametrize("make", GIVEN)
    def test_texts_of_windows(self, tmp_path, make):
        path, read = make(tmp_path)
        utf16(path)
        with pytest.raises(CorpusError, match=f"{path}(:1: not UTF-8| has no line| labels nothing)"):
            read()

    @pytest.mark.fault("a byte order mark and Windows line ends in these files", "read")
    @pytest.mark.parametrize("make", GIVEN)
    def test_byte_order_marks_and_line_ends_of_windows(self, tmp_path, make):
        path, read = make(tmp_path)
        before = read()
        windows(path)
        assert read() == before

    @pytest.mark.fault("a byte order mark or another encoding in a dictionary of one's own", "refused: file and line")
    @pytest.mark.parametrize("make", [letters, phonemes])
    def test_what_s3prl_reads_itself(self, tmp_path, make):
        path, read = make(tmp_path)
        before = read(path)
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert read(path) == before
        windows(path)
        with pytest.raises(CorpusError, match=f"{path}:1: begins with a byte order mark; save it as UTF-8 without one"):
            read(path)
        utf16(path)
        with pytest.raises(CorpusError, match=f"{path}:1: not UTF-8"):
            read(path)

    def test_marks_where_files_were_joined(self, tmp_path):
        (tmp_path / "joined.txt").write_text("\ufeffA AH0\n\ufeffB B IY1\n", encoding="utf-8")
        assert transcripts.read_lexicon([tmp_path / "joined.txt"]) == {"A": ["AH0"], "B": ["B", "IY1"]}

    def test_other_letters_than_the_labels_count_in_no_encoding(self, tmp_path):
        """Annotators' comments in IEMOCAP's files of labels."""
        path = official_iemocap(tmp_path) / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
        before = iemocap.read_labels(path)
        path.write_bytes(path.read_bytes().replace(b"(mildly", "(légèrement".encode("latin1")))
        assert iemocap.read_labels(path) == before

    @pytest.mark.fault("CMUdict's own comments, `;;;` and `#`, in a lexicon", "left out")
    def test_comments_of_cmudict(self, tmp_path):
        path = tmp_path / "cmudict.dict"
        path.write_text(
            ";;; # CMUdict  --  Major Version: 0.07\n#HASH-MARK  HH AE1 SH\nA  AH0\nA(1)  EY1\n"
            "aalborg AO1 L B AO0 R G # place, danish\n;;;\n"
        )
        known = {"AH0", "EY1", "HH", "AE1", "SH", *"AO1 L B AO0 R G".split()}
        found = transcripts.read_lexicon([path], known.__contains__)
        assert found["AALBORG"] == "AO1 L B AO0 R G".split() and found["#HASH-MARK"] == ["HH", "AE1", "SH"]
        assert found["A"] == ["AH0"] and len(found) == 4

    def test_what_is_prepared_is_plain(self, tmp_path):
        """Lists that people give with marks and other line ends are passed on to the recipes without."""
        corpora = official(tmp_path)
        paths = [corpora["voxceleb1"] / name for name in ("iden_split.txt", "veri_test.txt")]
        plain = paths[0].read_bytes()
        for path in paths:
            windows(path)
        prepare([TASKS["sid"], TASKS["sv"]], {"voxceleb1": Source(corpora["voxceleb1"])}, tmp_path / "data")
        assert (tmp_path / "data" / "iden_split.txt").read_bytes() == plain
        for name in ("sv_test_trials.txt", "sv_dev_trials.txt", "sv_train_speakers.txt"):
            assert not set("\ufeff\r") & set((tmp_path / "data" / name).read_text(encoding="utf-8"))


class TestDictionaries:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("| 1\nA\n", r":2: got 'A', expected 'LETTER COUNT'"),
            ("| 1\n\nA 1\n", r":2: got '', expected"),
            ("| 1\nA one\n", r":2: got 'A one', expected"),
            ("| 1\nA 1\nA 2\n", r":3: 'A' is there twice"),
            ("| 1\n<unk> 2\n", r":2: '<unk>' is there twice"),
            ("A 1\nB 1\n", r" lacks '\|', which stands for the space"),
        ],
    )
    def test_a_dictionary_that_s3prl_could_not_read(self, tmp_path, text, told):
        path = tmp_path / "own.dict"
        path.write_text(text)
        with pytest.raises(CorpusError, match=rf"own\.dict{told}"):
            symbols.read_letters(path)

    def test_letters_are_s3prls(self):
        from s3prl.downstream.asr.dictionary import Dictionary

        path = downstream_configs_dir() / "char.dict"
        assert symbols.read_letters(path) == set(Dictionary.load(str(path)).symbols[4:])

    @pytest.mark.parametrize(
        ("text", "told"), [("AH0\nD EY1\n", ":2: got 'D EY1'"), ("AH0 \n", ":1: got"), ("\n", " has no phonemes")]
    )
    def test_a_vocabulary_that_splits_words(self, tmp_path, text, told):
        path = tmp_path / "own.txt"
        path.write_text(text)
        with pytest.raises(CorpusError, match=rf"own\.txt{told}"):
            symbols.read_phonemes(path)


def test_names_are_held_against_each_other():
    lines.check_names([("a", 1), ("A", 2), ("a.b", 3), ("größe", 4), ("a", 1)])
    with pytest.raises(CorpusError, match="1 and 2 have one name, a,"):
        lines.check_names([("a", 1), ("a", 2)])
