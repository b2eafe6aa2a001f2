"""``s3prl-fusion cache``: frozen members' hidden states, kept on disk for every epoch and experiment to come.

``fill`` computes them for a corpus, in shards on many machines if need be, and goes on where it stopped. A training
with ``cache:`` in its fusion YAML, or with S3PRL_FUSION_CACHE=DIR, fills it by itself too. ``stats`` shows what there
is, ``verify`` reads all of it or computes a sample anew, ``clear`` removes it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache.config import DIR_VARIABLE, DTYPE_VARIABLE, DTYPES, CacheConfig
from ..errors import MissingFileError, UsageError
from ..names import resolve
from ..text import markdown

if TYPE_CHECKING:
    from ..cache.compare import Comparison
    from ..config import FusionConfig
    from ..host.upstream import FusedUpstream
    from ..skipping import Skipping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    filling = actions.add_parser("fill", help="compute and store what is not there yet", description=fill.__doc__)
    filling.add_argument("-u", "--upstream", required=True, metavar="NAME", help="an upstream, fused or stock")
    _add_upstream(filling)
    filling.add_argument("--shard", default="1/1", metavar="I/N", help="every N-th file, from the I-th: 1/4 to 4/4")
    filling.set_defaults(action=fill)
    for action, text in ((stats, "what there is"), (verify, "read every file"), (clear, "remove everything")):
        others = actions.add_parser(action.__name__, help=text, description=action.__doc__)
        others.set_defaults(action=action)
        _add_dir(others)
        if action is verify:
            others.add_argument("--remove", action="store_true", help="remove what is damaged or differs")
            others.add_argument(
                "--against",
                dest="upstream",
                metavar="NAME",
                help="compute a sample anew, with an upstream as -u takes it",
            )
            _add_upstream(others, against=True)
            others.add_argument("--sample", type=int, default=20, metavar="N", help="how many files; default: 20")
            others.add_argument("--seed", type=int, default=1337, metavar="N", help="of the sample; default: 1337")
        if action is clear:
            others.add_argument("--yes", action="store_true", help="else it only says what would go")
    _add_dir(filling)


def _add_upstream(parser: argparse.ArgumentParser, against: bool = False) -> None:
    name = "--against" if against else "-u"
    parser.add_argument("-g", "--model-config", metavar="FILE", help=f"{name} fused: the fusion YAML")
    parser.add_argument("-k", "--ckpt", metavar="CKPT", help="checkpoint of a stock upstream")
    files = "sound files, or folders to search; mono, 16 kHz"
    parser.add_argument("--corpus", nargs="+", required=not against, metavar="DIR", help=files)
    parser.add_argument("--dtype", choices=DTYPES, help=f"default: the YAML's, or ${DTYPE_VARIABLE}, or float16")
    parser.add_argument("--device", default="cpu", help="default: cpu")


def _add_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--dir", metavar="DIR", help=f"the cache; default: ${DIR_VARIABLE}, or the YAML's")


def main(args: argparse.Namespace) -> int:
    """Run an action; the exit status is 1 where something is left undone."""
    return args.action(args)


def fill(args: argparse.Namespace) -> int:
    """Compute the hidden states of a corpus's sound files, and store those that are not there yet.

    A file that cannot be used is named, the others are stored, and the exit status is 1.
    """
    import torch
    from tqdm import tqdm

    from ..audio import load
    from ..cache.key import key_of

    first, step = parse_shard(args.shard)
    upstream, files, skipping = _load(args, lambda found: found[first::step])
    stores = [cache.store(member) for cache, member in zip(upstream.caches, upstream.members)]
    disk = stores[0].disk
    with torch.no_grad(), tqdm(files, unit="utterance") as bar:
        for file in bar:
            if file in skipping.faults:
                continue
            with skipping.naming(file):
                wav = load(file)
                key = key_of(wav)
                if not all(store.path(key).is_file() for store in stores):
                    upstream.member_states([wav.to(args.device)])
            if not disk.writing:
                print(f"stopped at {file}: see the warning above", file=sys.stderr)
                return 1
            bar.set_postfix_str(f"{_size(disk.written)} written", refresh=False)
    print(f"{len(files) - len(skipping.faults)} utterances are in {disk.root}, {_size(disk.written)} of them new")
    return skipping.status()


def _load(
    args: argparse.Namespace, choose: Callable[[list[Path]], Sequence[Path]]
) -> tuple[FusedUpstream, Sequence[Path], Skipping]:
    """Check what -u and --corpus say, choose among the corpus's files, and load the upstream."""
    from ..audio import find_files
    from ..devices import check_device
    from ..host.members import check
    from ..host.upstream import FusedUpstream
    from ..skipping import Skipping

    check_device(args.device)
    fusion = _fusion(args)
    check(fusion)
    files = choose(list(find_files(args.corpus)))
    skipping = Skipping(files)
    return FusedUpstream(fusion).to(args.device).eval(), files, skipping


