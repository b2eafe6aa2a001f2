"""Upstreams of the user's own, looked at before anything is prepared or trained: a wrong one is refused in seconds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ...errors import Mistakes, UsageError
from ...files import read_json
from ...host.proven import own_members
from .experiment import Settings, Upstream
from .forks import PROGRAM
from .stages import Children, tail


def check_own(upstreams: Sequence[Upstream], settings: Settings, children: Children, device: str | None) -> None:
    """Run `s3prl-fusion check --quick` on every upstream with members of the user's own, each such member once.

    Args:
        upstreams: that are about to be trained.
        settings: of the runs.
        children: starts the checks: where the runs are forked from one process, their members are loaded for both.
        device: where the runs will be; None is the default.

    Raises:
        UsageError: tells every upstream that breaks run_downstream's contract, and how.
    """
    mistakes, seen = Mistakes(), []
    try:
        for upstream in upstreams:
            own = own_members(upstream.fusion)
            if any(member not in seen for member in own):
                seen += own
                mistakes.of(_check, upstream, settings, children, device)
    finally:
        children.stop()
    mistakes.tell()


def _check(upstream: Upstream, settings: Settings, children: Children, device: str | None) -> None:
    words = ["check", upstream.name, *_files(upstream, settings), *(["--device", device] if device else [])]
    print(f"{upstream.label}: its own members are looked at first: s3prl-fusion {shlex.join(words)}", file=sys.stderr)
    with TemporaryDirectory() as folder:
        report, log = Path(folder) / "report.json", Path(folder) / "check.log"
        command = [*PROGRAM, *words, "--quick", "--own", "--json", str(report)]
        status = children.run(command, log, lambda name, done, total: None, fusion=upstream.fusion)
        if not report.is_file():
            said = " ".join(tail(log, 1)) or f"exit status {status}"
            raise UsageError(f"-u {upstream.label} cannot be looked at: {said}")
        found = read_json(report)
    if found["broken"]:
        raise UsageError(
            f"-u {upstream.label} breaks run_downstream's contract: {'; '.join(found['broken'])}. "
            f"`s3prl-fusion {shlex.join(words)}` tells more"
        )
    for part in found["parts"]:
        for finding in part["findings"]:
            if finding["mark"] == "warning":
                print(f"{part['name']}: warning: {finding['what']}: {finding['said']}", file=sys.stderr)


def _files(upstream: Upstream, settings: Settings) -> list[str]:
    """Write what run_downstream's -g and -k say to an upstream."""
    given = {"-g": upstream.model_config, "-k": settings.options.get("upstream_ckpt")}
    return [word for option, value in given.items() if value for word in (option, value)]
