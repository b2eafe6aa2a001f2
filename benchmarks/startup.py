"""How long help, a list and a mistake take, against importing torch alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import Row, duration, interleaved, main, row

TRAIN = ["run", "-m", "train", "-d", "asr", "-p", "exp", "-c", "asr.yaml"]
COMMANDS = {
    "s3prl-fusion --help": ["--help"],
    "s3prl-fusion superb --help": ["superb", "--help"],
    "s3prl-fusion list": ["list"],
    "a mistake in an upstream's name": [*TRAIN, "-u", "fused_wavlm_hubrt"],
    "a mistake in a fusion YAML": [*TRAIN, "-u", "fused", "-g", "fusion.yaml"],
}


def rows(quick: bool = False) -> list[Row]:
    calls = {name: ["-m", "s3prl_fusion", *argv] for name, argv in COMMANDS.items()}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "fusion.yaml").write_text("members: [fbank]\ninterface: {name: hconv, match_dims: project}\n")
        calls = {name: partial(_python, folder, *argv) for name, argv in calls.items()}
        seconds = interleaved({"torch": partial(_python, folder, "-c", "import torch"), **calls}, 1 if quick else 7)
    torch = seconds["torch"]
    return [
        row(
            f"{name}, against `import torch`",
            duration(seconds[name]),
            duration(torch),
            seconds[name] / torch,
            at_most=round(1 / 3, 3),
        )
        for name in COMMANDS
    ]


def _python(folder: str, *argv: str) -> None:
    subprocess.run([sys.executable, *argv], cwd=folder, capture_output=True, check=False)


if __name__ == "__main__":
    main(__file__, rows)
