"""A sample of IEMOCAP, for ER: each session's labels keep their share, and each session is held out in turn.

Session 1, which fold 1 tests on, stays shut. The recipe draws its own dev set from the sessions that it trains on.
"""

from __future__ import annotations

from ...corpora.base import Prepared
from ...corpora.iemocap import CORPUS, fold_tables
from ...errors import CorpusError
from ...files import indented, read_json
from ...superb.tasks import Task
from ..draw import Clip, draw
from ..layout import Layout, Wanted, seconds_of, short

SHUT = "Session1"


def lay_out(prepared: Prepared, task: Task, wanted: Wanted) -> Layout:
    """Draw a sample of the sessions that fold 1 trains on."""
    root, folder = prepared.roots[CORPUS.name], CORPUS.paths("emotions")[0]
    rows = read_json(prepared.folder / folder / SHUT / "train_meta_data.json")["meta_data"]
    by_path = {row["path"]: row for row in rows}
    lengths = seconds_of(prepared, task, [root / path for path in by_path])
    clips = [Clip(path, f"{_session(path)}/{by_path[path]['label']}", s) for path, s in zip(by_path, lengths)]
    drawn = draw(short(clips), wanted.seconds, wanted.seed)
    sessions: dict[str, list[dict[str, str]]] = {_session(path): [] for path in sorted(by_path)}
    for clip in drawn:
        sessions[_session(clip.name)].append(by_path[clip.name])
    empty = [session for session, found in sessions.items() if not found]
    if empty:
        raise CorpusError(f"the sample of IEMOCAP has no clip of {', '.join(empty)}: give more --hours")
    links = {f"{CORPUS.name}/{clip.name}": root / clip.name for clip in drawn}
    texts = {str(folder / path): indented(table) for path, table in fold_tables(sessions)}
    return Layout(links, texts)


def _session(path: str) -> str:
    return path.split("/")[0]
