"""Who is who: the same person under several spellings, and accounts that are no person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# Accounts that act on somebody's behalf. GitHub's private addresses
# (1234+kim@users.noreply.github.com) are people and are not meant.
_NO_PERSON = frozenset(
    {"noreply", "no-reply", "donotreply", "do-not-reply", "bot", "github-actions", "actions"}
)


def person_of(identity: str) -> str:
    """Return the form in which two spellings of one address are equal.

    Case and a ``+suffix`` before the ``@`` do not make another person of somebody. GitHub's
    private addresses carry the person after the plus, so they keep it.
    """
    plain = identity.strip().casefold()
    if plain.endswith(">") and "<" in plain:  # "Kim <kim@studio>"
        plain = plain[plain.rindex("<") + 1 : -1].strip()
    name, at, host = plain.partition("@")
    if at and "+" in name and "noreply" not in host:
        name = name.partition("+")[0]
    return f"{name}{at}{host}"


def joined_people(
    identities: Iterable[str], mapped: Mapping[str, str], joined: Sequence[frozenset[str]]
) -> dict[str, str]:
    """Return for every address that is not the only one of its person another that stands for it.

    Args:
        identities: The addresses.
        mapped: What the present mailmap makes of some of them.
        joined: Addresses that were called one person, at any time.
    """
    groups: list[set[str]] = []
    pairs = [{person_of(old), person_of(new)} for old, new in mapped.items()]
    for one in [*pairs, *({person_of(address) for address in group} for group in joined)]:
        touching = [group for group in groups if group & one]
        groups = [group for group in groups if group not in touching]
        groups.append(one.union(*touching))
    called = {person_of(new) for new in mapped.values()}
    found: dict[str, str] = {}
    for identity in identities:
        plain = person_of(identity)
        group = next((group for group in groups if plain in group), {plain})
        if len(group) > 1:
            found[identity] = min(group & called or group)
    return found


def is_no_person(identity: str) -> bool:
    """Return whether an identity is that of a bot or of nobody."""
    plain = person_of(identity)
    name = plain.partition("@")[0]
    return not name or "[bot]" in plain or name in _NO_PERSON or name.endswith(("-bot", "_bot"))
