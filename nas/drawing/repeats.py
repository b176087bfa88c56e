"""Where something is done again and again: units of calls, each reading the one before it."""

from collections.abc import Sequence

from search_spaces.schedule import Call

LEAST_REPEATS = 5  # units of one pattern, from which on those between the first and last are one
LONGEST_UNIT = 4  # calls in such a unit


def repeats(calls: Sequence[Call], patterns: Sequence[object]) -> dict[int, tuple[int, int]]:
    """Where a pattern is repeated: position of the second unit, its length, how many but the last.

    The first and the last unit are left out, so that they are drawn.
    """
    places = {call.output: at for at, call in enumerate(calls)}
    reads = [frozenset(places.get(read, -1 - read) for read in call.inputs) for call in calls]
    found: dict[int, tuple[int, int]] = {}
    at = 0
    while at < len(calls):
        units = {
            unit: _count(patterns, reads, at, unit)
            for unit in range(1, min(LONGEST_UNIT, len(calls) - at) + 1)
        }
        unit = max(units, key=lambda one: (units[one] * one, -one))
        if units[unit] >= LEAST_REPEATS:
            found[at + unit] = unit, units[unit] - 2
            at += unit * units[unit]
        else:
            at += 1
    return found


def _count(
    patterns: Sequence[object], reads: Sequence[frozenset[int]], start: int, unit: int
) -> int:
    """How many units of that length follow each other, each reading the one before it."""
    count = 1
    while start + (count + 1) * unit <= len(patterns):
        first = start + count * unit
        later = range(first, first + unit)
        before = range(first - unit, first)
        reaches = any(read in before for at in later for read in reads[at])
        alike = all(
            patterns[at] == patterns[at - unit] and _follows(reads[at], reads[at - unit], before)
            for at in later
        )
        if not (reaches and alike):
            break
        count += 1
    return count


def _follows(later: frozenset[int], earlier: frozenset[int], before: range) -> bool:
    """Whether a call reads what its twin in the unit before reads, that moved on, or both.

    Where the twin reads from outside, it may read the unit before instead.
    """
    unit = len(before)
    opened = any(read < 0 for read in earlier)
    return all(
        read in earlier or read - unit in earlier or (opened and read in before) for read in later
    ) and all(read in later or read + unit in later or read < 0 for read in earlier)