def parse_shard(text: str) -> tuple[int, int]:
    """Return (index of the first file, step) of "I/N".

    Raises:
        UsageError: it is not of that form, or I is not between 1 and N.
    """
    number, _, count = text.partition("/")
    if not (text.isascii() and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard must be I/N with I from 1 to N, e.g. 1/4; got {text!r}")
    return int(number) - 1, int(count)


def _fusion(args: argparse.Namespace) -> FusionConfig:
    """Resolve -u, with the cache that the options, the YAML and the environment say, in this order."""
    fusion = resolve(args.upstream, args.model_config, args.ckpt)
    cache = fusion.cache or CacheConfig.from_env()
    given: dict[str, Any] = {"dir": args.dir, "dtype": args.dtype}
    given = {key: value for key, value in given.items() if value is not None}
    if cache is None and args.dir is None:
        raise UsageError(f"which cache? give -o DIR, cache: in the fusion YAML, or {DIR_VARIABLE}")
    return replace(fusion, cache=replace(cache, **given) if cache else CacheConfig(**given))


def stats(args: argparse.Namespace) -> int:
    """Show what a cache has of each member."""
    from ..cache.store import members

    rows = []
    for member in members(_root(args)):
        about = member.about or {"name": "unknown", "layers": "?", "dtype": "?"}
        layers = ",".join(map(str, about.get("layers", ()))) or "all"
        sizes = [f"{len(member.sizes):,}", _size(sum(member.sizes))]
        rows.append([about["name"], layers, about["dtype"], *sizes, member.folder.name])
        if member.fault:
            print(member.fault, file=sys.stderr)
    print(markdown(["member", "layers", "dtype", "utterances", "size", "fingerprint"], rows), end="")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Read every file of a cache and say which are damaged; then the exit status is 1.

    --against computes a sample of --corpus anew instead, and says for each member and hidden state how far what is
    stored is from it, or would be. The exit status is 1 where a file is damaged, or further away than rounding brings
    it: the member gives something else now, or on this machine.
    """
    if args.upstream is not None:
        return _verify_against(args)
    if args.corpus:
        raise UsageError("--corpus goes with --against NAME, which computes a sample of it anew")
    from tqdm import tqdm

    from ..cache.store import DamagedFile, members, read_file, stored

    faults, found = [], members(_root(args))
    for member in found:
        if member.fault:
            print(member.fault, file=sys.stderr)
    paths = (path for member in found for path, _ in stored(member.folder))
    count = 0
    for path in tqdm(paths, unit="file"):
        count += 1
        try:
            read_file(path)
        except FileNotFoundError:
            continue  # others may be at work here
        except DamagedFile as error:
            faults.append(error)
            print(error)
            if args.remove:
                path.unlink(missing_ok=True)
    fate = " and removed" if args.remove else "; --remove takes them away, a training computes them anew"
    print(f"{count} files, {len(faults)} damaged{fate if faults else ''}")
    return 1 if faults and not args.remove else 0


def _verify_against(args: argparse.Namespace) -> int:
    if not args.corpus:
        raise UsageError("--against needs --corpus DIR: the sound files of which a sample is computed anew")
    if args.sample < 1:
        raise UsageError(f"--sample must be 1 or more files; got {args.sample}")
    import torch
    from tqdm import tqdm

    from ..audio import load
    from ..cache.compare import HEADER, compare_instead

    draw = random.Random(args.seed).sample
    upstream, files, skipping = _load(args, lambda found: draw(found, min(args.sample, len(found))))
    compared = compare_instead(upstream)
    with torch.no_grad():
        for file in tqdm(files, unit="utterance"):
            if file not in skipping.faults:
                with skipping.naming(file):
                    upstream.member_states([load(file).to(args.device)])
    print(markdown(HEADER, [row for member in compared for row in member.rows()]), end="")
    return max(_report(compared, args.remove), skipping.status())


def _report(compared: Sequence[Comparison], remove: bool) -> int:
    """Say what is wrong with stored files, and remove them if told to; return the exit status."""
    faults = {path: fault for member in compared for path, fault in member.faults.items()}
    for path, fault in faults.items():
        print(fault)
        if remove:
            path.unlink(missing_ok=True)
    stored, computed = sum(member.stored for member in compared), sum(member.lookups for member in compared)
    rest = "" if stored == computed else "; the others count as they would be stored"
    fate = " and removed" if remove else "; --remove takes them away, a training computes them anew"
    print(f"{stored} of {computed} are stored{rest}; {len(faults)} damaged or too far away{fate if faults else ''}")
    return 1 if faults and not remove else 0


def clear(args: argparse.Namespace) -> int:
    """Remove everything that is stored in a cache; with --yes only."""
    import shutil

    from ..cache.store import members

    for member in members(_root(args)):
        what = f"{member.name}, {len(member.sizes)} utterances, {_size(sum(member.sizes))}"
        print(f"{'removed' if args.yes else 'would remove'} {member.folder}: {what}")
        if args.yes:
            shutil.rmtree(member.folder)
    if not args.yes:
        print("nothing is removed without --yes")
    return 0


def _root(args: argparse.Namespace) -> Path:
    cache = CacheConfig(args.dir) if args.dir else CacheConfig.from_env()
    if cache is None:
        raise UsageError(f"which cache? give -o DIR or set {DIR_VARIABLE}")
    if not cache.path.is_dir():
        raise MissingFileError(f"{cache.path} does not exist, or is no folder")
    return cache.path


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"
