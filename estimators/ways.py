"""Ways to compute one training: in what precision, with feature maps laid out how.

Which is the fastest depends on device and network: on one core of a CPU with bfloat16 that is
faster than float32 for dense layers, and hardly for small depthwise ones. So it is measured.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import final

PRECISIONS = FLOAT32, BFLOAT16 = ("float32", "bfloat16")
LAYOUTS = CHANNELS_LAST, CONTIGUOUS = ("channels_last", "contiguous")
AUTO = "auto"

ROUNDS = 5  # of measurements in turn, after one that warms up
# On a CPU without instructions for bfloat16 (AVX2) a step in it took 3.5 to 13 times as long as one
# in float32, so its rounds would take longer than all others. A first step, in which kernels are
# made as well, took up to 1.6 times as long as the next one there; on a GPU it may take far longer.
HOPELESS = 3.0
# A training over fewer pixels than this is too short for timing to pay, and calls take more time
# in it than what they compute: on digits of 8x8 pixels, 3 of 20 timings chose another way.
TIMED_PIXELS = 10_000_000
MARGIN = 1.2  # by how much faster in every round; digits of 8x8 pixels vary by less


@final
@dataclass(frozen=True, slots=True)
class Way:
    """How a training is computed.

    Attributes:
        precision: What convolutions and linear layers compute in.
        layout: How feature maps lie in memory.
    """

    precision: str = FLOAT32
    layout: str = CHANNELS_LAST

    def __post_init__(self) -> None:
        for name, value, known in (
            ("precision", self.precision, PRECISIONS),
            ("layout", self.layout, LAYOUTS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {value!r}")

    def __str__(self) -> str:
        return f"{self.precision} {self.layout}"

    @classmethod
    def of(cls, text: str) -> "Way":
        """The way that ``str`` writes so.

        Raises:
            ValueError: If it is none.
        """
        precision, _, layout = text.partition(" ")
        return cls(precision, layout)


def candidates(precision: str, layout: str) -> tuple[Way, ...]:
    """The ways that two options leave open, the one first that is taken untimed.

    Args:
        precision: One of ``PRECISIONS``, or ``auto`` for any.
        layout: One of ``LAYOUTS``, or ``auto``.

    Raises:
        ValueError: If either is something else.
    """
    return tuple(
        Way(*each)
        for each in product(
            PRECISIONS if precision == AUTO else (precision,),
            LAYOUTS if layout == AUTO else (layout,),
        )
    )


def fastest(
    ways: Sequence[Way], seconds: Mapping[Way, Callable[[int], float]], *, steps: int
) -> Way:
    """The way that takes the least time, or the first one unless another is clearly faster.

    It must be faster by ``MARGIN`` in each of ``ROUNDS`` rounds, in which all ways are timed in
    turn: what is chosen decides about scores, so it must not be a matter of chance. One that takes
    ``HOPELESS`` times as long as the first in two single steps is not timed further.

    Args:
        ways: To choose from.
        seconds: Takes so many steps in each way, and returns how long that took.
        steps: Of one measurement.
    """
    first, *others = ways
    most = HOPELESS * seconds[first](1)
    clear = [way for way in others if not all(seconds[way](1) >= most for _ in range(2))]
    sums = dict.fromkeys(clear, 0.0)
    for number in range(1 + ROUNDS):
        if not clear:
            return first
        one = {way: seconds[way](steps) for way in (first, *clear)}
        if number > 0:  # all have warmed up
            clear = [way for way in clear if one[first] > MARGIN * one[way]]
            sums = {way: sums[way] + one[way] for way in clear}
    return min(clear, key=lambda way: sums[way], default=first)
