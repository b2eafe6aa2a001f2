"""SV: VoxCeleb1's trials. The recipe runs without libsox and a GPU, evaluates the dev trials, and writes the truth."""

from __future__ import annotations

import sys
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...corpora.lines import read_lines
from ...corpora.voxceleb1 import clip_name
from ...errors import UsageError
from ...files import write_whole
from ...schema import ANYTHING, SWITCH, WIDTH, Check, OneOf, Problem, Section, number, whole
from ..defined import definitions
from ..hub import s3prl_folder
from ..patches import Patches
from . import Recipe, _sv_data
from ._settings import CROP, LOADERS, PATH, dev_and_test, options
from ._shared import check_paths, empty, max_timestep

CONTEXT = 14  # frames that the x-vector's TDNN layers take off (s3prl/downstream/sv_voxceleb1/expert.py:207)

_MODULES = OneOf("module", ("XVector", "Identity"))
_LOSSES = OneOf("loss", ("AMSoftmaxLoss", "AAMSoftmaxLoss", "SoftmaxLoss"))


def _options(key: str, section: Any, name: Any, problems: list[Problem]) -> None:
    """Check the options of a class, which stand in a section under its name."""
    classes = definitions(s3prl_folder() / "downstream" / "sv_voxceleb1" / "model.py")
    if not isinstance(name, str) or name not in classes:
        return
    known = {"agg_dim": WIDTH, "dropout_p": number(least=0, below=1), "batch_norm": SWITCH}
    found = options(classes[name], ("input_dim", "hidden_dim", "speaker_num"), known)
    # s3prl's own config has no_args: True where there is nothing to say.
    more: dict[str, Check] = {**found.more, "no_args": ANYTHING}
    own = Section(found.needed, {n: more[n] for n in more if n not in found.needed}, found.others)
    Section({name: own}, others=True)(key, section, problems)


def _modelrc(key: str, value: Any, problems: list[Problem]) -> Any:
    Section(
        {
            "input_dim": WIDTH,
            "module": _MODULES,
            "module_config": ANYTHING,
            "agg_module": OneOf("aggregation", ("SP", "ASP", "AP", "MP")),
            "utter_module": OneOf("extractor", ("UtteranceExtractor", "UtteranceIdentity")),
            "ObjectiveLoss": _LOSSES,
            "LossConfig": ANYTHING,
        }
    )(key, value, problems)
    for section, chooser in (("module_config", "module"), ("LossConfig", "ObjectiveLoss")):
        if isinstance(value, dict) and section in value:
            _options(f"{key}.{section}", value[section], value.get(chooser), problems)
    return value


