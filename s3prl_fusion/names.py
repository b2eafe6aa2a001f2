"""From what a user types after ``-u`` to a fusion.

- a name of the `grammar`, such as ``fused_wavlm_hubert``;
- a fusion YAML's path, ``path/to/fusion.yaml``; ``fusion.yaml__chconv`` is the same with another interface, and
  ``fusion.yaml:whisper_small`` has one of its members alone;
- ``fused``, whose fusion YAML comes separately (run_downstream's ``-g``);
- ``my_model.py:MyModel``, ``path/to/folder`` and ``hf:owner/name`` are in no hub of s3prl's, see
  `upstreams.references`, and stock;
- any other name is a stock upstream, an entry of s3prl's hub.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from .assets import downstream_configs_dir
from .cache.config import CacheConfig
from .config import FusionConfig, InterfaceConfig, MemberConfig
from .errors import MissingFileError, UsageError, unknown
from .imports import is_own
from .permissions import check_code
from .upstreams import references
from .upstreams.entries import aliases
from .upstreams.references import YAML

FUSIONS = "fusion/*.yaml"  # in downstream_configs


def is_fused_name(name: str) -> bool:
    """Tell whether a name claims to be a fused upstream's; it may still be malformed."""
    return is_yaml(name) or ((name == "fused" or name.startswith("fused_")) and references.parse(name) is None)


def is_yaml(name: str) -> bool:
    """Tell whether a name is a fusion YAML's path, with or without one of its members or another interface."""
    return bool(YAML.fullmatch(name))


def resolve(name: str, model_config: str | None = None, ckpt: str | None = None, named: bool = True) -> FusionConfig:
    """Turn what run_downstream's ``-u``, ``-g`` and ``-k`` say into a fusion; a stock upstream is a fusion of one.

    Reads files, loads nothing, and asks s3prl nothing: whether its members can load is `host.members.check`'s affair.
    Of an ``hf-s3prl:`` repository the hub is asked for the commit.

    Args:
        name: see the top of this file.
        model_config: of ``fused``, the fusion YAML; of a stock upstream, its own.
        ckpt: of a stock upstream.
        named: whether the user says it, or a checkpoint does: see `FusionConfig.from_yaml`.

    Returns:
        The fusion. A fused one has the cache that the environment asks for if it names none itself.

    Raises:
        UserError: the name is malformed, it has a file too many or too few, or the file is wrong.
    """
    if not is_fused_name(name):
        reference = references.parse(name)
        if reference and reference.where and not named:
            check_code("upstream", name, None, reference.where)
        member = MemberConfig(absolute(name), ckpt, model_config)
        return FusionConfig((member,), InterfaceConfig("weighted_sum"), normalize=False, stock=True)
    if ckpt is not None:
        raise UsageError(
            f"{name!r} takes no checkpoint of its own (-k {ckpt}); give its members theirs in a fusion YAML"
        )
    fusion = _fused(name, model_config, named)
    return fusion if fusion.cache else replace(fusion, cache=CacheConfig.from_env())


def _fused(name: str, model_config: str | None, named: bool) -> FusionConfig:
    if name == "fused":
        if model_config is None:
            raise UsageError(
                "the upstream 'fused' needs a fusion YAML: -u fused -g fusion.yaml (or its path in place of the name, "
                "-u fusion.yaml, or a name: fused_wavlm_hubert)"
            )
        return FusionConfig.from_yaml(find_shipped("-g", model_config, FUSIONS), named)
    if model_config is not None:
        raise UsageError(f"{name!r} says it all and takes no -g {model_config}; give the file to the upstream 'fused'")
    yaml = YAML.fullmatch(name)
    if yaml is None:
        return FusionConfig.from_name(name)
    fusion = FusionConfig.from_yaml(find_shipped("-u", yaml["path"], FUSIONS), named)
    if yaml["member"] is not None:
        fusion = with_member(fusion, yaml["member"], name)
    if yaml["interface"] is None:
        return fusion
    if not named and is_own(yaml["interface"]):
        check_code("interface", yaml["interface"], None)
    return with_interface(fusion, yaml["interface"])


