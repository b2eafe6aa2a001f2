"""What a config may hold: kinds of values, and sections with known keys. All mistakes are found at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from .errors import unknown

MOST = 2**63 - 1  # of whole numbers: the largest that sizes and loops take
LARGEST_WIDTH = 2**16  # of a layer; above it a slip of the keyboard is more likely than memory for it


class Problem(NamedTuple):
    """A mistake: the key that it is at, or where one is missing, and a line about it."""

    key: str
    line: str


class Check(Protocol):
    """Looks at what stands at a key."""

    def __call__(self, key: str, value: Any, problems: list[Problem]) -> Any:
        """Return the value as it is meant, and add to the problems."""


def shown(value: Any) -> str:
    """Return a value as a message has it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


@dataclass(frozen=True)
class Kind:
    """Values of one kind.

    Attributes:
        words: what the value must be.
        read: returns a value as it is meant; raises TypeError, ValueError or OverflowError for one of another kind.
        null: whether the key may be left empty.
    """

    words: str
    read: Callable[[Any], Any]
    null: bool = False

    def __call__(self, key: str, value: Any, problems: list[Problem]) -> Any:
        """See `Check`."""
        if self.null and value in (None, "null"):  # the latter is what -o makes of it
            return None
        try:
            return self.read(value)
        except (TypeError, ValueError, OverflowError):
            null = "null or " if self.null else ""
            problems.append(Problem(key, f"{key} must be {null}{self.words}; got {shown(value)}"))
            return value


def _of_type(*types: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, types):
            raise TypeError
        return value

    return read


def _number(value: Any) -> int | float:
    """Read a number; a text of one is meant as one: to YAML, 1e-3 is a text, and 1.0e-3 a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    return float(value) if isinstance(value, str) else value


def _switch(value: Any) -> bool:
    """Read a switch; of what -o says, only True and False are more than texts to s3prl."""
    read = {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
    return _of_type(bool)(read)


def number(
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    finite: bool = True,
    null: bool = False,
) -> Kind:
    """Return the kind of numbers in a range."""
    bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
    words = " and ".join(f"{name} {bound:g}" for name, bound in bounds.items() if bound is not None)
    low, high = -math.inf if least is None else least, math.inf if most is None else most

    def read(value: Any) -> int | float:
        got = _number(value)
        inside = low <= got <= high and (above is None or got > above) and (below is None or got < below)
        if not inside or (finite and math.isinf(got)):  # nan is inside nothing
            raise ValueError
        return got

    return Kind(f"a {'finite ' if finite and not words else ''}number{f' {words}' if words else ''}", read, null)


def whole(least: int = 0, most: int = MOST, null: bool = False) -> Kind:
    """Return the kind of whole numbers in a range; 1.0e+5 is one."""

    def read(value: Any) -> int:
        got = _number(value)
        exact = int(got)
        if exact != got or not least <= exact <= most:
            raise ValueError
        return exact

    bounds = f"of at least {least}" if most == MOST else f"from {least} to {most}"
    return Kind(f"a whole number {bounds}", read, null)


WIDTH = whole(1, LARGEST_WIDTH)
SWITCH = Kind("true or false", _switch)
TEXT = Kind("a text", _of_type(str))
ANYTHING = Kind("anything", lambda value: value)


def several(each: Kind, least: int = 0, exactly: int | None = None, null: bool = False) -> Kind:
    """Return the kind of lists of values of one kind."""

    def read(value: Any) -> list[Any]:
        found = [each.read(item) for item in _of_type(list, tuple)(value)]
        if len(found) < least or (exactly is not None and len(found) != exactly):
            raise ValueError
        return found

    length = f" of {exactly}" if exactly is not None else f" of {least} or more" if least else ""
    return Kind(f"a list{length}, each {each.words}", read, null)


def by_default(default: Any) -> Check:
    """Return the kind of value that a parameter takes, judged by its default."""
    positive = number(least=0)
    kinds = {bool: SWITCH, int: positive, float: positive, tuple: several(positive), str: TEXT}
    return kinds.get(type(default), ANYTHING)


def one_or_several(each: Kind, null: bool = False) -> Kind:
    """Return the kind of single values, and of lists of them."""
    lists = several(each)
    return Kind(
        f"{each.words}, or a list", lambda value: (lists if isinstance(value, list) else each).read(value), null
    )


@dataclass(frozen=True)
class OneOf:
    """Names of something."""

    what: str
    names: Iterable[str]
    null: bool = False

    @property
    def words(self) -> str:
        """What the value must be."""
        return f"the name of a {self.what}"

    def __call__(self, key: str, value: Any, problems: list[Problem]) -> Any:
        """See `Check`."""
        if not (value is None and self.null) and value not in tuple(self.names):
            problems.append(Problem(key, f"{key}: {unknown(self.what, value, self.names)}"))
        return value


@dataclass(frozen=True)
class Items:
    """A list, each item of which is looked at."""

    each: Check

    def __call__(self, key: str, value: Any, problems: list[Problem]) -> Any:
        """See `Check`."""
        if not isinstance(value, list):
            problems.append(Problem(key, f"{key} must be a list; got {shown(value)}"))
            return value
        return [self.each(f"{key}[{i}]", item, problems) for i, item in enumerate(value)]


@dataclass(frozen=True)
class Section:
    """A mapping with known keys.

    Attributes:
        needed: keys that must be there, and what stands at them.
        more: keys that may be there.
        others: whether keys that are not known here are somebody else's, and may be there.
        null: whether the section may be left empty.
    """

    needed: Mapping[str, Check] = field(default_factory=dict)
    more: Mapping[str, Check] = field(default_factory=dict)
    others: bool = False
    null: bool = False

    def __call__(self, key: str, value: Any, problems: list[Problem]) -> Any:
        """See `Check`; values are put in place. The key of a whole config is empty."""
        if value is None and self.null:
            return None
        what, dot = (key, f"{key}.") if key else ("it", "")
        if not isinstance(value, dict):
            problems.append(Problem(key, f"{what} must be a mapping of keys to values; got {shown(value)}"))
            return value
        known = {**self.needed, **self.more}
        for name, check in self.needed.items():
            if name not in value:
                words = getattr(check, "words", None)
                must = f", which must be {words}" if words else ""
                problems.append(Problem(f"{dot}{name}", f"{what} has no {name}{must}"))
        for name in list(value):
            if name in known:
                value[name] = known[name](f"{dot}{name}", value[name], problems)
            elif not self.others:
                told = f"{what}: {unknown('key', name, known)}; got {name}: {shown(value[name])}"
                problems.append(Problem(f"{dot}{name}", told))
        return value
