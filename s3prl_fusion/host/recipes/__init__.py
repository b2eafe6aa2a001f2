"""What s3prl's recipes need and `pip install s3prl` does not give: each file here is a recipe, and defines `RECIPE`.

Files with a leading underscore are parts of them. Where a source checkout of s3prl has a piece, the checkout's is used.
"""

from __future__ import annotations

import pkgutil
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Sequence

from torch import Tensor, nn

from ...assets import downstream_configs_dir
from ...errors import UsageError, unknown
from ...files import write_whole
from ...schema import ANYTHING, Check, OneOf, Problem, Section
from ..hub import s3prl_folder
from ..patches import Patches
from ..proxy import Proxy
from ..shims.audio import load_speech
from . import _settings
from ._names import check_names

Config = dict[str, Any]  # of a run, as run_downstream reads it from the YAML file


@dataclass(frozen=True)
class Recipe:
    """What is done for one of s3prl's downstreams.

    Attributes:
        downstream: the recipe's name, what ``-d`` says.
        config: its default config, a file in downstream_configs/.
        mend: checks the config's paths, supplies what it lacks, in place, and mends s3prl's module, before any model
            loads; raises MissingFileError, with the config's key, or UsageError for a malformed file.
        without_corpus: lets the expert be built where its corpus is gone, from the state of a trained one.
        predict: what a trained expert says of features, B sequences of (T_i, D), as B texts; None if it says nothing
            of a single utterance.
        inference_file: what ``-m inference`` writes in the expdir, where s3prl has no inference of its own.
        crop: samples of the random crops that training takes; None for whole utterances.
        corpus: the corpus's name in the config, in small letters, if a downstream has several; None for any.
        check_texts: reads the texts of the splits that a run is about to use, and refuses what the head could not say
            before a model loads; for recipes that read a split when it is asked for, after hours at worst.
        others: names of the downstream's other corpora, with which s3prl is left alone.
        settings: what the config's ``downstream_expert`` may hold; anything, where a recipe does not say.
        splits: what ``runner.eval_dataloaders`` may name, by a config that is as it should be; None for anything.
        listed: the names of a split's utterances as the tables have them that the config names, which are those that
            the evaluation's files must hold. Raises FileNotFoundError where a table is gone. None if nobody knows.
        choose: what ``-m train`` does, in place of s3prl's training, for a downstream that trains nothing: writes
            dev-best.ckpt, given the runner and what `register.describe_run` says of it, and returns what is to be
            kept beside that. Its config needs no optimizer.
        featurizer: the class of the featurizer, in place of an interface that would be trained.
    """

    downstream: str
    config: str
    mend: Callable[[Config, Patches], None]
    without_corpus: Callable[[Config, dict[str, Tensor], Patches], None]
    predict: Callable[[Any, list[Tensor]], list[str]] | None = None
    inference_file: str = "inference.txt"
    crop: Callable[[Config], int | None] = lambda config: None
    corpus: str | None = None
    check_texts: Callable[[Config, Sequence[str]], None] = lambda config, splits: None
    others: Sequence[str] = ()
    settings: Check = Section(others=True)
    splits: Callable[[Config], list[str]] | None = None
    listed: Callable[[Config, str], list[str]] | None = None
    choose: Callable[[Any, Config], Config] | None = None
    featurizer: Callable[..., nn.Module] | None = None

    @property
    def name(self) -> str:
        """What ``-d`` says, and the corpus where that decides."""
        return f"{self.downstream} ({self.corpus})" if self.corpus else self.downstream

    def is_for(self, downstream: str, config: Config | None) -> bool:
        """Whether a run is of this recipe; one without a config is, whatever the corpus."""
        if config is None or self.corpus is None:
            return downstream == self.downstream
        expert = config.get("downstream_expert")
        corpus = expert.get("corpus") if isinstance(expert, dict) else None
        name = corpus.get("name") if isinstance(corpus, dict) else None
        return downstream == self.downstream and str(name).lower() == self.corpus


