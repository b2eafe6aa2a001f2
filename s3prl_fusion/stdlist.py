"""Lists of detected terms, ``*.stdlist.xml``, as QUESST 2014's scoring reads them, and the leaderboard with it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from .files import write_whole
from .metrics import ScoreError

NAME = "benchmark.stdlist.xml"
YES = 2.0  # deviations; of a higher score the query counts as found (s3prl/downstream/quesst14_dtw/expert.py:142)


def write(path: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Write the scores of each query: those of documents, by their names. The file is s3prl's (expert.py:144)."""
    root = ElementTree.Element(
        "stdlist",
        termlist_filename=NAME,
        indexing_time="1.00",
        language="english",
        index_size="1",
        system_id="benchmark",
    )
    for query, found in scores.items():
        terms = ElementTree.SubElement(
            root, "detected_termlist", termid=query, term_search_time="1.0", oov_term_count="1"
        )
        for document, score in found.items():
            ElementTree.SubElement(
                terms,
                "term",
                file=document,
                channel="1",
                tbeg="0.000",
                dur="0.00",
                score=f"{score:.4f}",
                decision="YES" if score > YES else "NO",
            )
    ElementTree.indent(root)
    content = io.BytesIO()
    ElementTree.ElementTree(root).write(content, encoding="UTF-8", xml_declaration=True)
    write_whole(path, content.getvalue() + b"\n")


def read(path: Path) -> dict[str, str]:
    """Read ``DOCUMENT SCORE DOCUMENT SCORE ...`` of each query.

    Raises:
        FileNotFoundError: it does not exist.
        ScoreError: it is no such list, is cut off, or has a query twice.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ScoreError(f"{path}: no whole list of detected terms ({error}); run the evaluation again") from error
    found: dict[str, str] = {}
    for terms in root.iter("detected_termlist"):
        query = terms.get("termid", "")
        if query in found:
            raise ScoreError(f"{path}: query '{query}' is there twice")
        found[query] = as_text([(term.get("file", ""), term.get("score", "")) for term in terms.iter("term")])
    if not found:
        raise ScoreError(f"{path}: no query; run the evaluation again")
    return found


def as_text(scores: Sequence[tuple[str, str]]) -> str:
    """Write the scores of one query as metrics read them."""
    return " ".join(f"{document} {score}" for document, score in scores)
