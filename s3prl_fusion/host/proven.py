"""Which members come with s3prl or with this package, as they are, and which are the user's own."""

from __future__ import annotations

from ..config import FusionConfig, MemberConfig
from ..upstreams.entries import ENTRIES
from .hub import entry_files


def own_members(fusion: FusionConfig) -> list[MemberConfig]:
    """List the members that nobody has tried before: neither a row of `upstreams.entries`, nor an entry of s3prl's hub
    with the checkpoint that it names itself."""
    return [member for member in fusion.members if member.name not in ENTRIES and not _is_stock(member)]


def _is_stock(member: MemberConfig) -> bool:
    return member.ckpt is None and member.model_config is None and member.name in entry_files()
