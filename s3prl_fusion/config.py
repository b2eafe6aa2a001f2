"""What a fused upstream is made of: frozen dataclasses, YAML in and YAML out, every check before anything loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from .cache.config import CacheConfig
from .errors import KindError, MissingFileError, UsageError, mapping, unknown, within
from .files import read_mapping
from .grammar import parse
from .imports import is_own
from .interfaces import DEFAULT_INTERFACE, build_interface, interface_class, interface_options, list_interfaces
from .permissions import check_code
from .relative_paths import resolve_paths
from .schema import LARGEST_WIDTH
from .upstreams import references

PRECISIONS = ("float32", "bf16", "fp16")


def _check(key: str, value: Any, kind: type, optional: bool = False) -> None:
    if optional and value is None:
        return
    # bool is an int to Python, but `output_dim: true` is a mistake.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise KindError(f"{key} must be {'null or ' if optional else ''}of type {kind.__name__}; got {value!r}")


@dataclass(frozen=True)
class MemberConfig:
    """One upstream of a fusion.

    Attributes:
        name: any entry of s3prl's hub, e.g. ``"wavlm_base_plus"`` or ``"hubert_local"``, or an upstream of the user's
            own, e.g. ``"my_model.py:MyModel"``, see `upstreams.references`.
        ckpt: what ``-k`` is for the entry alone: a path, an address or a hub id.
        model_config: what ``-g`` is for the entry alone: a path, or a mapping of the entry's own options.
        layers: indices of the hidden states to use, in order, negative ones from the end; ``None`` is all.
        precision: ``"bf16"`` or ``"fp16"``: its forward runs under torch's autocast, its hidden states are float32 all
            the same. ``"float32"`` is the default, and read as ``None``.
        device: where it runs, e.g. ``"cuda:1"``; ``None`` is where the fused upstream is. Checkpoints forget it.
    """

    name: str
    ckpt: str | None = None
    model_config: str | Mapping[str, Any] | None = None
    layers: tuple[int, ...] | None = None
    precision: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        _check("name", self.name, str)
        _check("ckpt", self.ckpt, str, optional=True)
        if not isinstance(self.model_config, (str, Mapping, type(None))):
            raise KindError(f"model_config must be null, a path or a mapping; got {self.model_config!r}")
        if self.layers is not None:
            integers = isinstance(self.layers, tuple) and all(type(layer) is int for layer in self.layers)
            if not integers or not self.layers:
                got = list(self.layers) if isinstance(self.layers, tuple) else self.layers
                raise KindError(f"layers must be null or a non-empty list of integers; got {got!r}")
            if len(set(self.layers)) < len(self.layers):
                raise UsageError(f"layers must not repeat; got {list(self.layers)!r}")
        if self.precision not in (None, *PRECISIONS):
            raise UsageError(f"precision: {unknown('precision', self.precision, PRECISIONS)}")
        if self.precision == "float32":
            object.__setattr__(self, "precision", None)
        _check("device", self.device, str, optional=True)

    def runs_as(self, other: MemberConfig) -> bool:
        """Tell whether one forward, on one device, serves both: they may differ in layers alone."""
        return replace(self, layers=None) == replace(other, layers=None)


@dataclass(frozen=True)
class InterfaceConfig:
    """The trainable part of a fusion.

    Attributes:
        name: one of `s3prl_fusion.list_interfaces`, or ``module:Class`` for a user's own subclass of
            `s3prl_fusion.Interface`; ``module`` can be imported, or is the path of a Python file.
        output_dim: width of the features that the downstream gets; ``None`` is the interface's own choice.
        options: the interface's own options; in YAML they stand beside ``name``.
    """

    name: str = DEFAULT_INTERFACE
    output_dim: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("interface.name", self.name, str)
        if self.name not in list_interfaces():
            interface_class(self.name)
        _check("interface.output_dim", self.output_dim, int, optional=True)
        if self.output_dim is not None and self.output_dim < 1:
            raise UsageError(f"interface.output_dim must be positive; got {self.output_dim}")
        if self.output_dim is not None and self.output_dim > LARGEST_WIDTH:
            raise UsageError(f"interface.output_dim must be at most {LARGEST_WIDTH:,}; got {self.output_dim:,}")
        if self.options:
            mapping("interface", self.options, ["name", "output_dim", *interface_options(self.name)])
            self._check_options()

    def _check_options(self) -> None:
        """Build a miniature of the interface, which checks its options' values before any member loads."""
        import torch

        # The miniature's first weights must not shift the run's random numbers.
        with torch.random.fork_rng(devices=[]):
            build_interface(self.name, (2, 2), (4, 4), self.output_dim, **self.options)


