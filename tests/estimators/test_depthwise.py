"""Depthwise convolutions compute what torch computes; their gradients differ by rounding."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from estimators.depthwise import DepthwiseConv2d, depthwise_conv2d, trained_layer
from search_spaces.graph import Node
from search_spaces.modules import layer_of
from search_spaces.primitives import FREE, Conv2d, Primitive

CHANNELS = 6
LAYOUTS = [torch.channels_last, torch.contiguous_format]


class Case(NamedTuple):
    """A convolution and what it reads."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int = 2
    height: int = 13
    width: int = 11
    bias: bool = False


CASES = [
    Case(3),
    Case(5),
    Case(4, padding=0),
    Case(5, stride=2, bias=True),
    Case(5, dilation=2, padding=4),
    Case(7, padding=3, height=7, width=7),
    Case(7, stride=2, padding=0),
    Case(9, stride=3, padding=5),
    Case(5, padding=7, height=3, width=2),
]


class Results(NamedTuple):
    """The output and the gradients of all that was read."""

    output: Tensor
    gradients: list[Tensor]


def computed(
    convolution: Callable[..., Tensor],
    case: Case,
    *,
    dtype: torch.dtype = torch.float32,
    layout: torch.memory_format = torch.channels_last,
    half: bool = False,
) -> Results:
    """What a convolution makes of random images."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, CHANNELS, case.height, case.width), (CHANNELS, 1, case.kernel, case.kernel)]
    shapes += [(CHANNELS,)] if case.bias else []
    drawn = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    drawn[0] = drawn[0].to(memory_format=layout)
    for one in drawn:
        one.requires_grad_()
    x, weight, *bias = drawn
    numbers = {name: getattr(case, name) for name in ("stride", "padding", "dilation")}
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = convolution(x, weight, *(bias or [None]), groups=CHANNELS, **numbers)
    factors = torch.randn(output.shape, generator=generator).to(output.dtype)
    (output * factors).sum().backward()
    return Results(output.detach(), [one.grad for one in drawn if one.grad is not None])


def error(found: Tensor, true: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    return float((found.double() - true).abs().max() / true.abs().max())


@pytest.mark.parametrize("layout", LAYOUTS, ids=["channels_last", "contiguous"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_float32_outputs_are_torchs_and_gradients_are_right(
    case: Case, layout: torch.memory_format
) -> None:
    ours = computed(depthwise_conv2d, case, layout=layout)
    assert torch.equal(ours.output, computed(functional.conv2d, case, layout=layout).output)
    true = computed(functional.conv2d, case, dtype=torch.float64)
    assert len(ours.gradients) == len(true.gradients)
    for mine, exact in zip(ours.gradients, true.gradients, strict=True):
        assert mine.dtype == torch.float32
        assert error(mine, exact) < 1e-5


@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_bfloat16_gradients_are_no_worse_than_torchs(case: Case) -> None:
    ours = computed(depthwise_conv2d, case, half=True)
    torchs = computed(functional.conv2d, case, half=True)
    assert ours.output.dtype == torch.bfloat16
    assert torch.equal(ours.output, torchs.output)
    true = computed(functional.conv2d, case, dtype=torch.float64)
    for mine, other, exact in zip(ours.gradients, torchs.gradients, true.gradients, strict=True):
        assert mine.dtype == other.dtype == torch.float32
        assert error(mine, exact) < 1.5 * error(other, exact) + 1e-3


def test_gradients_that_nobody_wants_are_not_computed() -> None:
    x, weight = torch.randn(2, CHANNELS, 8, 8), torch.randn(CHANNELS, 1, 5, 5)
    numbers = {"stride": 1, "padding": 2, "dilation": 1, "groups": CHANNELS}
    depthwise_conv2d(x, weight.requires_grad_(), None, **numbers).sum().backward()
    assert weight.grad is not None
    assert x.grad is None
    with torch.no_grad():
        assert not depthwise_conv2d(x, weight, None, **numbers).requires_grad


@pytest.mark.parametrize(
    ("primitive", "channels", "depthwise"),
    [
        (Conv2d(8, 5, 2, 2, 1, 8), 8, True),
        (Conv2d(8, 3, 1, 2, 2, 8, bias=True), 8, True),
        (Conv2d(16, 3, 1, 1, 1, 8), 8, False),  # two filters for each channel
        (Conv2d(8, 3, 1, 1, 1, 4), 8, False),
        (Conv2d(1, 3, 1, 1), 1, False),
    ],
    ids=str,
)
def test_layers_have_the_same_names_and_initial_values(
    primitive: Primitive, channels: int, *, depthwise: bool
) -> None:
    shape = (channels, 9, 9)
    node = Node("conv", "", primitive, (0,), (shape,), primitive.infer(shape), FREE)
    torch.manual_seed(0)
    ours = trained_layer(node)
    torch.manual_seed(0)
    torchs = layer_of(node)
    assert isinstance(ours, DepthwiseConv2d) is depthwise
    assert isinstance(torchs, nn.Conv2d)
    assert ours is not None
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    x = torch.randn(2, *shape)
    assert torch.equal(ours(x), torchs(x))
