"""Axes of charts."""

import pytest

from nas.drawing.axes import FEW_TICKS, Axis, linear_ticks, log_ticks


def test_the_ends_of_an_axis_are_its_coordinates_and_what_lies_outside_is_on_them() -> None:
    for logarithmic in (True, False):
        axis = Axis(1.0, 100.0, 300.0, 0.0, logarithmic)
        assert [axis.at(value) for value in (0.5, 1.0, 100.0, 500.0)] == [300.0, 300.0, 0.0, 0.0]


def test_the_middle_is_that_of_factors_or_of_differences() -> None:
    assert Axis(1.0, 100.0, 0.0, 10.0).at(10.0) == pytest.approx(5.0)
    assert Axis(1.0, 101.0, 0.0, 10.0, logarithmic=False).at(51.0) == pytest.approx(5.0)


@pytest.mark.parametrize(("low", "high"), [(0.85, 0.97), (0.0, 1.0), (-3.0, 12.0), (1e-6, 2e-6)])
def test_even_marks_are_few_and_inside(low: float, high: float) -> None:
    ticks = linear_ticks(low, high)
    assert 4 <= len(ticks) <= 10
    slack = 1e-6 * (high - low)
    assert low - slack <= ticks[0] < ticks[-1] <= high + slack


def test_marks_in_factors() -> None:
    assert log_ticks(1.5, 60) == [2, 5, 10, 20, 50]
    assert log_ticks(1, 1e5) == [1, 10, 100, 1_000, 10_000, 100_000]


def test_a_short_axis_in_factors_has_even_marks() -> None:
    assert len(log_ticks(26, 45)) < FEW_TICKS <= len(Axis(26, 45, 0, 1).ticks())
