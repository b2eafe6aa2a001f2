"""Names of upstreams: well-formed ones mean what the grammar says, others are refused in a line."""

from __future__ import annotations

from hypothesis import strategies as st
from laws import command, property_of, refusals

from s3prl_fusion import FusionConfig, list_interfaces
from s3prl_fusion.grammar import SHORTHANDS
from s3prl_fusion.interfaces import DEFAULT_INTERFACE
from s3prl_fusion.names import is_fused_name, label, resolve
from s3prl_fusion.upstreams.entries import ENTRIES, aliases

ALIASES = sorted(aliases())
ENTRY_NAMES = sorted(ENTRIES)
INTERFACES = list_interfaces()
PIECES = [
    *ALIASES,
    *ENTRY_NAMES,
    *INTERFACES,
    *SHORTHANDS,
    "large",
    "fused",
    "",
    "_",
    ".yaml",
    "/",
    "..",
    ":",
    "x.yaml",
]
ODD = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)


def unambiguous(names: list[str]) -> bool:
    """Whether aliases in a row are read as they were written: `whisper_en` is one of several pieces."""
    joined = "_".join(names)
    return joined not in SHORTHANDS and not any(
        f"{a}_{b}" in ALIASES
        or f"{a}_{b}".startswith(tuple(f"{long}_" for long in ALIASES if long.startswith(f"{a}_")))
        for a, b in zip(names, names[1:])
    )


@property_of(
    "names of known upstreams: `fused_wavlm_hubert_chconv`",
    150,
    names=st.lists(st.sampled_from(ALIASES), min_size=1, max_size=4, unique=True).filter(unambiguous),
    large=st.booleans(),
    interface=st.sampled_from([None, *INTERFACES]),
)
def test_short_names_are_what_they_say(names, large, interface):
    name = "_".join(["fused", *names, *(["large"] if large else []), *([interface] if interface else [])])
    known = [aliases()[alias] for alias in names]
    with refusals() as said:
        fusion = FusionConfig.from_name(name)
        assert [m.name for m in fusion.members] == [e.large if large else e.name for e in known]
        assert fusion.interface.name == (interface or DEFAULT_INTERFACE)
        assert FusionConfig.from_dict(fusion.to_dict()) == fusion and label(name) == name
    if said:
        assert large and not all(entry.large for entry in known)
    return said[0] if said else None


@property_of(
    "names of hub entries: `fused__fbank__mfcc`",
    150,
    entries=st.lists(
        st.one_of(st.sampled_from(ENTRY_NAMES), st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)),
        min_size=1,
        max_size=4,
    ),
    interface=st.sampled_from([None, *INTERFACES]),
)
def test_long_names_are_what_they_say(entries, interface):
    name = "__".join(["fused", *entries, *([interface] if interface else [])])
    with refusals() as said:
        fusion = resolve(name)
        assert [member.name for member in fusion.members] == entries
        assert fusion.interface.name == (interface or DEFAULT_INTERFACE)
    if said:
        assert len(set(entries)) < len(entries) or entries[-1] in INTERFACES
    return said[0] if said else None


@property_of(
    "odd names",
    400,
    name=st.one_of(
        ODD,
        st.lists(st.one_of(st.sampled_from(PIECES), ODD), max_size=6).map("_".join),
        st.lists(st.one_of(st.sampled_from(PIECES), ODD), max_size=5).map("__".join).map("fused__{}".format),
        st.lists(st.sampled_from(PIECES), max_size=5).map("".join).map("fused_{}".format),
    ),
)
def test_odd_names_are_a_fusion_or_a_line(name):
    with refusals() as said:
        fusion = resolve(name)
        assert fusion.members and fusion.stock is not is_fused_name(name)
        assert FusionConfig.from_dict(fusion.to_dict()) == fusion
    return said[0] if said else None


@property_of(
    "odd names and paths on the command line of `list`",
    30,
    name=st.one_of(
        st.lists(st.sampled_from(ALIASES), min_size=1, max_size=2).map("_".join).map("fused_{}".format),
        st.lists(st.sampled_from(PIECES), max_size=4).map("_".join),
        ODD,
    ).filter(lambda name: name and not name.startswith("-")),
)
def test_list_takes_a_name_or_says_why_not(name):
    return command("list", "-v", name).refusal