@dataclass(frozen=True)
class FusionConfig:
    """A fused upstream: its members, its interface, and whether hidden states are normalized first.

    Attributes:
        members: at least one; no two alike.
        interface: the trainable part.
        normalize: parameter-free layer norm over the features of every hidden state, before the interface. A stock
            upstream has it only where run_downstream's ``--upstream_feature_normalize`` asks for it.
        cache: where the members' hidden states are kept on disk; ``None`` computes them anew each time.
        stock: one upstream as s3prl runs it, under its own featurizer, which is a weighted sum.
    """

    members: tuple[MemberConfig, ...]
    interface: InterfaceConfig = InterfaceConfig()
    normalize: bool = True
    cache: CacheConfig | None = None
    stock: bool = False

    def __post_init__(self) -> None:
        _check("members", self.members, tuple)
        _check("normalize", self.normalize, bool)
        _check("stock", self.stock, bool)
        _check("cache", self.cache, CacheConfig, optional=True)
        if not self.members:
            raise UsageError("members is empty; name at least one entry of s3prl's hub, e.g. wavlm_base_plus")
        for i, member in enumerate(self.members):
            if any(replace(member, device=other.device) == other for other in self.members[:i]):
                raise UsageError(
                    f"members: {member.name!r} is given twice, with the same ckpt, model_config, layers and precision; "
                    "remove one, or give it other layers"
                )
        if self.stock and (len(self.members) > 1 or self.interface.name != "weighted_sum"):
            raise UsageError("stock: true is for one member under the interface weighted_sum; leave it out")

    @property
    def member_names(self) -> list[str]:
        """What to call each member: its name, a short one of a user's own, and its number where two have the same."""
        names = [references.label(member.name) for member in self.members]
        return [f"{name}.{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> FusionConfig:
        """Read what `to_dict` writes. A member may be its name alone, and so may the interface.

        Raises:
            UsageError, KindError: a key is unknown or a value is not of its kind; the message names key and value.
        """
        # `stock` is read, but not for people to write: a stock upstream has a name of its own.
        stock = config.get("stock", False) if isinstance(config, Mapping) else False
        config = mapping("fusion config", config, [f.name for f in fields(cls) if f.name != "stock" or stock])
        members = config.pop("members", [])
        if not isinstance(members, (list, tuple)):
            raise KindError(f"members must be a list; got {members!r}")
        parsed = tuple(_member(f"members[{i}]", member) for i, member in enumerate(members))
        if "interface" in config:
            config["interface"] = _interface(config["interface"])
        if config.get("cache") is not None:
            config["cache"] = CacheConfig.parse(config["cache"])
        return cls(members=parsed, **config)

    @classmethod
    def from_yaml(cls, path: str | Path, named: bool = True) -> FusionConfig:
        """Read a fusion YAML. Relative paths that exist beside the file are taken from there: of members, and of the
        module of a user's own interface.

        Args:
            path: the file.
            named: whether the user has named it; else a checkpoint has, and what lies beside it runs only if allowed.

        Raises:
            MissingFileError: there is no such file.
            UsageError, KindError: it is not YAML, or see `from_dict`, or its interface is code that the user has not
                named (see `permissions`); the message names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"fusion config {str(path)!r} does not exist; give a YAML file with members: [...]")
        config = read_mapping(path)
        try:
            config = resolve_paths(path.parent, config)
            _check_code(config, path.parent if named else None)
            return cls.from_dict(config)
        except (ValueError, TypeError) as error:
            raise within(f"{path}: ", error) from error

    @classmethod
    def from_record(cls, config: Mapping[str, Any]) -> FusionConfig:
        """Read what a checkpoint or a score remembers of its fusion; as `from_dict`, but code runs only if allowed, and
        what does not say `normalize` is of 0.1, where it was off by default."""
        _check_code(config, None)
        return cls.from_dict({"normalize": False, **config} if isinstance(config, Mapping) else config)

    @classmethod
    def from_name(cls, name: str) -> FusionConfig:
        """Read a name such as ``fused_wavlm_hubert_chconv``; see `s3prl_fusion.grammar`.

        Example:
            >>> sf.FusionConfig.from_name("fused__fbank__mfcc").member_names
            ['fbank', 'mfcc']

        Raises:
            UsageError: the name is not of the grammar; the message says which part, and what is near.
        """
        entries, interface = parse(name)
        return cls(tuple(MemberConfig(entry) for entry in entries), InterfaceConfig(interface))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts and scalars that `from_dict` reads; defaults are left out, but for `normalize`."""
        members = []
        for member in self.members:
            entry = {key: value for key, value in asdict(member).items() if value is not None}
            if member.layers is not None:
                entry["layers"] = list(member.layers)
            members.append(entry)
        interface = {"name": self.interface.name, **self.interface.options}
        if self.interface.output_dim is not None:
            interface["output_dim"] = self.interface.output_dim
        config: dict[str, Any] = {"members": members, "interface": interface, "normalize": self.normalize}
        if self.stock:
            config["stock"] = True
        if self.cache is not None:
            config["cache"] = self.cache.to_dict()
        return config

    def to_yaml(self) -> str:
        """Write `to_dict` as YAML text."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def _check_code(config: Any, beside: Path | None) -> None:
    """Look at whose code a raw config names, before it is imported; see `permissions.check_code`."""
    if not isinstance(config, Mapping):
        return
    name = _name(config.get("interface"))
    if is_own(name):
        check_code("interface", name, beside)
    members = config.get("members")
    for name in map(_name, members if isinstance(members, (list, tuple)) else ()):
        reference = references.parse(name)
        if reference and reference.where:
            check_code("upstream", name, beside, reference.where)


def _name(raw: Any) -> str:
    """Return the name in what a raw config has for an interface or a member; empty where there is none."""
    name = raw.get("name") if isinstance(raw, Mapping) else raw
    return name if isinstance(name, str) else ""


def _member(key: str, value: Any) -> MemberConfig:
    if isinstance(value, (MemberConfig, str)):
        return value if isinstance(value, MemberConfig) else MemberConfig(value)
    value = mapping(key, value, [f.name for f in fields(MemberConfig)])
    if "name" not in value:
        raise UsageError(f"{key} has no name; name an entry of s3prl's hub, e.g. wavlm_base_plus")
    if isinstance(value.get("layers"), list):
        value["layers"] = tuple(value["layers"])
    try:
        return MemberConfig(**value)
    except (ValueError, TypeError) as error:
        raise within(f"{key}.", error) from error


def _interface(value: Any) -> InterfaceConfig:
    if isinstance(value, (InterfaceConfig, str)):
        return value if isinstance(value, InterfaceConfig) else InterfaceConfig(value)
    if not isinstance(value, Mapping):
        raise KindError(f"interface must be a name or a mapping; got {value!r}")
    value = dict(value)
    name, output_dim = value.pop("name", DEFAULT_INTERFACE), value.pop("output_dim", None)
    return InterfaceConfig(name, output_dim, value)
