"""Whether an upstream is right, your own above all: its contract with run_downstream, and what else its author wants to
know."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..names import resolve

if TYPE_CHECKING:
    from ..config import FusionConfig, MemberConfig
    from ..contract.findings import Finding

EPILOG = (
    "Marks: ok; warning, for what may surprise; fails, where run_downstream's contract is broken, which makes the exit "
    "status 1. Each member of a fusion is looked at by itself."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("upstream", metavar="UPSTREAM", help="an upstream, fused or stock, or a fusion YAML")
    add("-k", "--ckpt", metavar="CKPT", help="checkpoint of a stock upstream")
    add("-g", "--model-config", metavar="FILE", help="of `fused` its fusion YAML, of a stock upstream its own")
    add("--device", help="default: cuda when there is one, else cpu")
    add("--json", type=Path, metavar="FILE", help="write the numbers too")
    add("--quick", action="store_true", help="the contract alone, which takes seconds")
    add("--own", action="store_true", help="leave out members that come with s3prl or with this package")


def main(args: argparse.Namespace) -> int:
    """Print the report; the exit status is 1 where the contract is broken."""
    fusion = resolve(args.upstream, args.model_config, args.ckpt)
    from tqdm import tqdm

    from ..contract.findings import reasons
    from ..contract.report import line, verdict
    from ..devices import check_device
    from ..files import write_json
    from ..host.runner import default_device

    device = args.device or default_device()
    check_device(device)
    verdicts, parts, broken = [], [], []
    for name, found in reports(fusion, args, device):
        tqdm.write(f"{name} on {device}")
        findings = []
        for finding in found:
            tqdm.write(line(finding))
            findings.append(finding)
        verdicts.append(verdict(name, findings))
        broken += [f"{name}: {reason}" for reason in reasons(findings)]
        parts.append({"name": name, "findings": [asdict(finding) for finding in findings]})
    print("\n".join(verdicts))
    if args.json is not None:
        write_json(args.json, {"upstream": args.upstream, "device": device, "broken": broken, "parts": parts})
    return 1 if broken else 0


def reports(fusion: FusionConfig, args: argparse.Namespace, device: str) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Load an upstream, and look at each of its members, then at all of them fused.

    Yields:
        What is looked at, and what is found, which is found out while it is asked for.
    """
    from ..contract.findings import FAILS, Finding, explained
    from ..contract.fused import fused
    from ..contract.probe import Probe
    from ..contract.report import examine
    from ..errors import UsageError, UserError
    from ..host.members import load_members
    from ..host.proven import own_members

    if args.own:
        own = own_members(fusion)
        if not own:
            raise UsageError(f"--own: {args.upstream} has no member of your own; leave --own out")
        fusion = replace(fusion, members=tuple(own))
    try:
        members = load_members(fusion)
    except UserError:
        raise
    except Exception as error:  # of whatever kind its code raises
        yield args.upstream, iter([Finding("loading", FAILS, explained(error))])
        return
    failed = False

    def watched(found: Iterator[Finding]) -> Iterator[Finding]:
        nonlocal failed
        for finding in found:
            failed |= finding.mark == FAILS
            yield finding

    for i, (config, module) in enumerate(zip(fusion.members, members)):
        if module in members[:i]:
            continue
        where = config.device or device
        probe = Probe(module.to(where).eval(), fusion.member_names[i], where, fusion.stock)
        yield probe.name, watched(examine(probe, args.quick, files_of(config)))
    if not fusion.stock and not failed:
        yield args.upstream, iter([fused(fusion, members, device)])


def files_of(member: MemberConfig) -> list[Path]:
    """List the files of a member's checkpoint, as far as they are on this disk."""
    from ..upstreams.entries import known

    ckpt = member.ckpt or known(member.name).pretrained
    files = [Path(ckpt), *Path(ckpt).rglob("*")] if ckpt else []
    return [file for file in files if file.is_file()]
