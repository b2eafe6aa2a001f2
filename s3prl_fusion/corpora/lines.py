"""Text files that users give: read whatever editor wrote them, and refused by file and line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import CorpusError

BOM = "\ufeff"  # what some editors put in front of UTF-8, also where files were joined
CONVERT = "convert it: iconv -f latin1 -t UTF-8 FILE > NEW (or -f UTF-16)"


def read_text(path: Path, bom: bool = True) -> str:
    r"""Read a text in UTF-8, with or without a byte order mark; line ends of any system come out as ``\n``.

    Args:
        path: the file.
        bom: False refuses a byte order mark: s3prl, which reads the file too, takes it for a letter.

    Raises:
        CorpusError: it is in another encoding; the message has the line.
    """
    if not bom and path.read_bytes().startswith(BOM.encode()):
        raise CorpusError(f"{path}:1: begins with a byte order mark; save it as UTF-8 without one")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CorpusError(f"{path}:{line}: not UTF-8; {CONVERT}") from error
    if "\0" in text:
        raise CorpusError(f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}: not UTF-8; {CONVERT}")
    return text


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Read ``(FILE:LINE, text)`` of each line that is not blank, without white space around it.

    Raises:
        CorpusError: as `read_text`.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        text = line.strip(BOM).strip()
        if text:
            yield f"{path}:{number}", text


def check_names(named: Iterable[tuple[str, object]]) -> None:
    """Refuse names that would not stand for one utterance each in what recipes write, lines of ``NAME TEXT``.

    Args:
        named: names, and what each is the name of, for the message.

    Raises:
        CorpusError: a name has white space or is in no encoding, or two things have one name.
    """
    known: dict[str, object] = {}
    for name, what in named:
        if name.split() != [name] or name.encode(errors="ignore").decode() != name:
            raise CorpusError(
                f"{str(what)!r}: the name {name!r} has white space, or letters that are not UTF-8; rename it"
            )
        if known.setdefault(name, what) != what:
            raise CorpusError(f"{known[name]} and {what} have one name, {name}, in what recipes write; rename one")
