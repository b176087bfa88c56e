"""NASWOT and the Jacobian's correlations, against determinants and correlations by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from estimators.proxies.separation import JACOBIAN_EPSILON, jacob_cov, naswot


def images(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), -1, 1, 1)


def test_naswot_is_the_log_determinant_of_agreements() -> None:
    # Codes 110, 011 and 111 agree in 1, 2 and 2 of 3 units; 1 is added to the diagonal.
    batch = images((1, 2, -1), (-3, 1, 1), (2, 2, 2))
    kernel = np.array([[4, 1, 2], [1, 4, 2], [2, 2, 4]])
    assert naswot(nn.ReLU(), batch) == pytest.approx(math.log(np.linalg.det(kernel)))


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.SiLU(), nn.Hardswish()])
def test_a_unit_is_on_where_its_input_is_above_zero(activation: nn.Module) -> None:
    batch = images((9, 0.1, -0.1), (-9, 0.1, 0.1))
    assert naswot(activation, batch) == pytest.approx(math.log(4 * 4 - 1))


def test_gates_are_no_units_and_all_layers_count() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.ReLU())  # after the gate all are on
    assert naswot(model, images((1, -1), (-1, 1))) == pytest.approx(math.log(5 * 5 - 2 * 2))


def test_images_with_the_same_code_have_a_finite_score() -> None:
    assert naswot(nn.ReLU(), images((1, 2), (1, 2))) == pytest.approx(math.log(3 * 3 - 2 * 2))


def test_a_linear_network_has_the_worst_jacobian() -> None:
    # All rows are equal: one eigenvalue is the number of images, the others are 0.
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    k = JACOBIAN_EPSILON
    worst = math.log(3 + k) + 1 / (3 + k) + 2 * (math.log(k) + 1 / k)
    assert jacob_cov(model, torch.randn(3, 4, 1, 1)) == pytest.approx(-worst, rel=1e-4)


def test_the_jacobian_score_is_that_of_the_correlations_of_its_rows() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.SiLU(), nn.Flatten(), nn.Linear(20, 3)).double()
    batch = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    rows = []
    for image in batch:
        jacobian = torch.autograd.functional.jacobian(lambda x: model(x[None]).sum(), image)
        rows.append(jacobian.flatten().numpy())
    values = np.linalg.eigvalsh(np.corrcoef(np.stack(rows))) + JACOBIAN_EPSILON
    assert jacob_cov(model, batch) == pytest.approx(-(np.log(values) + 1 / values).sum())


def test_an_image_without_a_gradient_has_a_finite_score() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(2, 1))
    assert math.isfinite(jacob_cov(model, images((-1, -1), (1, -1), (-1, 1))))
