"""Who is who: the same person under several spellings, and accounts that are no person."""

from __future__ import annotations

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


def is_no_person(identity: str) -> bool:
    """Return whether an identity is that of a bot or of nobody."""
    plain = person_of(identity)
    name = plain.partition("@")[0]
    return not name or "[bot]" in plain or name in _NO_PERSON or name.endswith(("-bot", "_bot"))
