"""Dropout with a generator of its own: the same values as torch's in law, and by its seed."""

import copy

import torch
from torch import Tensor, nn

from estimators.seeded_dropout import SeededDropout, seed_dropout

CPU = torch.device("cpu")


def dropped(seed: int, *, p: float = 0.3) -> Tensor:
    model = nn.Sequential(SeededDropout(p), nn.Identity(), SeededDropout(p))
    seed_dropout(model, seed, CPU)
    y: Tensor = model(torch.ones(200, 100))
    return y


def test_values_are_zero_as_often_as_they_should_be_and_others_grow() -> None:
    """20,000 draws: the share is within 5 standard errors; false alarms below 1 in a million."""
    layer = SeededDropout(0.3)
    seed_dropout(layer, 0, CPU)
    y = layer(torch.ones(200, 100))
    zeros = (y == 0).float().mean().item()
    assert abs(zeros - 0.3) < 5 * (0.3 * 0.7 / 20_000) ** 0.5
    assert torch.allclose(y[y != 0], torch.tensor(1 / 0.7))


def test_its_seed_decides_and_layers_differ() -> None:
    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2))
    assert 0.45 < (dropped(1) == 0).float().mean() < 0.57  # both alike would leave 0.3


def test_torchs_own_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    dropped(1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_outside_training_and_at_rate_0_nothing_is_dropped() -> None:
    x = torch.randn(5, 5)
    assert torch.equal(SeededDropout(0.5).eval()(x), x)
    assert torch.equal(SeededDropout(0.0)(x), x)


def test_gradients_are_dropped_with_their_values() -> None:
    layer = SeededDropout(0.5)
    seed_dropout(layer, 3, CPU)
    x = torch.ones(50, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_half_precision_stays_so() -> None:
    layer = SeededDropout(0.5)
    seed_dropout(layer, 3, CPU)
    assert layer(torch.ones(8, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_copy_waits_for_a_seed_of_its_own() -> None:
    layer = SeededDropout(0.5)
    seed_dropout(layer, 3, CPU)
    twin = copy.deepcopy(layer)
    assert (twin.generator, twin.p) == (None, 0.5)
    assert layer.generator is not None
