"""Which hidden states QbE searches with: all are tried on dev, in one pass over the documents.

Distances and paths are computed in threads while the upstream goes on. What is computed is kept, a file some documents,
so that a search that was killed goes on.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ...dtw import Queries
from ...files import write_whole
from ._search import Moments, Settings, standardised, threads

FOLDER = "states-dev"  # in an expdir, while the search lasts
CHUNK = 16  # documents whose scores are kept in one file
Choice = tuple[int, ...]  # of numbers of states
MEAN: Choice = ()  # the choice of none: see `StateFeaturizer`


class DevSearch:
    """The search for the best states.

    Args:
        runner: s3prl's, with the upstream, a `StateFeaturizer` and the recipe's expert.
        key: what the scores follow from; those that are kept under another one are forgotten.
        advance: told of each utterance that has been run.
    """

    def __init__(self, runner: Any, key: str, advance: Callable[[], None]) -> None:
        self._runner, self._advance = runner, advance
        self._expert, self._featurizer = runner.downstream.model, runner.featurizer.model
        self._settings = Settings.of(runner.config["downstream_expert"])
        self._folder = Path(runner.args.expdir) / FOLDER
        self._loader = self._expert.get_dataloader("dev")
        dataset = self._loader.dataset
        self._queries, self._documents = dataset.n_queries, len(dataset) - dataset.n_queries
        of = self._folder / "made_of"
        if not (runner.args.auto_resume and of.is_file() and of.read_text(encoding="utf-8") == key):
            shutil.rmtree(self._folder, ignore_errors=True)
            write_whole(of, key)

    def measure(self) -> None:
        """Find each feature's mean and deviation, of every state, over all queries and documents."""
        numbers = range(len(self._featurizer.dims))
        choices = [*((number,) for number in numbers), MEAN]
        kept = _read(self._folder / "moments.npz")
        moments = [Moments() for _ in choices]
        wanted: list[list[np.ndarray]] = [[] for _ in choices]
        everything = self._queries if kept or not self._settings.normalize else self._queries + self._documents
        for index, states in self._run(range(everything), choices):
            for found, of_queries, frames in zip(moments, wanted, states):
                if self._settings.normalize and not kept:
                    found.add(frames)
                if index < self._queries:
                    of_queries.append(frames.cpu().numpy())
        if self._settings.normalize and not kept:
            scales = [found.scale() for found in moments]
            kept = {f"{what}{i}": each for i, scale in enumerate(scales) for what, each in zip("ms", scale)}
            _write(self._folder / "moments.npz", **kept)
        elif not kept:
            kept = {f"{what}{i}": np.full(1, float(what == "s")) for i in range(len(choices)) for what in "ms"}
        self._scales = {choice: (kept[f"m{i}"], kept[f"s{i}"]) for i, choice in enumerate(choices)}
        self._wanted = dict(zip(choices, wanted))

    def scores(self, name: str, choices: Sequence[Choice]) -> np.ndarray:
        """Look for all queries in all documents, with each choice of states.

        Args:
            name: of the files that keep the scores.
            choices: of numbers of states.

        Returns:
            (choices, Q, documents), see `standardised`.
        """
        wanted = [self._scaled_queries(choice) for choice in choices]
        starts = range(0, self._documents, CHUNK)
        files = {start: self._folder / f"{name}-{start}.npz" for start in starts}
        kept = {start: found["scores"] for start, file in files.items() if (found := _read(file))}
        lacking = [number for number in range(self._documents) if number - number % CHUNK not in kept]
        for _ in range(self._documents - len(lacking)):
            self._advance()
        run = self._run([self._queries + number for number in lacking], choices)
        with threads(self._settings) as pool:
            for start in starts:
                if start not in kept:
                    kept[start] = self._look(pool, islice(run, CHUNK), choices, wanted)
                    _write(files[start], scores=kept[start])
        return standardised(np.concatenate([kept[start] for start in starts], axis=-1))

    def _look(
        self,
        pool: ThreadPoolExecutor,
        run: Iterable[tuple[int, list[Tensor]]],
        choices: Sequence[Choice],
        wanted: Sequence[Queries],
    ) -> np.ndarray:
        """Return (choices, Q, documents) scores as they are, of the documents that are run."""
        columns = [
            [pool.submit(self._column, *each) for each in zip(wanted, choices, [frames.cpu() for frames in states])]
            for _, states in run
        ]
        return np.stack([np.stack([future.result() for future in each]) for each in columns], axis=-1)

    def _column(self, wanted: Queries, choice: Choice, frames: Tensor) -> np.ndarray:
        mean, deviation = self._scale(choice)
        return wanted.scores((frames.numpy() - mean) / deviation)

    def _scale(self, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of a choice's features: of several states, one after the other."""
        if choice in self._scales:
            return self._scales[choice]
        means, deviations = zip(*(self._scales[(number,)] for number in choice))
        return np.concatenate(means), np.concatenate(deviations)

    def _scaled_queries(self, choice: Choice) -> Queries:
        each = self._wanted.get(choice) or [
            np.concatenate(frames, axis=-1) for frames in zip(*(self._wanted[(number,)] for number in choice))
        ]
        mean, deviation = self._scale(choice)
        scaled = [(frames - mean) / deviation for frames in each]
        return Queries(scaled, self._settings.distance, self._settings.minmax)

    @torch.no_grad()
    def _run(self, indices: Sequence[int], choices: Sequence[Choice]) -> Iterator[tuple[int, list[Tensor]]]:
        """Run the upstream once on each utterance; yield its number, and for each choice its (T, D) features."""
        numbers = iter(indices)
        loader = DataLoader(
            Subset(self._loader.dataset, list(indices)),
            batch_size=self._loader.batch_size,
            num_workers=min(self._loader.num_workers, len(indices)),
            collate_fn=self._loader.collate_fn,
        )
        for batch, _ in loader:
            wavs = [torch.as_tensor(wav, dtype=torch.float32).to(self._runner.args.device) for wav in batch]
            features = self._runner.upstream.model(wavs)
            states = [self._featurizer.select(wavs, features, choice) for choice in choices]
            for i in range(len(wavs)):
                self._advance()
                yield next(numbers), [of_choice[i] for of_choice in states]


def forget(expdir: Path) -> None:
    """Remove what a search has kept, once its outcome is written."""
    shutil.rmtree(expdir / FOLDER, ignore_errors=True)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read arrays; none where the file is not there, or is damaged: then it is made anew."""
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def _write(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_whole(path, content.getvalue())
