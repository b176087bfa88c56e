"""What holds for all tests."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import settings
from torch import nn

# How long an example takes says nothing on a machine that others use, too.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray run one after the other, in one process: Ray fills a machine."""
    for item in items:
        if item.get_closest_marker("ray") is not None:
            item.add_marker(pytest.mark.xdist_group("ray"))


def livened(model: nn.Module, seed: int = 0) -> nn.Module:
    """``model`` in evaluation mode, its batch norms no longer the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            assert module.running_mean is not None
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 1.5, generator=generator)
            for values in (module.bias.data, module.running_mean):
                values.normal_(0.0, 0.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def liven() -> Callable[[nn.Module], nn.Module]:
    """See ``livened``."""
    return livened
