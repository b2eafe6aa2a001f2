"""SD: Libri2Mix, who of two speaks when."""

from __future__ import annotations

import shutil
from importlib import import_module, util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...corpora.librimix import TURNS, read_recordings, read_truth, recordings_of
from ...diarization import read_predictions, turns_of, write_turns
from ...errors import UsageError
from ...metrics import DER
from ...schema import SWITCH, WIDTH, Section, whole
from ..patches import Patches
from . import Recipe
from ._settings import BATCH, PATH, WORKERS, dev_and_test
from ._shared import check_paths

SPLITS = ("train", "dev", "test")
SETTINGS = Section(
    {
        "datarc": Section(
            {"num_speakers": whole(2, 2), "chunk_size": whole(1), "rate": whole(16000, 16000)},
            {
                "frame_shift": whole(1, null=True),
                "subsampling": whole(1, 1),
                "label_delay": whole(0),
                "use_last_samples": SWITCH,
            },
        ),
        "loaderrc": Section(
            {"num_workers": WORKERS, "train_batchsize": BATCH, "eval_batchsize": BATCH},
            {"root": PATH, **{f"{split}_dir": PATH for split in SPLITS}},
        ),
        "scorerc": Section({"save_predictions": SWITCH}),
        "modelrc": Section({"rnn_layers": whole(0), "hidden_size": WIDTH}),
    }
)
STOCK_BEST, BEST = "best-states-dev.ckpt", "dev-best.ckpt"


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check h5py, paths and tables, call the best checkpoint as the other recipes do, and score the test set."""
    _need_h5py()
    check_paths(config, "loaderrc", *(f"{split}_dir" for split in SPLITS))
    settings = config["downstream_expert"]["loaderrc"]
    root = Path(settings["root"]) if settings.get("root") else None
    for split in SPLITS:
        read_recordings(Path(settings[f"{split}_dir"]), root)
    test = Path(settings["test_dir"])
    if config["downstream_expert"]["scorerc"]["save_predictions"] and not (test / TURNS).is_file():
        read_truth(test, list(recordings_of(test)))  # before a model loads
    dataset = import_module("s3prl.downstream.diarization.dataset")

    def load_wav_scp(self: Any, path: str) -> dict[str, str]:
        return {name: str(file) for name, file in read_recordings(Path(path).parent, root).items()}

    patches.set(dataset.KaldiData, "_load_wav_scp", load_wav_scp)
    expert_class = import_module("s3prl.downstream.diarization.expert").DownstreamExpert
    stock_log, stock_loader = expert_class.log_records, expert_class.get_dataloader

    def get_dataloader(self: Any, mode: str) -> Any:
        if mode == "test":  # of an evaluation that was interrupted
            shutil.rmtree(Path(self.score_dir) / "predictions", ignore_errors=True)
            (Path(self.score_dir) / "predictions").mkdir(parents=True)
        return stock_loader(self, mode)

    def log_records(self: Any, mode: str, *args: Any, **kwargs: Any) -> list[str]:
        names = stock_log(self, mode, *args, **kwargs)
        if mode == "test" and self.save_predictions:
            _score(Path(self.expdir), Path(self.loaderrc["test_dir"]))
        return [BEST if name == STOCK_BEST else name for name in names]

    patches.set(expert_class, "get_dataloader", get_dataloader)
    patches.set(expert_class, "log_records", log_records)


def _need_h5py() -> None:
    if util.find_spec("h5py") is None:
        raise UsageError("SD writes its predictions with h5py: pip install 's3prl-fusion[sd]'")


def _score(expdir: Path, test: Path) -> None:
    """Put what was really said beside the predictions, and print the error rate."""
    if (test / TURNS).is_file():
        shutil.copyfile(test / TURNS, expdir / "test_truth.txt")
    else:  # a Kaldi folder that was not prepared here
        write_turns(expdir / "test_truth.txt", read_truth(test, list(recordings_of(test))))
    lines = (expdir / "test_truth.txt").read_text(encoding="utf-8").splitlines()
    references = {name: said for name, _, said in (line.partition(" ") for line in lines)}
    hypotheses = read_predictions(expdir / "scoring" / "predictions")
    print(f"test der: {DER.score(hypotheses, references) / DER.scale}")


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Write nothing; the data sets are built when they are asked for."""
    _need_h5py()
    config["downstream_expert"]["scorerc"]["save_predictions"] = False


def turns(expert: Any, features: list[Tensor]) -> list[str]:
    """Tell of each recording who speaks when: ``SPEAKER START END`` in seconds, for each turn."""
    lengths = [len(feature) for feature in features]
    logits = expert.model(pad_sequence(features, batch_first=True))
    found = []
    for row, length in zip(torch.sigmoid(logits), lengths):
        told = turns_of(row[:length].cpu().numpy(), expert.datarc["frame_shift"], threshold=0.5, median=11)
        found.append(" ".join(f"{turn.speaker} {turn.start:.2f} {turn.end:.2f}" for turn in sorted(told, key=_start)))
    return found


def _start(turn: Any) -> float:
    return turn.start


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the recordings of a split."""
    return list(recordings_of(Path(config["downstream_expert"]["loaderrc"][f"{split}_dir"])))


RECIPE = Recipe(
    "diarization",
    "sd.yaml",
    mend,
    without_corpus,
    turns,
    listed=listed,
    settings=SETTINGS,
    splits=dev_and_test,
)
