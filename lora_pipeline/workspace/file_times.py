"""Whether the times of a file prove that it has not changed since it was looked at.

Git calls an entry racy that was changed so shortly before it was read that it may be changed
again without a trace in its times; such a file is read again until it is older than the clock
can tell.

This module imports nothing: ``answers`` stands before the first line of every call.
"""

# Linux stamps files with the time of its last tick, up to 10 ms ago; FAT counts in two seconds.
TICK_NS = 20_000_000
COARSE_NS = 2_100_000_000


def is_racy(changed_ns: int, seen_ns: int) -> bool:
    """Return whether a file changed so shortly before it was seen that times prove nothing.

    A time in the future, as clock steps leave it, is racy too.
    """
    grain = TICK_NS if changed_ns % 1_000_000_000 else COARSE_NS
    return changed_ns + grain > seen_ns
