"""Corpora as users have them: the official layouts in miniature, with up to two odd things in each.

A plan is drawn: the odd things and where they are. `write_*` makes the files and tells what must come of them. An odd
thing is harmless (every file is used), a fault (the corpus is refused), or unsure (either of the two, never a third).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import strategies as st

RATE = 16000
GOOD = {"wav": {}, "24 bits": {"subtype": "PCM_24"}, "float": {"subtype": "FLOAT"}, "silence": {}, "one sample": {}}
BROKEN = ("8 kHz", "stereo", "no samples", "no bytes", "cut", "text", "gone", "NaN")
ENCODINGS = ("utf-8-sig", "latin-1", "utf-16", "crlf", "cr")
FOREIGN = b"\x00\x05\x16\x07\xff\xfe"  # what a Mac puts into ._* files
Odd = tuple[int, str]


@dataclass
class Made:
    """A corpus that was written.

    Attributes:
        root: its folder; what symlinks lead to lies beside it.
        faults: texts, of which the message that refuses it holds one; none if there is nothing to refuse.
        unsure: whether it may be refused all the same.
        texts: what the corpus says of each sound file.
    """

    root: Path
    faults: list[str] = field(default_factory=list)
    unsure: bool = False
    texts: dict[Path, str] = field(default_factory=dict)


def plans(*odd: Sequence[str], places: int) -> st.SearchStrategy[list[Odd]]:
    """Draw up to two odd things, and the number of the sound file where each is."""
    return st.lists(st.tuples(st.integers(0, places - 1), st.sampled_from(odd).flatmap(st.sampled_from)), max_size=2)


def write_sound(made: Made, path: Path, kind: str, samples: int) -> None:
    """Write noise of a kind, by default a .flac or .wav file as there are in the corpus; note whether it is a fault."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wav = 0.1 * np.random.default_rng(samples).standard_normal(samples)
    how = {"subtype": "FLOAT"} if kind == "NaN" else GOOD.get(kind, {})
    if kind == "silence":
        wav[:] = 0
    elif kind == "NaN":
        wav[samples // 2] = np.nan
    elif kind == "stereo":
        wav = np.stack([wav, wav], axis=1)
    wav = wav[: {"no samples": 0, "one sample": 1}.get(kind)]
    form = "FLAC" if path.suffix.lower() == ".flac" and "subtype" not in how else "WAV"
    soundfile.write(path, wav, 8000 if kind == "8 kHz" else RATE, format=form, **how)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[: -max(40, samples // 3)])
    elif kind == "no bytes":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "gone":
        path.unlink()
        path.symlink_to("nowhere.wav")
    made.faults += [str(path), "/".join(path.parts[-3:])] if kind in BROKEN else []


def write_lines(made: Made, path: Path, lines: Sequence[str], odd: Sequence[str]) -> None:
    """Write a list or table, in the encoding that the odd things say."""
    text = "".join(f"{line}\n" for line in lines)
    encoding = next((what for what in odd if what in ENCODINGS), "utf-8")
    if encoding == "utf-16" or (encoding == "latin-1" and not text.isascii()):
        made.faults += [path.name, path.parent.name]  # a table that says nothing leaves its folder without any
    text = text.replace("\n", {"crlf": "\r\n", "cr": "\r"}.get(encoding, "\n"))
    path.write_bytes(text.encode({"crlf": "utf-8", "cr": "utf-8"}.get(encoding, encoding), errors="replace"))


def put_aside(made: Made, path: Path) -> None:
    """Leave a symlink in the place of a file or folder."""
    target = made.root.parent / "elsewhere" / f"{len(made.texts)}-{path.name}"
    target.parent.mkdir(exist_ok=True)
    if path.exists() and not any(each.is_symlink() for each in (path, *path.parents)):
        os.replace(path, target)
        path.symlink_to(target)


CHAPTERS = ("train-clean-100/19/198", "train-clean-100/26/495", "dev-clean/84/121123", "test-clean/61/70968")
SENTENCES = ("HELLO WORLD", "GOOD DAY", "A GOOD WORLD")  # CMUdict has the words
STRANGE_FILES = ("._x.flac", ".DS_Store", "x.mp3", "x.flac/", "notes.txt", "._19-198.trans.txt", "19-198-0000.wav.bak")
LETTERS = (
    "letter Ö",
    "letter 42",
    "letter !",
    "letter ’",
    "letter É",
    "letter -",
    "letter <unk>",
    "letter |",
    "letter 中",
)
TABLES = (
    "blank last line",
    "blank first line",
    "spaces at the end",
    "small letters",
    "two spaces",
    "a tab",
    "no last newline",
)
FAULTY_TABLES = ("a line lacks", "a line twice", "no text", "other table name", "a line too many")
NAMES = ("ends in .v2", "ends in é", "ends in a copy", "capital suffix", "other chapter's name")
LINKS = ("link to file", "link to chapter", "link to speaker", "link to split", "loop")
LIBRISPEECH = plans(
    BROKEN, tuple(GOOD), ENCODINGS, STRANGE_FILES, LETTERS, TABLES, FAULTY_TABLES, NAMES, LINKS, places=12
)


def write_librispeech(root: Path, plan: Sequence[Odd], samples: int) -> Made:
    """Write a LibriSpeech of four chapters, three utterances each."""
    made, links = Made(root), []
    for number, chapter in enumerate(CHAPTERS):
        folder = root / chapter
        here = [what for place, what in plan if place // 3 == number]
        rows = [
            _utterance(made, folder, i, [w for place, w in plan if place == 3 * number + i], samples) for i in range(3)
        ]
        name = "-".join(folder.parts[-2:])
        table = folder / ("text.trans.txt" if "other table name" in here else f"{name}.trans.txt")
        made.unsure |= "other table name" in here
        if "latin-1" in here:  # so that it is not plain ASCII
            rows[0] += " GRÖSSE"
            made.unsure |= next(what for what in here if what in ENCODINGS) != "latin-1"  # a letter that no head knows
        write_lines(made, table, _twist_table(made, table, rows, here), here)
        if "no last newline" in here:
            table.write_bytes(table.read_bytes().rstrip())
        for what in here:
            if what in STRANGE_FILES:
                (folder / what).mkdir(exist_ok=True) if what.endswith("/") else (folder / what).write_bytes(FOREIGN)
                made.unsure |= what in ("x.flac/", "x.mp3")
            if what == "loop" and not (folder / "loop").is_symlink():
                (folder / "loop").symlink_to(folder)
            links += [folder / f"{name}-0001.flac"] if what == "link to file" else []
            links += [folder, folder.parent, folder.parent.parent][i : i + 1] if (i := _level(what)) is not None else []
    for path in links:
        put_aside(made, path)
    return made


def _level(what: str) -> int | None:
    levels = ("link to chapter", "link to speaker", "link to split")
    return levels.index(what) if what in levels else None


def _utterance(made: Made, folder: Path, number: int, odd: Sequence[str], samples: int) -> str:
    """Write an utterance's sound, and return its line of the table."""
    endings = {"ends in .v2": ".v2", "ends in é": "é", "ends in a copy": " copy"}
    name = f"{folder.parts[-2]}-{folder.parts[-1]}-{number:04d}{''.join(endings[w] for w in odd if w in endings)}"
    name = "84-121123-0000" if "other chapter's name" in odd and "dev" not in folder.parts[-3] else name
    made.unsure |= any(what in NAMES for what in odd)
    suffix = ".FLAC" if "capital suffix" in odd else ".flac"
    kind = next((what for what in odd if what in GOOD or what in BROKEN), "flac")
    path = folder / f"{name}{'.wav' if kind in ('wav', '24 bits', 'float', 'NaN', 'gone') else suffix}"
    write_sound(made, path, kind, samples + number)
    letters = "".join(f" X{what.split()[1]}X" for what in odd if what in LETTERS)
    made.faults += [name, "no pronunciation", folder.parts[-1]] if letters else []
    made.texts[path] = SENTENCES[number] + letters
    return f"{name} {made.texts[path]}"


def _twist_table(made: Made, table: Path, rows: list[str], odd: Sequence[str]) -> list[str]:
    """Change the lines `name text` of a chapter."""
    first, last = rows[0], rows[-1]
    name, _, text = last.partition(" ")
    if {"a line lacks", "no text"} & {*odd}:
        made.faults += [name, table.name]
        rows = rows[:-1] if "a line lacks" in odd else [*rows[:-1], name]
    elif "a line twice" in odd:
        made.faults += [first.split(" ")[0], table.name]
        rows = [*rows, first]
    elif "small letters" in odd:
        rows = [*rows[:-1], f"{name} {text.lower()}"]
    elif "two spaces" in odd:
        rows = [*rows[:-1], f"{name}  {text}"]
    elif "a tab" in odd:
        rows = [*rows[:-1], f"{name}\t{text}"]
    made.unsure |= {"a tab", "a line too many"} & {*odd} != set()
    if "a line too many" in odd:
        rows = [*rows, "1-2-3 HELLO"]
    if "spaces at the end" in odd:
        rows = [f"{row}  " for row in rows]
    return [*[""] * ("blank first line" in odd), *rows, *[""] * ("blank last line" in odd)]


def sound_files(folder: Path, above: tuple[str, ...] = ()) -> set[Path]:
    """List the sound files that a user sees below a folder: hidden ones aside, through symlinks, loops aside."""
    real, found = os.path.realpath(folder), set()
    for path in () if real in above else sorted(folder.iterdir()):
        if path.is_dir():
            found |= sound_files(path, (*above, real))
        elif not path.name.startswith(".") and path.suffix.lower() in (".flac", ".wav"):
            found.add(path)
    return found


DEV, TEST = [f"id1000{k}" for k in range(1, 6)], ["id10270", "id10271"]
CLIPS = ("abc/00001.wav", "abc/00002.wav", "d-_e/00001.wav")
LISTS = ("blank last line", "a line twice", "a clip too many", "nonsense", "two spaces", "spaces at the end")
STRANGE_CLIPS = ("._00001.wav", ".DS_Store", "notes.txt", "more.wav")
CLIP_LINKS = ("link to speaker", "link to dev")
VOXCELEB1 = plans(BROKEN, tuple(GOOD), ENCODINGS, LISTS, STRANGE_CLIPS, CLIP_LINKS, places=21)


def write_voxceleb1(root: Path, plan: Sequence[Odd], samples: int) -> Made:
    """Write a VoxCeleb1 of five speakers in dev and two in test, three clips each, with both lists."""
    made, rows, odd = Made(root), [], [what for _, what in plan]
    for number, (speaker, clip) in enumerate((s, c) for s in [*DEV, *TEST] for c in CLIPS):
        path = root / ("test" if speaker in TEST else "dev") / "wav" / speaker / clip
        here = [what for place, what in plan if place == number]
        write_sound(
            made, path, next((what for what in here if what in GOOD or what in BROKEN), "wav"), samples + number
        )
        rows.append(f"{number % 3 + 1} {speaker}/{clip}")
        made.texts[path] = rows[-1]
        for what in here:
            if what in STRANGE_CLIPS:
                (path.parent / what).write_bytes(FOREIGN)
                made.unsure |= what == "more.wav"
    first, *others = CLIPS
    trials = [f"1 {who}/{first} {who}/{other}" for who in TEST for other in others]
    trials += [f"0 {TEST[0]}/{name} {TEST[1]}/{name}" for name in CLIPS]
    for name, lines in (("iden_split.txt", rows), ("veri_test.txt", trials)):
        write_lines(made, root / name, _twist_list(made, root / name, lines, odd), odd)
    for what in odd:
        if what in CLIP_LINKS:
            put_aside(made, root / "dev" / ("wav/id10002" if what == "link to speaker" else ""))
    return made


def _twist_list(made: Made, path: Path, lines: list[str], odd: Sequence[str]) -> list[str]:
    """Change the lines of a list of VoxCeleb1's."""
    if "a clip too many" in odd:
        lines = [*lines, lines[0].replace("00001", "99999")]
        made.faults += ["99999.wav"]
    if "nonsense" in odd:
        lines = [*lines, "nonsense"]
        made.faults.append(path.name)
    if "a line twice" in odd:
        lines, made.unsure = [*lines, lines[0]], True
    if "two spaces" in odd:
        lines, made.unsure = [line.replace(" ", "  ", 1) for line in lines], True
    if "spaces at the end" in odd:
        lines = [f"{line} " for line in lines]
    return [*lines, ""] if "blank last line" in odd else lines


TURNS = {"F000": "neu", "M000": "exc", "F001": "fru", "M001": "ang", "F002": "sad"}
LABELS = (
    "an odd label",
    "a label twice",
    "a turn too many",
    "blank lines",
    "other letters",
    "hidden copy",
    "no label",
)
IEMOCAP = plans(BROKEN, tuple(GOOD), ENCODINGS, LABELS, ("link to session", "link to dialog"), places=25)


def write_iemocap(root: Path, plan: Sequence[Odd], samples: int) -> Made:
    """Write the five sessions of IEMOCAP, a dialog of five turns each."""
    made, links = Made(root), []
    for k in range(1, 6):
        session, dialog = root / f"Session{k}", f"Ses0{k}F_impro01"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        for number, (turn, label) in enumerate(TURNS.items()):
            here = [what for place, what in plan if place == 5 * (k - 1) + number]
            path, before = session / "sentences" / "wav" / dialog / f"{dialog}_{turn}.wav", list(made.faults)
            write_sound(made, path, next((what for what in here if what in GOOD or what in BROKEN), "wav"), samples)
            if label == "fru":  # SUPERB leaves it out
                made.faults = before
            else:
                made.texts[path] = {"exc": "hap"}.get(label, label)
            lines += [f"[6.2901 - 8.2357]\t{dialog}_{turn}\t{label}\t[2.5, 2.5, 2.5]", "C-E2:\tNeutral;\t()", ""]
        odd = [what for place, what in plan if place // 5 == k - 1]
        table = session / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
        table.parent.mkdir(parents=True)
        write_lines(made, table, _twist_labels(made, table, lines, odd), odd)
        links += [session] * ("link to session" in odd) + [path.parent] * ("link to dialog" in odd)
    for path in links:
        put_aside(made, path)
    return made


def _twist_labels(made: Made, table: Path, lines: list[str], odd: Sequence[str]) -> list[str]:
    """Change the lines of a dialog's labels."""
    if "hidden copy" in odd:
        table.with_name(f"._{table.name}").write_bytes(FOREIGN)
    if "an odd label" in odd:
        lines = [*lines, lines[2].replace("F000", "F009").replace("\tneu\t", "\tsaad\t")]
        made.faults.append(table.name)
    if "a label twice" in odd:
        lines = [*lines, lines[2]]
        made.faults.append(table.name)
    if "a turn too many" in odd:
        lines = [*lines, lines[2].replace("F000", "F009")]
        made.faults.append("F009")
    if "no label" in odd:
        lines = [*lines, lines[2].split("\t")[0]]
        made.faults.append(table.name)
    if "other letters" in odd:
        lines = [*lines, "A-E3:\tval 3;\t(café)"]
    return ["", *lines, "", ""] if "blank lines" in odd else lines
