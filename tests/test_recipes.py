"""What the recipes need and the wheel lacks: the data a source checkout gives, for any corpus, from anywhere."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tiny_corpora
import yaml
from official_layouts import as_wav

from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.errors import CorpusError
from s3prl_fusion.files import whole_file, write_whole
from s3prl_fusion.host import recipes
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.recipes import _sv_data, default_config, find, mend
from s3prl_fusion.host.recipes._libriphone import LibriPhoneDataset
from s3prl_fusion.host.recipes.ctc import supply_corpora
from s3prl_fusion.host.recipes.voxceleb1 import cache_file_lists

DOWNSTREAMS = ("asr", "ctc", "emotion", "sv_voxceleb1", "voxceleb1")


@pytest.fixture(scope="module")
def tokenizer():
    from s3prl.downstream.ctc.text import load_text_encoder

    return load_text_encoder("word", str(downstream_configs_dir() / "phoneme.txt"))


@pytest.fixture
def patches():
    made = Patches()
    yield made
    made.undo()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def phonemes(text: str) -> str:
    return " ".join(tiny_corpora.LEXICON[word] for word in text.split())


class TestLibriPhone:
    def dataset(self, libri, tokenizer, split=("train-clean-100",), bucket_size=1, **kwargs):
        lexicon = kwargs.pop("lexicon", [str(libri["lexicon"])])
        return LibriPhoneDataset(list(split), tokenizer, bucket_size, str(libri["root"]), lexicon, **kwargs)

    def expected(self, libri, tokenizer, splits=("train-clean-100",), reverse=True):
        """(file, ids), sorted by the number of ids, as s3prl's source checkout has them; its ties follow the disk."""
        items = []
        for split in splits:
            for file in sorted((libri["root"] / split).rglob("*.flac")):
                text = tiny_corpora.TRANSCRIPTS[split][int(file.stem[-4:])]
                items.append((file, tokenizer.encode(phonemes(text))))
        return sorted(items, key=lambda item: len(item[1]), reverse=reverse)

    def test_items_are_files_and_encoded_phonemes_longest_first(self, libri, tokenizer):
        dataset = self.dataset(libri, tokenizer)
        assert [dataset[i] for i in range(len(dataset))] == self.expected(libri, tokenizer)

    def test_labels_decode_to_the_phonemes_and_end_with_eos(self, libri, tokenizer):
        for _, ids in self.dataset(libri, tokenizer).items:
            assert ids[-1] == tokenizer.eos_idx and tokenizer.unk_idx not in ids
        decoded = sorted(tokenizer.decode(ids) for _, ids in self.dataset(libri, tokenizer).items)
        assert decoded == sorted(phonemes(text) for text in tiny_corpora.TRANSCRIPTS["train-clean-100"])

    def test_ascending_is_shortest_first(self, libri, tokenizer):
        dataset = self.dataset(libri, tokenizer, ascending=True)
        assert [dataset[i] for i in range(len(dataset))] == self.expected(libri, tokenizer, reverse=False)

    def test_splits_are_joined(self, libri, tokenizer):
        splits = ("dev-clean", "test-clean")
        dataset = self.dataset(libri, tokenizer, splits)
        assert [dataset[i] for i in range(len(dataset))] == self.expected(libri, tokenizer, splits)

    @pytest.mark.parametrize("bucket_size", [2, 3, 4])
    def test_buckets_are_neighbours_and_full_at_the_end(self, libri, tokenizer, bucket_size):
        dataset, items = self.dataset(libri, tokenizer, bucket_size=bucket_size), self.expected(libri, tokenizer)
        assert len(dataset) == len(items)
        for i in range(len(dataset)):
            start = min(len(items) - bucket_size, i)
            assert dataset[i] == items[start : start + bucket_size]

    def test_a_bucket_larger_than_the_corpus_is_the_corpus(self, libri, tokenizer):
        dataset = self.dataset(libri, tokenizer, bucket_size=9)
        assert all(dataset[i] == self.expected(libri, tokenizer) for i in range(len(dataset)))

    @pytest.mark.parametrize("converted", [False, True])
    def test_the_recipes_own_loader_reads_it(self, tmp_path, tokenizer, patches, converted):
        from s3prl.downstream.ctc import data

        supply_corpora(patches)
        libri = tiny_corpora.librispeech(tmp_path)
        for file in libri["root"].rglob("*.flac") if converted else ():
            as_wav(file)
        corpus = {
            "name": "libriphone",
            "path": str(libri["root"]),
            "lexicon": [str(libri["lexicon"])],
            "train": ["train-clean-100"],
            "bucketing": True,
            "batch_size": 4,
            "num_workers": 0,
        }
        wavs, labels, names = next(iter(data.load_dataset("train", tokenizer, corpus)))
        assert [len(wav) for wav in wavs] == sorted((len(wav) for wav in wavs), reverse=True)
        assert len(names) == 4
        for label, name in zip(labels, names):
            text = tiny_corpora.TRANSCRIPTS["train-clean-100"][int(name[-4:])]
            assert label.tolist() == tokenizer.encode(phonemes(text))

    def test_words_without_a_pronunciation_are_listed(self, libri, tokenizer, tmp_path):
        (tmp_path / "small.txt").write_text("GOOD G UH1 D\n")
        message = r"3 words of train-clean-100 have no pronunciation in .*small\.txt: DAY HELLO WORLD; DAY is said in"
        with pytest.raises(ValueError, match=message):
            self.dataset(libri, tokenizer, lexicon=[str(tmp_path / "small.txt")])

    def test_a_phoneme_outside_the_vocabulary_is_refused(self, libri, tokenizer, tmp_path):
        lines = "".join(f"{word} {sounds}\n" for word, sounds in tiny_corpora.LEXICON.items())
        (tmp_path / "british.txt").write_text(lines.replace("OW1", "GOAT1"))
        with pytest.raises(ValueError, match="GOAT1"):
            self.dataset(libri, tokenizer, lexicon=[str(tmp_path / "british.txt")])

    def test_an_empty_split_is_named(self, libri, tokenizer):
        with pytest.raises(FileNotFoundError, match=r"no \.flac or \.wav file below .*train-other-500"):
            self.dataset(libri, tokenizer, ("train-other-500",))


