"""``s3prl-fusion weights``: a picture of what each layer of each upstream contributes to a trained fusion."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import checkpoint
from ..config import FusionConfig
from ..disk import check_folder
from ..errors import UsageError
from ..files import write_with
from ..names import label

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

# One colour a member; Okabe and Ito's, told apart by people with any kind of colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
FORMATS = (".png", ".pdf", ".svg")
SHARES = {"weighted_sum": "softmax weight", "gumbel": "share of dimensions that pick the layer"}
OCCLUSION = "relative change of the features when the layer is replaced by its mean over time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("ckpt", metavar="CKPT", help="a checkpoint, or the folder of an experiment")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="picture: .png, .pdf or .svg")
    parser.add_argument(
        "--wavs",
        nargs="+",
        default=[],
        metavar="WAV",
        help="measure on this speech how much the features change without each layer: for any interface, and the only "
        "way for those that give layers no weights (hconv, chconv)",
    )
    parser.add_argument("--device", default="cpu", help="where the upstream runs, with --wavs (default: cpu)")


def main(args: argparse.Namespace) -> int:
    """Draw the picture and print its numbers."""
    if args.output.suffix not in FORMATS:
        raise UsageError(f"-o {args.output} must end in {', '.join(FORMATS)}")
    check_folder("-o", args.output.parent)
    measure, table = occlusion(args.ckpt, args.wavs, args.device) if args.wavs else shares(args.ckpt)
    write_with(args.output, lambda path: draw(table, measure, path, args.output.suffix.lstrip(".")))
    print(table.to_string(index=False, float_format="{:.4f}".format))
    print(f"value: {measure}; drawn in {args.output}")
    return 0


def shares(ckpt: str) -> tuple[str, pandas.DataFrame]:
    """Tabulate what the trained parameters alone say; no model is loaded.

    Returns:
        What is measured, and a table with columns upstream, layer and value.

    Raises:
        UsageError: the checkpoint's interface gives layers no weights.
    """
    from ..host.ckpt import find_ckpt, read_ckpt
    from ..interfaces import build_interface

    states = read_ckpt(find_ckpt(ckpt))
    state, remembered = states["Featurizer"], checkpoint.read(states["Featurizer"])
    if remembered is None:
        # s3prl's own featurizer
        upstream = states["Args"].upstream
        if "weights" not in state:
            raise UsageError(f"{upstream!r} has a single hidden state: there is nothing to weigh")
        return SHARES["weighted_sum"], _table([upstream], [None], [state["weights"].softmax(dim=0)])
    config = FusionConfig.from_record(remembered["fusion"])
    name, options = config.interface.name, config.interface.options
    interface = build_interface(name, remembered["layers"], remembered["dims"], config.interface.output_dim, **options)
    interface.load_state_dict(state)
    values = interface.shares()
    if values is None:
        raise UsageError(f"the interface {name} gives layers no weights; measure on speech: --wavs WAV")
    return SHARES.get(name, "share"), _table(*_members(config), values)


def occlusion(ckpt: str, wavs: Sequence[str], device: str) -> tuple[str, pandas.DataFrame]:
    """Measure what the features lose without each layer, in the mean over the sound files; as `shares`.

    Raises:
        UsageError: the upstream is not a fused one, or a file is not speech at 16 kHz.
    """
    import torch
    from tqdm import tqdm

    from ..audio import count_samples, find_files, load
    from ..featurizer import FusionFeaturizer
    from ..host.load import load_experiment

    files = find_files(wavs)
    count_samples(list(files), "sound files")
    experiment = load_experiment(ckpt, device)
    if not isinstance(experiment.featurizer, FusionFeaturizer):
        raise UsageError(
            f"{experiment.args.upstream!r} is not a fused upstream; leave --wavs out for its softmax weights"
        )
    sums: list[Any] = [0.0] * len(experiment.featurizer.layers)
    with torch.no_grad():
        for file in tqdm(files, unit="file"):
            # One at a time: padding would enter the means over time.
            states = experiment.upstream([load(file).to(device)])["hidden_states"]
            changes = experiment.featurizer.interface.occlusion(experiment.featurizer.members(states))
            sums = [total + change.cpu() for total, change in zip(sums, changes)]
    return OCCLUSION, _table(*_members(experiment.featurizer.fusion), [total / len(files) for total in sums])


def _members(config: FusionConfig) -> tuple[list[str], list[Sequence[int] | None]]:
    return [label(member.name) for member in config.members], [member.layers for member in config.members]


def _table(
    names: Sequence[str], selections: Sequence[Sequence[int] | None], values: Sequence[Tensor]
) -> pandas.DataFrame:
    import pandas

    rows = [
        # The member's number keeps two of one name apart.
        {"member": number, "upstream": name, "layer": layer, "value": value}
        for number, (name, selection, column) in enumerate(zip(names, selections, values))
        for layer, value in zip(selection or range(len(column)), column.tolist())
    ]
    return pandas.DataFrame(rows, columns=["member", "upstream", "layer", "value"])


def draw(table: pandas.DataFrame, measure: str, path: Path, kind: str) -> None:
    """Draw one panel of bars a member, all on one scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    members = list(table.groupby("member"))
    figure, panels = pyplot.subplots(
        len(members), 1, figsize=(8, 1 + 1.9 * len(members)), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, (number, rows) in zip(panels[:, 0], members):
        layers = [str(layer) for layer in rows["layer"]]
        panel.bar(layers, rows["value"], color=COLOURS[number % len(COLOURS)], edgecolor="black", linewidth=0.6)
        panel.set_title(rows["upstream"].iloc[0], loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("hidden state")
    figure.suptitle(measure, fontsize=9, color="0.35")
    try:
        figure.savefig(path, dpi=150, format=kind)
    finally:
        pyplot.close(figure)
