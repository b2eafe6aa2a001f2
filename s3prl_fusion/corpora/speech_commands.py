"""Speech Commands: one word a clip, told by its folder; the release with training clips, and the one of test clips."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

from ..audio import count_samples
from ..errors import CorpusError
from ..files import reading_threads
from ..source import content_digest
from .base import Corpus, Option, Source, warn_count
from .lines import check_names
from .speech import lay_out

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE = "_unknown_", "_silence_"
CLASSES = (*WORDS, UNKNOWN, SILENCE)  # in the order of s3prl/downstream/speech_commands/dataset.py:7
NOISE = "_background_noise_"  # the folder of long clips, of which silence is cut
SECOND = 16000  # samples: what is cut
UTTERANCES = {"train": 51094, "dev": 6798, "test": 3081}  # official counts; NOISE's six are in train
TEST, ARCHIVE = "speech-commands-test", "speech_commands_test_set_v0.01"
HELP = (
    f"get Google's Speech Commands, version 1, speech_commands_v0.01.tar.gz and {ARCHIVE}.tar.gz, unpack each in a "
    f"folder of its own, and pass them with --speech-commands and --{TEST}"
)


def read_clips(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """List the clips with their classes, by split: the dev ones are those that the corpus's own hash of the speaker
    tells, its test ones are left out, and `NOISE` trains silence (s3prl/downstream/speech_commands/expert.py:155).

    Raises:
        CorpusError: there are no folders of words.
    """
    found: dict[str, list[tuple[str, Path]]] = {"train": [], "dev": []}
    for word, clip in _clips_by_folder(root):
        share = _share(clip.name.partition("_nohash_")[0])
        if word == NOISE:
            found["train"].append((SILENCE, clip))
        elif share < 10 or share >= 20:
            found["dev" if share < 10 else "train"].append((word if word in CLASSES else UNKNOWN, clip))
    return found


def _share(speaker: str) -> float:
    """Place a speaker between 0 and 100, as the corpus's README does."""
    most = 2**27 - 1
    return int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (most + 1) * (100.0 / most)


def read_test_clips(root: Path) -> list[tuple[str, Path]]:
    """List the test clips with their classes, which are the names of their folders.

    Raises:
        CorpusError: a folder is no class, or there is none.
    """
    found = list(_clips_by_folder(root))
    strange = [clip for word, clip in found if word not in CLASSES]
    if strange:
        raise CorpusError(
            f"{strange[0]}: {strange[0].parent.name} is none of the test set's folders, {', '.join(CLASSES)}; {HELP}"
        )
    return found


def _clips_by_folder(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the clips of each folder, in an order that no disk decides."""
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    clips = [clip for folder in folders for clip in sorted(folder.glob("[!.]*.wav"))]
    if not clips:
        raise CorpusError(f"no clips {root}/WORD/*.wav; {HELP}")
    return ((clip.parent.name, clip) for clip in clips)


def clip_name(clip: Path) -> str:
    """Name a clip as the recipe does."""
    return f"{clip.parent.name}-{clip.name}"


def _test_root(source: Source) -> Path:
    """Find the test set: where the user says, or beside the training clips as the archive is called."""
    where = source.file(TEST) or source.root.resolve().parent / ARCHIVE
    if not where.is_dir():
        raise CorpusError(f"--{TEST} is missing, and there is no folder {where}; {HELP}")
    return where


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check clips and classes, and lay the test set out, which is a folder of its own."""
    clips = read_clips(source.root)
    test = read_test_clips(_test_root(source))
    for split in ("train", "dev"):
        missing = [word for word in WORDS if word not in {word for word, _ in clips[split]}]
        if missing:
            raise CorpusError(f"{source.root} has no {split} clip of {', '.join(missing)}; {HELP}")
        warn_count(f"Speech Commands' {split}", len(clips[split]), UTTERANCES[split])
    warn_count("Speech Commands' test set", len(test), UTTERANCES["test"])
    silence = [clip for word, clip in clips["train"] if word == SILENCE]
    if not silence:
        raise CorpusError(f"{source.root} has no {NOISE}/*.wav, of which silence is cut; {HELP}")
    check_names((clip_name(clip), clip) for _, clip in test)
    given = [clip for split in clips.values() for _, clip in split]
    lengths = dict(zip(given, source.count_samples(given, "audio of Speech Commands")))
    short = [clip for clip in silence if lengths[clip] < SECOND]
    if short:
        raise CorpusError(f"{short[0]} lasts {lengths[short[0]]:,} samples; a second of it, {SECOND:,}, is cut; {HELP}")
    laid = {f"{word}/{clip.name}": clip.resolve() for word, clip in test}
    count_samples(list(laid.values()), "audio of Speech Commands' test set")
    with reading_threads() as pool:
        source.inventory.note("test set", dict(zip(laid, pool.map(content_digest, laid.values()))))
    lay_out(source.folder / CORPUS.paths("test")[0], laid)


CORPUS = Corpus(
    name="speech-commands",
    folder="folder with a folder of clips for each word, and _background_noise_",
    help=HELP,
    products={"test": "speech_commands_test"},
    prepare=prepare,
    options={TEST: Option(f"folder of the test clips; by default {ARCHIVE} beside the training clips' one")},
)
