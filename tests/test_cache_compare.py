"""`s3prl-fusion cache verify --against`: what is kept of states against what the members give now."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

import pytest
import soundfile
import torch
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionConfig
from s3prl_fusion.cache import codec
from s3prl_fusion.cache.config import CacheConfig
from s3prl_fusion.cache.store import Disk, MemberStore, read_file
from s3prl_fusion.cli import main

PAIR = "fused__fbank__mfcc"
LENGTHS = (16000, 9000, 20000, 500)


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("S3PRL_FUSION_CACHE", raising=False)
    yield
    s3prl_fusion.unregister()


@pytest.fixture
def corpus(tmp_path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for i, wav in enumerate(wavs(*LENGTHS)):
        soundfile.write(folder / f"{i}.wav", wav.numpy(), 16000, subtype="FLOAT")
    return folder


@pytest.fixture
def cache(corpus, tmp_path, capsys) -> Path:
    """A cache of the corpus in int8."""
    folder = tmp_path / "cache"
    assert main(["cache", "fill", "-u", PAIR, "--corpus", str(corpus), "-o", str(folder), "--dtype", "int8"]) == 0
    capsys.readouterr()
    return folder


def against(corpus: Path, folder: Path, *more: str) -> int:
    return main(
        ["cache", "verify", "--against", PAIR, "--corpus", str(corpus), "-o", str(folder), "--dtype", "int8", *more]
    )


def table(out: str) -> dict[tuple[str, str], list[float]]:
    """Its numbers by member and hidden state."""
    cells = [[cell.strip(" %") for cell in line.split("|")[1:-1]] for line in out.splitlines() if line[:1] == "|"]
    return {(row[0], row[1]): [float(cell) for cell in row[2:]] for row in cells[2:]}


def replace_states(path: Path, change) -> None:
    """Put an entry of changed states in the place of a stored one, whole and with its checksum."""
    states = [state[0] for state in codec.decode([read_file(path)], torch.device("cpu"), torch.float32)]
    folder = path.parents[1]
    store = MemberStore(Disk(CacheConfig(str(folder.parent))), folder.name, {})
    assert store.write(path.stem, codec.encode([change(state) for state in states], "int8"))


def test_the_errors_are_those_of_what_is_read(corpus, cache, capsys):
    assert against(corpus, cache) == 0
    out = capsys.readouterr().out
    assert "8 of 8 are stored; 0 damaged or too far away" in out
    for name in ("fbank", "mfcc"):
        caches = {"dir": str(cache), "dtype": "int8"}, None
        kept, live = (FusedUpstream(FusionConfig.from_dict({"members": [name], "cache": one})).eval() for one in caches)
        errors, frames = [], []
        with torch.no_grad():
            for wav in wavs(*LENGTHS):
                (((one,),), ((other,),)) = (upstream.member_states([wav]) for upstream in (kept, live))
                errors.append(float((one - other).norm() / other.norm()))
                frames.append(float(((one - other).norm(dim=-1) / other.norm(dim=-1)).max()))
        assert kept.caches[0].hits == len(LENGTHS)
        expected = [100 * error for error in (max(errors), median(errors), max(frames))]
        assert table(out)[name, "0"][:3] == table(out)[name, "all"][:3] == pytest.approx(expected, rel=0.01)


def test_sizes_are_those_of_the_files(corpus, cache, capsys):
    assert against(corpus, cache, "--sample", "1") == 0
    out = capsys.readouterr().out
    sizes = {round(path.stat().st_size) for path in cache.rglob("*.safetensors")}
    for name in ("fbank", "mfcc"):
        size = table(out)[name, "all"][3]
        assert any(abs(size - bytes_ / (2 * length)) < 0.02 * size for bytes_ in sizes for length in LENGTHS)


@pytest.mark.parametrize("name, change", [("louder", lambda x: 1.05 * x), ("shorter", lambda x: x[:-1])])
def test_what_the_member_does_not_give_any_more_is_named_and_removed(name, change, corpus, cache, capsys):
    path = sorted(cache.rglob("*.safetensors"))[0]
    replace_states(path, change)
    assert main(["cache", "verify", "-o", str(cache)]) == 0  # a whole file
    capsys.readouterr()
    assert against(corpus, cache) == 1
    out = capsys.readouterr().out
    assert "8 of 8 are stored; 1 damaged or too far away; --remove" in out
    told = {
        "louder": rf"{path}: hidden state 0 is (4\.|5).* % from what '(fbank|mfcc)' gives now.*int8 makes 1 % and 3 %",
        "shorter": rf"{path} has hidden states of other sizes than '(fbank|mfcc)' gives now",
    }
    assert re.search(told[name], out)
    assert against(corpus, cache, "--remove") == 0 and not path.exists()
    assert against(corpus, cache) == 0
    assert "7 of 8 are stored; the others count as they would be stored; 0 damaged" in capsys.readouterr().out


def test_a_damaged_file_is_named_and_left(corpus, cache, capsys):
    path = sorted(cache.rglob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert against(corpus, cache) == 1
    out = capsys.readouterr().out
    assert f"{path} is damaged" in out and "7 of 8 are stored" in out and path.exists()


def test_before_anything_is_stored_the_table_is_the_same_and_nothing_is_written(corpus, cache, tmp_path, capsys):
    assert against(corpus, cache) == 0
    stored = table(capsys.readouterr().out)
    assert against(corpus, tmp_path / "empty") == 0 and not (tmp_path / "empty").exists()
    out = capsys.readouterr().out
    assert table(out) == stored and "0 of 8 are stored" in out


def test_the_sample_is_the_seeds(corpus, cache, capsys):
    def one(seed: int) -> str:
        assert against(corpus, cache, "--sample", "1", "--seed", str(seed)) == 0
        return capsys.readouterr().out

    first = one(0)
    assert "2 of 2 are stored" in first and first == one(0) != one(1)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--corpus", "."], "--corpus goes with --against NAME"),
        (["--against", "fbank"], "--against needs --corpus DIR"),
        (["--against", "fbank", "--corpus", ".", "--sample", "0"], "--sample must be 1 or more files; got 0"),
        (["--against", "fban", "--corpus", "."], "unknown upstream 'fban'"),
        (["--against", "fbank", "--corpus", "nowhere"], "nowhere does not exist"),
    ],
)
def test_mistakes_end_with_2(argv, message, capsys, tmp_path):
    assert main(["cache", "verify", "-o", str(tmp_path), *argv]) == 2
    assert message in capsys.readouterr().err
