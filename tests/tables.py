"""A user's own corpus in miniature: a table of noises with labels of every kind."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from official_layouts import clip

COUNTS = {"train": 4, "dev": 2, "test": 2}
TEXTS = ("Příliš žluťoučký kůň", "úpěl ďábelské ódy")
PHONEMES = ("s S a", "S o")


def rows(folder: Path, seconds: float = 0.4) -> list[dict[str, str]]:
    """Make the sound files below a folder; return a row each: two labels, two speakers, who say two texts."""
    found = []
    for split, count in COUNTS.items():
        for i in range(count):
            path = f"wavs/{split}{i}.wav"
            clip(folder / path, 10 * len(split) + i, seconds)
            speakers = f"{'abc'[i % 2]}{i // 2 if split == 'train' else ''}"
            found.append(
                {
                    "path": path,
                    "split": split,
                    "text": TEXTS[i % 2],
                    "phonemes": PHONEMES[i % 2],
                    "label": ("glad", "very low")[i % 2],
                    "speaker": speakers,
                }
            )
    return found


def write(path: Path, table: list[dict[str, str]]) -> Path:
    """Write rows as the suffix says."""
    names = list(dict.fromkeys(name for row in table for name in row))
    with path.open("w", encoding="utf-8", newline="") as out:
        if path.suffix == ".jsonl":
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
        elif path.suffix == ".tsv":
            out.writelines("\t".join(line) + "\n" for line in [names, *([r.get(n, "") for n in names] for r in table)])
        else:
            writer = csv.DictWriter(out, names)
            writer.writeheader()
            writer.writerows(table)
    return path


def write_kaldi(folder: Path, table: list[dict[str, str]]) -> Path:
    """Write rows as a Kaldi-style folder; paths are absolute, as they are there."""
    for split in COUNTS:
        mine = [row for row in table if row["split"] == split]
        (folder / split).mkdir(parents=True)
        for file, name in (("wav.scp", "path"), ("text", "text"), ("utt2spk", "speaker"), ("utt2label", "label")):
            lines = [f"{Path(row['path']).stem} {row[name]}\n" for row in mine]
            (folder / split / file).write_text("".join(lines), encoding="utf-8")
    return folder