class TestFileLists:
    def stock_lists(self, corpus, cache: Path, monkeypatch) -> dict[str, list[str]]:
        from s3prl.downstream.voxceleb1 import dataset

        monkeypatch.setattr(dataset, "CACHE_PATH", str(cache))
        splits = ("train", "dev", "test")
        return {s: dataset.SpeakerClassifiDataset(s, corpus["root"], corpus["list"]).dataset for s in splits}

    def ours(self, corpus) -> dict[str, list[str]]:
        folder = cache_file_lists(corpus["root"], corpus["list"])
        return {path.stem: pickle.loads(path.read_bytes()) for path in folder.glob("*.pkl")}

    def test_they_are_the_ones_that_stock_scans(self, voxceleb, tmp_path, monkeypatch):
        stock = self.stock_lists(voxceleb, tmp_path / "stock", monkeypatch)
        assert self.ours(voxceleb) == stock and all(len(paths) == 2 for paths in stock.values())

    def test_stock_reads_them_from_the_cache(self, voxceleb, tmp_path, monkeypatch):
        folder = cache_file_lists(voxceleb["root"], voxceleb["list"])
        assert tmp_path in folder.parents
        from s3prl.downstream.voxceleb1.dataset import SpeakerClassifiDataset

        monkeypatch.setattr(SpeakerClassifiDataset, "train", lambda self: pytest.fail("stock scanned the corpus again"))
        assert self.stock_lists(voxceleb, folder, monkeypatch) == self.ours(voxceleb)

    def test_two_corpora_do_not_mix(self, voxceleb, tmp_path):
        other = tiny_corpora.voxceleb1(tmp_path, seed=90)
        one, two = self.ours(voxceleb), self.ours(other)
        assert all(str(tmp_path) in path for paths in two.values() for path in paths)
        assert not {p for paths in one.values() for p in paths} & {p for paths in two.values() for p in paths}
        assert self.ours(voxceleb) == one

    def test_another_list_of_the_same_corpus_is_read_anew(self, voxceleb, tmp_path):
        swapped = tmp_path / "swapped.txt"
        lines = voxceleb["list"].read_text().splitlines()
        swapped.write_text("".join({"1": "3", "3": "1"}.get(line[0], line[0]) + line[1:] + "\n" for line in lines))
        one, two = self.ours(voxceleb), self.ours({"root": voxceleb["root"], "list": swapped})
        assert (two["train"], two["test"]) == (one["test"], one["train"])

    def test_missing_clips_are_counted_and_named(self, voxceleb, tmp_path):
        longer = tmp_path / "longer.txt"
        longer.write_text(voxceleb["list"].read_text() + "1 id10009/v/1.wav\n2 id10009/v/2.wav\n")
        with pytest.raises(ValueError, match=r"2 of 8 clips of .*longer\.txt are not under .*, first id10009/v/1\.wav"):
            cache_file_lists(voxceleb["root"], longer)

    @pytest.mark.parametrize("line", ["4 id10001/v/1.wav", "id10001/v/1.wav", "1"])
    def test_malformed_lines_are_named(self, voxceleb, tmp_path, line):
        bad = tmp_path / "bad.txt"
        bad.write_text(voxceleb["list"].read_text() + line + "\n")
        with pytest.raises(ValueError, match=r"bad\.txt:7: got '.*', expected '1\|2\|3 id10001/video/00001\.wav'"):
            cache_file_lists(voxceleb["root"], bad)

    def test_windows_line_ends_are_fine(self, voxceleb, tmp_path):
        odd = tmp_path / "odd.txt"
        odd.write_bytes(voxceleb["list"].read_bytes().replace(b"\n", b"\r\n"))
        assert self.ours({"root": voxceleb["root"], "list": odd}) == self.ours(voxceleb)

    def test_a_half_written_cache_is_completed(self, voxceleb):
        folder = cache_file_lists(voxceleb["root"], voxceleb["list"])
        kept = (folder / "dev.pkl").read_bytes()
        (folder / "dev.pkl").unlink()
        assert (cache_file_lists(voxceleb["root"], voxceleb["list"]) / "dev.pkl").read_bytes() == kept

    @pytest.mark.fault("SID's kept lists of clips that are cut off or have lost bits since", "made anew")
    def test_a_damaged_one_is_made_anew(self, voxceleb):
        folder, good = cache_file_lists(voxceleb["root"], voxceleb["list"]), self.ours(voxceleb)
        for path in sorted(folder.iterdir()):
            whole = path.read_bytes()
            for damaged in (whole[:20], whole.replace(b"1", b"2", 1), b""):
                path.write_bytes(damaged)
                assert self.ours(voxceleb) == good

    @pytest.mark.fault("clips that have moved from dev/wav to test/wav since SID's lists were kept", "found")
    def test_clips_that_have_moved_are_found(self, tmp_path):
        corpus = tiny_corpora.voxceleb1(tmp_path)
        before = self.ours(corpus)
        (corpus["root"] / "dev" / "wav" / "id10001").rename(corpus["root"] / "test" / "wav" / "aside")
        (corpus["root"] / "other").mkdir()
        (corpus["root"] / "dev" / "wav").rename(corpus["root"] / "other" / "wav")
        (corpus["root"] / "test" / "wav" / "aside").rename(corpus["root"] / "other" / "wav" / "id10001")
        after = self.ours(corpus)
        assert after != before and all(Path(path).is_file() for paths in after.values() for path in paths)


