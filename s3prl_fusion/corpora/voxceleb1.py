"""VoxCeleb1: the identification split, the verification trials, and the speakers held out for dev trials."""

from __future__ import annotations

import random
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..audio import find_sounds
from ..errors import CorpusError, MissingFileError
from ..files import walk, write_whole
from .base import Corpus, Option, Source, warn_count
from .lines import check_names, read_lines, read_text

CLIPS = 153516  # official counts
SPEAKERS = 1251
FIRST_SPEAKER = 10001  # class 0 of the recipe's head (s3prl/downstream/voxceleb1/dataset.py:53)
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
TO_WAV = (
    r"""its clips are m4a; make wavs of them: find -L DIR -name '*.m4a' -exec sh -c 'for f; do """
    r"""w=$(echo "${f%.m4a}.wav" | sed "s:/aac/:/wav/:"); mkdir -p "$(dirname "$w")"; """
    r"""ffmpeg -nostdin -i "$f" -ac 1 -ar 16000 "$w"; done' _ {} +"""
)
SPEAKER_LIST_HELP = (
    "get https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt and put it into the VoxCeleb1 folder, or "
    "pass it with --voxceleb1-list"
)


def _help(voxceleb1: Path) -> str:
    """Say what to do where clips are missing: they may be there as the m4a of an official download."""
    is_m4a = any(file.suffix.lower() == ".m4a" for file in walk(voxceleb1))
    return TO_WAV.replace("DIR", shlex.quote(str(voxceleb1))) if is_m4a else HELP


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


def read_speaker_list(path: Path) -> dict[str, str]:
    """Read `{clip: split}` of a list with lines `1|2|3 id1xxxx/video/clip.wav`, for train, dev and test.

    Raises:
        CorpusError: A line has another form, a speaker is none of the 1,251 that the recipe's head knows, or a clip is
            there twice.
    """
    splits: dict[str, str] = {}
    for where, line in read_lines(path):
        match = re.fullmatch(r"([123])\s+(id(\d+)/[^/\s]+/[^/\s]+\.\w+)", line, re.ASCII)
        if not match:
            raise CorpusError(f"{where}: got {line!r}, expected '1|2|3 id10001/video/00001.wav'")
        if not FIRST_SPEAKER <= int(match[3]) < FIRST_SPEAKER + SPEAKERS:
            raise CorpusError(
                f"{where}: the recipe's head knows the speakers id{FIRST_SPEAKER} to id{FIRST_SPEAKER + SPEAKERS - 1}; "
                f"got {line!r}"
            )
        if match[2] in splits:
            raise CorpusError(f"{where}: {match[2]} is there twice; get the list again")
        splits[match[2]] = match[1]
    if not splits:
        raise CorpusError(f"{path} lists no clips; {SPEAKER_LIST_HELP}")
    check_names((clip_name(clip), clip) for clip in splits)
    return splits


def clip_name(clip: str) -> str:
    """Return what recipes call a clip: `id10001-video-00001`."""
    return "-".join(clip.rsplit("/", 3)[-3:]).rpartition(".")[0]


def find_listed(voxceleb1: Path, path: Path) -> dict[Path, str]:
    """Find the clips of a list, under `voxceleb1/*/wav/`, and return their splits.

    Raises:
        CorpusError: The corpus has no wav folders, clips are missing, or as `read_speaker_list`.
    """
    from tqdm import tqdm

    roots = sorted(folder for folder in voxceleb1.glob("[!.]*/wav") if folder.is_dir())
    if not roots:
        raise CorpusError(f"no {voxceleb1}/*/wav folders; {_help(voxceleb1)}")
    found: dict[Path, str] = {}
    missing: list[str] = []
    splits = read_speaker_list(path)
    for clip, split in tqdm(splits.items(), desc="clips of VoxCeleb1", leave=False):
        file = next((root / clip for root in roots if (root / clip).is_file()), None)
        if file:
            found[file] = split
        else:
            missing.append(clip)
    if missing:
        raise CorpusError(
            f"{len(missing)} of {len(splits)} clips of {path} are not under {voxceleb1}/*/wav, first {missing[0]}; "
            f"{_help(voxceleb1)}"
        )
    return found


def find_clips(voxceleb1: Path) -> list[Path]:
    """Return the clips of `voxceleb1/{dev,test}/wav/`, sorted by path.

    Raises:
        CorpusError: There are clips that are no wav.
    """
    speakers = [speaker for part in ("dev", "test") for speaker in (voxceleb1 / part / "wav").glob("id*")]
    clips = sorted(clip for speaker in speakers for clip in speaker_clips(speaker))
    others = [clip for clip in clips if clip.suffix != ".wav"]
    if others:
        raise CorpusError(f"{len(others)} clips of {voxceleb1} are no .wav, first {others[0]}; {_help(voxceleb1)}")
    return clips


