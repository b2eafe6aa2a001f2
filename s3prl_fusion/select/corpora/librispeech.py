"""A sample of LibriSpeech, for ASR and PR: each speaker keeps its share of train-clean-100 and of dev-clean."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ...corpora.base import Prepared
from ...corpora.librispeech import CORPUS
from ...corpora.transcripts import match
from ...superb.tasks import Task
from ...waveforms import SAMPLE_RATE
from ..draw import Clip
from ..layout import Layout, Wanted, three_parts

PARTS = {"train": "train-clean-100", "choose": "dev-clean", "score": "test-clean"}  # where recipes look for them


def lay_out(prepared: Prepared, task: Task, wanted: Wanted) -> Layout:
    """Draw a sample; test-clean is a part of dev-clean."""
    root, name = prepared.roots[CORPUS.name], CORPUS.name
    tables, lexicons = (CORPUS.paths(product)[0] for product in ("buckets", "lexicons"))
    train, dev = (_clips(prepared.folder / tables / f"{split}.csv") for split in ("train-clean-100", "dev-clean"))
    parts = three_parts(train, dev, wanted, "LibriSpeech")
    links: dict[str, Path] = {}
    texts: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    said: dict[str, str] = {}
    for part, clips in parts.items():
        rows = []
        for clip in sorted(clips, key=lambda clip: (-clip.seconds, clip.name)):
            path = PurePosixPath(PARTS[part], *PurePosixPath(clip.name).parts[1:])
            links[f"{name}/{path}"] = root / clip.name
            rows.append(f"{path},{round(clip.seconds * SAMPLE_RATE)},\n")
        texts[f"{tables}/{PARTS[part]}.csv"] = "".join(["file_path,length,label\n", *rows])
    spoken = match(links.values())
    for link, file in sorted(links.items()):
        utterance, said[link] = PurePosixPath(link), spoken[file].text
        table = utterance.parent / f"{'-'.join(utterance.parts[-3:-1])}.trans.txt"
        lines.setdefault(str(table), []).append(f"{utterance.stem} {said[link]}\n")
    texts.update({table: "".join(rows) for table, rows in lines.items()})
    lexicon = prepared.folder / lexicons
    if "lexicons" in task.products:
        words = {word for text in said.values() for word in text.split()}
        known = lexicon.read_text(encoding="utf-8").splitlines(keepends=True)
        texts[str(lexicons)] = "".join(line for line in known if line.split()[0] in words)
    return Layout(links, texts, said)


def _clips(table: Path) -> list[Clip]:
    """Read a table of lengths; ``split/speaker/chapter/file``."""
    import pandas

    rows = pandas.read_csv(table, dtype={"file_path": str}).itertuples()
    return [Clip(row.file_path, row.file_path.split("/")[1], row.length / SAMPLE_RATE) for row in rows]
