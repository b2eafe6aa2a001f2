"""Build demo/tables/russian.csv: the demo's Russian clips as a table of speech of one's own, with what they say.

Usage::

    python demo/build_table.py core-sounds-ru.txt.gz -o demo/tables/russian.csv

The texts are those of Debian's package ``asterisk-core-sounds-ru`` (usr/share/doc/asterisk-core-sounds-ru/).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
from pathlib import Path

import pandas as pd

CORPUS = Path(__file__).resolve().parent / "corpus"
VOICE = "ru_RU_f_IvrvoiceRU"
COLUMNS = ["path", "split", "text", "label", "speaker"]
# By what a prompt's name begins with: the part of a telephone exchange that says it.
TOPICS = {"conf": "conference", "vm-": "voicemail"}


def read_texts(path: Path) -> dict[str, str]:
    """Read the "name: text" lines of the package, without punctuation."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        pairs = [line.split(":", 1) for line in lines if ":" in line and not line.startswith(";")]
    return {name.strip(): " ".join(re.findall(r"\w+", text)) for name, text in pairs}


def rows(texts: dict[str, str]) -> list[list[str]]:
    """List the clips whose text has no digits: these may be said in several forms."""
    manifest = pd.read_csv(CORPUS / "manifest.csv", keep_default_na=False)
    found = []
    for clip in manifest[manifest["voice"] == VOICE].itertuples():
        text = texts[clip.prompt]
        topic = next((topic for start, topic in TOPICS.items() if clip.prompt.startswith(start)), "other")
        if not re.search(r"\d", text):
            found.append([f"../corpus/{clip.path}", clip.speaker_split, text, topic, clip.voice])
    return found


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, help="core-sounds-ru.txt.gz")
    parser.add_argument("-o", "--output", type=Path, default=CORPUS.parent / "tables" / "russian.csv")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([COLUMNS, *rows(read_texts(args.texts))])


if __name__ == "__main__":
    main()
