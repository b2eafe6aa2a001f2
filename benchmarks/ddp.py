"""What more processes gain where there is no GPU: training steps of the demo's ER, with equal clips a step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean

from common import Row, main, speed_up

CLIPS = 8  # a step


def rows(quick: bool = False) -> list[Row]:
    processes, steps = os.cpu_count() or 1, 2 if quick else 20
    alone = [sys.executable, "-m"]
    shared = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    _seconds(alone, 1, CLIPS, 1)  # fills the demo's caches
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for side in ("peer", "ours") if quick else ("peer", "ours", "ours", "peer"):
        if side == "ours":
            seconds[side].append(_seconds(shared, 1, CLIPS // processes, steps))
        else:
            seconds[side].append(_seconds(alone, processes, CLIPS, steps))
    what = f"a step of the demo's ER (fused_demo, hconv, {CLIPS} clips), {processes} processes of one thread"
    means = {side: fmean(times) for side, times in seconds.items()}
    return [speed_up(f"{what}, against one process of {processes} threads", means["ours"], means["peer"])]


def _seconds(python: list[str], threads: int, batch: int, steps: int) -> float:
    """The mean time of a training step, without what comes before the first: from checkpoint to checkpoint."""
    datarc, runner = "config.downstream_expert.datarc", "config.runner"
    override = {
        f"{datarc}.train_batch_size": batch,
        f"{runner}.gradient_accumulate_steps": 1,
        f"{runner}.total_steps": 2 * steps,
        f"{runner}.save_step": steps,
        f"{runner}.eval_step": 10 * steps,
        f"{runner}.max_keep": 2,
    }
    with tempfile.TemporaryDirectory() as folder:
        argv = ["-m", "train", "-u", "fused_demo", "-d", "emotion", "-c", "demo/er.yaml", "-p", folder]
        argv += ["--device", "cpu", "-o", ",,".join(f"{key}={value}" for key, value in override.items())]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([*python, "s3prl_fusion.run_downstream", *argv], env=environment, check=True)
        saved = [Path(folder, f"states-{step}.ckpt").stat().st_mtime for step in (steps, 2 * steps)]
    return (saved[1] - saved[0]) / steps


if __name__ == "__main__":
    main(__file__, rows)
