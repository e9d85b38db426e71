"""Merging two versions of a JSON document over their common ancestor, member by member. Pure.

Text is merged line by line, which knows nothing of what the lines mean. A document is merged by
what it is made of: objects by their members, lists of things by the id of each thing. A ``Shape``
says how. Where both sides changed the same thing in different ways there is a conflict; it is
named by its path, and one side's value stands in the result so that the rest can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Side = Literal["base", "ours", "theirs"]


class Missing:
    """Stands for a member that is not there."""

    def __repr__(self) -> str:
        """Return it as messages show it."""
        return "nothing"


MISSING = Missing()


class Clash(msgspec.Struct, frozen=True):
    """One thing that both sides changed in different ways.

    Attributes:
        where: Its path, such as ``captionRule.triggerWord`` or ``styles[neon].label``.
        base: What it was, or ``MISSING``.
        ours: What the present side made of it.
        theirs: What the other side made of it.
    """

    where: str
    base: Any
    ours: Any
    theirs: Any


@dataclass
class Merging:
    """A merge under way.

    Attributes:
        prefer: Whose value stands in the result where there is a clash.
        clashes: What could not be merged so far.
    """

    prefer: Side = "ours"
    clashes: list[Clash] = field(default_factory=list)

    def clash(self, where: str, base: Any, ours: Any, theirs: Any) -> Any:
        """Note a clash and return the preferred value."""
        self.clashes.append(Clash(where, base, ours, theirs))
        return {"base": base, "ours": ours, "theirs": theirs}[self.prefer]


# merging, path, base, ours, theirs -> the merged value, or MISSING
Shape = Callable[[Merging, str, Any, Any, Any], Any]


def merge_documents(
    shape: Shape, base: Any, ours: Any, theirs: Any, *, prefer: Side = "ours"
) -> tuple[Any, tuple[Clash, ...]]:
    """Return the merged document and what could not be merged.

    Args:
        shape: How it is merged.
        base: The common ancestor; ``MISSING`` when both sides made the document anew.
        ours: The present side.
        theirs: The other side.
        prefer: Whose value stands in the result where both sides clash.
    """
    merging = Merging(prefer)
    return shape(merging, "", base, ours, theirs), tuple(merging.clashes)


def whole(merging: Merging, where: str, base: Any, ours: Any, theirs: Any) -> Any:
    """Merge a value that has no parts: the side that changed it wins."""
    if _same(ours, theirs) or _same(theirs, base):
        return ours
    if _same(ours, base):
        return theirs
    return merging.clash(where, base, ours, theirs)


def earlier(_: Merging, __: str, base: Any, ours: Any, theirs: Any) -> Any:
    """Take the earlier of two times."""
    return min(_texts(base, ours, theirs), default=MISSING)


def later(_: Merging, __: str, ___: Any, ours: Any, theirs: Any) -> Any:
    """Take the later of two times."""
    return max(_texts(ours, theirs), default=MISSING)


def words(merging: Merging, where: str, base: Any, ours: Any, theirs: Any) -> Any:
    """Merge a list of words whose order says nothing: what either side added or removed."""
    if not all(isinstance(one, list) for one in (ours, theirs)):
        return whole(merging, where, base, ours, theirs)
    before = base if isinstance(base, list) else []
    gone = [word for word in before if word not in ours or word not in theirs]
    return [word for word in _woven(ours, theirs) if word not in gone]


def members(default: Shape = whole, **shapes: Shape) -> Shape:
    """Return the shape of an object: each member by its own shape, all others by ``default``."""

    def merge(merging: Merging, where: str, base: Any, ours: Any, theirs: Any) -> Any:
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            return whole(merging, where, base, ours, theirs)
        before = base if isinstance(base, dict) else {}
        merged: dict[str, Any] = {}
        for key in _woven(list(ours), list(theirs)):
            path = f"{where}.{key}" if where else key
            values = (one.get(key, MISSING) for one in (before, ours, theirs))
            value = shapes.get(key, default)(merging, path, *values)
            if value is not MISSING:
                merged[key] = value
        return merged

    return merge


def things(key: str, shape: Shape) -> Shape:
    """Return the shape of a list of objects that are told apart by the member ``key``.

    The order of our side stays; what the other side added stands behind what it stood behind
    there. Lists that are sorted on both sides stay sorted.
    """

    def merge(merging: Merging, where: str, base: Any, ours: Any, theirs: Any) -> Any:
        sides = [_by_key(one, key) for one in (base, ours, theirs)]
        if any(side is None for side in sides[1:]):
            return whole(merging, where, base, ours, theirs)
        before, mine, other = (side or {} for side in sides)
        order = _woven(list(mine), list(other))
        if all(list(side) == sorted(side) for side in (mine, other)):
            order = sorted(order)
        merged = []
        for name in order:
            values = (one.get(name, MISSING) for one in (before, mine, other))
            value = _thing(merging, f"{where}[{name}]", shape, *values)
            if value is not MISSING:
                merged.append(value)
        return merged

    return merge


def _thing(merging: Merging, where: str, shape: Shape, base: Any, ours: Any, theirs: Any) -> Any:
    # Removed on one side and unchanged on the other is gone; removed and changed is a clash.
    if MISSING in (ours, theirs):
        return whole(merging, where, base, ours, theirs)
    return shape(merging, where, base, ours, theirs)


def _by_key(listed: Any, key: str) -> dict[str, Any] | None:
    if listed is MISSING:
        return {}
    if not isinstance(listed, list):
        return None
    found = {str(one[key]): one for one in listed if isinstance(one, dict) and key in one}
    if len(found) != len(listed):
        return None
    return found


def _woven(ours: Sequence[Any], theirs: Sequence[Any]) -> list[Any]:
    """Return our order with what only they have behind what it stood behind there."""
    order = list(ours)
    previous: Any = MISSING
    for one in theirs:
        if one not in order:
            order.insert(order.index(previous) + 1 if previous in order else 0, one)
        previous = one
    return order


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    # Python takes 1 for True, a document does not; 1 and 1.0 are one number in both.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _texts(*values: Any) -> Iterable[str]:
    return [value for value in values if isinstance(value, str)]
