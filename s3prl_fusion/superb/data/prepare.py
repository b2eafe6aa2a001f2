"""`prepare`: check the user's corpora for the tasks at hand and make what the recipes need, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...audio import count_samples
from ...files import whole_files, write_whole
from ..tasks import TASKS, Task
from . import iemocap, librispeech, voxceleb1
from .corpora import Corpora, CorpusError, warn_count


@dataclass(frozen=True)
class Sources:
    """The corpora that the user points to."""

    librispeech: Path | None = None
    voxceleb1: Path | None = None
    voxceleb1_list: Path | None = None
    voxceleb1_trials: Path | None = None
    iemocap: Path | None = None
    lexicons: Sequence[Path] = ()


HELP = {"librispeech": librispeech.HELP, "voxceleb1": voxceleb1.HELP, "iemocap": iemocap.HELP}


def lexicon_files(option: str | None) -> tuple[Path, ...]:
    """The files of a comma-separated --lexicon."""
    return tuple(Path(name.strip()) for name in (option or "").split(",") if name.strip())


def configured() -> Corpora:
    """Corpora with nothing but the dictionary and vocabulary files that ship with this package."""
    from ... import assets

    folder = Path(assets.downstream_configs_dir())
    return Corpora(char_dict=folder / "char.dict", phonemes=folder / "phoneme.txt")


def check_sources(tasks: Sequence[Task], sources: Sources) -> None:
    """Raise one CorpusError that lists every corpus the tasks need and the user did not give, or that is no folder."""
    problems = []
    for field in dict.fromkeys(task.corpus for task in tasks):
        folder = getattr(sources, field)
        needed_by = ", ".join(task.name for task in tasks if task.corpus == field)
        if folder is None:
            problems.append(f"--{field} is missing (needed by {needed_by}): {HELP[field]}")
        elif not folder.is_dir():
            problems.append(f"--{field}: {folder} is not a folder: {HELP[field]}")
    if problems:
        raise CorpusError("\n".join(problems))


def locate(sources: Sources, folder: Path) -> Corpora:
    """Where everything is or will be, absolute: the user's corpora, and what `prepare` writes into `folder`."""
    return replace(
        configured(),
        librispeech=sources.librispeech and sources.librispeech.resolve(),
        buckets=folder / "len_for_bucket",
        lexicons=(folder / "lexicon.txt",),
        voxceleb1=sources.voxceleb1 and sources.voxceleb1.resolve(),
        speaker_list=folder / "iden_split.txt",
        sv_speakers=folder / "sv_train_speakers.txt",
        sv_dev_trials=folder / "sv_dev_trials.txt",
        sv_test_trials=folder / "sv_test_trials.txt",
        iemocap=sources.iemocap and sources.iemocap.resolve(),
        emotions=folder / "meta_data",
    )


def holds(path: Path, text: str) -> bool:
    """Whether a file is there with this very text: then the audio it lists was checked before."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def prepare_asr(found: Corpora, sources: Sources) -> None:
    """Bucket-length tables of LibriSpeech."""
    for split in librispeech.SPLITS:
        librispeech.read_split(found.librispeech, split)
    librispeech.write_buckets(found.librispeech, found.buckets)


def prepare_pr(found: Corpora, sources: Sources) -> None:
    """The pronunciations of LibriSpeech's words; bucket-length tables too, which tell that audio has been checked."""
    symbols = set(found.phonemes.read_text(encoding="utf-8").split())
    origin = ", ".join(str(path) for path in sources.lexicons) or "CMUdict"
    lexicon = librispeech.read_lexicon(sources.lexicons, symbols) if sources.lexicons else librispeech.cmu_lexicon()
    texts: dict[Path, str] = {}
    for split in librispeech.SPLITS:
        texts.update(librispeech.read_split(found.librispeech, split))
    librispeech.write_lexicon(texts, lexicon, found.lexicons[0], origin)
    librispeech.write_buckets(found.librispeech, found.buckets)


