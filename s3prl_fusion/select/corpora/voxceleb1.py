"""Samples of VoxCeleb1, for SID and SV: some speakers, as many as the hours have room for, each with its share."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from ...corpora.base import Prepared
from ...corpora.voxceleb1 import CORPUS, draw_trials, read_speaker_list, read_trials, speaker_clips
from ...errors import CorpusError
from ...superb.tasks import Task
from ..draw import Clip, draw, shuffled, some
from ..layout import CHOOSE, TRAIN, Layout, Wanted, check_parts, seconds_of, short, three_parts

EACH = 8  # clips of a speaker: from fewer, a head learns nothing
TRIALS = 2000  # of each part of dev
# What SV reads, as VoxCeleb1 and as a table of one's own call it.
PRODUCTS = {"speakers": "sv_speakers", "dev": "sv_dev_trials", "test": "sv_test_trials"}
PRODUCTS_OF_TABLE = {"speakers": "speakers", "dev": "dev_trials", "test": "test_trials"}
_SID = "sid/wav"  # a folder of its own below the sample: SV trains on all clips in dev/wav


def lay_out_sid(prepared: Prepared, task: Task, wanted: Wanted) -> Layout:
    """Draw clips of the identification split's train and dev."""
    root = prepared.roots[CORPUS.name]
    table = CORPUS.paths("speaker_list")[0]
    splits = {clip: split for clip, split in read_speaker_list(prepared.folder / table).items() if split in "12"}
    folders = sorted(folder for folder in root.glob("[!.]*/wav") if folder.is_dir())
    files = {clip: next(f / clip for f in folders if (f / clip).is_file()) for clip in splits}
    lengths = seconds_of(prepared, task, list(files.values()))
    clips = short(Clip(clip, clip.split("/")[0], length) for clip, length in zip(files, lengths))
    both = set.intersection(*({clip.stratum for clip in clips if splits[clip.name] == split} for split in "12"))
    clips = [clip for clip in clips if clip.stratum in both]
    chosen = some(clips, wanted.seconds, EACH, wanted.seed) if clips else []
    train, dev = ([c for c in clips if splits[c.name] == split and c.stratum in chosen] for split in "12")
    parts = three_parts(train, dev, wanted, "VoxCeleb1 (SID)")
    numbers = {"train": 1, "choose": 2, "score": 3}  # what a line of the list begins with
    lines = [f"{numbers[part]} {clip.name}\n" for part, found in parts.items() for clip in found]
    links = {f"{CORPUS.name}/{_SID}/{clip.name}": files[clip.name] for found in parts.values() for clip in found}
    return Layout(links, {str(table): "".join(lines)})


def held_out(prepared: Prepared, task: Task, products: Mapping[str, str] = PRODUCTS) -> list[str]:
    """List the speakers of SV's dev trials, sorted."""
    trials = read_trials(prepared.folder / task.corpus.paths(products["dev"])[0])
    return sorted({clip.split("/")[0] for _, *pair in trials for clip in pair})


def lay_out_sv(prepared: Prepared, task: Task, wanted: Wanted, products: Mapping[str, str] = PRODUCTS) -> Layout:
    """Draw clips of speakers to train on, and trials of others; the speakers of SV's dev trials are divided, as one
    part chooses the checkpoint and the other gives the score.

    Args:
        prepared, task, wanted: see the other samples.
        products: what the corpus calls the speakers, and the trials of dev and test.
    """
    corpus, what = task.corpus, task.title if task.corpus.given else "VoxCeleb1 (SV)"
    root = prepared.roots[corpus.name]
    tables = {name: corpus.paths(product)[0] for name, product in products.items()}
    training = (prepared.folder / tables["speakers"]).read_text(encoding="utf-8").split()
    dev = shuffled(held_out(prepared, task, products), wanted.seed)
    choosing = min(max(2, round(CHOOSE * len(dev))), len(dev) - 2)
    budget = (1 - TRAIN) * wanted.seconds
    clips = _clips(prepared, task, training)
    speakers = some(clips, TRAIN * wanted.seconds, EACH, wanted.seed) if clips else []
    parts = {
        "train": draw([c for c in clips if c.stratum in speakers], TRAIN * wanted.seconds, wanted.seed),
        "choose": draw(_clips(prepared, task, dev[: max(choosing, 0)]), CHOOSE * budget, wanted.seed),
        "score": draw(_clips(prepared, task, dev[max(choosing, 0) :]), (1 - CHOOSE) * budget, wanted.seed),
    }
    check_parts(parts, what)
    where = {"train": "dev/wav", "choose": "dev/wav", "score": "test/wav"}
    links = {
        f"{corpus.root or corpus.name}/{where[part]}/{clip.name}": root / "dev" / "wav" / clip.name
        for part, found in parts.items()
        for clip in found
    }
    texts = {str(tables["speakers"]): "".join(f"{name}\n" for name in sorted({c.stratum for c in parts["train"]}))}
    for part, product in (("choose", "dev"), ("score", "test")):
        texts[str(tables[product])] = "".join(f"{line}\n" for line in _trials(parts[part], wanted.seed, what))
    return Layout(links, texts)


def _clips(prepared: Prepared, task: Task, speakers: Sequence[str]) -> list[Clip]:
    root = prepared.roots[task.corpus.name] / "dev" / "wav"
    files = [file for speaker in speakers for file in speaker_clips(root / speaker)]
    names = [file.relative_to(root).as_posix() for file in files]
    lengths = seconds_of(prepared, task, files)
    return short(Clip(name, name.split("/")[0], length) for name, length in zip(names, lengths))


def _trials(clips: Sequence[Clip], seed: int, what: str) -> list[str]:
    by_speaker: dict[str, list[str]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.stratum, []).append(clip.name)
    if len(by_speaker) < 2 or max(map(len, by_speaker.values())) < 2:
        raise CorpusError(
            f"the sample of {what} has too few clips for trials of its dev speakers: give more --hours, or a "
            "corpus with 4 or more of them"
        )
    return draw_trials(by_speaker, TRIALS, random.Random(seed))
