"""Warped scores: order kept, the top to scale, the tail short."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.warping import FLOOR, straight, warped


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40))
def test_order_and_ties_are_kept(rewards: list[int]) -> None:
    told = np.array(rewards, dtype=float)
    scores = warped(told)
    less = told[:, None] < told
    assert (scores[:, None] < scores)[less].all()
    assert (scores[:, None] == scores)[told[:, None] == told].all()


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_units_do_not_matter(unit: float) -> None:
    rewards = np.random.default_rng(0).normal(size=20)
    assert warped(unit * rewards + unit) == pytest.approx(warped(rewards), abs=1e-5)


def test_scores_are_standard_and_equal_rewards_are_zero() -> None:
    scores = warped(np.random.default_rng(1).normal(size=50))
    assert scores.mean() == pytest.approx(0.0, abs=1e-12)
    assert scores.std() == pytest.approx(1.0)
    assert (warped(np.full(5, 0.1 + 0.2)) == 0).all()
    assert (warped(np.array([3.0])) == 0).all()


def test_how_bad_the_worst_is_does_not_matter_and_how_good_the_best_does() -> None:
    rewards = np.array([0.1, 0.7, 0.8, 0.85, 0.9, 0.91])
    worse, better = rewards.copy(), rewards.copy()
    worse[0] = -100.0
    better[-1] = 1.0
    assert warped(worse) == pytest.approx(warped(rewards))
    assert warped(better)[-1] > warped(rewards)[-1]


def test_straight_rewards_differ_as_they_do_and_above_the_median_as_warped_ones() -> None:
    rewards = np.array([3.0, -5.0, 4.0, 2.0, 7.0, 1.0])
    flat, scores = straight(rewards), warped(rewards)
    assert flat[4] - flat[2] == pytest.approx(scores[4] - scores[2])
    assert np.diff(flat) == pytest.approx((flat[4] - flat[2]) / 3.0 * np.diff(rewards))
    assert flat.mean() == pytest.approx(0.0, abs=1e-12)


def test_where_the_better_half_is_equal_straight_rewards_are_zero() -> None:
    assert not straight(np.array([1.0, 5.0, 5.0, 5.0])).any()


def test_a_network_that_did_not_learn_moves_the_straight_scale_by_little() -> None:
    rewards = np.append(np.linspace(90.0, 94.0, 20), 0.0)
    worse = straight(np.append(rewards[:-1], -1e6))
    assert worse == pytest.approx(straight(rewards))
    assert np.median(worse) - worse[-1] == pytest.approx(FLOOR)
