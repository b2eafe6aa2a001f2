"""Sound files: which are found, how many samples they have, and what is said of those that cannot be used."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from s3prl_fusion import containers
from s3prl_fusion.audio import count_samples, decode, find_faults, find_files, load
from s3prl_fusion.errors import CorpusError, in_words

NOISE = 0.1 * np.random.default_rng(0).standard_normal(32000)
# A file's suffix, and libsndfile's names of its format and its numbers.
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
}


def write(path: Path, wav: np.ndarray = NOISE, rate: int = 16000, subtype: str | None = None) -> Path:
    kind, usual = KINDS[path.suffix[1:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate, format=kind, subtype=subtype or usual)
    return path


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def fault(path: Path) -> str:
    with pytest.raises(CorpusError) as error:
        load(path)
    found = find_faults([path], "")
    assert found and str(path) in str(error.value)
    return found[path]


class TestFinding:
    def test_folders_are_searched_and_files_keep_their_names(self, tmp_path):
        for name in ("a/1.wav", "b/1.flac", "b/2.WAV"):
            write(tmp_path / name.lower()).rename(tmp_path / name)
        (tmp_path / "b/list.txt").write_text("1 2")
        assert list(find_files([tmp_path]).values()) == [Path("a/1"), Path("b/1"), Path("b/2")]
        assert list(find_files([tmp_path / "b/2.WAV"]).values()) == [Path("2")]

    @pytest.mark.fault("files that a Mac adds to archives (`._a.wav`, `.DS_Store`), hidden folders", "ignored")
    def test_hidden_files_are_left_out(self, tmp_path):
        write(tmp_path / "a/1.wav")
        for name in ("a/._1.wav", "a/.2.wav", ".hidden/3.wav", "a/.DS_Store"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"Mac OS X")
        assert list(find_files([tmp_path])) == [tmp_path / "a/1.wav"]

    @pytest.mark.fault("a corpus whose folders are symlinks, some of which lead back", "followed, each once")
    def test_links_are_followed_but_not_in_circles(self, tmp_path):
        write(tmp_path / "disk/1.wav")
        (tmp_path / "disk/back").symlink_to(tmp_path / "corpus")
        (tmp_path / "disk/self").symlink_to(tmp_path / "disk")
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/100").symlink_to(tmp_path / "disk")
        (tmp_path / "corpus/2.wav").symlink_to(tmp_path / "disk/1.wav")
        assert list(find_files([tmp_path / "corpus"]).values()) == [Path("100/1"), Path("2")]

    @pytest.mark.fault("m4a, wma, mp4 and the like beside wavs", "named and counted; not where a wav of it is there")
    def test_what_is_not_read_here_is_found_all_the_same(self, tmp_path):
        write(tmp_path / "1.wav")
        for name in ("1.m4a", "2.m4a", "3.MP4"):
            (tmp_path / name).write_bytes(b"\0\0\0 ftypM4A ")
        assert [file.name for file in find_files([tmp_path])] == ["1.wav", "2.m4a", "3.MP4"]
        assert "ffmpeg -i FILE -ac 1 -ar 16000 NEW.wav" in fault(tmp_path / "2.m4a")

    def test_two_of_one_name_are_refused(self, tmp_path):
        for name in ("x.wav", "x.flac", "a/x.wav"):
            write(tmp_path / name)
        with pytest.raises(ValueError, match="would both be called x; remove one"):
            find_files([tmp_path])
        with pytest.raises(ValueError, match=r"would both be called x; give the folder above both"):
            find_files([tmp_path / "x.wav", tmp_path / "a/x.wav"])

    def test_what_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no\.wav does not exist"):
            find_files([tmp_path / "no.wav"])
        with pytest.raises(FileNotFoundError, match="has no sound file in it"):
            find_files([tmp_path])


class TestReading:
    @pytest.mark.parametrize("suffix", KINDS)
    def test_whole_files_of_any_length_are_taken(self, tmp_path, suffix):
        lengths = [1, 400, 1152, 16001, 40000]
        files = [write(tmp_path / f"{length}.{suffix}", 0.1 * np.ones(length)) for length in lengths]
        expected = [soundfile.read(file)[0] for file in files]
        assert count_samples(files, "") == [len(wav) for wav in expected]
        for file, wav in zip(files, expected):
            np.testing.assert_allclose(load(file), wav, atol=1e-6)

    @pytest.mark.fault("wav and flac in 24 bit, int32, float64, u-law", "read right")
    @pytest.mark.parametrize(
        "suffix, subtype, error",
        [
            *(("wav", subtype, 1e-7) for subtype in ("FLOAT", "DOUBLE", "PCM_32")),
            *((suffix, "PCM_24", 1.3e-7) for suffix in ("wav", "flac", "aiff", "sph", "w64")),
            *((suffix, "PCM_16", 3.1e-5) for suffix in ("wav", "flac")),
            *((suffix, "ULAW", 1.6e-2) for suffix in ("wav", "aiff", "au", "sph")),
        ],
    )
    def test_numbers_of_any_kind_become_float32(self, tmp_path, suffix, subtype, error):
        wav = load(write(tmp_path / f"a.{suffix}", NOISE, subtype=subtype))
        assert wav.dtype == torch.float32 and wav.shape == (32000,)
        np.testing.assert_allclose(wav, NOISE, atol=error)

    @pytest.mark.fault("a file that lacks its end, of any format", "refused by name")
    @pytest.mark.parametrize("suffix", KINDS)
    @pytest.mark.parametrize("lost", [1, 1000, 6000])
    def test_files_that_lack_their_end_are_refused(self, tmp_path, suffix, lost):
        path = write(tmp_path / f"cut.{suffix}")
        assert find_faults([path], "") == {}
        rewrite(path, lambda data: data[:-lost])
        with pytest.raises(CorpusError, match=rf"1 of 1 files are unusable:\n.*cut\.{suffix}: "):
            count_samples([path], "")
        with pytest.raises(CorpusError, match=rf"cut\.{suffix}: "):
            load(path)

    @pytest.mark.parametrize("size", [2**31 - 1, 2**32 - 1, 2**32 - 37])
    def test_a_wav_from_a_pipe_is_whole(self, tmp_path, size):
        """ffmpeg and sox cannot go back to write its length."""

        def piped(data: bytes) -> bytes:
            header, name, samples = data.partition(b"data")
            return header + name + size.to_bytes(4, "little") + samples[4:]

        assert count_samples([rewrite(write(tmp_path / "piped.wav"), piped)], "") == [32000]

    def test_what_no_upstream_can_use_is_named(self, tmp_path):
        (tmp_path / "text.wav").write_text("no sound")
        (tmp_path / "void.mp3").write_bytes(b"")
        for name, part in {
            str(write(tmp_path / "fast.wav", rate=44100)): "1 channel(s), 44100 Hz; needed is mono at 16000 Hz: ffmpeg",
            str(write(tmp_path / "two.flac", np.zeros((100, 2)))): "2 channel(s), 16000 Hz",
            str(write(tmp_path / "void.wav", np.zeros(0))): "no samples; remove it",
            str(tmp_path / "void.mp3"): "no samples; remove it",
            str(tmp_path / "text.wav"): "not readable as audio (",
            str(tmp_path / "gone.wav"): "No such file",
        }.items():
            assert part in fault(Path(name))
        with pytest.raises(CorpusError, match="5 of 5 files are unusable:\n(.*\n){2}.*$"):
            count_samples(sorted(tmp_path.iterdir()), "")

    @pytest.mark.fault("NaN or infinity in a wav", "refused by name, wherever it is read")
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_samples_that_are_no_numbers_are_named(self, tmp_path, bad):
        path = write(tmp_path / "nan.wav", np.array([0.1, bad, 0.1]), subtype="FLOAT")
        with pytest.raises(CorpusError, match=r"nan\.wav: NaN or infinite samples"):
            load(path)

    def test_other_rates_and_channels_are_read_where_they_may_be(self, tmp_path):
        wav, rate = decode(write(tmp_path / "a.flac", np.stack([NOISE, -NOISE], axis=1), 44100))
        assert wav.shape == (32000, 2) and rate == 44100


def without_xing(data: bytes) -> bytes:
    return data[containers.mp3(data).start :]


def tell_frames(count: int) -> Callable[[bytes], bytes]:
    """Let an MP3's header tell another number of frames."""

    def change(data: bytes) -> bytes:
        at = data.index(b"Info" if b"Info" in data[:200] else b"Xing") + 8
        return data[:at] + struct.pack(">I", count) + data[at + 4 :]

    return change


