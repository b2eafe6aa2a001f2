"""QbE: QUESST 2014's English queries, looked for in its English documents. Nothing is trained."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ... import stdlist
from ...corpora import quesst14
from ...dtw import DISTANCES
from ...errors import UsageError
from ...files import whole_file, write_whole
from ...identity import digest
from ...metrics import MTWV
from ...schema import SWITCH, Kind, OneOf, Section, whole
from ..patches import Patches
from ..shims.sox import apply_effects_file
from . import Recipe
from ._dev_search import MEAN, Choice, DevSearch, forget
from ._search import Settings, search, texts
from ._settings import BATCH, PATH, WORKERS, dev_and_test
from ._shared import check_paths
from ._states import StateFeaturizer

_LISTS = "utterances", "dev"  # of a search on dev
_WITHOUT = {"dtw": "dtw", "lxml": "etree"}  # packages whose work is done here, and what is imported from them


def _nothing(value: Any) -> Any:
    raise ValueError


SETTINGS = Section(
    {
        "max_workers": whole(1),
        "feature_normalization": SWITCH,
        "dtwrc": Section(
            {
                "dist_method": OneOf("distance", DISTANCES),
                "minmax_norm": SWITCH,
                "step_pattern": OneOf("step pattern", ("asymmetric",)),
                "subsequence": Kind("true", lambda value: {True: True}[value]),
            }
        ),
        "datarc": Section({"batch_size": BATCH, "num_workers": WORKERS}, {"dataset_root": PATH}),
        # The recipe wants it, for posteriors; hidden states have no dimension of silence.
        "silence_frame": Kind("null", _nothing, null=True),
    }
)


def mend(config: dict[str, Any], patches: Patches) -> None:
    """Check the path, the lists and the ground truth; read sound without libsox, and search without dtw-python."""
    check_paths(config, "datarc", "dataset_root")
    for split in quesst14.SPLITS:
        quesst14.reference(_root(config), split)
    module = _expert_module(patches)
    patches.set(import_module("s3prl.downstream.quesst14_dtw.dataset"), "apply_effects_file", apply_effects_file)
    patches.set(module.DownstreamExpert, "log_records", log_records)


def without_corpus(config: dict[str, Any], state: dict[str, Tensor], patches: Patches) -> None:
    """Let the expert, which reads nothing before it is asked to, be imported."""
    _expert_module(patches)


def _expert_module(patches: Patches) -> Any:
    for name, part in _WITHOUT.items():
        if name not in sys.modules and util.find_spec(name) is None:
            stand_in: Any = ModuleType(name)
            setattr(stand_in, part, None)
            patches.set_item(sys.modules, name, stand_in)
    module = import_module("s3prl.downstream.quesst14_dtw.expert")
    stock = module.DownstreamExpert.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stock(self, *args, **kwargs)
        self.register_buffer("best_score", torch.zeros(1))

    patches.set(module.DownstreamExpert, "__init__", init)
    return module


def _root(config: Mapping[str, Any]) -> Path:
    return Path(config["downstream_expert"]["datarc"]["dataset_root"])


def log_records(self: Any, mode: str, records: dict[str, Any], **kwargs: Any) -> list[str]:
    """Do what the expert's ``log_records`` does, and write and score the ground truth too."""
    number, names = self.test_dataset.n_queries, records["audio_names"]
    features = [frames.numpy() for frames in records["features"]]
    settings = Settings(
        self.dtwrc["dist_method"], self.dtwrc["minmax_norm"], self.feature_normalization, self.max_workers
    )
    with tqdm(total=len(features) - number, dynamic_ncols=True, desc=mode) as bar:
        scores = search(features[:number], features[number:], settings, lambda _: bar.update())
    queries, documents = names[:number], names[number:]
    stdlist.write(self.expdir / stdlist.NAME, {query: dict(zip(documents, row)) for query, row in zip(queries, scores)})
    reference = quesst14.reference(Path(self.datarc["dataset_root"]), mode)
    write_whole(self.expdir / f"{mode}_truth.txt", "".join(f"{query} {text}\n" for query, text in reference.items()))
    print(f"{mode} mtwv: {MTWV.score(texts(scores, queries, documents), reference) / MTWV.scale}")
    return []


