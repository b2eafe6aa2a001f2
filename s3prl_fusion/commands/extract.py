"""``s3prl-fusion extract``: features of sound files, as .npy or .safetensors.

With -u, the hidden states of an upstream: for each member (layers, frames, width), on the fusion's common frame grid.
With -e, what a trained experiment's featurizer makes of them: (frames, width). Files that are there are left alone, if
they follow from the same upstream or checkpoint and their sound file has not changed since: DIR keeps a note of it.
A sound file that cannot be used is named, the others are done, and the exit status is 1. With --window, a long one is
run in windows: the same number of frames, in less memory; a window hears nothing of those before it.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from itertools import islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio import find_files, load
from ..disk import check_folder
from ..errors import UsageError
from ..files import as_json, read_json, write_sealed, write_whole
from ..identity import by_content, differences
from ..names import resolve
from ..skipping import Skipping

if TYPE_CHECKING:
    from torch import Tensor

    from ..config import FusionConfig

FORMATS = ("npy", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("wavs", nargs="+", metavar="WAV", help="sound files, or folders to search; mono, 16 kHz")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="one file a sound file, or more"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-u", "--upstream", metavar="NAME", help="an upstream, fused or stock")
    source.add_argument("-e", "--experiment", metavar="CKPT", help="a trained checkpoint, or its folder")
    parser.add_argument("-g", "--model-config", metavar="FILE", help="-u fused: the fusion YAML; else the upstream's")
    parser.add_argument("-k", "--ckpt", metavar="CKPT", help="checkpoint of a stock upstream")
    parser.add_argument("--format", choices=FORMATS, default="npy", help="default: npy, a file a member")
    parser.add_argument("--window", type=float, metavar="SECONDS", help="run longer files in windows; default: whole")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--overwrite", action="store_true", help="write files anew that are there already")


def main(args: argparse.Namespace) -> int:
    """Write the features."""
    from tqdm import tqdm

    if args.experiment and (args.model_config or args.ckpt):
        raise UsageError("-g and -k go with -u; an experiment (-e) brings its own upstream")
    if args.window is not None and not 1 <= args.window < float("inf"):
        raise UsageError(f"--window {args.window:g} must be 1 second or more, e.g. 30")
    fusion = None if args.experiment else resolve(args.upstream, args.model_config, args.ckpt)
    _check(args.device, fusion)
    names = fusion.member_names if fusion else ["fused"]
    check_folder("-o", args.output)
    files = find_files(args.wavs)
    targets = {file: _targets(args.output / name, names, args.format) for file, name in files.items()}
    made_of, are_there = _made_of(args, fusion), any(path.exists() for paths in targets.values() for path in paths)
    kinds = names if fusion and args.format == "npy" else ["features"]
    paths = [args.output / f".{kind}.{args.format}.json" for kind in kinds]
    notes = {path: _check_note(path, made_of, are_there and not args.overwrite) for path in paths}
    left = {f: t for f, t in targets.items() if args.overwrite or not _follow(t, f, max(notes.values()))}
    if len(left) < len(files):
        print(f"{len(files) - len(left)} of {len(files)} are there already; --overwrite writes them anew")
    if not left:
        return 0
    advice = "; give --window SECONDS, e.g. 30" if args.window is None else ""
    skipping = Skipping(list(left), advice, others=len(files) - len(left))
    features, written = _featurize(args, fusion), 0
    for note in [note for note, since in notes.items() if since == inf]:
        write_sealed(note, made_of)
    for file, paths in tqdm(left.items(), unit="file"):
        if file in skipping.faults:
            continue
        with skipping.naming(file):
            _write(dict(zip(names, features(load(file)))), paths, args.format)
            written += 1
    print(f"{written} written below {args.output}")
    return skipping.status()


def _featurize(args: argparse.Namespace, fusion: FusionConfig | None) -> Callable[[Tensor], list[Tensor]]:
    """Make a function from a waveform (T',) to the arrays to write for it."""
    import torch

    from ..host.load import load_experiment
    from ..host.upstream import FusedUpstream
    from ..upstreams.windows import states_in_windows

    if fusion is None:
        experiment = load_experiment(args.experiment, args.device)
        return lambda wav: experiment.features([wav], window=args.window)
    upstream = FusedUpstream(fusion).to(args.device).eval()

    @torch.no_grad()
    def by_member(wav: Tensor) -> list[Tensor]:
        states = iter(states_in_windows(upstream, wav.to(args.device), args.window))
        return [torch.cat(list(islice(states, count))) for count in upstream.layers]

    return by_member


def _targets(stem: Path, names: list[str], kind: str) -> list[Path]:
    if kind == "safetensors" or names == ["fused"]:
        return [stem.with_name(f"{stem.name}.{kind}")]
    return [stem.with_name(f"{stem.name}.{name}.npy") for name in names]


def _check(device: str, fusion: FusionConfig | None) -> None:
    from ..devices import check_device
    from ..host.members import check

    check_device(device)
    if fusion:
        check(fusion)


def _made_of(args: argparse.Namespace, fusion: FusionConfig | None) -> dict[str, Any]:
    """Describe what features follow from, besides the sound, in plain dicts, lists and scalars."""
    from ..host import checks
    from ..host.arguments import make_parser
    from ..host.ckpt import find_ckpt

    if fusion is None:
        made_of = {"experiment": by_content(str(find_ckpt(args.experiment)))}
    else:
        described = checks.made_of(fusion, make_parser().parse_args([]))
        made_of = {key: described[key] for key in ("members", "states") if key in described}
    return as_json({**made_of, "window": args.window})


def _check_note(note: Path, made_of: dict[str, Any], are_there: bool) -> float:
    """Look at what the features that are there are made of.

    Args:
        note: the file beside them that says it.
        made_of: what they are to be made of.
        are_there: whether there are any, which are to be left alone.

    Returns:
        Since when they are made of this, in nanoseconds; infinity where they are not.

    Raises:
        UsageError: they are made of something else.
    """
    before = read_json(note, advice="give --overwrite")
    if before == made_of:
        return note.stat().st_mtime_ns
    if are_there:
        what = "; ".join(differences(before, made_of)) if before else "nothing says what they are made of"
        raise UsageError(f"{note.parent} has features already: {what}. Choose another -o, or give --overwrite")
    return inf


def _follow(paths: list[Path], file: Path, since: float) -> bool:
    """Tell whether features are there, and no older than the sound and the note on what they are made of."""
    made = [path.stat().st_mtime_ns for path in paths if path.exists()]
    return len(made) == len(paths) and min(made) >= max(since, file.stat().st_mtime_ns)


def _write(features: dict[str, Tensor], paths: list[Path], kind: str) -> None:
    import numpy
    from safetensors.torch import save

    arrays = {name: array.float().cpu().contiguous() for name, array in features.items()}
    if kind == "safetensors":
        return write_whole(paths[0], save(arrays))
    for path, array in zip(paths, arrays.values()):
        buffer = io.BytesIO()
        numpy.save(buffer, array.numpy())
        write_whole(path, buffer.getvalue())
