"""``s3prl-fusion list``: which fused upstreams there are, and how large they are, without downloading any."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..config import FusionConfig, MemberConfig
from ..grammar import presets
from ..interfaces import DEFAULT_INTERFACE, list_interfaces
from ..names import is_fused_name, resolve
from ..upstreams.entries import Size, aliases, known

UNKNOWN = "?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="fused upstreams to describe (default: every preset)")
    parser.add_argument("-v", "--verbose", action="store_true", help="layers x width @ samples a frame, and parameters")
    parser.add_argument("--json", action="store_true", help="all of it, as JSON")


def main(args: argparse.Namespace) -> int:
    """Print the list."""
    fusions = {name: _fused(name) for name in args.names or presets()}
    if args.json:
        names = {alias: entry.name for alias, entry in aliases().items()}
        described = [describe(name, fusion) for name, fusion in fusions.items()]
        print(json.dumps({"interfaces": list_interfaces(), "aliases": names, "upstreams": described}, indent=2))
    elif args.verbose:
        _print_columns([("name", "members", "interface", "trainable", "frozen"), *map(_row, fusions, fusions.values())])
    else:
        named = {name: fusion for name, fusion in fusions.items() if name in args.names or _is_shortest(name)}
        _print_columns([(name, " + ".join(member.name for member in named[name].members)) for name in named])
        print(f"\ninterfaces: {', '.join(list_interfaces())}; a name may end in one, as in fused_wavlm_hubert_chconv")
        print(f"without one it is {DEFAULT_INTERFACE}. Names may be made of: {', '.join(aliases())}")
    return 0


def _fused(name: str) -> FusionConfig:
    return resolve(name) if is_fused_name(name) else FusionConfig.from_name(name)


def describe(name: str, fusion: FusionConfig) -> dict[str, Any]:
    """Describe a fused upstream by members and sizes; None where a member's size is not known without loading it."""
    sizes = _sizes(fusion)
    return {
        "name": name,
        "members": [_describe_member(member) for member in fusion.members],
        "interface": fusion.interface.name,
        "trainable_parameters": trainable_parameters(fusion),
        "frozen_parameters": None if sizes is None else sum(size.parameters for size in sizes),
    }


def trainable_parameters(fusion: FusionConfig) -> int | None:
    """Count the interface's parameters, on one that takes no memory; None where a member's size is not known."""
    import torch

    from ..interfaces import build_interface

    sizes, interface = _sizes(fusion), fusion.interface
    if sizes is None:
        return None
    with torch.device("meta"):
        module = build_interface(
            interface.name, [s.layers for s in sizes], [s.dim for s in sizes], interface.output_dim, **interface.options
        )
    return sum(parameter.numel() for parameter in module.parameters())


def _describe_member(member: MemberConfig) -> dict[str, Any]:
    size = known(member.name).size
    return {"name": member.name, **(vars(size) if size else dict.fromkeys(("layers", "dim", "downsample_rate")))}


def _sizes(fusion: FusionConfig) -> list[Size] | None:
    sizes = [size for member in fusion.members if (size := known(member.name).size)]
    return sizes if len(sizes) == len(fusion.members) else None


def _is_shortest(name: str) -> bool:
    return not name.endswith(tuple(f"_{interface}" for interface in list_interfaces()))


def _row(name: str, fusion: FusionConfig) -> tuple[str, ...]:
    facts = describe(name, fusion)
    members = " + ".join(
        f"{m['name']} {m['layers'] or UNKNOWN} x {m['dim'] or UNKNOWN} @ {m['downsample_rate'] or UNKNOWN}"
        for m in facts["members"]
    )
    counts = (facts["trainable_parameters"], facts["frozen_parameters"])
    return (name, members, facts["interface"], *(UNKNOWN if count is None else f"{count:,}" for count in counts))


def _print_columns(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
