"""How single classes are recognised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How one class is recognised.

    Attributes:
        support: Images of the class.
        recall: Share of these that are taken for it; 0 if there are none.
        precision: Share of what is taken for it that is of it; 0 if nothing is.
        f1: Harmonic mean of the two; 0 if both are.
    """

    support: int
    recall: float
    precision: float
    f1: float
