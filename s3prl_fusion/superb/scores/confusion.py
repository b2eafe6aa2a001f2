"""confusion.png: which labels are taken for which."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ...files import write_with
from ...metrics import Texts, check_same_utterances

MOST = 40  # labels that a picture has room for: the most frequent ones


def counts(hypotheses: Texts, references: Texts) -> tuple[list[str], list[list[int]]]:
    """Count what was said of each label's utterances.

    Returns:
        The labels of the references, the most frequent `MOST`, sorted; and for each of them, in a row, how many of its
        utterances were said to be each.
    """
    check_same_utterances(hypotheses, references)
    labels = sorted(label for label, _ in Counter(references.values()).most_common(MOST))
    place = {label: index for index, label in enumerate(labels)}
    table = [[0] * len(labels) for _ in labels]
    for key, label in references.items():
        if label in place and hypotheses[key] in place:
            table[place[label]][place[hypotheses[key]]] += 1
    return labels, table


def draw(hypotheses: Texts, references: Texts, title: str, path: Path) -> None:
    """Draw `counts`, a row each label, shaded by the share of the label's utterances."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels, table = counts(hypotheses, references)
    shares = [[cell / max(1, sum(row)) for cell in row] for row in table]
    size = 2.2 + 0.4 * len(labels)
    figure, panel = pyplot.subplots(figsize=(size + 0.8, size))
    panel.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    panel.set_xticks(range(len(labels)), labels, rotation=90)
    panel.set_yticks(range(len(labels)), labels)
    panel.set(title=title, xlabel="said", ylabel="is")
    for i, row in enumerate(table):
        for j, cell in enumerate(row):
            if cell:
                panel.text(j, i, str(cell), ha="center", va="center", color="white" if shares[i][j] > 0.5 else "black")
    figure.tight_layout()
    try:
        write_with(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"))
    finally:
        pyplot.close(figure)
