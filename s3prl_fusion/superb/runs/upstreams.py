"""Which upstreams a command line of the benchmark asks for: names and fusion YAMLs, multiplied by interfaces."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

from ...config import FusionConfig
from ...errors import Mistakes, UsageError, UserError, unknown, within
from ...interfaces import list_interfaces
from ...names import FUSIONS, absolute, add_interface, find_shipped, label, resolve
from ..layout import is_reserved
from .auto import Auto, candidates
from .experiment import Upstream

AUTO = "auto"
Fusions = Mapping[str, "tuple[FusionConfig, str | None]"]  # by name: what it means, and what -g says to it


def missing(option: str) -> NoReturn:
    """Raise UsageError for an option that has to be given."""
    raise UsageError(f"{option} is missing; say --demo to try everything on the recordings that ship with the package")


def choose_upstreams(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Multiply the upstreams asked for by the interfaces asked for.

    Returns:
        Names that are run as they are, and names whose members and interface dev scores choose (``auto``).
    """
    names = args.upstreams or ""
    upstreams = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not upstreams:
        missing("-u UPSTREAM")
    interfaces = [name.strip() for name in (args.interfaces or "").split(",") if name.strip()]
    if not interfaces:
        return upstreams, []
    check_interfaces(interfaces, [AUTO, *list_interfaces()])
    pairs = [(name, interface, add_interface(name, interface)) for name in upstreams for interface in interfaces]
    fixed = [full for _, interface, full in pairs if interface != AUTO]
    return fixed, [name for name, interface, _ in pairs if interface == AUTO]


def check_interfaces(names: Sequence[str], known: Sequence[str]) -> None:
    """Raise UsageError for a name that is not among the known ones."""
    for name in names:
        if name not in known:
            raise UsageError(f"--interfaces: {unknown('interface', name, known)}")


def resolve_names(names: Sequence[str], given: argparse.Namespace) -> Fusions:
    """Turn names and fusion YAMLs into fusions, and what -g says to each.

    Args:
        names: as the user gives them.
        given: what follows `--`; its -g is for `fused` if that is among the names, else for all.

    Raises:
        UserError: tells every name that is none.
    """
    mistakes, found = Mistakes(), {}
    for name in dict.fromkeys(names):
        config = given.upstream_model_config if name == "fused" or "fused" not in names else None
        fusion = mistakes.of(resolve, name, config, given.upstream_ckpt)
        # Children are started from any folder.
        found[name] = (fusion, str(find_shipped("-g", config, FUSIONS).absolute()) if fusion and config else None)
    mistakes.tell()
    return found


def resolve_upstreams(fusions: Fusions, given: argparse.Namespace) -> list[Upstream]:
    """Make sure that upstreams can load, before anything is prepared.

    Args:
        fusions: see `resolve_names`.
        given: what follows `--`.

    Raises:
        UserError: tells every one that cannot load; or two would be called the same.
    """
    mistakes = Mistakes()
    made_of = {name: mistakes.of(_named, name, fusion, given) for name, (fusion, _) in fusions.items()}
    mistakes.tell()
    found = [Upstream(absolute(name), fusion, made_of[name], file) for name, (fusion, file) in fusions.items()]
    check_rows(found)
    return found


def check_rows(upstreams: Sequence[Upstream]) -> None:
    """Raise UsageError where two rows would be of the same, or see `check_labels`."""
    for one, other in combinations(upstreams, 2):
        if one.made_of == other.made_of and one.label != other.label:
            raise UsageError(f"-u: {one.label} and {other.label} are one and the same; leave one out")
    check_labels(upstreams)


def check_labels(upstreams: Sequence[Upstream]) -> None:
    """Raise UsageError where two upstreams would share a folder, or one would be in a folder of ours."""
    for i, upstream in enumerate(upstreams):
        if is_reserved(upstream.label):
            raise UsageError(f"-u {upstream.name}: EXP/{upstream.label} is a folder of ours; rename the YAML")
        if upstream.label in [other.label for other in upstreams[:i]]:
            raise UsageError(f"-u: two upstreams would be called {upstream.label!r}; rename one of the YAMLs")


def describe(fusion: FusionConfig, given: argparse.Namespace) -> dict[str, Any]:
    """Check that an upstream can load, and say what a run trains on."""
    from ...host import checks

    checks.check_upstream(fusion, given)
    return checks.made_of(fusion, given)


def _named(name: str, fusion: FusionConfig, given: argparse.Namespace) -> dict[str, Any]:
    """Call `describe`; of a fused upstream, a mistake is told by its name: there may be several."""
    try:
        return describe(fusion, given)
    except UserError as error:
        if fusion.stock:
            raise
        raise within(f"-u {name}: ", error) from error


def resolve_autos(
    names: Sequence[str], fusions: Fusions, given: argparse.Namespace, upstreams: Sequence[Upstream], exp: Path
) -> list[Auto]:
    """Make the rows whose members and interface dev scores choose; see `resolve_upstreams`.

    Args:
        names: of the fused upstreams.
        fusions: see `resolve_names`.
        given: what follows `--`.
        upstreams: what is run anyway: a candidate that is one of them is not run twice.
        exp: the experiment folder: a candidate that is there already keeps its name.
    """
    mistakes, known, autos = Mistakes(), list(upstreams), []
    made_of = {name: mistakes.of(_named, name, fusions[name][0], given) for name in names}
    mistakes.tell()
    rows = [Upstream(absolute(name), fusions[name][0], made_of[name]) for name in names]
    check_rows(rows)
    for row, name in zip(rows, names):
        found = []
        for spelled in candidates(name, row.fusion):
            called = next((text for text in spelled if (exp / label(text)).is_dir()), spelled[0])
            fusion = resolve(called)
            new = Upstream(absolute(called), fusion, describe(fusion, given))
            found.append(next((one for one in known if one.made_of == new.made_of), new))
            known += [new] if found[-1] is new else []
        autos.append(Auto(row.label, row.made_of, tuple(found)))
    check_labels(known)
    return autos
