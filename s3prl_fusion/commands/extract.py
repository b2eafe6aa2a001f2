"""``s3prl-fusion extract``: features of sound files, as .npy or .safetensors.

With -u, the hidden states of an upstream: for each member (layers, frames, width), on the fusion's common frame grid.
With -e, what a trained experiment's featurizer makes of them: (frames, width). Files that are there are left alone.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio import find_files, load
from ..errors import UsageError, UserError, within
from ..files import write_whole
from ..names import resolve

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
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--overwrite", action="store_true", help="write files anew that are there already")


def main(args: argparse.Namespace) -> int:
    """Write the features."""
    from tqdm import tqdm

    if args.experiment and (args.model_config or args.ckpt):
        raise UsageError("-g and -k go with -u; an experiment (-e) brings its own upstream")
    fusion = None if args.experiment else resolve(args.upstream, args.model_config, args.ckpt)
    names = fusion.member_names if fusion else ["fused"]
    files = find_files(args.wavs)
    targets = {file: _targets(args.output / name, names, args.format) for file, name in files.items()}
    left = {f: t for f, t in targets.items() if args.overwrite or not all(path.exists() for path in t)}
    if len(left) < len(files):
        print(f"{len(files) - len(left)} of {len(files)} are there already; --overwrite writes them anew")
    if left:
        features = _featurize(args, fusion)
        for file, paths in tqdm(left.items(), unit="file"):
            try:
                states = features(load(file))
            except UserError as error:
                raise within(f"{file}: ", error) from error
            _write(dict(zip(names, states)), paths, args.format)
    print(f"{len(left)} written below {args.output}")
    return 0


def _featurize(args: argparse.Namespace, fusion: FusionConfig | None) -> Callable[[Tensor], list[Tensor]]:
    """Make a function from a waveform (T',) to the arrays to write for it."""
    import torch

    from ..devices import check_device
    from ..host.load import load_experiment
    from ..host.upstream import FusedUpstream

    if fusion is None:
        experiment = load_experiment(args.experiment, args.device)
        return lambda wav: experiment.features([wav])
    check_device(args.device)
    upstream = FusedUpstream(fusion).to(args.device).eval()

    @torch.no_grad()
    def hidden_states(wav: Tensor) -> list[Tensor]:
        return [torch.cat(states) for states in upstream.member_states([wav.to(args.device)])]

    return hidden_states


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
