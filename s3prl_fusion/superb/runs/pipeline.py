"""train -> evaluate -> score for each (upstream, task, fold), each in its own experiment folder, several at a time."""

from __future__ import annotations

import contextlib
import os
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from ... import identity
from ...disk import is_full, refusal
from ...errors import UserError
from ...files import read_json
from ...source import content_digest
from ...text import seconds_text
from ..records import SCORE
from ..scores.score import dev_score
from ..scores.score import score as score_run
from .experiment import STAGES, Experiment
from .forks import ForkServer
from .progress import Display
from .stages import Children, NeverBetter, Progress, StageError, Stopped, drop_broken_checkpoints, tail


def forget(experiment: Experiment, *stages: str) -> None:
    """Remove the stamps of stages whose input is about to change."""
    for stage in stages:
        path = experiment.stamp(stage).path
        if path.is_file():
            path.unlink()


def recover(experiment: Experiment, key: str) -> bool:
    """Delete damaged checkpoints of an experiment that goes on. Where the best one is lost, go back to the last
    checkpoint from before it: trained on from there, the same one comes again.

    Args:
        experiment: its training has ended, or is to go on.
        key: what its stamp holds if it is the one that is asked for.

    Returns:
        False if the best one is lost and there is none from before it: the training has to begin anew.
    """
    folder, stamp = experiment.folder, experiment.stamp("train")
    best, before = folder.best_ckpt(experiment.task), stamp.read()
    if before.get("key") != key:  # none, or another one, which is set aside as it is
        return True
    dropped = drop_broken_checkpoints(folder.path)
    if best.is_file() or not (best in dropped or before.get("status") == "done"):
        return True
    states = folder.states()
    scores = [_best_so_far(path) for path in states]
    earlier = [number for number, score in enumerate(scores) if score != scores[-1]]
    if not earlier:
        return False
    for path in states[earlier[-1] + 1 :]:
        path.unlink()
    stamp.write(before["key"], "running", before.get("seconds", 0.0), made_of=before.get("made_of"))
    with folder.log("train").open("a", encoding="utf-8") as log:
        log.write(f"{best.name} was damaged or gone: trained again from {states[earlier[-1]].name}\n")
    return True


def _best_so_far(ckpt: Path) -> float | None:
    from ...host.ckpt import read_ckpt

    score = read_ckpt(ckpt, mmap=True)["Downstream"].get("best_score")
    return None if score is None else float(score)


def train(experiment: Experiment, children: Children, progress: Progress) -> None:
    """Train, or resume what was interrupted. An experiment under other settings is set aside, never overwritten."""
    from ...host.ckpt import read_ckpt

    folder, stamp, made_of = experiment.folder, experiment.stamp("train"), experiment.made_of()
    key = identity.digest(made_of)
    is_lost = not recover(experiment, key)
    before = stamp.read()
    if not folder.is_empty() and (is_lost or experiment.changes()):
        folder.path.rename(folder.aside())
        before = {}
    folder.path.mkdir(parents=True, exist_ok=True)
    resumed = bool(before) and folder.has_states()
    earlier = float(before.get("seconds", 0.0)) if resumed else 0.0
    forget(experiment, "evaluate", "score")
    stamp.write(key, "running", earlier, made_of=made_of)
    started, log = time.monotonic(), folder.log("train")
    try:
        run_stage(experiment, "train", experiment.train_arguments(), children, progress, append=resumed)
    finally:
        stamp.write(key, "running", earlier + time.monotonic() - started, made_of=made_of)
    ckpt = folder.best_ckpt(experiment.task)
    if not ckpt.is_file():
        metric = experiment.task.dev_metric
        better = "rose above 0" if metric.higher_is_better else "fell below 100 %"
        message = f"no {ckpt.name}: the dev {metric.name} never {better}; train for longer"
        raise NeverBetter("train", message, log)
    try:
        states = read_ckpt(ckpt)
    except ValueError as error:
        raise StageError("train", str(error), log) from error
    tried = {
        "upstream": experiment.upstream.label,
        "identity": identity.digest(experiment.upstream.made_of),
        "task": experiment.task.name,
        "seed": experiment.seed,
        "lr": states["Config"]["optimizer"]["lr"] if experiment.task.trains else None,
        "dev_score": dev_score(experiment.task, states),
    }
    stamp.write(key, "done", earlier + time.monotonic() - started, made_of=made_of, **tried)


def evaluate(experiment: Experiment, children: Children, progress: Progress) -> None:
    """Evaluate the best checkpoint on the test split."""
    forget(experiment, "evaluate", "score")
    started = time.monotonic()
    run_stage(experiment, "evaluate", experiment.evaluate_arguments(), children, progress)
    for path in experiment.outputs("evaluate"):
        if not path.exists():
            raise StageError("evaluate", f"the evaluation did not write {path}", experiment.folder.log("evaluate"))
    seconds, ckpt = time.monotonic() - started, experiment.folder.best_ckpt(experiment.task)
    made = {path.name: content_digest(path) for path in [ckpt, *experiment.outputs("evaluate")]}
    experiment.stamp("evaluate").write(experiment.key("evaluate"), "done", seconds, files=made)


