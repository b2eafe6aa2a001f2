"""One of the processes that test_distributed.py starts through torchrun: trainings, a group of processes for each.

Writes what the launcher returned, and the files that this process wrote below the folder, to rank<N>.json there.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

# Every training joins a group of its own, by way of a port of its own.
os.environ.update(TORCHELASTIC_USE_AGENT_STORE="False", MASTER_ADDR="127.0.0.1")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def agreed_port(file: Path) -> str:
    """A port that is free now, which the first process finds: one found earlier may be another program's by then."""
    if os.environ["RANK"] == "0":
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            file.with_suffix(".new").write_text(str(found.getsockname()[1]))
        file.with_suffix(".new").replace(file)
    while not file.exists():
        time.sleep(0.01)
    return file.read_text()


def main(folder: Path) -> None:
    written = []

    def watch(event: str, args: tuple) -> None:
        # Checkpoints are written by C++, which nobody hears of, and then renamed.
        if event == "os.rename" or (event == "open" and args[2] & WRITING):
            path = args[1] if event == "os.rename" else args[0]
            if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(folder):
                written.append(str(path))

    sys.addaudithook(watch)
    import s3prl_fusion
    from s3prl_fusion import cli

    statuses = {}
    for number, (name, argv) in enumerate(json.loads((folder / "trainings.json").read_text())):
        os.environ["MASTER_PORT"] = agreed_port(folder / f"port{number}")
        statuses[name] = cli.main(["run", *argv])
        s3prl_fusion.unregister()
    result = {"statuses": statuses, "written": list(written)}
    (folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
