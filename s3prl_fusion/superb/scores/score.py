"""The score of one expdir: recomputed from its files, held against the recipe's log, kept with what it was made of."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from functools import reduce
from typing import Any

from ... import checkpoint
from ...assets import downstream_configs_dir
from ...files import read_json, write_sealed
from ...host.arguments import set_value
from ...metrics import ScoreError, Texts
from ..layout import RunFolder, is_auto_name, task_on_table
from ..own_files import own_digest
from ..records import RUN, STAMP
from ..tasks import TASKS, Task, find
from . import scoring
from .confusion import draw

CONFUSION = "confusion.png"  # in a run's folder, of tasks with labels
AGAIN = "remove it, and what it told stays unknown; or give the `superb` command again"


def dev_score(task: Task, states: Mapping[str, Any]) -> float:
    """Read the dev score in a best checkpoint, in percent; the recipes keep it among the downstream's buffers."""
    return float(states["Downstream"]["best_score"]) * task.dev_metric.scale


def score(run: RunFolder, paths: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Score a run after its evaluation, and write score.json.

    Args:
        run: has the best checkpoint, the hypothesis and reference files, and the evaluation's output in evaluate.log.
        paths: where the corpus and its tables are, by the config's keys; else as in the checkpoint.

    Returns:
        What score.json holds: score, dev_score and chance (percent), the metric and its definition, the number of
        utterances and a digest of their names (`test_set`), upstream (its name), fusion (in full),
        made_of (what the run trained on, by content), interface, members, task, fold, seed, lr, numbers of parameters,
        seconds of training and evaluation (None where nobody took the time), versions, device, cache, and a hash of the
        recipe's config without its paths.

    Raises:
        ScoreError: something is missing, or the files and the log disagree.
    """
    from ...host.ckpt import read_ckpt

    if is_auto_name(run.upstream.name):
        raise ScoreError(f"{run.path} is made of the run that was chosen; give the `superb` command again")
    ckpts = run.best_ckpts()
    if not ckpts:
        raise ScoreError(f"{run.path} has no *-best.ckpt; train there first")
    states = read_ckpt(ckpts[0])
    args, config = states["Args"], states["Config"]
    task = _task(run, args)
    fold = _get(config, task.fold_key) if task.fold_key else None
    value, hypotheses, references = _checked_score(run, task, fold)
    for key, path in (paths or {}).items():
        set_value(config, key, path)
    _check_complete(run, task, config, references)
    said = read_json(run.run_file, RUN, AGAIN)
    result = {
        "task": task.name,
        "fold": fold,
        "score": value,
        "dev_score": dev_score(task, states),
        "chance": task.metric.chance(references),
        "metric": task.metric.name,
        **_more(task, hypotheses, references),
        "definition": task.metric.definition,
        "utterances": len(references),
        "test_set": scoring.names_digest(references),
        "seed": args.seed,
        "lr": config["optimizer"]["lr"] if task.trains else None,
        "config_hash": config_hash(config, task),
        **_upstream(said, args, states["Featurizer"]),
        **_provenance(said),
        **({"states": said["states"]} if "states" in said else {}),
        **{f"{stage}_seconds": _stamp(run, stage).get("seconds") for stage in ("train", "evaluate")},
    }
    if task.confusion:
        draw(hypotheses, references, f"{task.title} {fold or ''}".strip(), run.path / CONFUSION)
    write_sealed(run.result, result)
    return result


def _more(task: Task, hypotheses: Texts, references: Texts) -> dict[str, dict[str, float]]:
    if not task.more:
        return {}
    scores = {metric.name: metric.score(hypotheses, references) for metric in task.more}
    return {"more": scores, "more_chance": {metric.name: metric.chance(references) for metric in task.more}}


def _stamp(run: RunFolder, stage: str) -> dict[str, Any]:
    return read_json(run.stamp(stage), STAMP, AGAIN)


def _task(run: RunFolder, args: argparse.Namespace) -> Task:
    """Find the task that the pipeline trained, else one whose recipe was run: a user's own where one is named."""
    trained = _stamp(run, "train").get("task") or task_on_table(run)
    if trained:
        return find(trained, run.path)
    task = next((task for task in reversed(list(TASKS.values())) if task.downstream == args.downstream), None)
    if task is None:
        raise ScoreError(
            f"{run.path} was trained with -d {args.downstream}, which is none of the tasks {', '.join(TASKS)}"
        )
    return task


def _checked_score(run: RunFolder, task: Task, fold: str | None) -> tuple[float, dict[str, str], dict[str, str]]:
    log = run.log("evaluate")
    try:
        hypotheses = task.hypotheses(run.hypothesis(task, fold))
        references = task.references(run.reference(task, fold))
        text, logs = log.read_text(encoding="utf-8"), task.logged_metric
        for metric, key in ((logs, task.logged), *zip(task.more, task.logged_more)):
            scoring.check_logged(metric.score(hypotheses, references), scoring.logged_score(text, key, metric.scale))
        value = task.metric.score(hypotheses, references)
    except ScoreError:
        raise
    except FileNotFoundError as error:
        raise ScoreError(f"{error.filename} does not exist; evaluate first, with the output in {log}") from error
    except ValueError as error:
        raise ScoreError(f"{log}: {error}") from error
    return value, hypotheses, references


def _check_complete(run: RunFolder, task: Task, config: Mapping[str, Any], references: Mapping[str, str]) -> None:
    """Hold what was evaluated against the prepared tables of the test set, which the evaluation has not written."""
    from ...host import recipes

    recipe = recipes.find(task.downstream, dict(config))
    if recipe is None or recipe.listed is None:
        return
    try:
        listed = recipe.listed(dict(config), task.eval_split)
    except FileNotFoundError as error:
        raise ScoreError(
            f"{error.filename} is gone, which lists the utterances of the test set: whether {run.path} has all of them "
            "cannot be told; give the `superb` command again, which makes it anew"
        ) from error
    missing, extra = sorted(set(listed) - set(references)), sorted(set(references) - set(listed))
    if missing or extra:
        raise ScoreError(
            f"{run.path} was evaluated on {len(references):,} utterances, and the test set has {len(set(listed)):,}: "
            f"{len(missing)} missing {missing[:3]}, {len(extra)} extra {extra[:3]}. Does the recipe leave some out "
            "(eval_batch_size 1 keeps all), or has the corpus changed? Evaluate again"
        )


def config_hash(config: Mapping[str, Any], task: Task) -> str:
    """Return 12 digits that tell one recipe's settings from another's, wherever the corpora are, whichever the fold."""
    config = deepcopy(dict(config))
    for key in task.filled_in:
        *parents, last = key.split(".")
        section, name = _get(config, ".".join(parents)), task.paths.get(key, "")
        is_shipped = (downstream_configs_dir() / name).is_file()
        section[last] = own_digest(section.get(last), name) if is_shipped else None
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def _get(config: Mapping[str, Any], key: str) -> Any:
    return reduce(lambda node, part: node[part], key.split("."), config)


def _upstream(said: Mapping[str, Any], args: argparse.Namespace, featurizer: Mapping[str, Any]) -> dict[str, Any]:
    """Say what was trained on, as the training said; where an older release trained, as the checkpoint says."""
    fusion, made_of = said.get("fusion"), said.get("made_of")
    if fusion is None:
        remembered = checkpoint.read(featurizer) or {}
        # s3prl's own featurizer is a weighted sum, and remembers nothing.
        stock = {"members": [{"name": args.upstream}], "interface": {"name": "weighted_sum"}, "stock": True}
        fusion, made_of = remembered.get("fusion", stock), remembered.get("made_of")
    return {
        "upstream": args.upstream,
        "fusion": fusion,
        "made_of": made_of or fusion,
        "interface": fusion["interface"]["name"],
        "members": [member["name"] for member in fusion["members"]],
    }


def _provenance(said: Mapping[str, Any]) -> dict[str, Any]:
    """Pick of what the training kept in run.json; None where an older release trained."""
    counts = said.get("parameters", {})
    trained, frozen = said.get("upstream_trained"), counts.get("upstream")
    return {
        **{key: said.get(key) for key in ("s3prl_fusion", "host", "torch", "device", "cache")},
        "featurizer_parameters": counts.get("featurizer"),
        "downstream_parameters": counts.get("downstream"),
        "frozen_parameters": 0 if trained else frozen,
        "finetuned_parameters": frozen if trained else 0,
    }