def score(experiment: Experiment, children: Children, progress: Progress) -> None:
    """Recompute the score and hold it against the recipe's."""
    try:
        score_run(experiment.folder, experiment.paths())
    except UserError as error:
        raise StageError("score", str(error), experiment.folder.log("evaluate")) from error
    files = {experiment.folder.result.name: content_digest(experiment.folder.result)}
    experiment.stamp("score").write(experiment.key("score"), "done", 0.0, files=files)


RUN = {"train": train, "evaluate": evaluate, "score": score}


def is_done(experiment: Experiment, stage: str) -> bool:
    """Whether a stage has ended under the same settings, and its files are what they were, and whole where a later
    stage needs them."""
    done = experiment.stamp(stage).is_done(experiment.key(stage), experiment.outputs(stage))
    if not done or stage != "train":
        return done
    from ...host.weights import is_whole

    best = experiment.folder.best_ckpt(experiment.task)
    return zipfile.is_zipfile(best) and (is_done(experiment, "evaluate") or is_whole(best))


def run_stage(
    experiment: Experiment,
    stage: str,
    arguments: Sequence[str],
    children: Children,
    progress: Progress,
    append: bool = False,
) -> None:
    """Run one child and raise StageError when it fails."""
    log = experiment.folder.log(stage)
    command, fusion = [*experiment.settings.runner, *arguments], experiment.upstream.fusion
    status = children.run(command, log, progress, append, fusion)
    if status != 0:
        full = f"; the disk of {log.parent} is full: make room" if is_full(log.parent) else ""
        raise StageError(stage, f"exit status {status}{full}", log)


def run_experiment(
    experiment: Experiment, stages: Sequence[str], children: Children, display: Display, slots: SimpleQueue
) -> None:
    """Run those of an experiment's stages that are not done.

    Raises:
        StageError: A stage failed; the ones after it did not run.
        Stopped: The user asked to stop.
    """
    slot, left = slots.get(), len(stages)
    try:
        for stage in stages:
            children.check()
            with failing_alone(experiment, stage):
                if not is_done(experiment, stage):
                    display.start(slot, f"{experiment.label} {stage}")
                    bar = experiment.task.eval_split if stage == "evaluate" else "overall"  # tqdm's desc in the runner
                    RUN[stage](experiment, children, partial(show_bar, display, slot, bar))
            left -= 1
            display.end(slot, 1, note_of(experiment) if stage == "score" else "")
    finally:
        if left:
            display.end(slot, left)
        slots.put(slot)


@contextlib.contextmanager
def failing_alone(experiment: Experiment, stage: str) -> Iterator[None]:
    """Make what a disk refuses, or a user can mend, the failure of one stage: other runs may have room of their own."""
    try:
        yield
    except (OSError, UserError) as error:
        told = error if isinstance(error, UserError) else refusal(error, experiment.folder.path)
        log = experiment.folder.log("train" if stage == "train" else "evaluate")  # scoring has none of its own
        raise StageError(stage, str(told or error), log) from error


def show_bar(display: Display, slot: int, watched: str, name: str, done: int, total: int) -> None:
    """Pass one of a child's bars on to the display."""
    if name == watched:
        display.step(slot, done, total)


def note_of(experiment: Experiment) -> str:
    """One line on a scored experiment."""
    result = read_json(experiment.folder.result, SCORE)
    spent = seconds_text(result["train_seconds"] + result["evaluate_seconds"])
    return f"{experiment.label}: {experiment.task.metric.name} {result['score']:.2f} % ({spent})"


def run_all(
    experiments: Sequence[Experiment],
    jobs: int,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    stages: Sequence[str] = STAGES,
    server: ForkServer | None = None,
) -> dict[str, StageError]:
    """Run experiments, `jobs` at a time. A failure ends its own experiment only.

    Args:
        experiments: What to run.
        jobs: How many run at the same time.
        environment: Added to the children's environment, beside the settings' own.
        keep_open: File descriptors that the children inherit.
        stages: Which of STAGES.
        server: What the children are forked from; with None each is a process of its own.

    Returns:
        The failures by experiment label.

    Raises:
        KeyboardInterrupt: After Ctrl-C, once every child has ended.
    """
    shared = experiments[0].settings.environment if experiments else {}
    children = Children({**shared, **(environment or {})}, keep_open, server)
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    display = Display(len(stages) * len(experiments), jobs)
    failures: dict[str, StageError] = {}
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        futures: dict[Future, Experiment] = {
            pool.submit(run_experiment, experiment, stages, children, display, slots): experiment
            for experiment in experiments
        }
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if isinstance(error, StageError):
                    failures[futures[future].label] = error
                    display.say(f"{futures[future].label} {error.stage} FAILED: {error}; log: {error.log}")
                elif error is not None and not isinstance(error, Stopped):
                    raise error
    finally:
        children.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        display.close()
    return failures


def summary(failures: Mapping[str, StageError], total: int) -> str:
    """Say what failed, with each log's path and last lines."""
    lines = [f"{len(failures)} of {total} runs failed; mend the cause and give the same command again:"]
    for label, error in failures.items():
        lines += [f"- {label}, {error.stage}: {error}", f"  log: {error.log}"]
        lines += [f"    | {line}" for line in tail(error.log)]
    return "\n".join(lines)


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
