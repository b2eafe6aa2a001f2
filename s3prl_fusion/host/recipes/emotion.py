"""ER: IEMOCAP, in five folds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, Subset

from ...corpora.kinds.classify import DEV
from ...corpora.lines import check_names, read_text
from ...errors import MissingFileError, UsageError
from ...schema import SWITCH, WIDTH, Check, Kind, OneOf, Problem, Section, number, whole
from ..defined import Signature, definitions
from ..hub import s3prl_folder
from ..patches import Patches
from . import Recipe
from ._models import Model
from ._settings import LOADERS, PATH, dev_and_test, options
from ._shared import check_paths, empty, logits


def _deep_model(key: str, value: Any, problems: list[Problem]) -> Any:
    """Check what DeepModel takes: the name of a class in its file, and that class's options."""
    classes = definitions(s3prl_folder() / "downstream" / "emotion" / "model.py")
    classes = {name: of for name, of in classes.items() if "output_class_num" in of.names}
    head: dict[str, Check] = {"model_type": OneOf("model_type", classes), "pooling": whole(1)}
    name = value.get("model_type") if isinstance(value, dict) else None
    of = classes.get(name, Signature(forwards=True)) if isinstance(name, str) else Signature(forwards=True)
    known = {"hidden_dim": WIDTH, "kernel_size": whole(1), "padding": whole(0), "dropout": number(least=0, below=1)}
    own = options(replace(of, forwards=False), ("input_dim", "output_class_num", "pooling"), known)
    return Section({**head, **own.needed}, own.more, others=of.forwards)(key, value, problems)


def _fold(value: Any) -> str:
    if not re.fullmatch(r"fold\d+", value):
        raise ValueError
    return value


SETTINGS = Section(
    {
        "datarc": Section(
            {
                "pre_load": SWITCH,
                **LOADERS,
                "valid_ratio": number(above=0, below=1),
            },
            {"root": PATH, "meta_data": PATH, "test_fold": Kind("fold1, fold2 ...", _fold, null=True)},
        ),
        "modelrc": Model(
            ("model.py", "emotion/model.py"),
            width="projector_dim",
            without=("FrameLevel",),
            own={"DeepModel": _deep_model},
        ),
    }
)


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check the paths, and the fold's tables; a table that says which of its rows are for dev is heeded."""
    module = import_module("s3prl.downstream.emotion.expert")
    patches.set(module, "random_split", _heeding_dev(module.random_split))
    check_paths(config, "datarc", "root", "meta_data")
    datarc = config["downstream_expert"]["datarc"]
    fold = datarc.get("test_fold")
    folder = Path(datarc["meta_data"])
    # Without a fold in the config, run_downstream's --downstream_variant tells it.
    for session in [folder / fold.replace("fold", "Session")] if fold else sorted(folder.glob("Session*/")):
        tables = [session / "train_meta_data.json", session / "test_meta_data.json"]
        missing = [path for path in tables if not path.is_file()]
        if not missing:
            check_meta_data(*tables)
        elif fold:
            raise MissingFileError(
                f"{missing[0]} does not exist: downstream_expert.datarc.test_fold is {fold!r}; name one that is there, "
                "or let `s3prl-fusion superb` make all five from your corpus"
            )


def _heeding_dev(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Take the last rows for dev where the table of training rows has a number of them; s3prl draws some in any case
    (s3prl/downstream/emotion/expert.py:45)."""

    def split(dataset: Dataset, lengths: list[int]) -> Any:
        dev, rows = getattr(dataset, "data", {}).get(DEV), len(dataset)  # type: ignore[arg-type]
        if dev is None:
            return stock(dataset, lengths)
        return Subset(dataset, range(rows - dev)), Subset(dataset, range(rows - dev, rows))

    return split


def check_meta_data(train: Path, test: Path) -> None:
    """Refuse a fold's tables where a label would be no class of the head, or a class another one in the other table.

    Raises:
        UsageError: says which, and in which file.
    """
    labels = _read_table(train)["labels"]
    if _read_table(test)["labels"] != labels:
        raise UsageError(f"{test} has other labels than {train.name}; make both again")
    check_names((Path(row["path"]).stem, row["path"]) for row in _read_table(test)["meta_data"])


def _read_table(path: Path, needs_rows: bool = True) -> dict[str, Any]:
    """Read labels, by their classes' numbers, and rows of path and label."""
    try:
        table = json.loads(read_text(path, bom=False))
        labels, rows = table["labels"], table["meta_data"] if needs_rows else []
        pairs = [(row["path"], row["label"]) for row in rows]
        numbers = sorted(labels.values())
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} must have labels (name: number) and meta_data (rows of path and label): {error!r}"
        ) from error
    if (needs_rows and not rows) or numbers != list(range(len(labels))):
        raise UsageError(f"{path}: meta_data must have rows, and labels the numbers 0 to N-1; got {labels}")
    dev = table.get(DEV) if needs_rows else None
    if dev is not None and not (isinstance(dev, int) and 0 < dev < len(rows)):
        raise UsageError(
            f"{path}: {DEV} must be how many of the {len(rows)} rows, the last ones, are for dev; got {dev!r}"
        )
    for file, label in pairs:
        if label not in labels:
            raise UsageError(f"{path}: {file} has the label {label!r}; choose from {', '.join(labels)}")
    return table


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Empty the data sets; the labels are read from the meta data (s3prl/downstream/emotion/dataset.py:23)."""
    module = import_module("s3prl.downstream.emotion.expert")
    folder = config["downstream_expert"]["datarc"]["meta_data"]
    found = sorted(Path(folder).glob("Session*/train_meta_data.json"))
    if not found:
        raise MissingFileError(
            f"{folder} has no Session*/train_meta_data.json, which names the emotions that the experiment was trained "
            "on; put one there (the audio is not needed)"
        )
    indices = _read_table(found[0], needs_rows=False)["labels"]
    labels = {index: emotion for emotion, index in indices.items()}
    stand_in = empty(module.IEMOCAPDataset, class_num=len(labels), idx2emotion=labels)
    patches.set(module, "IEMOCAPDataset", stand_in)


def emotions(expert: Any, features: list[Tensor]) -> list[str]:
    """Return the most likely emotions."""
    best = logits(expert, features, features[0].device).argmax(-1).tolist()
    return [expert.test_dataset.idx2emotion[index] for index in best]


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the utterances of the fold that is held out; dev is drawn at random from the others."""
    datarc = config["downstream_expert"]["datarc"]
    session = Path(datarc["meta_data"]) / datarc["test_fold"].replace("fold", "Session")
    return [Path(row["path"]).stem for row in _read_table(session / f"{split}_meta_data.json")["meta_data"]]


RECIPE = Recipe(
    "emotion", "er.yaml", mend, without_corpus, emotions, listed=listed, settings=SETTINGS, splits=dev_and_test
)