class TestDefaultConfigs:
    @pytest.mark.parametrize("recipe", DOWNSTREAMS)
    def test_found_from_any_folder(self, recipe, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        config = yaml.safe_load(default_config(recipe).read_text())
        assert {"runner", "optimizer", "downstream_expert"} <= config.keys()

    def test_one_in_the_current_folder_comes_first(self, tmp_path, monkeypatch):
        own = tmp_path / "downstream" / "asr" / "config.yaml"
        own.parent.mkdir(parents=True)
        own.write_text("runner: {}\n")
        monkeypatch.chdir(tmp_path)
        assert default_config("asr").resolve() == own.resolve()

    def test_none_where_there_is_none(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert default_config("no_such_recipe") is None

    @pytest.mark.parametrize(
        "recipe, steps, lr, batch, accumulate",
        [
            ("asr", 200_000, 1e-4, 32, 1),
            ("ctc", 100_000, 1e-2, 16, 2),
            ("voxceleb1", 200_000, 1e-4, 8, 4),
            ("emotion", 30_000, 1e-4, 4, 8),
        ],
    )
    def test_they_have_superbs_values(self, recipe, steps, lr, batch, accumulate):
        config = yaml.safe_load((downstream_configs_dir() / find(recipe).config).read_text())
        expert = config["downstream_expert"]
        sizes = expert.get("datarc", expert.get("corpus"))
        assert config["optimizer"]["lr"] == lr and config["optimizer"]["torch_optim_name"] == "Adam"
        assert config["runner"]["total_steps"] == steps
        assert config["runner"]["gradient_accumulate_steps"] == accumulate
        assert sizes.get("train_batch_size", sizes.get("batch_size")) == batch


class TestTable:
    def test_every_file_is_a_recipe_of_the_downstream_it_is_named_after(self):
        names = [recipe.downstream for recipe in recipes.table()]
        assert names == [
            "asr",
            "ctc",
            "diarization",
            "emotion",
            "fluent_commands",
            "quesst14_dtw",
            "ctc",
            "speech_commands",
            *DOWNSTREAMS[3:],
        ]
        assert [find(name).downstream for name in DOWNSTREAMS] == [*DOWNSTREAMS]
        assert find("mosei") is None and find("_shared") is None

    @pytest.mark.parametrize(
        "name, found",
        [("libriphone", True), ("LibriPhone", True), ("snips", False), ("librispeech", False), (None, False)],
    )
    def test_pr_is_one_corpus_of_ctcs(self, name, found):
        recipe = find("ctc", {"downstream_expert": {"corpus": {"name": name}}})
        assert (recipe is not None and recipe.corpus == "libriphone") == found

    def test_other_corpora_of_ctc_get_nothing_of_prs(self, patches):
        from s3prl.downstream.ctc import expert

        before = dict(vars(expert.DownstreamExpert)), expert.load_dataset
        text = {"vocab_file": "./vocab/phoneme.txt"}
        config = {"runner": {}, "downstream_expert": {"corpus": {"name": "sbcsae"}, "text": dict(text)}}
        mend("ctc", config, patches)
        recipes.add_inference("ctc", config, patches)
        assert config["downstream_expert"]["text"] == text and config["runner"]["max_keep"] == 2
        assert before == (dict(vars(expert.DownstreamExpert)), expert.load_dataset) and not patches

    @pytest.mark.parametrize("name, samples", [("voxceleb1", 128000), ("sv_voxceleb1", 128000), ("asr", None)])
    def test_random_crops_are_those_of_the_config(self, name, samples):
        recipe = find(name)
        config = yaml.safe_load((downstream_configs_dir() / recipe.config).read_text())
        assert recipe.crop(config) == samples

    def test_a_new_file_is_a_new_recipe(self, tmp_path, monkeypatch, patches):
        (tmp_path / "made_up.py").write_text(
            "from s3prl_fusion.host.recipes import Recipe\n"
            "def mend(config, patches): config['mended'] = True\n"
            "RECIPE = Recipe('mosei', 'mosei.yaml', mend, lambda config, state, patches: None)\n"
        )
        monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(tmp_path)])
        config = {"runner": {}, "downstream_expert": {}}
        mend("mosei", config, patches)
        assert config["mended"] and find("mosei").name in [recipe.name for recipe in recipes.table()]


