"""Depthwise convolutions compute what torch computes; their gradients differ by rounding."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from estimators.data import digits
from estimators.depthwise import STRIP, depthwise_conv2d
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.shared_layers import assemble
from estimators.task import Classification
from estimators.training import Training
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.graph import Graph
from search_spaces.modules import build

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
def test_in_bfloat16_gradients_are_rounded_no_more_than_torchs(case: Case) -> None:
    ours = computed(depthwise_conv2d, case, half=True)
    torchs = computed(functional.conv2d, case, half=True)
    assert ours.output.dtype == torch.bfloat16
    assert torch.equal(ours.output, torchs.output)
    true = computed(functional.conv2d, case, dtype=torch.float64)
    for mine, other, exact in zip(ours.gradients, torchs.gradients, true.gradients, strict=True):
        assert mine.dtype == other.dtype == torch.float32
        assert error(mine, exact) < 1.5 * error(other, exact) + 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_torch(dtype: torch.dtype) -> None:
    case = Case(5)
    ours = computed(depthwise_conv2d, case, dtype=dtype)
    torchs = computed(functional.conv2d, case, dtype=dtype)
    for mine, other in zip(ours.gradients, torchs.gradients, strict=True):
        assert mine.dtype == dtype
        assert torch.equal(mine, other)


class Asked(NamedTuple):
    """A gradient that torch was asked for."""

    columns: int
    dtype: torch.dtype
    of_x: bool
    of_weight: bool


class Watch(TorchDispatchMode):
    """Keeps which gradients of depthwise convolutions torch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            gradient, _, weight, *_, groups, (of_x, of_weight, _) = args
            if groups > 1:
                self.asked.append(Asked(weight.shape[3], gradient.dtype, of_x, of_weight))
        return func(*args, **(kwargs or {}))

    def assert_fast(self) -> None:
        """Some were of wide kernels, all of whose weights were asked for in strips."""
        assert max(one.columns for one in self.asked) > STRIP
        assert all(one.columns <= STRIP for one in self.asked if one.of_weight)


@pytest.mark.parametrize(
    ("case", "half", "ours"),
    [
        (Case(3), False, False),
        (Case(3, stride=2), False, False),
        (Case(5), False, True),
        (Case(3), True, False),
        (Case(3, stride=2), True, True),
        (Case(7), True, True),
    ],
    ids=str,
)
def test_what_torch_is_slow_at_is_asked_for_in_another_way(
    case: Case, *, half: bool, ours: bool
) -> None:
    with Watch() as watch:
        computed(depthwise_conv2d, case, half=half)
    if ours:
        assert {one.dtype for one in watch.asked} == {torch.float32}
        assert [one.columns for one in watch.asked if one.of_x] == [case.kernel]
        assert sum(one.columns for one in watch.asked if one.of_weight) == case.kernel
        assert all(one.columns <= STRIP for one in watch.asked if one.of_weight)
    else:
        expected = torch.bfloat16 if half else torch.float32
        assert watch.asked == [Asked(case.kernel, expected, of_x=True, of_weight=True)]


def test_gradients_that_nobody_wants_are_not_computed() -> None:
    x, weight = torch.randn(2, CHANNELS, 8, 8), torch.randn(CHANNELS, 1, 5, 5, requires_grad=True)
    numbers = {"stride": 1, "padding": 2, "dilation": 1, "groups": CHANNELS}
    with Watch() as watch:
        depthwise_conv2d(x, weight, None, **numbers).sum().backward()
    assert not any(one.of_x for one in watch.asked)
    x.requires_grad_()
    with Watch() as watch:
        depthwise_conv2d(x, weight.detach(), None, **numbers).sum().backward()
    assert not any(one.of_weight for one in watch.asked)
    with torch.no_grad():
        assert not depthwise_conv2d(x, weight, None, **numbers).requires_grad


def wide() -> Graph:
    """A small network with a depthwise kernel of 5x5."""
    head = Classifier(10)
    blocks = (MBConv(8, kernel_size=5, expansion=2),)
    return lower(Architecture("Wide", (1, 8, 8), ConvNormAct(8), (blocks,), head))


def test_short_trainings_ask_so() -> None:
    training = Training(epochs=1, batch_size=64)
    training.prepare(digits(), Classification(10))
    with Watch() as watch:
        training.evaluate(wide(), fidelity=1.0, seed=0, device="cpu")
    watch.assert_fast()


def test_full_trainings_ask_so() -> None:
    recipe = FullRecipe(epochs=1)
    fit = FullTraining(wide(), digits(), Classification(10), recipe, seed=0, device="cpu")
    with Watch() as watch:
        fit.try_steps(1, time.monotonic)
    watch.assert_fast()


def test_shared_weights_ask_so() -> None:
    graph = wide()
    model = assemble(graph, dict(build(graph).named_parameters()))
    with Watch() as watch:
        model(torch.randn(4, 1, 8, 8)).sum().backward()
    watch.assert_fast()
