"""The same stages as Slurm jobs, one an experiment, through submitit (`pip install s3prl-fusion[slurm]`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...files import read_json, write_json
from ...schema import TEXT, Section
from ..layout import slurm_folder
from . import pipeline
from .experiment import STAGES, Experiment
from .stages import StageError

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job
    from submitit.helpers import DelayedSubmission

DEFAULTS: Mapping[str, Any] = {"timeout_min": 24 * 60, "gpus_per_node": 1, "cpus_per_task": 8, "mem_gb": 32}
MAX_TIMEOUTS = 1000  # a job that meets its time limit is queued again, and resumes
POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Stages:
    """What a job runs. Before its time limit, or when it is preempted, Slurm is asked to queue it again."""

    experiment: Experiment
    stages: Sequence[str]

    def __call__(self) -> StageError | None:
        """Run the stages that are not done; a failure is returned, as its log tells more than a traceback."""
        failures = pipeline.run_all([self.experiment], jobs=1, stages=self.stages)
        return next(iter(failures.values()), None)

    def checkpoint(self) -> DelayedSubmission:
        """Ask submitit for another job: the training goes on from its last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def parse_options(text: str) -> dict[str, Any]:
    """`timeout_min=600,slurm_partition=gpu` as submitit takes it, over DEFAULTS.

    Raises:
        ValueError: submitit is not installed, a part has no `=`, or submitit does not know the option.
    """
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise UsageError(f"--slurm needs submitit: pip install 's3prl-fusion[slurm]' ({error})") from error
    options = dict(DEFAULTS)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--slurm: got {part!r}; give KEY=VALUE[,KEY=VALUE...], for example slurm_partition=gpu")
        options[name.strip()] = int(value) if value.strip().isdigit() else value.strip()
    try:
        AutoExecutor("slurm", cluster="debug").update_parameters(**options)
    except (NameError, AssertionError) as error:
        raise UsageError(f"--slurm: {' '.join(str(error).split())}") from error
    return options


def run_all(
    experiments: Sequence[Experiment],
    options: Mapping[str, Any],
    stages: Sequence[str] = STAGES,
    cluster: str = "slurm",
) -> dict[str, StageError]:
    """Submit what is not done, and wait. The jobs outlive this process: called again, it waits for the same ones.

    Args:
        experiments: What to run; a job each.
        options: As `parse_options` returns them.
        stages: Which of STAGES.
        cluster: submitit's name for where jobs run.

    Returns:
        The failures by experiment label.
    """
    todo = [e for e in experiments if not all(pipeline.is_done(e, stage) for stage in stages)]
    if not todo:
        return {}
    from submitit import AutoExecutor

    executor = AutoExecutor(slurm_folder(todo[0].settings.exp), cluster=cluster, slurm_max_num_timeout=MAX_TIMEOUTS)
    jobs: dict[str, Job] = {}
    for experiment in todo:
        executor.update_parameters(**{"name": experiment.label.replace(" ", "_"), **options})
        job = _find_job(experiment, executor) or executor.submit(Stages(experiment, tuple(stages)))
        write_json(_job_file(experiment), {"job_id": job.job_id})
        jobs[experiment.label] = job
    try:
        return _wait(todo, jobs)
    except KeyboardInterrupt:
        ids = " ".join(job.job_id for job in jobs.values())
        print(f"\nthe jobs go on; to end them: scancel {ids}", file=sys.stderr)
        raise


def _job_file(experiment: Experiment) -> Path:
    """Which job an experiment is in; not in the expdir, which a training under other settings would set aside."""
    parts = experiment.folder.path.relative_to(experiment.settings.exp).parts
    return slurm_folder(experiment.settings.exp) / f"{'__'.join(parts)}.json"


def _find_job(experiment: Experiment, executor: AutoExecutor) -> Job | None:
    """Return the job that an earlier call submitted, if it is still queued or running."""
    path = _job_file(experiment)
    if not path.is_file():
        return None
    job_id = read_json(path, Section({"job_id": TEXT}), "remove it once its job has ended (squeue)")["job_id"]
    job = executor._executor.job_class(executor.folder, job_id)
    return None if job.done(force_check=True) else job


def _wait(experiments: Sequence[Experiment], jobs: Mapping[str, Job]) -> dict[str, StageError]:
    from tqdm import tqdm

    failures: dict[str, StageError] = {}
    waiting = list(experiments)
    with tqdm(total=len(waiting), desc="jobs", unit="job") as bar:
        while waiting:
            for experiment in [e for e in waiting if jobs[e.label].done()]:
                waiting.remove(experiment)
                _job_file(experiment).unlink(missing_ok=True)
                failure = _outcome(jobs[experiment.label])
                if failure:
                    failures[experiment.label] = failure
                    bar.write(f"{experiment.label} {failure.stage} FAILED: {failure}; log: {failure.log}", sys.stderr)
                bar.update()
            time.sleep(POLL_SECONDS if waiting else 0.0)
    return failures


def _outcome(job: Job) -> StageError | None:
    """Return what a job that is done returned, or why it returned nothing."""
    error = job.exception()
    if error is None:
        return job.result()
    reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    return StageError(f"job {job.job_id}", reason.strip(), Path(job.paths.stderr))
