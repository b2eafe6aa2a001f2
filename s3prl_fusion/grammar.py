"""What names of fused upstreams mean.

- ``fused_<alias>_<alias>...[_large][_<interface>]``: short names of well-known upstreams, e.g.
  ``fused_wavlm_hubert``, ``fused_whisper_wavlm_large_weighted_sum``.
- ``fused__<hub entry>__<hub entry>...[__<interface>]``: any entries of s3prl's hub, e.g. ``fused__fbank__mfcc``.
"""

from __future__ import annotations

import difflib

from .errors import UsageError, unknown
from .interfaces import DEFAULT_INTERFACE, list_interfaces
from .upstreams.entries import aliases

SHORTHANDS = {"demo": "demo_hubert_demo_whisper_demo_xvector"}

_PRESET_MEMBERS = (
    # Table I of the paper, then Table II, then the demo.
    *("hubert", "wavlm", "data2vec", "whisper", "whisper_en"),
    *("hubert_wavlm", "wavlm_hubert", "data2vec_wavlm", "data2vec_hubert"),
    *("whisper_wavlm", "whisper_data2vec", "whisper_en_data2vec", "whisper_en_wavlm"),
    *("data2vec_hubert_wavlm", "whisper_wavlm_data2vec", "whisper_wavlm_hubert", "whisper_en_data2vec_wavlm"),
    *("wavlm_large", "data2vec_large", "whisper_large", "whisper_en_large"),
    *("whisper_wavlm_large", "whisper_data2vec_large", "whisper_en_wavlm_large", "whisper_en_data2vec_large"),
    *("demo", "demo_hubert", "demo_whisper", "demo_xvector"),
    *("demo_hubert_demo_whisper", "demo_hubert_demo_xvector", "demo_whisper_demo_xvector"),
)


def presets() -> list[str]:
    """List the names that are shown in ``s3prl.hub.options()``; many more are understood."""
    suffixes = ["", *(f"_{interface}" for interface in list_interfaces())]
    return [f"fused_{members}{suffix}" for members in _PRESET_MEMBERS for suffix in suffixes]


def parse(name: str) -> tuple[list[str], str]:
    """Split a name into its members' hub entries and its interface.

    Raises:
        UsageError: the name is not of the grammar; the message says which part, and what is near.
    """
    if not name.startswith("fused_") or len(name.strip("_")) <= len("fused"):
        raise UsageError(f"{name!r} names no fused upstream; try fused_wavlm_hubert or fused__<hub entry>__<hub entry>")
    return _split_entries(name) if name.startswith("fused__") else _split_aliases(name)


def _split_entries(name: str) -> tuple[list[str], str]:
    entries = name[len("fused__") :].split("__")
    interface = entries.pop() if len(entries) > 1 and entries[-1] in list_interfaces() else DEFAULT_INTERFACE
    if not all(entries):
        raise UsageError(f"{name!r} has an empty member between underscores; write fused__<hub entry>__<hub entry>")
    return entries, interface


def _split_aliases(name: str) -> tuple[list[str], str]:
    rest = name[len("fused_") :]
    suffixes = [interface for interface in list_interfaces() if rest.endswith(f"_{interface}")]
    interface = max(suffixes, key=len, default=DEFAULT_INTERFACE)
    rest = rest[: -len(interface) - 1] if suffixes else rest
    large = rest.endswith("_large")
    rest = SHORTHANDS.get(rest, rest[: -len("_large")] if large else rest)
    return [_entry(alias, large, name) for alias in _longest_aliases(rest, name)], interface


def _longest_aliases(rest: str, name: str) -> list[str]:
    tokens, known, found = rest.split("_"), aliases(), []
    while tokens:
        for end in range(len(tokens), 0, -1):
            if "_".join(tokens[:end]) in known:
                found.append("_".join(tokens[:end]))
                tokens = tokens[end:]
                break
        else:
            raise UsageError(f"{name!r}: " + unknown("alias", tokens[0], known, limit=20) + _nearest_preset(name))
    return found


def _nearest_preset(name: str) -> str:
    near = difflib.get_close_matches(name, presets(), n=2, cutoff=0.75)
    return f"; nearest names: {', '.join(near)}" if near else ""


def _entry(alias: str, large: bool, name: str) -> str:
    known = aliases()
    entry = known[alias]
    if large and not entry.large:
        with_large = sorted(alias for alias, entry in known.items() if entry.large)
        raise UsageError(f"{name!r}: {alias!r} has no large model; choose from {', '.join(with_large)}")
    return entry.large if large else entry.name
