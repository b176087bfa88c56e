"""Scores of gradients, against gradients by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from estimators.proxies.gradients import grad_norm, log_synflow, snip, zico


def line(*weights: float) -> nn.Sequential:
    """One linear layer; the loss below makes its gradient the mean image."""
    layer = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weights], dtype=torch.float32))
    return nn.Sequential(nn.Flatten(), layer)


def mean(outputs: Tensor, _targets: Tensor) -> Tensor:
    return outputs.mean()


def batch(*rows: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), -1, 1, 1), torch.zeros(
        len(rows)
    )


def test_the_norm_is_that_of_the_gradient() -> None:
    assert grad_norm(line(1, -2), batch((3, 2), (3, 6)), mean) == pytest.approx(5)


def test_norms_of_layers_are_added_and_those_of_batch_norms_left_out() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), *line(2))
    model.eval()  # the norm hands on what it gets, but for its epsilon
    with torch.no_grad():
        model[0].weight.fill_(5)
    # The output is 2 * 5 * 3: gradients 2 * 3 and 5 * 3.
    assert grad_norm(model, batch((3,)), mean) == pytest.approx(6 + 15, rel=1e-4)


def test_snip_weighs_gradients_by_weights() -> None:
    assert snip(line(1, -2), batch((3, 4)), mean) == pytest.approx(3 + 8)


def test_zico_leaves_out_weights_whose_gradient_never_changes() -> None:
    # Gradients (1, 3) and (3, 3): mean 2 by deviation 1, and one without deviation.
    assert zico(line(1, 1), [batch((1, 3)), batch((3, 3))], mean) == pytest.approx(math.log(2))


def test_zico_adds_logarithms_of_layers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double()
    batches = [
        (torch.randn(4, 1, 3, 3, dtype=torch.float64), torch.arange(4) % 2) for _ in range(3)
    ]
    expected = 0.0
    for layer in (model[0], model[3]):
        slopes = []
        for images, targets in batches:
            model.zero_grad()
            nn.functional.cross_entropy(model(images), targets).backward()
            slopes.append(layer.weight.grad.numpy().copy())
        stacked = np.stack(slopes)
        deviation = stacked.std(axis=0)
        usable = deviation > 0
        expected += np.log((np.abs(stacked).mean(axis=0)[usable] / deviation[usable]).sum())
    assert zico(model, batches, nn.functional.cross_entropy) == pytest.approx(expected)


def test_zico_of_gradients_that_never_change_is_nothing() -> None:
    assert zico(line(1, 1), [batch((1, 3)), batch((1, 3))], mean) == 0


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Hardswish()])
def test_the_flow_is_that_of_absolute_weights_alone(activation: nn.Module) -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    model = nn.Sequential(conv, nn.BatchNorm2d(1), activation, *line(-3))
    with torch.no_grad():
        conv.weight.fill_(-20)
    # One image of a single 1: the flow is 20 * 3; its gradients are 3 and 20.
    expected = 20 * math.log(1 + 3) + 3 * math.log(1 + 20)
    assert log_synflow(model, (1, 1, 1)) == pytest.approx(expected)


def test_the_flow_of_a_deep_network_does_not_overflow() -> None:
    layers = [nn.Conv2d(1, 1, 1, bias=False) for _ in range(60)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.fill_(100)  # 1e120 in all, beyond float32
    found = log_synflow(nn.Sequential(*layers), (1, 1, 1))
    assert found == pytest.approx(60 * 100 * 59 * math.log(100))
