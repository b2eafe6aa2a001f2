"""Tests the package beside every set of versions that it supports: make matrix, or python tools/matrix.py NAME ...

One environment a row (5 to 6 GB, in a temporary folder, removed afterwards), made from setup.py and what the row pins.
There run the default tests, which train and evaluate every recipe. What was run replaces its row in the README's table.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- matrix table: begin -->\n).*(?=<!-- matrix table: end -->)", re.DOTALL)
SHOWN = ("torch", "torchaudio", "transformers", "huggingface_hub", "s3prl", "espnet-s3prl")
HEAD = "| row | Python | torch | torchaudio | transformers | huggingface_hub | host | default tests | run on |"


@dataclass(frozen=True)
class Row:
    """A set of versions.

    Attributes:
        pins: what pip is asked for beside the package itself.
        then: further pip commands, for what setup.py does not allow.
    """

    pins: tuple[str, ...]
    then: tuple[str, ...] = ()


OLD = ("transformers<5", "huggingface_hub<1")
ROWS = {
    "oldest": Row(("torch==2.5.1", "torchaudio==2.5.1", *OLD)),
    "default": Row(("torch==2.8.0", "torchaudio==2.8.0", *OLD)),
    "newest": Row(("torch==2.11.0", "torchaudio==2.11.0", "transformers>=5", "huggingface_hub>=1")),
    # The newest torch that torchaudio 2.11 loads beside: both are built for CUDA 13.0.
    "ahead": Row(
        ("torch==2.11.0", "torchaudio==2.11.0", "transformers>=5", "huggingface_hub>=1"),
        ("install torch==2.14.1",),
    ),
    "espnet-s3prl": Row(
        ("torch==2.8.0", "torchaudio==2.8.0", *OLD),
        ("uninstall -y s3prl", "install --no-deps espnet-s3prl"),
    ),
}


def run_row(name: str, folder: Path) -> tuple[str, bool]:
    """Builds a row's environment and runs the tests there.

    Returns:
        The row of the table, and whether all is well.
    """
    row, python = ROWS[name], folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *row.pins, f"{ROOT}[test]"], check=True)
    for command in row.then:
        subprocess.run([*pip, *command.split()], check=True)
    # The checkout's own files are tested, with the environment's packages.
    done = subprocess.run([python, "-m", "pytest"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    return table_row(name, versions(python), counts(done.stdout)), done.returncode == 0


def counts(output: str) -> str:
    """What pytest's last line says: "10 passed, 1 skipped"."""
    found = re.findall(r"\d+ (?:failed|passed|skipped|errors?)\b", (output.strip().splitlines() or [""])[-1])
    return ", ".join(found) or "did not run"


def versions(python: Path) -> dict[str, str]:
    """What is installed beside a Python, and its own version."""
    code = (
        "import sys, importlib.metadata as m; print('python', '.'.join(map(str, sys.version_info[:3])))\n"
        "for d in m.distributions(): print(d.metadata['Name'].replace('huggingface-hub', 'huggingface_hub'), d.version)"
    )
    listed = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in listed.splitlines())


def table_row(name: str, found: dict[str, str], tests: str) -> str:
    """One line of the README's table."""
    host = next(f"{host} {found[host]}" for host in ("espnet-s3prl", "s3prl") if host in found)
    packages = [found.get(package, "-") for package in SHOWN[:4]]
    return f"| {' | '.join([name, found['python'], *packages, host, tests, date.today().isoformat()])} |"


def with_row(readme: str, row: str) -> str:
    """A README whose table has a row in the place of the one of the same name, in the order of `ROWS`."""
    name = row.split("|")[1].strip()
    lines = [line for line in TABLE.search(readme).group(0).splitlines()[2:] if line.split("|")[1].strip() != name]
    lines = sorted([*lines, row], key=lambda line: list(ROWS).index(line.split("|")[1].strip()))
    table = "\n".join([HEAD, "|" + " --- |" * HEAD.strip("|").count("|") + " --- |", *lines, ""])
    return TABLE.sub(lambda _: table, readme)


def main() -> int:
    """Runs the rows asked for; the exit status is 1 if tests of one fail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (default: all)")
    rows = parser.parse_args().rows or list(ROWS)
    for unknown in set(rows) - set(ROWS):
        parser.error(f"no row {unknown!r}; choose from {', '.join(ROWS)}")
    well = True
    for name in rows:
        with tempfile.TemporaryDirectory(prefix=f"matrix-{name}-") as folder:
            row, passed = run_row(name, Path(folder))
        print(row, flush=True)
        README.write_text(with_row(README.read_text(encoding="utf-8"), row), encoding="utf-8")
        well = well and passed
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