def with_interface(fusion: FusionConfig, interface: str) -> FusionConfig:
    """Put another interface into a fusion; its own one keeps its options, another one has none but the width."""
    if interface == fusion.interface.name:
        return fusion
    return replace(fusion, interface=InterfaceConfig(interface, fusion.interface.output_dim))


def with_member(fusion: FusionConfig, member: str, name: str) -> FusionConfig:
    """Leave one member of a fusion, by what `FusionConfig.member_names` calls it.

    Raises:
        UsageError: there is no such member; the message has the name that asked for it.
    """
    if member not in fusion.member_names:
        raise UsageError(f"{name}: {unknown('member', member, fusion.member_names)}")
    return replace(fusion, members=(fusion.members[fusion.member_names.index(member)],))


def spellings(name: str, fusion: FusionConfig, member: str | None, interface: str) -> list[str]:
    """Name a fused upstream's members, or one of them, under an interface, in every way, the shortest first.

    Args:
        name: of the fused upstream, other than ``fused``.
        fusion: what it means.
        member: as `FusionConfig.member_names` calls it; None is all of them.
        interface: by its name.
    """
    yaml = YAML.fullmatch(name)
    if yaml is not None:
        one = member or yaml["member"]
        bases = [f"{yaml['path']}:{one}" if one else yaml["path"]]
    elif member is None:
        bases = [re.sub(f"__?{fusion.interface.name}$", "", name)]
    else:
        bases = [f"fused_{alias}" for alias, entry in aliases().items() if entry.name == member]
        bases += [f"fused_{alias}_large" for alias, entry in aliases().items() if entry.large == member]
        bases.append(f"fused__{member}")
    wanted = with_interface(with_member(fusion, member, name) if member else fusion, interface)
    names = [*bases, *(add_interface(base, interface) for base in bases)]
    return [name for name in names if resolve(name) == wanted]


def absolute(name: str) -> str:
    """Make the name of a fusion YAML, or of a user's own upstream, independent of the current folder; any other name
    stays as it is."""
    yaml, reference = YAML.fullmatch(name), references.parse(name)
    if yaml is None:
        return str(reference.absolute()) if reference else name
    return f"{find_shipped('-u', yaml['path'], FUSIONS).absolute()}{name[yaml.end('path') :]}"


def find_shipped(option: str, path: str, *patterns: str) -> Path:
    """Find a file, among those of downstream_configs where the path itself is not there.

    Args:
        option: what the user gave it to, for the message.
        path: may be ``fusion/wavlm.yaml`` or ``downstream_configs/fusion/wavlm.yaml``, from any folder.
        patterns: globs of what ships.

    Raises:
        MissingFileError: it is neither; the message lists what ships.
    """
    given, root = Path(path).expanduser(), downstream_configs_dir()
    if given.exists():
        return given
    shipped = root / given.relative_to(root.name) if given.parts[:1] == (root.name,) else root / given
    files = sorted(file for pattern in patterns for file in root.glob(pattern))
    if shipped not in files:
        names = ", ".join(file.relative_to(root).as_posix() for file in files)
        raise MissingFileError(
            f"{option} {path} does not exist; correct the path, or take one that ships with s3prl_fusion: {names}"
        )
    return shipped


def label(name: str) -> str:
    """Shorten what -u says for tables and folders: a YAML goes by its file's name, without the folder, and so does an
    upstream of the user's own."""
    yaml = YAML.fullmatch(name)
    if yaml is None:
        return references.label(name)
    return "_".join(part for part in (Path(yaml["path"]).stem, yaml["member"], yaml["interface"]) if part)


def add_interface(name: str, interface: str) -> str:
    """Name the same members under another interface.

    Raises:
        UsageError: the upstream is ``fused``, whose YAML says its interface, or a stock one.
    """
    if name == "fused":
        raise UsageError(
            "--interfaces: the interface of 'fused' stands in its YAML; give the YAML's path in place of the name"
        )
    if not is_fused_name(name):
        advice = "make it the member of a fusion YAML" if references.parse(name) else f"try 'fused__{name}'"
        raise UsageError(f"--interfaces: {name!r} is not a fused upstream; {advice}")
    double = name.startswith("fused__") or YAML.fullmatch(name)
    return f"{name}{'__' if double else '_'}{interface}"
