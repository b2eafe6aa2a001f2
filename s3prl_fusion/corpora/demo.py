"""`prepare` for the demo: the recordings of demo/corpus in the layouts of LibriSpeech, VoxCeleb1 and IEMOCAP.

- LibriSpeech: the English prompts, FLAC and `.trans.txt`, with length tables and a lexicon from CMUdict. Beside its own
  splits, `train-speeds` has the training clips played slower and faster.
- VoxCeleb1: the same prompts by five voices. Training clips pass a studio channel, dev and test clips a telephone one.
- IEMOCAP: each voice is a session; every prompt is acted in two of four styles (demo_effects.py), because emotional
  recordings cannot be had freely. Scores on it say nothing about real emotions.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import identity
from ..assets import demo_dir
from ..disk import check_folder
from ..errors import CorpusError, MissingFileError
from ..files import make_cache_dir, whole_folder, write_whole
from ..source import content_digest
from . import demo_effects as effects
from . import iemocap, librispeech, transcripts, voxceleb1
from .base import Prepared

if TYPE_CHECKING:
    import pandas

COLUMNS = ("path", "voice", "language", "prompt", "seconds", "split", "speaker_split", "transcript")
SPEAKER_SPLITS = {"train": 1, "dev": 2, "test": 3}  # VoxCeleb1's list writes the numbers
CHANNEL_OF = {"train": "studio", "dev": "telephone", "test": "telephone"}
SPED_UP, SPEEDS = "train-speeds", (0.9, 1.1)  # copies of the clips of train-clean-100
SEED = 1337
STAMP = "prepared.txt"
ROOTS = {"librispeech": "LibriSpeech", "voxceleb1": "VoxCeleb1", "iemocap": "IEMOCAP"}
SCHEME = "demo://"  # what a path of the demo's configs starts with: it is below the demo's prepared corpora


@dataclass(frozen=True)
class Clip:
    """One file to make: a recording, what is done to it, and where it goes."""

    source: Path
    target: Path
    seed: int
    style: str | None = None
    channel: str | None = None
    speed: float = 1.0


def read_manifest(corpus: Path) -> pandas.DataFrame:
    """Return the table of recordings.

    Raises:
        FileNotFoundError: There is no manifest.
        CorpusError: A column is missing, or a listed file does not exist.
    """
    import pandas

    path = corpus / "manifest.csv"
    if not path.is_file():
        raise MissingFileError(f"no {path}; use a complete checkout, or rebuild it with demo/build_corpus.py")
    table = pandas.read_csv(path, keep_default_na=False)
    lacking = [column for column in COLUMNS if column not in table]
    if lacking:
        raise CorpusError(f"{path} lacks the columns {', '.join(lacking)}; rebuild it with demo/build_corpus.py")
    missing = [name for name in table["path"] if not (corpus / name).is_file()]
    if missing:
        raise CorpusError(f"{path} lists {len(missing)} files that do not exist, first {corpus / missing[0]}")
    return table


def make(clip: Clip) -> None:
    """Write one clip as 16-bit FLAC or WAV (by suffix), mono, 16 kHz."""
    import soundfile

    wav, rate = soundfile.read(str(clip.source), dtype="float32")
    if rate != effects.SAMPLE_RATE or wav.ndim != 1:
        raise CorpusError(f"{clip.source}: {rate} Hz, shape {wav.shape}; expected mono at {effects.SAMPLE_RATE} Hz")
    rng = np.random.default_rng(clip.seed)
    if clip.speed != 1.0:
        wav = effects.play(wav, clip.speed)
    if clip.style:
        wav = effects.act(wav, effects.STYLES[clip.style], rng)
    if clip.channel:
        wav = effects.transmit(wav, effects.CHANNELS[clip.channel], rng)
    soundfile.write(str(clip.target), wav, effects.SAMPLE_RATE, subtype="PCM_16")


def seed_of(*words: object) -> int:
    """Return a seed that depends on `words` only, not on the order of the work."""
    text = "/".join(map(str, (SEED, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def librispeech_clips(table: pandas.DataFrame, corpus: Path, root: Path) -> Iterator[Clip]:
    """LibriSpeech's files; writes the transcripts. A voice is a speaker, a split is a chapter."""
    rows = table[table["split"] != ""]
    speakers = {voice: 1001 + number for number, voice in enumerate(sorted(rows["voice"].unique()))}
    made_of = {**{split: (split, (1.0,)) for split in librispeech.SPLITS}, SPED_UP: ("train-clean-100", SPEEDS)}
    for number, (split, (source, speeds)) in enumerate(made_of.items(), start=1):
        for voice, group in rows[rows["split"] == source].groupby("voice"):
            chapter = f"{speakers[voice]}-{number}"
            folder = root / split / chapter.replace("-", "/")
            lines = []
            clips = itertools.product(group.sort_values("prompt").itertuples(), speeds)
            for index, (row, speed) in enumerate(clips):
                name = f"{chapter}-{index:04d}"
                lines.append(f"{name} {row.transcript}\n")
                yield Clip(corpus / row.path, folder / f"{name}.flac", seed_of(name), speed=speed)
            write_whole(folder / f"{chapter}.trans.txt", "".join(lines))


