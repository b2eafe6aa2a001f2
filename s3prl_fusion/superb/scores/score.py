"""The score of one expdir: recomputed from its files, held against the recipe's log, kept with what it was made of."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import Any

from ...files import write_json
from ..tasks import TASKS, Task
from . import scoring
from .scoring import ScoreError

# In an expdir.
RESULT = "score.json"
STAMPS = "stages"
RUN_FILE = "run.json"  # of s3prl_fusion.host.register


def log_of(expdir: Path, stage: str) -> Path:
    """Where the output of a stage goes."""
    return expdir / f"{stage}.log"


def dev_score(task: Task, states: Mapping[str, Any]) -> float:
    """The dev score in a best checkpoint, in percent; the recipes keep it among the downstream's buffers."""
    return float(states["Downstream"]["best_score"]) * task.logged_scale


def score(expdir: Path) -> dict[str, Any]:
    """Score an expdir after its evaluation, and write score.json.

    Args:
        expdir: Has the best checkpoint, the hypothesis and reference files, and the evaluation's output in
            evaluate.log.

    Returns:
        What score.json holds: score, dev_score and chance (percent), utterances, upstream, interface, members, task,
        fold, seed, lr, numbers of parameters, seconds of training and evaluation (None where nobody took the time),
        versions, device, and a hash of the recipe's config without its paths.

    Raises:
        ScoreError: Something is missing, or the files and the log disagree.
    """
    from ...host.ckpt import read_ckpt

    ckpts = sorted(expdir.glob("*-best.ckpt"))
    if not ckpts:
        raise ScoreError(f"{expdir} has no *-best.ckpt; train there first")
    states = read_ckpt(ckpts[0])
    args, config = states["Args"], states["Config"]
    task = next((task for task in TASKS.values() if task.downstream == args.downstream), None)
    if task is None:
        raise ScoreError(
            f"{expdir} was trained with -d {args.downstream}, which is none of the tasks {', '.join(TASKS)}"
        )
    fold = _get(config, task.fold_key) if task.fold_key else None
    value, references = _checked_score(expdir, task, fold)
    result = {
        "task": task.name,
        "fold": fold,
        "score": value,
        "dev_score": dev_score(task, states),
        "chance": task.chance(references),
        "utterances": len(references),
        "seed": args.seed,
        "lr": config["optimizer"]["lr"],
        "config_hash": config_hash(config, task),
        **_upstream(args, states["Featurizer"]),
        **_provenance(expdir),
        **{f"{stage}_seconds": _seconds(expdir, stage) for stage in ("train", "evaluate")},
    }
    write_json(expdir / RESULT, result)
    return result


def _checked_score(expdir: Path, task: Task, fold: str | None) -> tuple[float, dict[str, str]]:
    log = log_of(expdir, "evaluate")
    try:
        hypotheses, references = (
            scoring.read_texts(expdir / task.file(pattern, fold)) for pattern in (task.hypothesis, task.reference)
        )
        value = task.score(hypotheses, references)
        text = log.read_text(encoding="utf-8")
        scoring.check_logged(value, scoring.logged_score(text, task.logged, task.logged_scale))
    except ScoreError:
        raise
    except FileNotFoundError as error:
        raise ScoreError(f"{error.filename} does not exist; evaluate first, with the output in {log}") from error
    except ValueError as error:
        raise ScoreError(f"{log}: {error}") from error
    return value, references


def config_hash(config: Mapping[str, Any], task: Task) -> str:
    """12 digits that tell one recipe's settings from another's, wherever the corpora are and whichever fold it is."""
    config = deepcopy(dict(config))
    for key in (*task.paths, *([task.fold_key] if task.fold_key else [])):
        *parents, last = key.split(".")
        _get(config, ".".join(parents))[last] = None
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def _get(config: Mapping[str, Any], key: str) -> Any:
    return reduce(lambda node, part: node[part], key.split("."), config)


def _upstream(args: argparse.Namespace, featurizer: Mapping[str, Any]) -> dict[str, Any]:
    """Name, interface and members; s3prl's own featurizer is a weighted sum, and remembers nothing."""
    from ... import checkpoint

    remembered = checkpoint.read(featurizer)
    fusion = remembered["fusion"] if remembered else {"interface": {"name": "weighted_sum"}, "members": []}
    return {
        "upstream": args.upstream,
        "interface": fusion["interface"]["name"],
        "members": [member["name"] for member in fusion["members"]],
    }


def _provenance(expdir: Path) -> dict[str, Any]:
    """What the training kept in run.json; None where an older release trained."""
    path = expdir / RUN_FILE
    run = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    counts = run.get("parameters", {})
    trained, frozen = run.get("upstream_trained"), counts.get("upstream")
    return {
        **{key: run.get(key) for key in ("s3prl_fusion", "host", "torch", "device")},
        "featurizer_parameters": counts.get("featurizer"),
        "downstream_parameters": counts.get("downstream"),
        "frozen_parameters": 0 if trained else frozen,
        "finetuned_parameters": frozen if trained else 0,
    }


def _seconds(expdir: Path, stage: str) -> float | None:
    path = expdir / STAMPS / f"{stage}.json"
    return json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.is_file() else None
