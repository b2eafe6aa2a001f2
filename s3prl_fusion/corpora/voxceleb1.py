"""VoxCeleb1: the identification split, the verification trials, and the speakers held out for dev trials."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from ..audio import count_samples
from ..errors import CorpusError, MissingFileError
from ..files import write_whole
from .base import Corpus, Option, Source, holds, warn_count

CLIPS = 153516  # official counts
SPEAKERS = 1251
TRIALS = 37720
DEV_SPEAKERS = 40  # held out of SV's training, as s3prl/downstream/sv_voxceleb1/preprocess.py:69 does
DEV_TRIALS = 20000
HELP = (
    "get VoxCeleb1 (https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html), unpack it as DIR/dev/wav/id1.../ and "
    "DIR/test/wav/id1.../, and pass DIR with --voxceleb1"
)
TRIALS_HELP = (
    "get https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/veri_test.txt (37,720 trials) and put it into the "
    "VoxCeleb1 folder, or pass it with --voxceleb1-trials"
)
SPEAKER_LIST_HELP = (
    "get https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt and put it into the VoxCeleb1 folder, or "
    "pass it with --voxceleb1-list"
)


def find_speaker_list(voxceleb1: Path, given: Path | None) -> Path:
    """Return the identification split: the file given, else the one in the corpus, else a source checkout of s3prl's.

    Raises:
        FileNotFoundError: There is none; the message says where to get it.
    """
    from importlib.util import find_spec

    candidates = [given] if given else [voxceleb1 / "iden_split.txt"]
    s3prl = find_spec("s3prl")
    if not given and s3prl and s3prl.origin:
        candidates.append(Path(s3prl.origin).parent / "downstream" / "voxceleb1" / "veri_test_class.txt")
    for path in candidates:
        if path.is_file():
            return path
    raise MissingFileError(f"no identification split at {candidates[0]}; {SPEAKER_LIST_HELP}")


def check_speaker_list(voxceleb1: Path, path: Path) -> list[Path]:
    """Return the clips of a list with lines `1|2|3 id1xxxx/video/clip.wav`, each once and under `voxceleb1/*/wav/`.

    Raises:
        CorpusError: The corpus has no wav folders, a line has another form, or clips are missing or there
            twice.
    """
    from tqdm import tqdm

    roots = sorted(folder for folder in voxceleb1.glob("*/wav") if folder.is_dir())
    if not roots:
        raise CorpusError(f"no {voxceleb1}/*/wav folders; {HELP}")
    clips: dict[str, Path] = {}
    missing: list[str] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(tqdm(lines, desc="clips of VoxCeleb1", leave=False), start=1):
        match = re.fullmatch(r"([123]) +(id1\d{4}/[^/ ]+/[^/ ]+\.wav)", line.strip())
        if not match:
            raise CorpusError(f"{path}:{number}: got {line!r}, expected '1 id10001/video/00001.wav'")
        clip = match[2]
        if clip in clips:
            raise CorpusError(f"{path}:{number}: {clip} is there twice; get the list again")
        clips[clip] = next((root / clip for root in roots if (root / clip).is_file()), Path())
        missing += [clip] if clips[clip] == Path() else []
    if missing or not lines:
        raise CorpusError(
            f"{len(missing)} of {len(lines)} clips of {path} are not under {voxceleb1}/*/wav, first {missing[:1]}; "
            f"{HELP}"
        )
    return list(clips.values())


def find_clips(voxceleb1: Path) -> list[Path]:
    """Return the clips of `voxceleb1/{dev,test}/wav/`, sorted by path."""
    return sorted(clip for part in ("dev", "test") for clip in (voxceleb1 / part / "wav").glob("id*/*/*.wav"))


def warn_counts(clips: Iterable[Path]) -> None:
    """Say so when clips (`.../id1xxxx/video/clip.wav`), or their speakers, are not as many as the official ones."""
    speakers = [clip.parts[-3] for clip in clips]
    warn_count("VoxCeleb1", len(speakers), CLIPS, "clips")
    warn_count("VoxCeleb1", len(set(speakers)), SPEAKERS, "speakers")


def find_trials(voxceleb1: Path, given: Path | None) -> Path:
    """Return the verification trials: the file given, else veri_test.txt in the corpus.

    Raises:
        FileNotFoundError: There is none; the message says where to get it.
    """
    path = given or voxceleb1 / "veri_test.txt"
    if not path.is_file():
        raise MissingFileError(f"no verification trials at {path}; {TRIALS_HELP}")
    return path


def read_trials(voxceleb1: Path, path: Path) -> list[str]:
    """Lines `0|1 clip clip` of a list whose clips are under `voxceleb1/test/wav`, each trial once.

    Raises:
        CorpusError: A line has another form, a trial has both labels, clips are missing, or a label never occurs.
    """
    labels: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(r"([01])\s+(\S+/\S+/\S+\.wav)\s+(\S+/\S+/\S+\.wav)\s*", line)
        if not match:
            raise CorpusError(f"{path}:{number}: got {line!r}, expected '1 id10270/video/00001.wav id10270/...'")
        trial = " ".join(match.groups()[1:])
        if labels.setdefault(trial, match[1]) != match[1]:
            raise CorpusError(f"{path}:{number}: the trial {trial} is there with both labels; get the list again")
    root = voxceleb1 / "test" / "wav"
    clips = sorted({clip for trial in labels for clip in trial.split()})
    missing = [clip for clip in clips if not (root / clip).is_file()]
    if missing:
        raise CorpusError(f"{len(missing)} of {len(clips)} clips of {path} are not under {root}, first {missing[0]}")
    if set(labels.values()) != {"0", "1"}:
        raise CorpusError(f"{path}: an equal error rate needs trials of both labels, 0 and 1; {TRIALS_HELP}")
    warn_count("VoxCeleb1's list of trials", len(lines), TRIALS, "trials")
    if len(labels) < len(lines):
        print(f"{path}: {len(lines) - len(labels)} trials are there twice and count once", file=sys.stderr)
    return [f"{label} {trial}" for trial, label in labels.items()]


def hold_out(voxceleb1: Path) -> tuple[list[str], list[str]]:
    """Training speakers of `voxceleb1/dev/wav`, and dev trials (`0|1 clip clip`) among the speakers held out.

    At most 40 speakers, a quarter of a small corpus, and at most 20,000 different trials, half of either kind. Drawn
    with a fixed seed: the same corpus always gives the same lists.

    Raises:
        CorpusError: There are fewer than 4 speakers, or those held out have one clip each.
    """
    import random

    root = voxceleb1 / "dev" / "wav"
    speakers = sorted(folder.name for folder in root.glob("id*") if folder.is_dir())
    if len(speakers) < 4:
        raise CorpusError(f"{root} has {len(speakers)} speakers; SV needs 4 or more, 2 of them for dev; {HELP}")
    draw = random.Random(1337)
    held_out = sorted(draw.sample(speakers, min(DEV_SPEAKERS, max(2, len(speakers) // 4))))
    clips = {s: sorted(path.relative_to(root).as_posix() for path in (root / s).glob("*/*.wav")) for s in held_out}
    several = [speaker for speaker in held_out if len(clips[speaker]) > 1]
    if not several or not all(clips.values()):
        raise CorpusError(
            f"the speakers {', '.join(held_out)} of {root} have too few clips for trials; unpack it again"
        )
    trials: dict[str, None] = {}
    for number in range(DEV_TRIALS):
        if number % 2:
            pair = draw.sample(clips[draw.choice(several)], 2)
        else:
            pair = [draw.choice(clips[speaker]) for speaker in draw.sample(held_out, 2)]
        trials[f"{number % 2} {pair[0]} {pair[1]}"] = None
    return [speaker for speaker in speakers if speaker not in held_out], list(trials)


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check lists and audio, and write the identification split, or the verification trials and training speakers."""
    checked: Collection[str] = ()
    if "speaker_list" in products:
        speaker_list = find_speaker_list(source.root, source.file("voxceleb1-list"))
        clips = check_speaker_list(source.root, speaker_list)
        lists = {"speaker_list": speaker_list.read_text(encoding="utf-8")}
    else:
        trials = read_trials(source.root, find_trials(source.root, source.file("voxceleb1-trials")))
        speakers, dev = hold_out(source.root)
        clips = find_clips(source.root)
        identified = folder / CORPUS.paths("speaker_list")[0]
        checked = set(identified.read_text(encoding="utf-8").split()) if identified.is_file() else ()
        lines = {"sv_test_trials": trials, "sv_dev_trials": dev, "sv_speakers": speakers}
        lists = {product: "".join(f"{line}\n" for line in texts) for product, texts in lines.items()}
    warn_counts(clips)
    texts = {folder / CORPUS.paths(product)[0]: text for product, text in lists.items()}
    if all(holds(path, text) for path, text in texts.items()):
        return
    count_samples([clip for clip in clips if "/".join(clip.parts[-3:]) not in checked], "audio of VoxCeleb1")
    for path, text in texts.items():
        write_whole(path, text)


CORPUS = Corpus(
    name="voxceleb1",
    folder="folder with dev/wav and test/wav",
    help=HELP,
    products={
        "speaker_list": "iden_split.txt",
        "sv_speakers": "sv_train_speakers.txt",
        "sv_dev_trials": "sv_dev_trials.txt",
        "sv_test_trials": "sv_test_trials.txt",
    },
    prepare=prepare,
    options={
        "voxceleb1-list": Option("iden_split.txt, when it is not in the VoxCeleb1 folder", short="list"),
        "voxceleb1-trials": Option("veri_test.txt, when it is not in the VoxCeleb1 folder", short="list"),
    },
)