def speaker_clips(speaker: Path) -> list[Path]:
    """Return the sound files `video/clip.*` of a speaker's folder, sorted by path."""
    return [clip for clip in find_sounds(speaker) if len(clip.relative_to(speaker).parts) == 2]


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


def read_trials(path: Path) -> list[tuple[str, str, str]]:
    """Read lines `0|1 clip clip` of a list of verification trials.

    Raises:
        CorpusError: A line has another form, a trial has both labels, or a label never occurs.
    """
    labels: dict[str, str] = {}
    trials = []
    for where, line in read_lines(path):
        match = re.fullmatch(r"([01])\s+(\S+/\S+/\S+\.wav)\s+(\S+/\S+/\S+\.wav)", line)
        if not match:
            raise CorpusError(f"{where}: got {line!r}, expected '1 id10270/video/00001.wav id10270/...'")
        label, first, second = match.groups()
        if labels.setdefault(f"{first} {second}", label) != label:
            raise CorpusError(f"{where}: the trial {first} {second} is there with both labels; get the list again")
        trials.append((label, first, second))
    if set(labels.values()) != {"0", "1"}:
        raise CorpusError(f"{path}: an equal error rate needs trials of both labels, 0 and 1; {TRIALS_HELP}")
    check_names((clip_name(clip), clip) for _, *clips in trials for clip in clips)
    return trials


def check_trials(voxceleb1: Path, path: Path) -> list[str]:
    """Lines `0|1 clip clip` of a list whose clips are under `voxceleb1/test/wav`, each trial once.

    Raises:
        CorpusError: Clips are missing, or as `read_trials`.
    """
    lines = read_trials(path)
    labels = {f"{first} {second}": label for label, first, second in lines}
    root = voxceleb1 / "test" / "wav"
    clips = sorted({clip for trial in labels for clip in trial.split()})
    missing = [clip for clip in clips if not (root / clip).is_file()]
    if missing:
        raise CorpusError(
            f"{len(missing)} of {len(clips)} clips of {path} are not under {root}, first {missing[0]}; "
            f"{_help(voxceleb1)}"
        )
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
    root = voxceleb1 / "dev" / "wav"
    speakers = sorted(folder.name for folder in root.glob("id*") if folder.is_dir())
    if len(speakers) < 4:
        raise CorpusError(
            f"{root} has {len(speakers)} speakers; SV needs 4 or more, 2 of them for dev; {_help(voxceleb1)}"
        )
    draw = random.Random(1337)
    held_out = sorted(draw.sample(speakers, min(DEV_SPEAKERS, max(2, len(speakers) // 4))))
    clips = {s: [path.relative_to(root).as_posix() for path in speaker_clips(root / s)] for s in held_out}
    several = [speaker for speaker in held_out if len(clips[speaker]) > 1]
    if not several or not all(clips.values()):
        raise CorpusError(
            f"the speakers {', '.join(held_out)} of {root} have too few clips for trials; unpack it again"
        )
    return [speaker for speaker in speakers if speaker not in held_out], draw_trials(clips, DEV_TRIALS, draw)


def draw_trials(clips: Mapping[str, Sequence[str]], number: int, draw: random.Random) -> list[str]:
    """Draw different trials, ``0|1 clip clip``, at most so many, half of either kind.

    Args:
        clips: of two speakers or more, one of whom has two or more.
        number: of draws.
        draw: where they come from.
    """
    several = [speaker for speaker in clips if len(clips[speaker]) > 1]
    trials: dict[str, None] = {}
    for i in range(number):
        if i % 2:
            pair = draw.sample(clips[draw.choice(several)], 2)
        else:
            pair = [draw.choice(clips[speaker]) for speaker in draw.sample(list(clips), 2)]
        trials[f"{i % 2} {pair[0]} {pair[1]}"] = None
    return list(trials)


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check lists and audio, and write the identification split, or the verification trials and training speakers."""
    if "speaker_list" in products:
        speaker_list = find_speaker_list(source.root, source.file("voxceleb1-list"))
        clips = list(find_listed(source.root, speaker_list))
        lists = {"speaker_list": read_text(speaker_list)}
    else:
        trials = check_trials(source.root, find_trials(source.root, source.file("voxceleb1-trials")))
        clips = find_clips(source.root)
        speakers, dev = hold_out(source.root)
        for part in ("dev", "test"):
            check_names((clip_name(clip.as_posix()), clip) for clip in clips if clip.parts[-5] == part)
        lines = {"sv_test_trials": trials, "sv_dev_trials": dev, "sv_speakers": speakers}
        lists = {product: "".join(f"{line}\n" for line in texts) for product, texts in lines.items()}
    warn_counts(clips)
    source.count_samples(clips, "audio of VoxCeleb1")
    for product, text in lists.items():
        write_whole(folder / CORPUS.paths(product)[0], text)


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
