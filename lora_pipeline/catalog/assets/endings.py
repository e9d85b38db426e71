"""Assets named by the end of an id: ULIDs made at one time share their beginning. Pure."""

from __future__ import annotations

from collections.abc import Collection

from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.foundation.ids import did_you_mean

_SHORTEST_ENDING = 6


def full_id(given: str, known: Collection[str], where: str) -> str:
    """Return the id that is meant: itself, or the only one that ends so.

    Args:
        given: An id, or the end of one.
        known: The ids that there are; looked up often, so a set or a dict.
        where: Whose assets these are, for messages.

    Raises:
        RecordNotFoundError: When there is no such asset, or an ending fits several.
    """
    if given in known:
        return given
    long_enough = len(given) >= _SHORTEST_ENDING
    fitting = sorted(one for one in known if long_enough and one.endswith(given.upper()))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RecordNotFoundError(
            f"{given} may be any of {len(fitting)} assets: {', '.join(fitting[:4])}",
            hint="give more of the id",
        )
    near = did_you_mean(given, known)
    raise RecordNotFoundError(
        f"no asset {given!r} in {where}",
        hint=f"did you mean {near}?" if near else "lora asset list shows ids and titles",
    )
