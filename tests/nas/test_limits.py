"""Objectives, limits, and numbers with suffixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.limits import Limits, Objective, format_quantity, parse_quantity


def test_rewards_are_larger_for_what_is_better() -> None:
    assert Objective("accuracy", "maximize").reward(0.25) == 0.25
    assert Objective("log_loss", "minimize").reward(0.25) == -0.25


@pytest.mark.parametrize(
    ("limits", "params", "macs", "excess"),
    [
        (Limits(), 10**12, 10**12, 0.0),
        (Limits(max_params=100), 100, 10**9, 1.0),
        (Limits(max_params=100), 150, 0, 1.5),
        (Limits(max_params=100, max_macs=1000), 150, 3000, 3.0),
        (Limits(max_macs=1000), 10**9, 500, 0.5),
    ],
)
def test_excess_is_that_of_the_worse_limit(
    limits: Limits, params: int, macs: int, excess: float
) -> None:
    assert limits.excess(params, macs) == excess


@pytest.mark.parametrize("name", ["max_params", "max_macs", "max_latency_ms"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_limits_nothing_or_all_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0 and finite, got"):
        Limits(**{name: value})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("250000", 250_000),
        ("300k", 300_000),
        ("300K", 300_000),
        ("5M", 5_000_000),
        ("1.5G", 1_500_000_000),
        ("2b", 2_000_000_000),
        (" 7m ", 7_000_000),
        ("0.5k", 500),
        ("1.0005k", 1000),
    ],
)
def test_a_quantity_is_read(text: str, value: int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "k", "-1", "+1", "1e6", "5 M", "5MM", "5T", "0", "0.4", "nan", "inf", "1.", ".5", "1_000"],
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (999_600, "1M"),
        (385_814_752, "386M"),
        (5_288_548, "5.29M"),
        (1.5e9, "1.5G"),
    ],
)
def test_a_quantity_is_shown_with_three_digits(value: float, text: str) -> None:
    assert format_quantity(value) == text


@given(st.integers(1, 10**12 - 1))
def test_what_is_shown_is_read_back_within_half_a_percent(value: int) -> None:
    assert abs(parse_quantity(format_quantity(value)) - value) <= 0.0051 * value
