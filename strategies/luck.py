"""How much of a surprising score is the network's own, and how much of it is luck."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

USUAL = 0.07  # deviation, in spreads, at which luck and the networks' own are as likely


def own_share(unexplained: float, spread: float) -> float:
    """Share of the unexplained variance that is the networks' own; the rest is noise.

    One score per network cannot tell the two apart, but how large they usually are differs: what
    is special to one network and shared by none that is like it is small beside the spread of the
    space, while another training of the same network moves its score by a tenth of it or more.
    So the odds of real to luck fall with the variance. Where that is wrong it costs little: small
    luck taken for real is small.

    Args:
        unexplained: Variance of scores that no kernel explains, above 0.
        spread: Of the better half of the space, a deviation in the same unit; at least 0.

    Returns:
        A number in [0, 1]; 1/2 where the unexplained deviation is ``USUAL`` spreads.
    """
    usual = (USUAL * spread) ** 2
    return usual / (usual + unexplained)


def spread_above(values: Array) -> float:
    """Root of the mean squared distance to the median, of the values that are not below it."""
    distance = values - np.median(values)
    return float(np.sqrt(np.mean(np.square(distance[distance >= 0.0]))))
