"""Hypothesis profiles: `ci` tries the same inputs each time, `long` others (tools/fuzz.py)."""

from __future__ import annotations

import os
from pathlib import Path

import laws
from hypothesis import settings

settings.register_profile("ci", derandomize=True, database=None, print_blob=False)
settings.register_profile("long", print_blob=True, report_multiple_bugs=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_sessionfinish():
    if laws.GOES_ON:
        laws.save(Path(os.environ["FUZZ_COUNTS"]))
