"""What pip installs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_carries_every_config_recording_and_model(tmp_path):
    checkout = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "exp", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, checkout, ignore=left_out)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(tmp_path), str(checkout)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("s3prl_fusion-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    expected = {
        f"s3prl_fusion/{path.relative_to(checkout).as_posix()}"
        for top in ("downstream_configs", "demo")
        for path in (checkout / top).rglob("*")
        if path.is_file() and path.suffix != ".py"
    }
    assert len(expected) > 400
    assert not expected - packed
    assert {f"s3prl_fusion/{path.name}" for path in (checkout / "s3prl_fusion").glob("*.py")} <= packed