SETTINGS = Section(
    {
        "datarc": Section(
            {
                **CROP,
                **LOADERS,
                "vad_config": Section({"min_sec": whole(0)}),
            },
            {key: PATH for key in ("file_path", "train_meta_data", "dev_meta_data", "test_meta_data")},
        ),
        "modelrc": _modelrc,
    }
)


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check the paths and lists, and replace the data sets and two of the expert's methods."""
    check_paths(config, "datarc", "file_path", "train_meta_data", "dev_meta_data", "test_meta_data")
    _sv_data.check_lists(config["downstream_expert"]["datarc"])
    module = _expert_module(patches)
    patches.set(module, "SpeakerVerifi_train", _sv_data.TrainingClips)
    patches.set(module, "SpeakerVerifi_test", _sv_data.TrialClips)
    # Methods, not a subclass in the class's place: its super() goes by name.
    expert = module.DownstreamExpert
    stock = expert.log_records

    def log_records(
        self: Any, mode: str, records: dict[str, Any], logger: Any, global_step: int, **kwargs: Any
    ) -> list[str]:
        if mode == "train":
            return stock(self, mode, records=records, logger=logger, global_step=global_step, **kwargs)
        return log_trials(self, mode, records, logger, global_step)

    patches.set(expert, "forward", forward)
    patches.set(expert, "log_records", log_records)


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Empty the data sets; the number of speakers is that of the objective's last parameter."""
    module = _expert_module(patches)
    last = list(state.values())[-1]  # a vector (speakers,), or a matrix of the x-vector's width and the speakers
    width = config["downstream_expert"]["modelrc"]["input_dim"] if last.dim() > 1 else 1
    training = empty(module.SpeakerVerifi_train, speaker_num=last.numel() // width)
    patches.set(module, "SpeakerVerifi_train", training)
    patches.set(module, "SpeakerVerifi_test", empty(module.SpeakerVerifi_test))


def _expert_module(patches: Patches) -> Any:
    if "sox" not in sys.modules and util.find_spec("sox") is None:
        # Imported for a class that is never used (s3prl/downstream/sv_voxceleb1/dataset.py:13).
        stand_in: Any = ModuleType("sox")
        stand_in.Transformer = None
        patches.set_item(sys.modules, "sox", stand_in)
    return import_module("s3prl.downstream.sv_voxceleb1.expert")


def trial_name(first: str, second: str) -> str:
    """Return what the recipe, and the leaderboard, call a trial: ``id1-video-clip_id2-video-clip``."""
    return f"{clip_name(first)}_{clip_name(second)}"


def forward(
    self: Any,
    mode: str,
    features: list[Tensor],
    utter_idx: Sequence[str],
    labels: Sequence[int] | None = None,
    *,
    records: dict[str, Any],
    **kwargs: Any,
) -> Tensor:
    """Take the place of the expert's ``forward``, which puts its mask on a GPU in any case (expert.py:215)."""
    taken = CONTEXT if self.modelrc["module"] == "XVector" else 0
    short = [name for name, feature in zip(utter_idx, features) if len(feature) <= taken]
    if short:
        raise UsageError(f"{short[0]} has {taken} frames or fewer without its silence; remove it from the lists")
    padded = pad_sequence(features, batch_first=True)
    masks = [torch.zeros(len(feature) - taken, device=padded.device) for feature in features]
    mask = pad_sequence(masks, batch_first=True, padding_value=-100000.0)
    connected = self.connector(padded)
    if mode == "train":
        loss = self.objective(self.model(connected, mask), torch.tensor(labels, device=padded.device))
        records["loss"].append(loss.item())
        return loss
    vectors = torch.nn.functional.normalize(self.model.inference(connected, mask), dim=-1)
    records.update(zip(utter_idx, vectors.detach().cpu()))
    return torch.tensor(0)


def log_trials(self: Any, mode: str, records: dict[str, Any], logger: Any, global_step: int) -> list[str]:
    """Score the trials of ``dev`` or ``test``: what the expert's ``log_records`` should do.

    Stock looks for the test trials also where the dev ones were evaluated (expert.py:259), and writes no truth (:282).
    """
    trials = {"dev": self.dev_dataset, "test": self.test_dataset}[mode].pair_table
    scores = [self.score_fn(records[first], records[second]).item() for _, first, second in trials]
    names = [trial_name(first, second) for _, first, second in trials]
    labels = [int(label) for label, *_ in trials]
    eer = float(self.eval_metric(np.array(labels), np.array(scores))[0])
    logger.add_scalar(f"sv-voxceleb1/{mode}-EER", eer, global_step=global_step)
    print(f"sv-voxceleb1/{mode}-EER: {eer}")
    for kind, values in (("predict", scores), ("truth", labels)):
        write_whole(
            Path(self.expdir) / f"{mode}_{kind}.txt",
            "".join(f"{name} {value}\n" for name, value in zip(names, values)),
        )
    if mode == "dev" and eer < self.best_score:
        self.best_score = torch.ones(1) * eer
        return [f"{mode}-best.ckpt"]
    return []


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the trials."""
    table = Path(config["downstream_expert"]["datarc"][f"{split}_meta_data"])
    return [trial_name(*line.split()[1:]) for _, line in read_lines(table)]


RECIPE = Recipe(
    "sv_voxceleb1",
    "sv.yaml",
    mend,
    without_corpus,
    crop=max_timestep,
    listed=listed,
    settings=SETTINGS,
    splits=dev_and_test,
)
