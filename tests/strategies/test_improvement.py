"""Expected improvement, near and far, against numbers by other means."""

import numpy as np
import pytest
from scipy import integrate, stats

from strategies.improvement import log_chance_below, log_expected_improvement


@pytest.mark.parametrize("z", [-30.0, -5.0, -1.5, -1.0, -0.5, 0.0, 2.0, 40.0])
def test_it_is_the_logarithm_of_the_integral(z: float) -> None:
    # E max(z + x, 0) = density(z) * integral over u > 0 of u exp(u z - u^2 / 2), for normal x
    deviation = 0.3
    integral, _ = integrate.quad(lambda u: u * np.exp(-0.5 * (u - z) ** 2), 0, abs(z) + 40)
    scaled = integral / np.sqrt(2 * np.pi)
    if z < -5:
        tail, _ = integrate.quad(lambda u: u * np.exp(u * z - 0.5 * u**2), 0, 1, points=[0.1])
        expected = stats.norm.logpdf(z) + np.log(tail)
    else:
        expected = np.log(scaled)
    found = log_expected_improvement(np.array([1.0 + deviation * z]), np.array([0.09]), 1.0)
    assert found[0] == pytest.approx(expected + np.log(deviation), rel=1e-6)


def test_it_rises_with_mean_everywhere() -> None:
    mean = np.concatenate((-np.geomspace(1e8, 1e-3, 400), np.geomspace(1e-3, 1e3, 100)))
    values = log_expected_improvement(mean, np.ones_like(mean), 0.0)
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


def test_chances_are_those_of_independent_normals_and_one_without_limits() -> None:
    mean, deviation = np.array([[0.0, 1.0], [3.0, 0.0]]), np.array([1.0, 2.0])
    limit = np.array([1.0, 0.0])
    expected = np.log(stats.norm.cdf([[1.0, -0.5], [-2.0, 0.0]])).sum(axis=1)
    assert log_chance_below(mean, deviation, limit) == pytest.approx(expected)
    assert (log_chance_below(mean, deviation, np.full(2, np.inf)) == 0.0).all()
