"""benchmarks/: every script runs, and a smoke test leaves the published numbers alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks/ is in the checkout only"),
]


def test_every_benchmark_runs_and_a_smoke_test_publishes_nothing():
    published = [BENCHMARKS / "README.md", *sorted(BENCHMARKS.glob("results/*.json"))]
    before = [path.read_bytes() for path in published]
    command = [sys.executable, BENCHMARKS / "run.py", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.read_bytes() for path in published] == before


def test_an_unknown_benchmark_is_named():
    command = [sys.executable, BENCHMARKS / "run.py", "interface"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "unknown benchmarks interface; choose from interfaces, cache" in done.stderr
