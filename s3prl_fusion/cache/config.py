"""Where frozen hidden states are kept, and how: what `cache:` of a fusion YAML and the environment say."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import KindError, UsageError, mapping, unknown

DIR_VARIABLE = "S3PRL_FUSION_CACHE"
DTYPE_VARIABLE = "S3PRL_FUSION_CACHE_DTYPE"
DTYPES = ("float16", "int8")


@dataclass(frozen=True)
class CacheConfig:
    """A folder of hidden states, see `cache.states`.

    Attributes:
        dir: the folder; made when something is stored. ``~`` is the home folder, a relative one is below the current.
        dtype: ``"float16"``, or ``"int8"``, half as large, within 1 % of a state's norm and 3 % of any frame's.
        max_gb: writing stops when the folder has this many 10^9 bytes; ``None`` is as many as the disk takes.
    """

    dir: str
    dtype: str = "float16"
    max_gb: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.dir, str) or not self.dir:
            raise KindError(f"cache.dir must be the path of a folder; got {self.dir!r}")
        if self.dtype not in DTYPES:
            raise UsageError(f"cache.dtype: {unknown('dtype', self.dtype, DTYPES)}")
        if self.max_gb is not None and (isinstance(self.max_gb, bool) or not isinstance(self.max_gb, (int, float))):
            raise KindError(f"cache.max_gb must be null or a number; got {self.max_gb!r}")
        if self.max_gb is not None and not self.max_gb > 0:
            raise UsageError(f"cache.max_gb must be positive; got {self.max_gb}")

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.dir).expanduser()

    @classmethod
    def parse(cls, value: Any) -> CacheConfig:
        """Return a `CacheConfig` from what stands at ``cache:``, a mapping or the folder alone.

        Raises:
            UsageError, KindError: a key is unknown or a value is not of its kind; the message names it.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value)
        given = mapping("cache", value, [field.name for field in fields(cls)], "a folder, or ")
        if "dir" not in given:
            raise UsageError("cache has no dir; name the folder, e.g. cache: {dir: DIR, dtype: int8}")
        return cls(**given)

    @classmethod
    def from_env(cls) -> CacheConfig | None:
        """Return what ``S3PRL_FUSION_CACHE`` and ``S3PRL_FUSION_CACHE_DTYPE`` say; None where the first is empty.

        Raises:
            UsageError: the dtype is unknown.
        """
        folder = os.environ.get(DIR_VARIABLE)
        try:
            return cls(folder, os.environ.get(DTYPE_VARIABLE) or "float16") if folder else None
        except ValueError as error:
            raise UsageError(f"{DTYPE_VARIABLE}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain scalars that `parse` reads; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}