def prepare_sid(found: Corpora, sources: Sources) -> None:
    """The identification split of VoxCeleb1."""
    speaker_list = voxceleb1.find_speaker_list(found.voxceleb1, sources.voxceleb1_list)
    clips = voxceleb1.check_speaker_list(found.voxceleb1, speaker_list)
    voxceleb1.warn_counts(clips)
    text = speaker_list.read_text(encoding="utf-8")
    if not holds(found.speaker_list, text):
        count_samples(clips, "audio of VoxCeleb1")
        write_whole(found.speaker_list, text)


def prepare_er(found: Corpora, sources: Sources) -> None:
    """The five folds of IEMOCAP."""
    sessions = {session: iemocap.read_session(found.iemocap, session) for session in iemocap.SESSIONS}
    clips = [found.iemocap / row["path"] for rows in sessions.values() for row in rows]
    warn_count("IEMOCAP", len(clips), iemocap.UTTERANCES)
    count_samples(clips, "audio of IEMOCAP")
    iemocap.write_folds(sessions, found.emotions)


def prepare_sv(found: Corpora, sources: Sources) -> None:
    """The trials of VoxCeleb1, and the speakers to train on."""
    test = voxceleb1.read_trials(found.voxceleb1, voxceleb1.find_trials(found.voxceleb1, sources.voxceleb1_trials))
    speakers, dev = voxceleb1.hold_out(found.voxceleb1)
    clips = voxceleb1.find_clips(found.voxceleb1)
    voxceleb1.warn_counts(clips)
    lists = {found.sv_test_trials: test, found.sv_dev_trials: dev, found.sv_speakers: speakers}
    texts = {path: "".join(f"{line}\n" for line in lines) for path, lines in lists.items()}
    if not all(holds(path, text) for path, text in texts.items()):
        checked = set(found.speaker_list.read_text(encoding="utf-8").split()) if found.speaker_list.is_file() else ()
        count_samples([clip for clip in clips if "/".join(clip.parts[-3:]) not in checked], "audio of VoxCeleb1")
        for path, text in texts.items():
            write_whole(path, text)


PREPARE: Mapping[str, Callable[[Corpora, Sources], None]] = {
    "asr": prepare_asr,
    "pr": prepare_pr,
    "sid": prepare_sid,
    "er": prepare_er,
    "sv": prepare_sv,
}


def made_for(task: Task, found: Corpora, folder: Path) -> list[Path]:
    """What tasks on the corpus of `task` need from `folder`, relative to it: it tells which audio has been checked."""
    fields = {field for other in TASKS.values() if other.corpus == task.corpus for field in other.paths.values()}
    paths = [path for field in sorted(fields) for path in found.files(field)]
    return [path.relative_to(folder) for path in paths if folder in path.parents]


def prepare(tasks: Sequence[Task], sources: Sources, folder: Path, write: bool = True) -> Corpora:
    """Check the corpora of `tasks` and write what their recipes need into `folder`.

    Args:
        tasks: The tasks to run.
        sources: The user's folders.
        folder: Where tables and lists go; made when missing.
        write: False only checks that the corpora are given, and tells where things will be.

    Returns:
        Every path that the tasks' configs need, absolute.

    Raises:
        CorpusError, FileNotFoundError: Something is missing or unusable; nothing half-written is left.
    """
    check_sources(tasks, sources)
    folder = folder.resolve()
    found = locate(sources, folder)
    if folder in (found.librispeech, found.voxceleb1, found.iemocap):
        # Its own lists would pass for ours, which tell that audio has been checked.
        raise CorpusError(f"{folder} is the corpus itself, which is only read; choose another folder to write to")
    for task in tasks if write else ():
        with whole_files(folder, keep=made_for(task, found, folder)) as draft:
            PREPARE[task.name](locate(sources, draft), sources)
    return found