def voxceleb1_clips(table: pandas.DataFrame, corpus: Path, root: Path) -> Iterator[Clip]:
    """VoxCeleb1's files; writes the identification split. A voice is an identity."""
    rows = table[table["speaker_split"] != ""]
    voices = sorted(rows["voice"].unique())
    lines = []
    for (voice, split), group in rows.groupby(["voice", "speaker_split"]):
        for number, row in enumerate(group.sort_values("prompt").itertuples(), start=1):
            name = f"id{10001 + voices.index(voice)}/demo-{split}/{number:05d}.wav"
            lines.append(f"{SPEAKER_SPLITS[split]} {name}\n")
            yield Clip(corpus / row.path, root / "dev" / "wav" / name, seed_of("sid", name), channel=CHANNEL_OF[split])
    write_whole(root.parent / voxceleb1.CORPUS.paths("speaker_list")[0], "".join(lines))


def iemocap_clips(table: pandas.DataFrame, corpus: Path, root: Path) -> Iterator[Clip]:
    """IEMOCAP's files; writes the folds. A voice is a session, and each prompt is acted in two styles."""
    rows = table[table["speaker_split"] != ""]
    styles = list(effects.STYLES)
    sessions: dict[str, list[dict[str, str]]] = {}
    for number, (voice, group) in enumerate(rows.groupby("voice"), start=1):
        session, speaker = f"Session{number}", f"Ses{number:02d}F"
        labelled = sessions.setdefault(session, [])
        for index, row in enumerate(group.sort_values("prompt").itertuples()):
            first = index % 4
            for style in (styles[first], styles[(first + 1 + index // 4 % 3) % 4]):
                name = f"{session}/sentences/wav/{speaker}_demo/{speaker}_demo_{index:03d}_{style}.wav"
                labelled.append({"path": name, "label": style, "speaker": speaker})
                yield Clip(corpus / row.path, root / name, seed_of("er", voice, row.prompt, style), style=style)
    iemocap.write_folds(sessions, root.parent / iemocap.CORPUS.paths("emotions")[0])


def lay_out(corpus: Path, folder: Path) -> None:
    """Fill an empty `folder` with the three corpora, using two processes."""
    from tqdm import tqdm

    table = read_manifest(corpus)
    clips = [
        *librispeech_clips(table, corpus, folder / ROOTS["librispeech"]),
        *voxceleb1_clips(table, corpus, folder / ROOTS["voxceleb1"]),
        *iemocap_clips(table, corpus, folder / ROOTS["iemocap"]),
    ]
    for parent in {clip.target.parent for clip in clips}:
        parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for _ in tqdm(pool.map(make, clips, chunksize=8), total=len(clips), desc="demo corpora", unit="clip"):
            pass
    buckets, lexicon = (folder / librispeech.CORPUS.paths(product)[0] for product in ("buckets", "lexicons"))
    librispeech.write_buckets(folder / ROOTS["librispeech"], buckets, (*librispeech.SPLITS, SPED_UP))
    rows = table[table["split"] != ""].itertuples()
    said = {word: corpus / row.path for row in rows for word in row.transcript.split()}
    librispeech.write_lexicon(said, librispeech.cmu_lexicon(), lexicon, "CMUdict")


def _digest(corpus: Path) -> str:
    """Return what the layout depends on: the manifest and the code that reads it."""
    digest = hashlib.sha256((corpus / "manifest.csv").read_bytes())
    for module in (__file__, effects.__file__, iemocap.__file__, librispeech.__file__, transcripts.__file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()


def _stamp(folder: Path, digest: str) -> str:
    """Say what was made of what: files that were changed since are made anew."""
    made = {path.name: content_digest(path) for path in sorted(folder.iterdir()) if path.name != STAMP}
    return f"{digest}\n{identity.digest(made)}\n"


def _is_done(folder: Path, digest: str) -> bool:
    stamp = folder / STAMP
    text = stamp.read_bytes() if stamp.is_file() else b""
    return text.startswith(digest.encode()) and text == _stamp(folder, digest).encode()


def prepare(corpus: Path, folder: Path, write: bool = True) -> Prepared:
    """Lay the demo's corpora out under `folder`; nothing is done when they are there already.

    Args:
        corpus: demo/corpus, with manifest.csv.
        folder: Made whole or not at all; replaced when the manifest has changed.
        write: False only checks the corpus and tells where things will be.

    Returns:
        Every path that the tasks' configs need, absolute.

    Raises:
        FileNotFoundError, CorpusError: The corpus is incomplete, or `folder` holds something else.
    """
    corpus, folder = corpus.resolve(), folder.resolve()
    read_manifest(corpus)
    digest = _digest(corpus)
    if write:
        check_folder("-o", folder)
    if write and not _is_done(folder, digest):
        if folder.exists() and not (folder / STAMP).is_file() and any(folder.iterdir()):
            raise CorpusError(f"{folder} holds files that the demo did not make; choose another -o, or move them away")
        with whole_folder(folder, unless=lambda: _is_done(folder, digest)) as draft:
            lay_out(corpus, draft)
            write_whole(draft / STAMP, _stamp(draft, digest))
    return Prepared(folder, {name: folder / root for name, root in ROOTS.items()}, digest)


def fill_in(config: dict[str, Any]) -> None:
    """Put real paths in place of a run config's `demo://...`, laying the demo out in the user's cache when needed.

    Raises:
        FileNotFoundError, CorpusError: See `prepare`.
    """
    if SCHEME in str(config):
        corpus = demo_dir() / "corpus"
        # A layout of its own for each version: checkpoints keep the paths, and must find what they were trained on.
        folder = make_cache_dir("demo") / _digest(corpus)[:12]
        prepare(corpus, folder)
        _replace(config, f"{folder}/")


def _replace(node: Any, root: str) -> None:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(value, (dict, list)):
            _replace(value, root)
        elif isinstance(value, str) and value.startswith(SCHEME):
            node[key] = root + value[len(SCHEME) :]
