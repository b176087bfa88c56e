"""What is best where there are several rewards: ranks, crowding and hypervolume."""

import numpy as np
from numpy.typing import NDArray

Rewards = NDArray[np.float64]


def ranks(rewards: Rewards) -> NDArray[np.int64]:
    """0 for what nothing dominates, 1 for what only that dominates, and so on.

    A point dominates another if it is nowhere smaller and somewhere larger.

    Args:
        rewards: Shape (points, objectives), larger is better.

    Returns:
        Shape (points,).

    Source: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II (IEEE
    Transactions on Evolutionary Computation 6, 2002), section III A, fronts peeled off one by one.
    """
    ranked = np.full(len(rewards), -1, dtype=np.int64)
    no_smaller = np.all(rewards[:, None] >= rewards[None], axis=2)
    dominates: NDArray[np.bool_] = no_smaller & ~no_smaller.T  # [one, other]
    left = np.ones(len(rewards), dtype=np.bool_)
    rank = 0
    while left.any():
        front = left & ~dominates[left].any(axis=0)
        ranked[front] = rank
        left &= ~front
        rank += 1
    return ranked


def crowding(rewards: Rewards, rank: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the neighbours of each point are apart on its front; infinite at the ends.

    Args:
        rewards: Shape (points, objectives).
        rank: Which front each is on, shape (points,).

    Returns:
        Shape (points,): for each objective the distance between the next smaller and the next
        larger point of the front, in units of the front's extent, added up.

    Source: Deb et al. 2002 (see ``ranks``), section III B.
    """
    distance = np.zeros(len(rewards))
    for front in range(int(rank.max(initial=-1)) + 1):
        members = np.flatnonzero(rank == front)
        for values in rewards[members].T:
            order = np.argsort(values, kind="stable")
            ordered = values[order]
            extent = ordered[-1] - ordered[0]
            distance[members[order[[0, -1]]]] = np.inf
            if extent > 0:
                distance[members[order[1:-1]]] += (ordered[2:] - ordered[:-2]) / extent
    return distance


def spread(rewards: Rewards) -> list[int]:
    """The points of one front, those first that cover most of it.

    The most crowded point is taken away, of equals the last, again and again: the order is the
    reverse. So the first ``n`` are ends of the front and points far from each other.

    Args:
        rewards: Shape (points, objectives).

    Returns:
        Every position once.
    """
    left, gone = list(range(len(rewards))), list[int]()
    while left:
        room = crowding(rewards[left], np.zeros(len(left), dtype=np.int64))
        gone.append(left.pop(max(range(len(left)), key=lambda at: (-room[at], at))))
    return gone[::-1]


def hypervolume(rewards: Rewards, reference: NDArray[np.float64]) -> float:
    """Volume of what is dominated by a point and dominates the reference.

    Args:
        rewards: Shape (points, objectives), larger is better; points that are not above the
            reference in every objective add nothing.
        reference: Shape (objectives,).

    Returns:
        Exact, by slicing along the last objective: quadratic for two and cubic for three.

    Source: Zitzler and Thiele, Multiobjective Evolutionary Algorithms (IEEE Transactions on
    Evolutionary Computation 3, 1999), the size of the space covered.
    """
    points = rewards[(rewards > reference).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max() - reference[0])
    points = points[np.argsort(-points[:, -1], kind="stable")]
    heights = points[:, -1] - np.append(points[1:, -1], reference[-1])
    slices = [hypervolume(points[: at + 1, :-1], reference[:-1]) for at in range(len(points))]
    return float(heights @ slices)
