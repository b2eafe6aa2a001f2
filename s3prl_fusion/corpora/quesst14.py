"""QUESST 2014: queries and documents of six languages, of which SUPERB takes the English ones, and who is in which."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from xml.etree import ElementTree

from ..errors import CorpusError, MissingFileError
from .base import Corpus, Source, warn_count
from .lines import check_names, read_lines

DOCUMENTS, QUERIES = 2438, 138  # official counts of English ones; of queries in either split
ENGLISH = "nnenglish"
SPLITS = {"dev": "dev", "test": "eval"}  # the recipe's -> the corpus's
HELP = (
    "get https://speech.fit.vutbr.cz/files/quesst14Database.tgz (1.2 GB), unpack it, and pass its quesst14Database "
    "folder, with Audio/, dev_queries/, eval_queries/ and scoring/, with --quesst14"
)


@dataclass(frozen=True)
class Truth:
    """What the scoring of one split knows, of all languages.

    Attributes:
        targets: of each query of the list of terms, the documents that have it.
        documents: how many there are.
    """

    targets: dict[str, frozenset[str]]
    documents: int

    @property
    def counted(self) -> int:
        """How many queries some document has: the others do not count."""
        return sum(bool(documents) for documents in self.targets.values())


def read_english(root: Path, name: str) -> list[Path]:
    """List the English sound files of scoring/language_key_<name>.lst, as s3prl does
    (s3prl/downstream/quesst14_dtw/dataset.py:43).

    Raises:
        MissingFileError: the list is not there.
        CorpusError: a line is of another form, there is no English one, a file is there twice, or two have one name.
    """
    path = root / "scoring" / f"language_key_{name}.lst"
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; {HELP}")
    files: dict[Path, None] = {}
    for where, line in read_lines(path):
        fields = line.split()
        if len(fields) != 2 or "/" not in fields[0]:
            raise CorpusError(f"{where}: got {line!r}, expected a line as 'quesst14Database/Audio/NAME.wav {ENGLISH}'")
        file = root / fields[0].partition("/")[2]
        if file in files:
            raise CorpusError(f"{where}: {file} is there twice; unpack the corpus again")
        if fields[1] == ENGLISH:
            files[file] = None
    if not files:
        raise CorpusError(f"{path} has no file of {ENGLISH}; {HELP}")
    check_names((file.stem, file) for file in files)
    return list(files)


def read_truth(root: Path, split: str) -> Truth:
    """Read scoring/groundtruth_quesst14_<split>: its list of terms, its list of documents, and who is in which.

    Args:
        root: of the corpus.
        split: the recipe's, of `SPLITS`.

    Raises:
        MissingFileError: one of the three files is not there.
        CorpusError: one is of another form, or names a query or a document that the others do not.
    """
    folder = root / "scoring" / f"groundtruth_quesst14_{SPLITS[split]}"
    terms, excerpts, rttm = (_only(folder, ending) for ending in (".tlist.xml", ".ecf.xml", ".rttm"))
    targets: dict[str, set[str]] = {}
    called: dict[str, str] = {}
    for term in _parse(terms).iter("term"):
        name = term.get("termid", "")
        targets[name] = set()
        called[(term.findtext("termtext") or name).strip()] = name
    names = {PurePath(excerpt.get("audio_filename", "")).stem for excerpt in _parse(excerpts).iter("excerpt")}
    for what, found, path in (("term", targets, terms), ("excerpt", names, excerpts)):
        if not found:
            raise CorpusError(f"{path} has no {what}; unpack the corpus again")
    for where, document, text in _lexemes(rttm):
        if document not in names or not (text in called or text in targets):
            raise CorpusError(f"{where}: {document} has {text}, of which {excerpts.name} or {terms.name} knows nothing")
        targets[called.get(text, text)].add(document)
    return Truth({name: frozenset(found) for name, found in targets.items()}, len(names))


def _only(folder: Path, ending: str) -> Path:
    found = sorted(folder.glob(f"[!.]*{ending}"))
    if len(found) != 1:
        raise MissingFileError(f"{folder} must have one *{ending}; it has {len(found)}. {HELP}")
    return found[0]


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise CorpusError(f"{path} is no whole XML file ({error}); unpack the corpus again") from error


def _lexemes(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield ``(FILE:LINE, document, term)`` of the lines of an RTTM file that tell where a term is."""
    for where, line in read_lines(path):
        fields = line.split()
        if fields[0] != "LEXEME":
            continue
        if len(fields) < 6:
            raise CorpusError(f"{where}: got {line!r}, expected 'LEXEME DOCUMENT 1 BEGIN DURATION QUERY ...'")
        yield where, fields[1], fields[5]


def reference(root: Path, split: str) -> dict[str, str]:
    """Write what `metrics.maximum_term_weighted_value` wants of each English query of a split.

    Raises:
        CorpusError, MissingFileError: as `read_english` and `read_truth`; or a query is not in the list of terms.
    """
    truth, searched = read_truth(root, split), len(read_english(root, "utterances"))
    queries = [file.stem for file in read_english(root, SPLITS[split])]
    strange = [query for query in queries if query not in truth.targets]
    if strange:
        raise CorpusError(
            f"{len(strange)} English queries of {SPLITS[split]} are not in the terms of the ground truth, first "
            f"{strange[0]}; {HELP}"
        )
    if not any(truth.targets[query] for query in queries):
        raise CorpusError(f"no document has any of the {len(queries)} English queries of {SPLITS[split]}; {HELP}")
    numbers = f"{truth.counted} {truth.documents} {searched}"
    return {query: " ".join([numbers, *sorted(truth.targets[query])]) for query in queries}


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check lists, ground truth and audio; nothing is made beside them."""
    root = source.root
    if not (root / "scoring").is_dir() and (root / "quesst14Database" / "scoring").is_dir():
        raise CorpusError(f"{root} holds quesst14Database; pass that: --quesst14 {root / 'quesst14Database'}")
    lists = {name: read_english(root, name) for name in ("utterances", *SPLITS.values())}
    files = [file for listed in lists.values() for file in listed]
    check_names((file.stem, file) for file in files)
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise CorpusError(f"{len(missing)} of {len(files)} English files are missing, first {missing[0]}; {HELP}")
    for split in SPLITS:
        source.inventory.note(split, reference(root, split))
    warn_count("QUESST 2014", len(lists["utterances"]), DOCUMENTS, "English documents")
    for name in SPLITS.values():
        warn_count(f"QUESST 2014's {name}", len(lists[name]), QUERIES, "English queries")
    source.count_samples(files, "audio of QUESST 2014", speech=False)


CORPUS = Corpus(
    name="quesst14",
    folder="quesst14Database, with Audio, dev_queries, eval_queries and scoring",
    help=HELP,
    products={},
    prepare=prepare,
)