def choose(runner: Any, description: dict[str, Any]) -> dict[str, Any]:
    """Try every hidden state of every member on dev, the mean of all, and of several members the best states of each,
    one after the other; keep the best in dev-best.ckpt.

    Args:
        runner: s3prl's, whose training this is.
        description: what the run is made of.

    Returns:
        What was tried, with its dev scores in percent, and what was chosen.
    """
    if torch.distributed.is_initialized():
        raise UsageError(
            "QbE trains nothing in several processes; leave torchrun out, and say downstream_expert.max_workers: its "
            "threads"
        )
    expert, featurizer, config = runner.downstream.model.eval(), runner.featurizer.model.eval(), runner.config
    runner.upstream.model.eval()
    fusion = description["fusion"] or {"members": [{"name": runner.args.upstream}]}
    key = digest([description["made_of"], fusion, config["downstream_expert"], *(listed(config, of) for of in _LISTS)])
    found = _try_all(runner, key)
    chosen = max(found, key=lambda one: found[one])  # the first of equals
    named = {choice: _named(choice, featurizer, fusion["members"]) for choice in found}
    featurizer.choose(chosen)
    expert.best_score = torch.tensor([found[chosen] / MTWV.scale], dtype=torch.float64)
    ckpt = {"Step": 0, "Epoch": 0, "Args": runner.args, "Config": config}
    for entry in (runner.featurizer, runner.downstream):
        ckpt[entry.name] = entry.model.state_dict()
    expdir = Path(runner.args.expdir)
    with whole_file(expdir / "dev-best.ckpt") as file:
        torch.save(ckpt, file)
    forget(expdir)
    print(f"[s3prl_fusion] best on dev of {len(found)}: {named[chosen]}, MTWV {found[chosen]:.2f} %")
    tried = [{"states": named[choice], "dev_score": score} for choice, score in found.items()]
    return {"chosen": named[chosen], "tried": tried}


def _try_all(runner: Any, key: str) -> dict[Choice, float]:
    """Return the dev score of each choice of states, in percent; see `choose` and `DevSearch`."""
    featurizer, config = runner.featurizer.model, runner.config
    found: dict[Choice, float] = {}
    documents, queries = (listed(config, of) for of in _LISTS)
    reference, members = quesst14.reference(_root(config), "dev"), range(len(featurizer.layers))
    passes = 2 if len(members) == 1 else 3
    with tqdm(total=passes * len(documents) + len(queries), dynamic_ncols=True, desc="overall") as bar:
        dev = DevSearch(runner, key, bar.update)

        def look(name: str, choices: Sequence[Choice]) -> None:
            for choice, scores in zip(choices, dev.scores(name, choices)):
                found[choice] = MTWV.score(texts(scores, queries, documents), reference)

        dev.measure()
        single: list[Choice] = [(number,) for number in range(len(featurizer.dims))]
        look("single", [*single, MEAN])
        if len(members) > 1:
            of = [[one for one in single if featurizer.member_of(one[0]) == member] for member in members]
            best = [max(states, key=lambda one: found[one]) for states in of]
            look("joined", [tuple(number for one in best for number in one)])
    return found


def _named(choice: Choice, featurizer: StateFeaturizer, members: list[dict[str, Any]]) -> str:
    """Name a choice of states for people: ``hubert 9``, ``hubert 9 + wavlm 11``, ``weighted_sum``."""
    if choice == MEAN:
        return "weighted_sum"
    names = []
    for number in choice:
        member = featurizer.member_of(number)
        own = number - sum(featurizer.layers[:member])
        layers = members[member].get("layers")
        names.append(f"{members[member]['name']} {layers[own] if layers else own}")
    return " + ".join(names)


def listed(config: dict[str, Any], split: str) -> list[str]:
    """List the queries of a split, or what they are looked for in: the ``utterances``."""
    return [file.stem for file in quesst14.read_english(_root(config), quesst14.SPLITS.get(split, split))]


RECIPE = Recipe(
    "quesst14_dtw",
    "qbe.yaml",
    mend,
    without_corpus,
    listed=listed,
    settings=SETTINGS,
    splits=dev_and_test,
    choose=choose,
    featurizer=StateFeaturizer,
)
