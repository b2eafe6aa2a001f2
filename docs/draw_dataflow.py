"""Draws docs/dataflow.png, the README's figure: python docs/draw_dataflow.py"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

FROZEN, LEARNT, STOCK = "#DCE6F1", "#FBE3C0", "#E9E9E9"
TICKS = {"WavLM": (7, 10), "HuBERT": (7, 10), "fbank": (1, 20)}


def box(axes, x, y, width, height, text, colour, size=10):
    axes.add_patch(FancyBboxPatch((x, y), width, height, "round,pad=0.04", facecolor=colour, edgecolor="0.3"))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size)


def arrow(axes, start, end):
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color="0.25", linewidth=1.2))


def states(axes, x, y, layers, frames, colour):
    """A member's hidden states: one thin strip a layer, one tick a frame."""
    for layer in range(layers):
        bottom = y + layer * 0.095
        axes.add_patch(pyplot.Rectangle((x, bottom), 1.15, 0.07, facecolor=colour, edgecolor="0.35", linewidth=0.6))
        for frame in range(1, frames):
            axes.plot([x + 1.15 * frame / frames] * 2, [bottom, bottom + 0.07], color="0.35", linewidth=0.4)


def main() -> None:
    """Draws and writes the figure."""
    figure, axes = pyplot.subplots(figsize=(12, 4.1))
    axes.set_xlim(0, 12)
    axes.set_ylim(-0.35, 3.75)
    axes.axis("off")
    box(axes, 0.05, 1.35, 1.0, 0.7, "waveforms\n16 kHz", "white")
    for row, (name, (layers, frames)) in enumerate(TICKS.items()):
        y = 2.55 - row * 1.1
        box(axes, 1.7, y, 1.15, 0.65, name, FROZEN)
        arrow(axes, (1.12, 1.7), (1.63, y + 0.32))
        arrow(axes, (2.92, y + 0.32), (3.32, y + 0.32))
        states(axes, 3.38, y + (0.01 if layers > 1 else 0.28), layers, frames, FROZEN)
        arrow(axes, (4.6, y + 0.32), (5.0, 1.7))
    axes.text(2.27, 3.42, "members", ha="center", fontsize=9.5, style="italic")
    axes.text(3.95, 3.42, "all layers, any rate", ha="center", fontsize=9.5, style="italic")
    box(axes, 5.07, 1.25, 1.35, 0.9, "frames\naligned to\nthe fastest", FROZEN)
    box(axes, 6.95, 1.25, 1.75, 0.9, "interface\nhconv, weighted_sum, ...\nlayers and widths matched", LEARNT, 8.5)
    box(axes, 9.25, 1.25, 1.15, 0.9, "s3prl's\ndownstream", STOCK)
    box(axes, 10.95, 1.25, 0.95, 0.9, "ASR  PR\nSID  ER", "white")
    for start, end in ((6.5, 6.88), (8.78, 9.18), (10.48, 10.88)):
        arrow(axes, (start, 1.7), (end, 1.7))
    for start, end, text, colour in (
        (1.6, 6.5, "FusedUpstream: frozen, one s3prl upstream  (-u fused_wavlm_hubert_fbank)", "#33557F"),
        (6.85, 8.8, "FusionFeaturizer: trained", "#9A6411"),
        (9.15, 10.5, "unchanged", "0.3"),
    ):
        axes.plot([start, start, end, end], [0.12, 0.0, 0.0, 0.12], color=colour, linewidth=1.3)
        axes.text((start + end) / 2, -0.2, text, ha="center", va="center", fontsize=9.5, color=colour)
    figure.tight_layout(pad=0.2)
    figure.savefig(Path(__file__).with_name("dataflow.png"), dpi=130)


if __name__ == "__main__":
    main()
