"""Ranks, crowding and hypervolume: by hand, by definition and by chance."""

import itertools

import numpy as np
import pytest

from strategies.pareto import crowding, hypervolume, ranks, spread

# Two fronts: (1, 5), (3, 4), (5, 1) and below them (1, 4), (2, 3), (4, 1).
POINTS = np.array([[1, 5], [2, 3], [5, 1], [3, 4], [4, 1], [1, 4]], dtype=np.float64)
RANKS = [0, 1, 0, 0, 1, 1]


def test_fronts_are_peeled_off_one_by_one() -> None:
    assert ranks(POINTS).tolist() == RANKS
    assert ranks(np.empty((0, 2))).tolist() == []


def test_equal_points_are_on_one_front() -> None:
    assert ranks(np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 2.0]])).tolist() == [0, 0, 1]


def test_one_objective_ranks_by_value() -> None:
    assert ranks(np.array([[3.0], [1.0], [2.0], [3.0]])).tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_rank_is_the_longest_chain_of_those_that_dominate(objectives: int) -> None:
    points = np.random.default_rng(objectives).integers(5, size=(40, objectives)).astype(float)
    found = ranks(points)
    for at, point in enumerate(points):
        above = [
            found[other]
            for other, theirs in enumerate(points)
            if (theirs >= point).all() and (theirs > point).any()
        ]
        assert found[at] == max(above, default=-1) + 1


def test_crowding_is_the_gap_between_neighbours_of_a_front() -> None:
    # On the first front (3, 4) lies between (1, 5) and (5, 1): all of both extents, 1 + 1. On the
    # second, (2, 3) lies between (1, 4) and (4, 1): likewise.
    found = crowding(POINTS, np.array(RANKS))
    assert found.tolist() == [np.inf, 2.0, np.inf, 2.0, np.inf, np.inf]
    line = np.array([[0.0, 10.0], [1.0, 9.0], [4.0, 6.0], [10.0, 0.0]])
    assert crowding(line, np.zeros(4, dtype=np.int64)) == pytest.approx([np.inf, 0.8, 1.8, np.inf])


def test_a_front_without_extent_has_no_gaps() -> None:
    found = crowding(np.ones((3, 2)), np.zeros(3, dtype=np.int64))
    assert sorted(found.tolist()) == [0.0, np.inf, np.inf]


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([], 0.0),
        ([[2, 3]], 6.0),
        ([[2, 3], [2, 3]], 6.0),
        ([[1, 5], [3, 4], [5, 1]], 5 + 2 * 4 + 2 * 1),
        ([[1, 5], [3, 4], [5, 1], [2, 3], [-1, 9], [9, 0]], 15.0),  # the last three add nothing
        ([[2, 3, 4]], 24.0),
        ([[1, 2, 3], [3, 1, 2], [2, 3, 1]], 3 * 6 - 3 * 2 + 1),  # pairs share 2, all three 1
    ],
)
def test_hypervolumes_by_hand(points: list[list[float]], volume: float) -> None:
    rewards = np.array(points, dtype=np.float64).reshape(
        len(points), len(points[0]) if points else 2
    )
    assert hypervolume(rewards, np.zeros(rewards.shape[1])) == volume


def test_a_spread_begins_with_the_ends_and_keeps_far_points_apart() -> None:
    across = np.array([0.0, 1.0, 2.0, 50.0, 51.0, 100.0])
    points = np.stack([across, -across], axis=1)
    order = spread(points)
    assert sorted(order) == list(range(6))
    assert set(order[:2]) == {0, 5}
    assert order[2] in {3, 4}
    assert set(order[:4]) & {1, 2}


def test_a_spread_of_few_points_is_all_of_them() -> None:
    assert spread(np.empty((0, 2))) == []
    assert spread(np.zeros((1, 2))) == [0]
    assert sorted(spread(np.zeros((4, 2)))) == [0, 1, 2, 3]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_hypervolume_is_that_of_the_cells_that_are_covered(objectives: int) -> None:
    points = np.random.default_rng(objectives).integers(-2, 5, size=(12, objectives))
    cells = sum(
        bool((points > cell).all(axis=1).any())
        for cell in itertools.product(range(-1, 5), repeat=objectives)
    )
    assert hypervolume(points.astype(float), np.full(objectives, -1.0)) == cells
