"""LibriSpeech on disk, as PR's data set and `prepare` both read it."""

from __future__ import annotations

import pytest
import soundfile
from official_layouts import TRANSCRIPTS, official_librispeech

from s3prl_fusion.corpora.transcripts import find_audio, read_lexicon, read_transcripts, read_utterances
from s3prl_fusion.errors import CorpusError


@pytest.fixture
def split(tmp_path):
    return official_librispeech(tmp_path) / "train-clean-100"


def test_audio_and_transcripts_go_by_the_same_names(split):
    file = split / "19/198/19-198-0001.flac"
    soundfile.write(file.with_suffix(".WAV"), *soundfile.read(file))
    file.unlink()
    found = read_utterances(split)
    assert list(found) == sorted(found)
    assert [transcript.text for transcript in found.values()] == 2 * TRANSCRIPTS["train-clean-100"]
    assert found[file.with_suffix(".WAV")].where == f"{split}/19/198/19-198.trans.txt:2"
    assert [path.name for path in found][:3] == ["19-198-0000.flac", "19-198-0001.WAV", "19-198-0002.flac"]


def test_what_a_mac_leaves_is_no_part_of_a_split(split):
    before = read_utterances(split)
    for name in ("._19-198-0000.flac", "._19-198.trans.txt"):
        (split / "19" / "198" / name).write_bytes(b"\x00\x05\x16\x07\xff")
    assert read_utterances(split) == before


def test_an_utterance_that_is_there_twice_is_refused(split):
    file = split / "26/495/26-495-0002.flac"
    soundfile.write(file.with_suffix(".wav"), *soundfile.read(file))
    with pytest.raises(
        CorpusError, match=r"26-495-0002\.flac and .*26-495-0002\.wav are the same utterance; remove one"
    ):
        find_audio(split)
    table = split / "26/495/26-495.trans.txt"
    table.write_text(table.read_text() + "\n26-495-0000 GOOD\n")
    with pytest.raises(CorpusError, match=r"trans\.txt:6: 26-495-0000 has a transcript twice, the first at .*txt:1;"):
        read_transcripts([table.parent])


def test_the_first_pronunciation_counts_over_all_files(tmp_path):
    (tmp_path / "a.txt").write_text("READ R IY1 D\nREAD R EH1 D\n\n")
    (tmp_path / "b.txt").write_text("read R AY1 D\nROAD\tR OW1 D\n")
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    assert read_lexicon(paths) == {"READ": ["R", "IY1", "D"], "ROAD": ["R", "OW1", "D"]}
    with pytest.raises(CorpusError, match=r"b\.txt:2: ROAD uses 'OW1', which phoneme\.txt does not list"):
        read_lexicon(paths, ["R", "IY1", "EH1", "AY1", "D"].__contains__)
