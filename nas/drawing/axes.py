"""Axes of charts: where a value lies, and at which values there are marks."""

import math
from dataclasses import dataclass
from typing import final

FEW_TICKS = 3


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """An axis.

    Attributes:
        low: Value at its start; whatever is smaller lies there too.
        high: Value at its end; likewise.
        start: Coordinate of its start.
        end: Coordinate of its end.
        logarithmic: Whether equal lengths are equal factors; values are above 0 then.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = True

    def at(self, value: float) -> float:
        """The coordinate of a value."""
        inside = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Values for marks; even ones on a logarithmic axis too, where it is short."""
        found = log_ticks(self.low, self.high) if self.logarithmic else []
        return found if len(found) >= FEW_TICKS else linear_ticks(self.low, self.high)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten in [low, high]; their powers alone if they are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) < 5 else (1,)
    return [
        tick
        for power in powers
        for step in steps
        if low <= (tick := float(f"{step}e{power}")) <= high
    ]


def linear_ticks(low: float, high: float) -> list[float]:
    """Four to ten multiples of 1, 2 or 5 times a power of ten in [low, high]."""
    rough = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
