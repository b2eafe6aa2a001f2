"""``s3prl-fusion extract``: features of sound files, as .npy or .safetensors.

With -u, the hidden states of an upstream: for each member (layers, frames, width), on the fusion's common frame grid.
With -e, what a trained experiment's featurizer makes of them: (frames, width). Files that are there are left alone.
A sound file that cannot be used is named, the others are done, and the exit status is 1. With --window, a long one is
run in windows: the same number of frames, in less memory; a window hears nothing of those before it.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio import find_files, load
from ..disk import check_folder
from ..errors import UsageError
from ..files import write_whole
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

    from ..host.members import check

    if args.experiment and (args.model_config or args.ckpt):
        raise UsageError("-g and -k go with -u; an experiment (-e) brings its own upstream")
    if args.window is not None and not 1 <= args.window < float("inf"):
        raise UsageError(f"--window {args.window:g} must be 1 second or more, e.g. 30")
    fusion = None if args.experiment else resolve(args.upstream, args.model_config, args.ckpt)
    if fusion:
        check(fusion)
    names = fusion.member_names if fusion else ["fused"]
    check_folder("-o", args.output)
    files = find_files(args.wavs)
    targets = {file: _targets(args.output / name, names, args.format) for file, name in files.items()}
    left = {f: t for f, t in targets.items() if args.overwrite or not all(path.exists() for path in t)}
    if len(left) < len(files):
        print(f"{len(files) - len(left)} of {len(files)} are there already; --overwrite writes them anew")
    if not left:
        return 0
    advice = "; give --window SECONDS, e.g. 30" if args.window is None else ""
    skipping = Skipping(list(left), advice, others=len(files) - len(left))
    features, written = _featurize(args, fusion), 0
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

    from ..devices import check_device
    from ..host.load import load_experiment
    from ..host.upstream import FusedUpstream
    from ..upstreams.windows import states_in_windows

    if fusion is None:
        experiment = load_experiment(args.experiment, args.device)
        return lambda wav: experiment.features([wav], window=args.window)
    check_device(args.device)
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
