"""Which answer opens which decision, read off the empty cells of a table."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.genome import Decision, Option

Codes = Mapping[str, NDArray[np.uint16]]


def decision_tree(options: Mapping[str, Sequence[str]], codes: Codes) -> tuple[Decision, ...]:
    """The decisions that are always open, with those that their options open.

    A decision with empty cells is opened by another one if it is answered exactly where that one
    has certain answers, and not where it has others. Of several such, one that is open most often
    is taken, and the first of those. The cells then agree with the tree in every row.

    Args:
        options: The answers to each decision, by name, in their order.
        codes: For each decision and row 0 where it is not answered, else 1 + position of the
            answer.

    Raises:
        ValueError: If a decision is opened by no single other one.
    """
    parents = {name: _parent(name, codes) for name in options if not codes[name].all()}
    opened: dict[tuple[str, int], list[str]] = {}
    for name, (parent, openers) in parents.items():
        for code in openers:
            opened.setdefault((parent, code), []).append(name)

    made: dict[str, Decision] = {}

    def make(name: str) -> Decision:  # a parent is open in more rows than its child: no cycles
        if name not in made:
            made[name] = Decision(
                name,
                tuple(
                    Option(value, tuple(make(child) for child in opened.get((name, code), [])))
                    for code, value in enumerate(options[name], start=1)
                ),
            )
        return made[name]

    return tuple(make(name) for name in options if name not in parents)


def _parent(name: str, codes: Codes) -> tuple[str, list[int]]:
    """Who opens a decision, and the codes by which it does."""
    answered = codes[name] > 0
    found: list[tuple[int, str, list[int]]] = []
    for other, theirs in codes.items():
        if other == name:
            continue
        size = int(theirs.max()) + 1
        with_answer = np.bincount(theirs[answered], minlength=size) > 0
        without = np.bincount(theirs[~answered], minlength=size) > 0
        if not (with_answer & without).any() and not with_answer[0] and without[1:].any():
            openers: list[int] = np.flatnonzero(with_answer).tolist()
            found.append((int(np.count_nonzero(theirs)), other, openers))
    if not found:
        raise ValueError(
            f"decision:{name} must be left empty by the answer to one other decision, got rows "
            "in which it is empty for no such reason"
        )
    _, parent, openers = max(found, key=lambda candidate: candidate[0])
    return parent, openers