class TestMend:
    def config(self, recipe_configs, recipe) -> dict:
        return yaml.safe_load(recipe_configs[recipe].read_text())

    @pytest.mark.parametrize("recipe", sorted({*DOWNSTREAMS} - {"sv_voxceleb1"}))  # see test_verification
    def test_a_good_config_is_kept_but_for_max_keep(self, recipe, recipe_configs, patches):
        config, mended = (self.config(recipe_configs, recipe) for _ in range(2))
        mend(recipe, mended, patches)
        config["runner"]["max_keep"] = 2
        assert mended == config

    @pytest.mark.parametrize("given, kept", [(1, 2), (2, 2), (5, 5), (None, 2)])
    def test_two_checkpoints_are_kept_at_least(self, given, kept, recipe_configs, patches):
        config = self.config(recipe_configs, "emotion")
        config["runner"].pop("max_keep")
        if given is not None:
            config["runner"]["max_keep"] = given
        mend("emotion", config, patches)
        assert config["runner"]["max_keep"] == kept

    @pytest.mark.parametrize(
        "recipe, section, key, given, name",
        [
            ("asr", "datarc", "dict_path", "./downstream/asr/char.dict", "char.dict"),
            ("asr", "datarc", "dict_path", None, "char.dict"),
            ("ctc", "text", "vocab_file", "./downstream/ctc/vocab/phoneme.txt", "phoneme.txt"),
        ],
    )
    def test_vocabularies_that_the_wheel_lacks_are_supplied(
        self, recipe, section, key, given, name, recipe_configs, patches, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        config = self.config(recipe_configs, recipe)
        config["downstream_expert"][section][key] = given
        mend(recipe, config, patches)
        supplied = Path(config["downstream_expert"][section][key])
        assert supplied.name == name and supplied.is_file() and supplied.is_absolute()

    @pytest.mark.parametrize(
        "recipe, section, key, value",
        [
            ("asr", "datarc", "libri_root", "/no/such"),
            ("asr", "datarc", "bucket_file", "/no/such"),
            ("asr", "datarc", "dict_path", "/no/such/own.dict"),
            ("asr", "datarc", "libri_root", None),
            ("ctc", "text", "vocab_file", "/no/such/own.txt"),
            ("ctc", "corpus", "path", "/no/such"),
            ("ctc", "corpus", "lexicon", ["/no/such"]),
            ("voxceleb1", "datarc", "file_path", "/no/such"),
            ("voxceleb1", "datarc", "meta_data", "/no/such"),
            ("emotion", "datarc", "root", "/no/such"),
            ("emotion", "datarc", "meta_data", "/no/such"),
        ],
    )
    def test_missing_paths_are_named_with_their_key(self, recipe, section, key, value, recipe_configs, patches):
        config = self.config(recipe_configs, recipe)
        config["downstream_expert"][section][key] = value
        shown = repr(value[0] if isinstance(value, list) else value)
        with pytest.raises(
            FileNotFoundError, match=rf"downstream_expert\.{section}\.{key} is {shown}, which does not exist"
        ):
            mend(recipe, config, patches)

    def test_the_file_lists_of_sid_are_given_back(self, recipe_configs, patches):
        from s3prl.downstream.voxceleb1 import dataset

        before = dataset.CACHE_PATH
        mend("voxceleb1", self.config(recipe_configs, "voxceleb1"), patches)
        assert dataset.CACHE_PATH != before and Path(dataset.CACHE_PATH, "train.pkl").is_file()
        patches.undo()
        assert dataset.CACHE_PATH == before

    def test_a_recipe_that_needs_no_mend_is_left_alone(self, patches):
        config = {"runner": {"max_keep": 3}, "downstream_expert": {"anything": 1}}
        mend("mosei", config, patches)
        assert config == {"runner": {"max_keep": 3}, "downstream_expert": {"anything": 1}} and not patches


def read_as(recipe: str, path: Path) -> object:
    """Read a file as a recipe's data set does, in the midst of a training."""
    from s3prl.downstream.asr.dataset import SequenceDataset
    from s3prl.downstream.ctc.data import collect_audio_batch
    from s3prl.downstream.emotion.dataset import IEMOCAPDataset
    from s3prl.downstream.voxceleb1.dataset import SpeakerClassifiDataset

    own = SimpleNamespace(
        libri_root=path.parent,
        sample_rate=16000,
        resampler=lambda wav: wav,
        data_dir=path.parent,
        dataset=[str(path)],
        label=[0],
        max_timestep=None,
    )
    return {
        "asr": lambda: SequenceDataset._load_wav(own, path.name),
        "ctc": lambda: collect_audio_batch([(path, [1])], "dev"),
        "emotion": lambda: IEMOCAPDataset._load_wav(own, path.name),
        "voxceleb1": lambda: SpeakerClassifiDataset.__getitem__(own, 0),
        "sv_voxceleb1": lambda: _sv_data.read_sound(path),
    }[recipe]()


@pytest.mark.fault(
    "a file of a corpus that has changed since `prepare`: cut, with NaN, of 8 kHz, stereo, empty, no sound",
    "refused by name in training and evaluation, in every recipe",
)
@pytest.mark.parametrize("recipe", DOWNSTREAMS)
def test_a_file_that_has_changed_is_named(recipe, recipe_configs, patches, tmp_path):
    if recipe != "sv_voxceleb1":  # whose data sets are this package's own
        mend(recipe, yaml.safe_load(recipe_configs[recipe].read_text()), patches)
    wav, path = 0.1 * np.random.default_rng(0).standard_normal(32000), tmp_path / "a.flac"
    soundfile.write(path, wav, 16000)
    read_as(recipe, path)
    content = path.read_bytes()

    def sound(name: str, samples: np.ndarray, rate: int = 16000, subtype: str | None = None) -> Path:
        soundfile.write(tmp_path / name, samples, rate, subtype)
        return tmp_path / name

    def holding(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    for spoilt in (
        holding("cut.flac", content[:-1000]),
        holding("empty.wav", b""),
        holding("text.wav", b"<html>404</html>"),
        sound("nan.wav", np.where(wav > 0.2, np.nan, wav), subtype="FLOAT"),
        sound("slow.wav", wav, 8000),
        sound("stereo.wav", np.stack([wav, wav], axis=1)),
    ):
        with pytest.raises(CorpusError, match=f"{spoilt}: "):
            read_as(recipe, spoilt)


class TestVocabularies:
    def test_phonemes_are_the_recipes_70_symbols(self, tokenizer):
        lines = (downstream_configs_dir() / "phoneme.txt").read_text().split()
        vowels = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
        consonants = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
        assert len(set(lines)) == len(lines)
        assert set(lines) >= {vowel + stress for vowel in vowels for stress in "012"} | set(consonants)
        assert tokenizer.vocab_size == 3 + len(lines)

    def test_letters_are_librispeechs(self):
        from s3prl.downstream.asr.dictionary import Dictionary

        symbols = [line.split()[0] for line in (downstream_configs_dir() / "char.dict").read_text().splitlines()]
        assert symbols[0] == "|" and sorted(symbols[1:]) == sorted("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")
        ids = Dictionary.load(str(downstream_configs_dir() / "char.dict")).encode_line(
            "H I |", line_tokenizer=str.split
        )
        assert len(ids) == 4 and len(set(ids.tolist())) == 4


class TestWholeFiles:
    @pytest.mark.parametrize("content, read", [("ä\n", "ä\n".encode()), (b"\x00\xff", b"\x00\xff")])
    def test_content_arrives(self, tmp_path, content, read):
        write_whole(tmp_path / "file", content)
        write_whole(str(tmp_path / "file"), content)
        assert (tmp_path / "file").read_bytes() == read and os.listdir(tmp_path) == ["file"]

    def test_a_failing_write_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        with pytest.raises(OSError, match="disk full"), whole_file(path) as temporary:
            temporary.write_text("ne")
            raise OSError("disk full")
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]

    def test_the_old_file_stands_until_the_end(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        with whole_file(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old" and temporary.parent == path.parent
        assert path.read_text() == "new"

    def test_a_failing_replace_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        path = tmp_path / "file"
        path.write_text("old")

        def refuse(*args):
            raise PermissionError("read-only")

        monkeypatch.setattr(os, "replace", refuse)
        with pytest.raises(PermissionError):
            write_whole(path, "new")
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_random_state_is_not_touched_by_the_mends(recipe_configs, patches):
    before = random.getstate()
    mend("voxceleb1", yaml.safe_load(recipe_configs["voxceleb1"].read_text()), patches)
    assert random.getstate() == before
