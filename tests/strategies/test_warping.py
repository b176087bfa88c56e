"""Warped scores: order kept, the top to scale, the tail short."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.warping import straightened, warped


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


def test_straightened_scores_differ_as_their_rewards_do() -> None:
    rewards = np.array([3.0, -50.0, 4.0, 2.0, 7.0, 1.0])
    scores = warped(rewards)
    straight = straightened(scores, rewards=rewards, scores=scores)
    unit = (scores[4] - scores[2]) / 3.0  # both are above the median
    assert np.diff(straight) == pytest.approx(unit * np.diff(rewards))
    between = straightened(scores[[0, 5]].mean(keepdims=True), rewards=rewards, scores=scores)
    assert straight[5] < between < straight[0]
    beyond = straightened(np.array([-9.0, 9.0]), rewards=rewards, scores=scores)
    assert beyond == pytest.approx([straight.min(), straight.max()])


def test_where_the_better_half_is_equal_nothing_is_apart() -> None:
    rewards = np.array([1.0, 5.0, 5.0, 5.0])
    assert not straightened(rewards, rewards=rewards, scores=warped(rewards)).any()
