"""Names of fused upstreams.

- ``fused_<alias>_<alias>...[_large][_<interface>]``: short names of well-known upstreams, e.g.
  ``fused_wavlm_hubert``, ``fused_whisper_wavlm_large_weighted_sum``.
- ``fused__<hub entry>__<hub entry>...[__<interface>]``: any entries of s3prl's hub, e.g. ``fused__fbank__mfcc``.
- ``fused``: members and interface come from a fusion YAML (run_downstream's ``-g``).
"""

from __future__ import annotations

import difflib

from .config import FusionConfig, InterfaceConfig, MemberConfig
from .errors import UsageError, unknown
from .interfaces import DEFAULT_INTERFACE, list_interfaces

ALIASES = {
    "wavlm": "wavlm_base_plus",
    "hubert": "hubert_base",
    "data2vec": "data2vec_base_960",
    "wav2vec2": "wav2vec2_base_960",
    "whisper": "whisper_small",
    "whisper_en": "whisper_small_en",
    "unispeech_sat": "unispeech_sat_base_plus",
    "distilhubert": "distilhubert",
    "tera": "tera",
    "apc": "apc",
    "fbank": "fbank",
    "mfcc": "mfcc",
    "demo_hubert": "demo_hubert",
    "demo_whisper": "demo_whisper",
}
LARGE = {
    "wavlm": "wavlm_large",
    "hubert": "hubert_large_ll60k",
    "data2vec": "data2vec_large_ll60k",
    "wav2vec2": "wav2vec2_large_ll60k",
    "whisper": "whisper_medium",
    "whisper_en": "whisper_medium_en",
    "unispeech_sat": "unispeech_sat_large",
}
SHORTHANDS = {"demo": "demo_hubert_demo_whisper"}

_PRESET_MEMBERS = (
    # Table I of the paper, then Table II, then the demo.
    *("hubert", "wavlm", "data2vec", "whisper", "whisper_en"),
    *("hubert_wavlm", "wavlm_hubert", "data2vec_wavlm", "data2vec_hubert"),
    *("whisper_wavlm", "whisper_data2vec", "whisper_en_data2vec", "whisper_en_wavlm"),
    *("data2vec_hubert_wavlm", "whisper_wavlm_data2vec", "whisper_wavlm_hubert", "whisper_en_data2vec_wavlm"),
    *("wavlm_large", "data2vec_large", "whisper_large", "whisper_en_large"),
    *("whisper_wavlm_large", "whisper_data2vec_large", "whisper_en_wavlm_large", "whisper_en_data2vec_large"),
    *("demo", "demo_hubert", "demo_whisper"),
)


def presets() -> list[str]:
    """The names that are shown in ``s3prl.hub.options()``; many more are understood."""
    suffixes = ["", *(f"_{interface}" for interface in list_interfaces())]
    return [f"fused_{members}{suffix}" for members in _PRESET_MEMBERS for suffix in suffixes]


def is_fused_name(name: str) -> bool:
    """Whether a name claims to be a fused upstream's; it may still be malformed."""
    return name == "fused" or name.startswith("fused_")


def fusion_of(name: str, model_config: str | None = None) -> FusionConfig | None:
    """The fusion behind run_downstream's ``-u`` and ``-g``; None for the name of a stock upstream.

    Raises:
        ValueError, TypeError, FileNotFoundError: the name is malformed, it has a file too many or too few, or the file
            is wrong; the message says how.
    """
    if not is_fused_name(name):
        return None
    if name != "fused":
        if model_config is not None:
            raise UsageError(
                f"{name!r} says it all and takes no -g {model_config}; give the file to the upstream 'fused'"
            )
        return parse(name)
    if model_config is None:
        raise UsageError(
            "the upstream 'fused' needs a fusion YAML: -u fused -g fusion.yaml (or a name: fused_wavlm_hubert)"
        )
    return FusionConfig.from_yaml(model_config)


def parse(name: str) -> FusionConfig:
    """The fusion behind a name.

    Raises:
        ValueError: the name is not of the grammar; the message says which part, and what is near.
    """
    if not name.startswith("fused_") or len(name.strip("_")) <= len("fused"):
        raise UsageError(f"{name!r} names no fused upstream; try fused_wavlm_hubert or fused__<hub entry>__<hub entry>")
    if name.startswith("fused__"):
        entries, interface = _split_entries(name)
    else:
        entries, interface = _split_aliases(name)
    return FusionConfig(tuple(MemberConfig(entry) for entry in entries), InterfaceConfig(interface))


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
    aliases = _longest_aliases(rest, name)
    return [_entry(alias, large, name) for alias in aliases], interface


def _longest_aliases(rest: str, name: str) -> list[str]:
    tokens, aliases = rest.split("_"), []
    while tokens:
        for end in range(len(tokens), 0, -1):
            if "_".join(tokens[:end]) in ALIASES:
                aliases.append("_".join(tokens[:end]))
                tokens = tokens[end:]
                break
        else:
            raise UsageError(f"{name!r}: " + unknown("alias", tokens[0], ALIASES, limit=20) + _nearest_preset(name))
    return aliases


def _nearest_preset(name: str) -> str:
    near = difflib.get_close_matches(name, presets(), n=2, cutoff=0.75)
    return f"; nearest names: {', '.join(near)}" if near else ""


def _entry(alias: str, large: bool, name: str) -> str:
    if not large:
        return ALIASES[alias]
    if alias not in LARGE:
        raise UsageError(f"{name!r}: {alias!r} has no large model; choose from {', '.join(sorted(LARGE))}")
    return LARGE[alias]


def member_names(fusion: FusionConfig) -> list[str]:
    """What to call each member: its name, and its number where there are two of one name."""
    names = [member.name for member in fusion.members]
    return [f"{name}.{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]
