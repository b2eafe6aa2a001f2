"""Samples of a user's own corpus, of each kind of task on it, from what `prepare` made of the rows of train and dev."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...corpora.base import Prepared
from ...corpora.kinds import asr, classify, pr, verify
from ...corpora.kinds.classify import DEV
from ...corpora.transcripts import match
from ...errors import CorpusError
from ...files import indented, read_json
from ...superb.tasks import Task
from ...waveforms import SAMPLE_RATE
from ..draw import Clip, draw, part
from ..layout import CHOOSE, TRAIN, Layout, Wanted, check_parts, seconds_of, short, three_parts
from . import voxceleb1

_PARTS = {"train": "train", "choose": "dev", "score": "test"}  # where recipes look for them


def lay_out(prepared: Prepared, task: Task, wanted: Wanted) -> Layout:
    """Draw a sample for a task on a table.

    Raises:
        CorpusError: there are too few rows of train and dev.
    """
    return _KINDS[task.name.partition("@")[0]](prepared, task, wanted)


def _lay_out_spoken(prepared: Prepared, task: Task, wanted: Wanted) -> Layout:
    """Draw for ASR or PR; test is a part of dev. The dictionary, vocabulary and lexicon are the whole corpus's."""
    root, corpus = prepared.roots[task.corpus.name], task.corpus
    said = {split: match(sorted((root / split).glob("*.wav"))) for split in ("train", "dev")}
    files = [file for found in said.values() for file in found]
    lengths = zip(files, seconds_of(prepared, task, files))
    clips = [Clip(file.relative_to(root).as_posix(), "", seconds) for file, seconds in lengths]
    train, dev = ([clip for clip in clips if clip.name.startswith(f"{split}/")] for split in said)
    links: dict[str, Path] = {}
    texts: dict[str, str] = {}
    spoken: dict[str, str] = {}
    for name, drawn in three_parts(train, dev, wanted, task.title).items():
        split = _PARTS[name]
        names = {clip.name: f"{split}/{Path(clip.name).name}" for clip in drawn}
        links.update({f"{corpus.root}/{new}": root / old for old, new in names.items()})
        of = {new: said[old.split("/")[0]][root / old].text for old, new in names.items()}
        spoken.update({f"{corpus.root}/{new}": text for new, text in of.items()})
        lines = [f"{Path(new).stem} {text}\n" for new, text in of.items()]
        texts[f"{corpus.root}/{split}/{split}.trans.txt"] = "".join(lines)
        if "buckets" in corpus.products:
            longest_first = sorted(drawn, key=lambda clip: (-clip.seconds, clip.name))
            rows = [f"{names[clip.name]},{round(clip.seconds * SAMPLE_RATE)},\n" for clip in longest_first]
            texts[f"{corpus.paths('buckets')[0]}/{split}.csv"] = "".join(["file_path,length,label\n", *rows])
    for path in (path for product in task.products if product != "buckets" for path in corpus.paths(product)):
        texts[str(path)] = (prepared.folder / path).read_text(encoding="utf-8")
    return Layout(links, texts, spoken)


def _lay_out_labels(prepared: Prepared, task: Task, wanted: Wanted) -> Layout:
    """Draw for labels. Fold 1's test set stays shut; of more folds, each of the others is held out in turn."""
    folder = prepared.folder / task.corpus.paths("labels")[0]
    table = read_json(folder / "Session1" / "train_meta_data.json")
    rows = {row["path"]: row["label"] for row in table["meta_data"]}
    root = prepared.roots[task.corpus.name]
    lengths = seconds_of(prepared, task, [root / path for path in rows])
    clips = short(Clip(path, label, s) for (path, label), s in zip(rows.items(), lengths))
    if len(task.folds) > 2:
        drawn = draw(clips, wanted.seconds, wanted.seed)
        tables = dict(_folds(folder, task.folds[1:], drawn, task.title))
    else:
        parts = _three(clips, list(rows)[-table[DEV] :] if table.get(DEV) else [], wanted, task.title)
        drawn = list(itertools.chain(*parts.values()))
        (fold,) = task.folds[1:] or task.folds
        tables = {_session(fold, "train"): [*parts["train"], *parts["choose"]], _session(fold, "test"): parts["score"]}
    texts = {}
    for path, of in tables.items():
        listed = [{"path": clip.name, "label": clip.stratum} for clip in of]
        content: dict[str, Any] = {"labels": table["labels"], "meta_data": listed}
        if len(task.folds) <= 2 and path.endswith("train_meta_data.json"):
            content[DEV] = len(parts["choose"])
        texts[f"{task.corpus.paths('labels')[0]}/{path}"] = indented(content)
    return Layout({f"{task.corpus.root}/{clip.name}": root / clip.name for clip in drawn}, texts)


def _session(fold: str | None, name: str) -> str:
    return f"{str(fold).replace('fold', 'Session')}/{name}_meta_data.json"


def _folds(folder: Path, folds: Sequence[str | None], drawn: Sequence[Clip], what: str) -> Any:
    """Hold each fold's drawn rows out in turn, and train on those of the others."""
    of = {fold: {row["path"] for row in read_json(folder / _session(fold, "test"))["meta_data"]} for fold in folds}
    check_parts({f"test {fold} on": [clip for clip in drawn if clip.name in of[fold]] for fold in folds}, what)
    for fold in folds:
        yield _session(fold, "train"), [clip for clip in drawn if clip.name not in of[fold]]
        yield _session(fold, "test"), [clip for clip in drawn if clip.name in of[fold]]


def _three(clips: Sequence[Clip], for_dev: Sequence[str], wanted: Wanted, what: str) -> Mapping[str, Sequence[Clip]]:
    """Draw what is trained on, chooses and gives the score; a part of train is dev where the table has none."""
    dev = [clip for clip in clips if clip.name in set(for_dev)]
    train = [clip for clip in clips if clip.name not in set(for_dev)]
    if dev:
        return three_parts(train, dev, wanted, what)
    drawn = draw(train, wanted.seconds, wanted.seed)
    first, rest = part(drawn, TRAIN, wanted.seed) if len(drawn) > 2 else ([], [])
    choose, score = part(rest, CHOOSE, wanted.seed) if len(rest) > 1 else ([], [])
    parts = {"train": first, "choose": choose, "score": score}
    check_parts(parts, what)
    return parts


def _lay_out_speakers(prepared: Prepared, task: Task, wanted: Wanted) -> Layout:
    """Draw for speaker verification, as of VoxCeleb1."""
    if len(voxceleb1.held_out(prepared, task, voxceleb1.PRODUCTS_OF_TABLE)) < 4:
        raise CorpusError(
            f"the sample of {task.title}: dev needs four speakers or more, of whom some choose the checkpoint and the "
            "others give the score"
        )
    return voxceleb1.lay_out_sv(prepared, task, wanted, voxceleb1.PRODUCTS_OF_TABLE)


_KINDS: Mapping[str, Callable[[Prepared, Task, Wanted], Layout]] = {
    asr.KIND: _lay_out_spoken,
    pr.KIND: _lay_out_spoken,
    classify.KIND: _lay_out_labels,
    verify.KIND: _lay_out_speakers,
}
