"""What the data sets of ``-d ctc`` share: s3prl's wheel leaves them out, and s3prl asks for them by their modules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ...audio import load
from ..patches import Patches

LONG = 300000  # samples; a batch of training that begins with more is halved (s3prl/downstream/ctc/data.py:11)


def collate(items: list[Any], split: str) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], tuple[str, ...]]:
    """Load a batch, the longest sound first: waveforms (T',), phoneme ids and names.

    As s3prl does (s3prl/downstream/ctc/data.py:11), but names are not cut at the first dot.

    Args:
        items: (file, ids) pairs, or a bucket of them alone in a list.
        split: whether it is ``train``.
    """
    batch = items[0] if isinstance(items[0], list) else items
    first = load(batch[0][0]).numpy()
    if split == "train" and len(first) > LONG and len(batch) > 1:
        batch = batch[: len(batch) // 2]
    wavs = [first, *(load(file).numpy() for file, _ in batch[1:])]
    rows = [(wav, np.array(ids), file.stem) for wav, (file, ids) in zip(wavs, batch)]
    waveforms, labels, names = zip(*sorted(rows, key=lambda row: len(row[0]), reverse=True))
    return waveforms, labels, names


class Labelled(Dataset):
    """(file, ids) items, longest label first.

    Args:
        items: in any order.
        bucket_size: above 1, an item is a list of that many neighbours, so that a batch has labels of like length.
        ascending: shortest label first.
    """

    def __init__(self, items: Sequence[tuple[Path, list[int]]], bucket_size: int, ascending: bool = False) -> None:
        self.bucket_size = bucket_size
        self.items = sorted(items, key=lambda item: len(item[1]), reverse=not ascending)

    def __getitem__(self, index: int) -> Any:
        if self.bucket_size == 1:
            return self.items[index]
        start = max(0, min(len(self.items) - self.bucket_size, index))
        return self.items[start : start + self.bucket_size]

    def __len__(self) -> int:
        return len(self.items)


def supply(patches: Patches, **modules: ModuleType) -> None:
    """Stand in for the package downstream/ctc/corpus: the wheel lacks it, and the import would fail."""
    package = "s3prl.downstream.ctc.corpus"
    # What is supplied already, by a registration, has no spec to be found.
    if package not in sys.modules and util.find_spec(package) is None:
        patches.set_item(sys.modules, package, ModuleType(package))
        for name, module in modules.items():
            patches.set_item(sys.modules, f"{package}.{name}", module)


def keep_config(patches: Patches) -> None:
    """Let every split have the config's num_workers, and utterances their whole names."""
    module = import_module("s3prl.downstream.ctc.expert")
    stock = module.load_dataset

    def load_dataset(split: str, tokenizer: Any, corpus: dict[str, Any]) -> Any:
        # Stock takes num_workers out of the config for good (s3prl/downstream/ctc/data.py:76): the next split got 12.
        loader = stock(split, tokenizer, dict(corpus))
        loader.collate_fn = partial(collate, split=split)
        return loader

    patches.set(module, "load_dataset", load_dataset)