def table() -> list[Recipe]:
    """Return all recipes, by their files' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return [import_module(f"{__name__}.{name}").RECIPE for name in names]


def find(downstream: str, config: Config | None = None) -> Recipe | None:
    """Return the recipe of a run, or None if nothing is done for it.

    Args:
        downstream: what ``-d`` says.
        config: the run's; without it the first of a downstream's recipes is meant.
    """
    return next((recipe for recipe in table() if recipe.is_for(downstream, config)), None)


def check(
    downstream: str, config: Any, where: str = "", training: bool = True, given: Sequence[str] | None = None
) -> None:
    """Refuse a run's config with mistakes in it, before anything is prepared or loaded.

    Args:
        downstream: what ``-d`` says.
        config: the run's, -o included. A text that means a number becomes one, in place: to YAML, 1e-3 is a text.
        where: the config's file, for the message.
        training: whether the run trains, which needs an optimizer.
        given: keys that alone count, with what is below them; None for all.

    Raises:
        UsageError: names all mistakes at once, one line each.
    """
    problems: list[Problem] = []
    recipe = find(downstream, config) if isinstance(config, dict) else None
    _sections(downstream, recipe, training)("", config, problems)
    if recipe and recipe.splits and not problems:
        splits = recipe.splits(config)
        for split in config["runner"].get("eval_dataloaders", ()):
            OneOf("split", splits)("runner.eval_dataloaders", split, problems)
    found = [line for key, line in problems if given is None or any(f"{key}.".startswith(f"{own}.") for own in given)]
    if found:
        raise UsageError("\n".join(f"{where}: {line}" if where else line for line in found))


def _sections(downstream: str, recipe: Recipe | None, training: bool) -> Section:
    """Return the sections of a config; a downstream without a recipe here may have more."""
    stages: dict[str, Check] = {"runner": _settings.RUNNER, "optimizer": _settings.optimizer}
    more: dict[str, Check] = {"scheduler": _settings.scheduler, "specaug": _settings.specaug}
    if not training or (recipe and recipe.choose):
        runner = {**_settings.RUNNER.needed, **_settings.RUNNER.more}
        unread = ANYTHING if recipe and recipe.choose else _settings.optimizer
        stages, more = {"runner": Section(more=runner)}, {"optimizer": unread, **more}
    expert = recipe.settings if recipe else _other_corpus(find(downstream))
    return Section({**stages, "downstream_expert": expert}, more, others=recipe is None)


def _other_corpus(recipe: Recipe | None) -> Check:
    """Check what is said to a downstream with another corpus than a recipe's here, or with no recipe here at all."""
    if recipe is None or recipe.corpus is None:
        return Section(others=True)
    names = OneOf("corpus", (recipe.corpus, *recipe.others))

    def name(key: str, value: Any, problems: list[Problem]) -> Any:
        names(key, value.lower() if isinstance(value, str) else value, problems)
        return value

    return Section({"corpus": Section({"name": name}, others=True)}, others=True)


def default_config(downstream: str) -> Path | None:
    """Return the config of a recipe that is run without ``-c``, or None if there is none.

    Stock looks in ./downstream only, which depends on the current directory, and the wheel has no YAML at all.
    """
    relative, recipe = Path("downstream") / downstream / "config.yaml", find(downstream)
    candidates = [relative, s3prl_folder() / relative]
    if recipe:
        candidates.append(downstream_configs_dir() / recipe.config)
    return next((path for path in candidates if path.is_file()), None)


def mend(downstream: str, config: Config, patches: Patches) -> None:
    """Do what every recipe needs, and what this one needs, see `Recipe`.

    Raises:
        MissingFileError: a path in the config is not there; the message names the config's key.
        UsageError: a list of files is malformed, or a class is named that the recipe does not have.
    """
    # With max_keep 1 the runner deletes the last checkpoint before it writes the next (s3prl/downstream/runner.py:387):
    # killed in between, an experiment would be lost.
    config["runner"]["max_keep"] = max(2, config["runner"].get("max_keep", 2))
    recipe = find(downstream, config)
    if recipe:
        recipe.mend(config, patches)
        read_speech(downstream, patches)
    check_names(downstream, config)


def read_speech(downstream: str, patches: Patches) -> None:
    """Let a recipe's data sets read as all else here does: a file that has changed since the corpus was checked, and is
    damaged or no speech at 16 kHz, is named. Some check nothing, and none names it."""
    import torchaudio

    reader = Proxy(torchaudio, load=load_speech)
    package = f"s3prl.downstream.{downstream}"
    try:
        import_module(f"{package}.expert")
    except ImportError:
        return  # the runner, which imports it next, says what is missing
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{package}.") and vars(module).get("torchaudio") is torchaudio:
            patches.set(module, "torchaudio", reader)


def check_split(downstream: str, config: Config, split: str) -> None:
    """Raise UsageError for a split to evaluate that a recipe does not have."""
    recipe = find(downstream, config)
    known = ["train", *recipe.splits(config)] if recipe and recipe.splits else [split]
    if split not in known:
        raise UsageError(f"-t {split}: {unknown('split', split, known)}")


def check_texts(downstream: str, config: Config, splits: Sequence[str]) -> None:
    """Refuse texts, of the splits that a run uses, that its recipe cannot train or score on, see `Recipe`.

    Raises:
        UserError: says which, by file and line.
    """
    recipe = find(downstream, config)
    if recipe:
        recipe.check_texts(config, splits)


def add_inference(downstream: str, config: Config, patches: Patches) -> None:
    """Supply what ``-m inference`` calls: s3prl has it for ASR only (s3prl/downstream/asr/expert.py:225).

    It writes what the recipe predicts into the expdir, and prints it.
    """
    recipe = find(downstream, config)
    if recipe is None or recipe.predict is None:
        return
    expert_class = import_module(f"s3prl.downstream.{downstream}.expert").DownstreamExpert
    predict, name = recipe.predict, recipe.inference_file

    def inference(expert: Any, features: list[Tensor], filenames: list[str]) -> list[str]:
        results = predict(expert, features)
        lines = "".join(f"{filename} {result}\n" for filename, result in zip(filenames, results))
        write_whole(Path(expert.expdir) / name, lines)
        print(lines, end="")
        return results

    if not hasattr(expert_class, "inference"):
        patches.set(expert_class, "inference", inference)
