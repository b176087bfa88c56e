"""How much of a surprising score is the network's own, and how much of it is luck."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

USUAL = 0.16  # deviation, in spreads, at which luck and the networks' own are as likely
STEEPNESS = 2.0  # power of the variance by which the odds turn


def own_share(unexplained: float, spread: float) -> float:
    """Share of the unexplained variance that is the networks' own; the rest is noise.

    One score per network cannot tell the two apart, but how large they usually are differs:
    another training of the same network moves its score by a tenth to a quarter of the spread,
    while the mean of several trainings, or what is special to one network and shared by none that
    is like it, varies less. So the odds of real to luck fall with the variance. Where that is
    wrong it costs little if luck was taken for real, since only small luck is; more if networks
    are very individual. The two constants had the least regret on synthetic tables with and
    without noise, such as ``benchmarks/synthetic_tables.py`` writes.

    Args:
        unexplained: Variance of scores that no kernel explains, above 0.
        spread: Of the better half of the space, a deviation in the same unit; at least 0.

    Returns:
        A number in [0, 1]; 1/2 where the unexplained deviation is ``USUAL`` spreads.
    """
    real: float = (USUAL * spread) ** (2.0 * STEEPNESS)
    luck: float = unexplained**STEEPNESS
    return real / (real + luck)


def spread_above(values: Array) -> float:
    """Root of the mean squared distance to the median, of the values that are not below it."""
    distance = values - np.median(values)
    return float(np.sqrt(np.mean(np.square(distance[distance >= 0.0]))))
