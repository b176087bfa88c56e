"""What a winner must be: the objective and the limits on cost."""

import math
import re
from dataclasses import dataclass
from typing import Literal

_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


# What a network costs, which can be an objective beside a metric of the task.
COSTS = ("params", "macs", "latency_ms")


@dataclass(frozen=True, slots=True)
class Objective:
    """Something that is searched for.

    Attributes:
        metric: A metric of the task, or one of ``COSTS``.
        direction: Which values are better.
        scale: The values that count as 0 and as 1 in a hypervolume: the worst and the ideal.
    """

    metric: str
    direction: Literal["maximize", "minimize"]
    scale: tuple[float, float] = (0.0, 1.0)

    def reward(self, value: float) -> float:
        """``value`` turned so that larger is better."""
        return value if self.direction == "maximize" else -value

    def share(self, value: float) -> float:
        """``value`` on the objective's scale: larger is better, 1 is ideal."""
        worst, ideal = self.scale
        return (value - worst) / (ideal - worst)


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that a network may cost; None is no limit.

    Attributes:
        max_params: Parameters.
        max_macs: Multiply-accumulates for one image.
        max_latency_ms: Median milliseconds for one image on the run's device.
    """

    max_params: int | None = None
    max_macs: int | None = None
    max_latency_ms: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_params", "max_macs", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value}")

    def excess(self, params: int, macs: int) -> float:
        """By what factor the worse of both limits is exceeded; at most 1 within them."""
        return max(
            0.0 if self.max_params is None else params / self.max_params,
            0.0 if self.max_macs is None else macs / self.max_macs,
        )


def parse_quantity(text: str) -> int:
    """A whole number with an optional suffix: ``300k``, ``5M``, ``1.5G``, ``250000``.

    Raises:
        ValueError: If the text has another form or stands for less than 1.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([kKmMgGbB]?)", text.strip())
    if match is None:
        raise ValueError(f"must be a number such as 250000, 300k or 5M, got {text[:40]!r}")
    quantity = round(float(match[1]) * _SUFFIXES[match[2].lower()])
    if quantity < 1:
        raise ValueError(f"must be at least 1, got {text[:40]!r}")
    return quantity


def format_value(name: str, value: float) -> str:
    """The value of an objective with its name: ``accuracy 0.9815``, ``39.1k params``."""
    if name == "latency_ms":
        return f"{value:.3g} ms"
    if name in COSTS:
        return f"{format_quantity(value)} {'MACs' if name == 'macs' else name}"
    return f"{name} {value:.4f}"


def format_quantity(value: float) -> str:
    """Three digits and a suffix: 385814752 as ``386M``."""
    for size, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size * 0.9995:
            shown = value / size
            return f"{shown:.3g}{suffix}" if shown < 999.5 else f"{shown:.0f}{suffix}"
    return f"{value:.3g}"
