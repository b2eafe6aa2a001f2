"""`superb` killed at random moments, with all its processes, and started again: the same scores, nothing left over.

And what it has written, with a bit flipped: noticed, done again, or harmless; never another result.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pipelines
import pytest
from forked import Server

from s3prl_fusion.files import read_json, write_sealed

pytestmark = pytest.mark.slow
KILLS, FLIPS, SEED = 30, 8, 1337
NOTICED, AGAIN, NOTHING, FAULT = "noticed", "done again", "harmless", "another result"
# What is written, and the commands that read it: of the pipeline itself, and others.
KINDS = {
    "best checkpoints": ("exp/pair/sid_seed1/dev-best.ckpt", "extract", "score"),
    "checkpoints to go on from": ("exp/pair/sid_seed1/states-*.ckpt", "superb anew"),
    "score.json": ("exp/pair/sid_seed1/score.json", "results", "superb"),
    "run.json": ("exp/pair/sid_seed1/run.json", "score", "superb"),
    "stamps of stages": ("exp/pair/sid_seed1/stages/*.json", "superb", "results"),
    "hypotheses": ("exp/pair/sid_seed1/test_predict.txt", "results", "superb"),
    "references": ("exp/pair/sid_seed1/test_truth.txt", "results", "superb"),
    "the evaluation's log": ("exp/pair/sid_seed1/evaluate.log", "results", "superb"),
    "prepared lists": ("exp/data/**/*", "superb", "results"),
    "hidden states of the cache": ("cache/*/*/*.safetensors", "superb anew", "verify"),
    "member.json of the cache": ("cache/*/member.json", "cache", "superb anew"),
}


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return pipelines.prepare(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def report() -> Iterator[dict[str, Counter[str]]]:
    """Count what came out, for docs/reliability.md: see tools/damages.py."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    yield counts
    if path := os.environ.get("DAMAGE_COUNTS"):
        Path(path).write_text(json.dumps(counts), encoding="utf-8")


def test_killed_at_random_file_operations_it_ends_with_the_same_scores(server, options, tmp_path, report):
    whole, log = tmp_path / "whole", tmp_path / "log"
    undisturbed = server(*pipelines.command(whole, options), folder=whole, log=log)
    assert undisturbed["status"] == 0, log.read_text()
    expected, draw, kills, ended = pipelines.outcome(whole), random.Random(SEED), 0, 0
    while kills < KILLS or ended == 0:
        folder = tmp_path / f"run{ended}"
        kill = {"kill_at": draw.randint(1, undisturbed["operations"]), "delay": draw.choice([0, 0.003, 0.03])}
        done = server(*pipelines.command(folder, options), folder=folder, log=log, **(kill if kills < KILLS else {}))
        if done["status"] < 0:
            kills += 1
            continue
        assert done["status"] == 0, f"after {kills} kills: {log.read_text()[-5000:]}"
        differ = [(a, b) for a, b in zip(pipelines.outcome(folder), expected) if a != b]
        assert not differ, f"after {kills} kills"
        assert not [str(path) for path in tmp_path.rglob("*.tmp*")], f"left over after {kills} kills"
        ended += 1
    report["killed"].update(kills=kills, ended=ended)


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(folder: Path, files: dict[Path, bytes]) -> None:
    for path, content in snapshot(folder).items():
        if path not in files:
            path.unlink()
        elif content != files[path]:
            path.write_bytes(files[path])
    for path, content in files.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def finished(server, options, tmp_path_factory):
    """A folder with a pipeline that has ended; a function that runs a command there and returns (status, output)."""
    root = tmp_path_factory.mktemp("finished")
    folder, log = root / "run", root / "log"
    words = pipelines.command(folder, options)
    first, clip = pipelines.runs(folder)[0], next(options[-1].rglob("*.wav"))
    commands = {
        "superb": words,
        "superb anew": words,
        "results": ["results", folder / "exp"],
        "score": ["score", first],
        "extract": ["extract", "-e", first / "dev-best.ckpt", clip, "-o", folder / "features", "--overwrite"],
        "verify": ["cache", "verify", "-o", folder / "cache"],
        "cache": ["cache", "stats", "-o", folder / "cache"],
    }

    def run(name: str) -> tuple[int, str]:
        if name == "superb anew":  # its last stages are to be done once more
            stamps = {stage: first / "stages" / f"{stage}.json" for stage in ("train", "evaluate", "score")}
            write_sealed(stamps.pop("train"), {**read_json(first / "stages" / "train.json"), "status": "running"})
            for stamp in stamps.values():
                stamp.unlink()
        log.write_text("")
        status = server(*commands[name], folder=folder, log=log)["status"]
        return status, log.read_text(encoding="utf-8", errors="replace")

    for name in ("superb", "extract"):
        status, said = run(name)
        assert status == 0, said
    return folder, run


def table(said: str) -> list[str]:
    """The rows of a table of results, without the time that was taken."""
    return [line.rpartition("| ")[0] for line in said.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_noticed_or_harmless(kind, finished, report):
    folder, run = finished
    pattern, *commands = KINDS[kind]
    whole, expected, draw = snapshot(folder), pipelines.outcome(folder, cache=False), random.Random(f"{SEED} {kind}")
    undisturbed = {name: (run(name), restore(folder, whole))[0] for name in commands}
    assert all(status == 0 for status, _ in undisturbed.values()), undisturbed
    faults = []
    try:
        for _ in range(FLIPS):
            path = draw.choice(sorted(path for path in folder.glob(pattern) if path.is_file()))
            flip(path, draw)
            came_out = NOTHING
            for name in commands:
                if came_out == NOTHING:
                    came_out = after(folder, run(name), name, path, undisturbed[name][1], whole, expected)
            faults += [] if came_out in (NOTHING, NOTICED, AGAIN) else [came_out]
            report[kind][came_out if came_out in (NOTHING, NOTICED, AGAIN) else FAULT] += 1
            restore(folder, whole)
    finally:
        restore(folder, whole)
    assert not faults, "\n".join(faults)


def after(
    folder: Path,
    ran: tuple[int, str],
    name: str,
    path: Path,
    undisturbed: str,
    whole: dict[Path, bytes],
    expected: list,
) -> str:
    """Say what came of a flipped bit in a file once a command has read it; a fault in full."""
    status, said = ran
    if "Traceback" in said:
        return f"{name}, {path}: a traceback\n{said[-2000:]}"
    if status:
        named = any(part in said for part in (str(path), path.name, path.parent.name))
        return NOTICED if named else f"{name}, {path}: not named\n{said[-2000:]}"
    if str(path) in said and str(path) not in undisturbed:
        return NOTICED
    if table(said) != table(undisturbed):
        return f"{name}, {path}: another table\n{said[-2000:]}"
    if name.startswith("superb") and (found := pipelines.outcome(folder, cache=False)) != expected:
        differ = [(a, b) for a, b in zip(found, expected) if a != b]
        return f"{name}, {path}: another result {str(differ)[:1000]}\n{said[-1000:]}"
    if name == "extract" and any(file.read_bytes() != whole[file] for file in (folder / "features").iterdir()):
        return f"{name}, {path}: other features"
    if name.startswith("superb") and ("again" in said or not path.is_file() or path.read_bytes() == whole[path]):
        return AGAIN
    return NOTHING
