"""The mean of all pixels: torch's bits, and a gradient that keeps the layout of what it joins."""

import pytest
import torch
from torch import Tensor, nn

from estimators.pooling import GlobalPool, mean_of_pixels

LAYOUTS = (torch.channels_last, torch.contiguous_format)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("side", [1, 2, 7, 21])
def test_means_and_gradients_are_torchs_bit_for_bit(
    side: int, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, side, side).to(dtype).to(memory_format=layout)
    weights = torch.randn(3, 5, 1, 1).to(dtype)
    found = []
    for pool in (nn.AdaptiveAvgPool2d(1), GlobalPool()):
        leaf = x.clone().requires_grad_()
        y = pool(leaf)
        (y * weights).sum().backward()
        found.append((y.detach(), leaf.grad))
    for torchs, ours in zip(*found, strict=True):
        assert ours is not None
        assert ours.dtype == dtype
        assert torch.equal(torchs, ours)


def test_under_autocast_it_is_torchs_too() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 5).to(memory_format=torch.channels_last)
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    found = []
    for pool in (nn.AdaptiveAvgPool2d(1), GlobalPool()):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            maps = nn.functional.conv2d(leaf, weight)
            assert maps.is_contiguous(memory_format=torch.channels_last)
            y = pool(maps)
        assert y.dtype == torch.bfloat16
        y.float().square().sum().backward()
        found.append((y.detach(), leaf.grad))
    for torchs, ours in zip(*found, strict=True):
        assert ours is not None
        assert torch.equal(torchs, ours)


def test_its_gradient_and_the_sum_with_others_stay_in_channels_last() -> None:
    maps = torch.randn(2, 4, 6, 6).to(memory_format=torch.channels_last)
    seen: list[Tensor] = []
    for others in (False, True):
        x = maps.clone(memory_format=torch.channels_last).requires_grad_() * 1
        x.register_hook(seen.append)
        y = mean_of_pixels(x)
        ((x * y if others else y) * maps).sum().backward()
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in seen)
    assert not any(one.is_contiguous() for one in seen)
