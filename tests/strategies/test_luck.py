"""How much of what no kernel explains is a network's own."""

import numpy as np
import pytest

from strategies.luck import USUAL, own_share, spread_above


def test_luck_and_own_are_as_likely_at_the_usual_size_in_any_unit() -> None:
    for spread in (1e-3, 1.0, 50.0):
        assert own_share((USUAL * spread) ** 2, spread) == pytest.approx(0.5)


def test_the_larger_the_more_is_luck() -> None:
    shares = [own_share(variance, 1.0) for variance in (1e-6, 1e-3, 1e-2, 0.1, 1.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99
    assert shares[-1] < 0.01


def test_where_scores_do_not_spread_everything_is_luck() -> None:
    assert own_share(0.1, 0.0) == 0.0


def test_the_spread_is_that_of_the_better_half() -> None:
    # Median 3; the better half is 3, 4 and 7: (0 + 1 + 16) / 3.
    values = np.array([4.0, -100.0, 3.0, 7.0, 2.0])
    assert spread_above(values) == pytest.approx(np.sqrt(17 / 3))
    assert spread_above(10.0 * values + 5.0) == pytest.approx(10.0 * np.sqrt(17 / 3))
    assert spread_above(np.ones(3)) == 0.0
