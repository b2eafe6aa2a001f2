"""The SUPERB leaderboard: its score, the rows of it that are verified, and the utterances whose costs it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from ...errors import UsageError

# Metric -> its value for FBANK and for the best upstream of the leaderboard's first table. All in percent, but PESQ (a
# mean opinion score) and SI-SDR (dB). Names are "<task> <metric>".
BOUNDS: Mapping[str, tuple[float, float]] = {
    "PR PER": (82.01, 3.53),
    "KS acc": (41.3826674, 96.66),
    "IC acc": (9.649354219, 98.76),
    "SID acc": (20.058174, 90.3),
    "ER acc": (48.23672168, 67.62),
    "ASR WER": (23.18, 3.62),
    "QbE MTWV": (0.58, 7.36),
    "SF F1": (69.64, 89.81),
    "SF CER": (52.94, 21.76),
    "SV EER": (9.56, 5.11),
    "SD DER": (10.05, 5.62),
    "ST BLEU": (2.32, 20.01),
    "SE PESQ": (2.55, 2.64),
    "SE STOI": (93.6, 94.2),
    "SS SI-SDR": (9.2341, 10.4514),
}
SUPERB_TASKS = ("PR", "SID", "KS", "QbE", "IC", "ASR", "SV", "ER", "SD", "SF")  # of the SUPERB paper, Table 2

# Published rows: upstream in s3prl's hub -> metric -> value.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    upstream: dict(zip(("PR PER", "ASR WER", "SID acc", "ER acc", "SV EER"), row))
    for upstream, row in {
        "fbank": (82.01, 23.18, 20.06, 48.24, 9.56),
        "apc": (41.98, 21.28, 60.42, 59.33, 8.56),
        "tera": (49.17, 18.17, 57.57, 56.27, 15.89),
        "wav2vec2": (5.74, 6.43, 75.18, 63.43, 6.02),
        "hubert": (5.41, 6.42, 81.42, 64.92, 5.11),
        "hubert_large_ll60k": (3.53, 3.62, 90.33, 67.62, 5.98),
    }.items()
}

# Published costs: upstream in s3prl's hub -> (MACs, summed over all of PROFILED_SAMPLES; parameters).
PUBLISHED_COSTS: Mapping[str, tuple[int, int]] = {
    "fbank": (479_126_160, 0),
    "apc": (501_705_362_352, 4_105_296),
    "tera": (567_707_468_688, 21_327_360),
    "wav2vec2": (1_669_156_022_848, 95_044_608),
    "hubert": (1_669_156_022_848, 94_697_600),
    "hubert_large_ll60k": (4_323_560_629_376, 316_609_408),
}

# Lengths in samples of the 32 utterances of LibriSpeech test-clean whose multiply-accumulates are asked for, one at a
# time, summed in these groups: testing/s3prl_profiling_test.py in github.com/B06901052/DeepSpeed, branch
# superb-challenge, which profiles the upstream's forward.
PROFILED_SAMPLES: Mapping[str, tuple[int, ...]] = {
    "short": (20560, 34560, 38480, 42560, 45600, 48720, 52000, 55120),
    "medium": (59120, 62720, 66400, 71200, 75200, 78640, 82800, 87520),
    "long": (92720, 98560, 104400, 111120, 118480, 125040, 132720, 142640),
    "longer": (154000, 166720, 180880, 197920, 217920, 239280, 268160, 326000),
}


def task_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Each task's score: 0 for FBANK, 1000 for the best; a task's metrics are averaged.

    Args:
        metrics: Values by the names in `BOUNDS`.

    Returns:
        Scores by task, for the tasks whose metrics are all there.

    Raises:
        ValueError: A name is not in `BOUNDS`.
    """
    unknown = [name for name in metrics if name not in BOUNDS]
    if unknown:
        raise UsageError(f"unknown metric {unknown[0]!r}; choose from {', '.join(BOUNDS)}")
    names_of: dict[str, list[str]] = {}
    for name in BOUNDS:
        names_of.setdefault(name.split()[0], []).append(name)
    return {
        task: fmean(_scaled(name, metrics[name]) for name in names)
        for task, names in names_of.items()
        if all(name in metrics for name in names)
    }


def _scaled(name: str, value: float) -> float:
    fbank, top = BOUNDS[name]
    return 1000.0 * (value - fbank) / (top - fbank)


def superb_score(metrics: Mapping[str, float], tasks: tuple[str, ...] = SUPERB_TASKS) -> float | None:
    """Return the mean of the tasks' scores, or None when one is missing: part of the tasks is no SUPERB score."""
    scores = task_scores(metrics)
    return fmean(scores[task] for task in tasks) if all(task in scores for task in tasks) else None