def tell_samples(count: int) -> Callable[[bytes], bytes]:
    """Let a FLAC's header tell another number of samples; 0 is what a pipe leaves."""
    return lambda data: data[:22] + struct.pack(">I", count) + data[26:]


class TestLengths:
    """The number of samples is what decoding gives, never what a header says of it."""

    @pytest.fixture
    def vbr(self, tmp_path) -> Path:
        """Two seconds of noise, six of silence: at a variable rate, bytes tell nothing of the length."""
        return write(tmp_path / "vbr.mp3", np.concatenate([NOISE, np.zeros(96000)]))

    @pytest.mark.fault("a VBR mp3 without a Xing header", "all of its samples")
    def test_an_mp3_without_a_length(self, vbr):
        frames = containers.mp3(vbr.read_bytes()).frames
        rewrite(vbr, without_xing)
        assert soundfile.info(vbr).frames != frames * 576
        assert count_samples([vbr], "") == [frames * 576] and len(load(vbr)) == frames * 576 > 128000

    @pytest.mark.fault(
        "an mp3 whose header tells of fewer frames than there are, as of two put together", "all of them"
    )
    def test_an_mp3_with_more_than_its_header_tells(self, vbr):
        frames = containers.mp3(vbr.read_bytes()).frames
        rewrite(vbr, lambda data: data + data)
        assert count_samples([vbr], "") == [(2 * frames + 1) * 576] == [len(load(vbr))]
        rewrite(vbr, lambda data: tell_frames(100)(data[: len(data) // 2]))
        assert len(load(vbr)) == frames * 576

    @pytest.mark.fault("an mp3 whose header tells of more frames than there are", "refused by name")
    def test_an_mp3_with_fewer_than_its_header_tells(self, vbr):
        frames = containers.mp3(vbr.read_bytes()).frames
        assert "the end is missing" in fault(rewrite(vbr, tell_frames(frames + 10)))

    @pytest.mark.parametrize("tag", [b"TAG" + bytes(125), b"APETAGEX" + bytes(24), bytes(500)])
    def test_tags_around_an_mp3_are_no_sound(self, vbr, tag):
        expected = load(vbr)
        rewrite(vbr, lambda data: b"ID3\4\0\0\0\0\2\1" + bytes(257) + data + tag)
        assert torch.equal(load(vbr), expected)

    @pytest.mark.fault("a flac whose header tells of fewer samples than there are, or of none", "refused by name")
    @pytest.mark.parametrize(
        "told, part", [(31999, "fewer samples"), (9, "fewer"), (0, "not tell"), (32001, "missing")]
    )
    def test_a_flac_whose_header_is_wrong(self, tmp_path, told, part):
        assert part in fault(rewrite(write(tmp_path / "a.flac"), tell_samples(told)))

    @pytest.mark.fault("a wav, aiff, au or rf64 whose header tells of fewer samples than there are", "refused by name")
    @pytest.mark.parametrize(
        "suffix, at, form",
        [("wav", b"data", "<4xI"), ("au", b".snd", ">8xI"), ("aiff", b"SSND", ">4xI"), ("rf64", b"ds64", "<16xQ")],
    )
    def test_a_header_that_is_wrong(self, tmp_path, suffix, at, form):
        path = write(tmp_path / f"a.{suffix}")

        def change(data: bytes) -> bytes:
            start = data.index(at)
            told = struct.pack(form, 20000)
            skipped = struct.calcsize(form.rstrip("IQ"))
            return data[: start + skipped] + told[skipped:] + data[start + len(told) :]

        assert len(load(path)) == 32000
        assert "fewer samples" in (told := fault(rewrite(path, change))) or "the end is missing" in told

    @pytest.mark.fault("an ogg file of several recordings, one after the other", "refused by name")
    def test_an_ogg_of_two_recordings(self, tmp_path):
        path = rewrite(write(tmp_path / "a.ogg"), lambda data: data + data)
        assert "2 recordings, one after the other" in fault(path)


class Loaded(list):
    """Paths that are read when they are asked for."""

    def __getitem__(self, index):
        return load(super().__getitem__(index))


def test_what_a_data_loaders_worker_says_is_one_line(tmp_path):
    """torch raises the worker's error anew, its traceback in the message."""
    path = write(tmp_path / "two.wav", np.zeros((100, 2)))
    with pytest.raises(CorpusError, match="Traceback") as error:
        list(DataLoader(Loaded([path]), num_workers=1))
    with pytest.raises(CorpusError) as plain:
        load(path)
    assert in_words(error.value) == in_words(plain.value) == str(plain.value)
