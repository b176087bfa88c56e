"""What a front of several objectives is measured by."""

from collections.abc import Callable, Sequence

import numpy as np

from nas.limits import Objective
from strategies.pareto import hypervolume


def covered(objectives: Sequence[Objective], members: Sequence[Callable[[str], float]]) -> float:
    """Hypervolume of a front, as a share of the box between the worst and the ideal values.

    Args:
        objectives: With their scales.
        members: For each member, what returns its value by an objective's name.

    Returns:
        In [0, 1] where no value is beyond the ideal; what is worse than the worst adds nothing.
    """
    points = [[one.share(member(one.metric)) for one in objectives] for member in members]
    shape = (len(points), len(objectives))
    return hypervolume(np.array(points).reshape(shape), np.zeros(len(objectives)))
