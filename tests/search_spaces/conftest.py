"""Random networks, and readers of a graph that are independent of ``modules`` and ``source``."""

import ast
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces.blocks import (
    AvgPool,
    BasicBlock,
    Bottleneck,
    ConvNormAct,
    DenseLayer,
    DepthwiseSeparable,
    Inception,
    MaxPool,
    MBConv,
    Skip,
    SqueezeExcite,
    Stem,
    Transition,
    Zero,
)
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec, GraphBuilder, ScopeBuilder, Value
from search_spaces.primitives import (
    ACTIVATIONS,
    Activation,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Mean,
    Multiply,
    SidePad2d,
    ZeroPad2d,
    Zeros,
)

JOINS: dict[str, Callable[..., Tensor]] = {
    "add": lambda *values: reduce(lambda one, other: one + other, values),
    "mean": lambda *values: reduce(lambda one, other: one + other, values) / len(values),
    "multiply": lambda one, other: one * other,
    "concat": lambda *values: torch.cat(values, dim=1),
    "zeros": lambda value: value * 0,
}


class Numbers:
    """Choices taken from a list, zeros once it is used up."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = iter(numbers)

    def below(self, bound: int) -> int:
        return next(self._numbers, 0) % bound

    def of(self, values: Sequence[Any]) -> Any:
        return values[self.below(len(values))]


@dataclass(frozen=True, slots=True)
class Cell(BlockSpec):
    """Whatever its numbers say."""

    width: int
    numbers: tuple[int, ...]
    depth: int

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        width = scope.argument("out_channels", self.width)
        return grow(scope, inputs, Numbers(self.numbers), width=width, depth=self.depth)


def grow(
    scope: ScopeBuilder, inputs: tuple[Value, ...], numbers: Numbers, *, width: int, depth: int
) -> Value:
    """Add some steps to ``scope`` and join what is left over; every input is read."""
    values = list(dict.fromkeys(inputs))
    unread = dict.fromkeys(inputs)
    for step in range(2 + numbers.below(4 + 2 * depth)):
        x = values[-1] if numbers.below(3) else numbers.of(values)
        y, read = add_step(scope, f"n{step}", x, values, numbers, width=width, depth=depth)
        for value in read:
            unread.pop(value, None)
        values.append(y)
        unread[y] = None
    left = list(unread)
    if len(left) == 1:
        return left[0]
    if len({value.shape[1:] for value in left}) > 1:
        left = [
            scope.add(f"shrink{place}", GlobalAvgPool2d(), value)
            for place, value in enumerate(left)
        ]
    if len({value.shape[0] for value in left}) == 1:
        return scope.add("join", numbers.of((Add(), Mean(), Concat())), *left)
    return scope.add("join", Concat(), *left)


def add_step(  # noqa: C901, PLR0911, PLR0912 - one branch for each kind of step
    scope: ScopeBuilder,
    name: str,
    x: Value,
    values: list[Value],
    numbers: Numbers,
    *,
    width: int,
    depth: int,
) -> tuple[Value, tuple[Value, ...]]:
    """One step that reads ``x``, perhaps others; the value it yields and those it read."""
    kind = numbers.below(14 if depth else 10)
    alike = [value for value in values if value.shape == x.shape]
    sized = [value for value in values if value.shape[1:] == x.shape[1:]]
    side = min(x.shape[1:])
    if kind == 0:
        return same_conv(scope, name, x, numbers, width=width), (x,)
    if kind == 1:
        return raw_conv(scope, name, x, numbers, width=width), (x,)
    if kind == 2:
        kernel = 1 + numbers.below(min(4, side))
        pool = numbers.of((MaxPool2d, AvgPool2d))
        stride, padding = 1 + numbers.below(3), numbers.below(kernel // 2 + 1)
        primitive = pool(kernel, stride, padding, bool(numbers.below(2)))
        return scope.add(name, primitive, x), (x,)
    if kind == 3:
        other = numbers.of(alike)
        third = (numbers.of(alike),) if numbers.below(2) else ()
        join = numbers.of((Add(), Mean()))
        return scope.add(name, join, x, other, *third), (x, other, *third)
    if kind == 4:
        if numbers.below(2):
            gate = scope.add(f"{name}_gate", GlobalAvgPool2d(), x)
            return scope.add(name, Multiply(), x, gate), (x,)
        other = numbers.of(alike)
        return scope.add(name, Multiply(), x, other), (x, other)
    if kind == 5:
        others = [other for other in sized[: numbers.below(4)] if other.channels < 20]
        return scope.add(name, Concat(), x, *others), (x, *others)
    if kind == 6:
        momentum = numbers.of((0.1, 0.01))
        return scope.add(name, BatchNorm2d(numbers.of((1e-5, 1e-3, 1e-12)), momentum), x), (x,)
    if kind == 7:
        return scope.activation(name, x, numbers.of(tuple(ACTIVATIONS))), (x,)
    if kind == 8:
        return scope.add(name, numbers.of((Identity(), Dropout(0.25), Dropout(0.0), Zeros())), x), (
            x,
        )
    if kind == 9:
        sides = [numbers.below(3) for _ in range(4)]
        pads = (ZeroPad2d(*sides[:2]), SidePad2d(*sides), AdaptiveAvgPool2d(4))
        return scope.add(name, numbers.of(pads), x), (x,)
    if kind == 10:
        handed = (*(numbers.of(values) for _ in range(numbers.below(4))), x)
        cell = Cell(2 * (1 + numbers.below(4)), (numbers.below(3),) * 9, depth - 1)
        return scope.block(name, cell, *handed), handed
    if kind >= 12 and side >= 4:
        return scope.block(name, built_in(numbers), x), (x,)
    parts = 1 + numbers.below(3)
    return scope.sequence(name, lambda inner: chain(inner, numbers, parts, depth), x), (x,)


def built_in(numbers: Numbers) -> BlockSpec:
    """Some built-in block for maps from 4x4 upwards, with settings as they come."""
    width, kernel, stride = 2 * (1 + numbers.below(4)), 1 + numbers.below(5), 1 + numbers.below(2)
    odd = kernel | 1
    squeeze = numbers.of((0.0, 0.25, 1.0))
    each: dict[str, Any] = {"activation": numbers.of(tuple(ACTIVATIONS))}
    squeezed = {**each, "squeeze_ratio": squeeze, "squeeze_of": numbers.of(("input", "scaled"))}
    residual = {**squeezed, "pre_activation": bool(numbers.below(2)), "dropout": 0.25 * stride}
    makers: tuple[Callable[[], BlockSpec], ...] = (
        lambda: Stem(width, kernel, stride, bool(numbers.below(2)), bool(numbers.below(2)), **each),
        lambda: ConvNormAct(width, kernel, stride, norm=bool(numbers.below(2)), **each),
        lambda: ConvNormAct(width, odd, stride, dilation=2, bias=True, padding=odd, **each),
        lambda: DepthwiseSeparable(width, kernel, stride, 1 + numbers.below(2), squeeze, **each),
        lambda: MBConv(
            width, kernel, stride, 1 + numbers.below(3), fused=bool(numbers.below(2)), **squeezed
        ),
        lambda: BasicBlock(width, kernel, stride, **residual),
        lambda: Bottleneck(width, kernel, stride, inner_ratio=1.0, groups=2, **residual),
        lambda: Bottleneck(2 * width, kernel, stride, stride_first=True, **residual),
        lambda: DenseLayer(width // 2, numbers.below(3), kernel, **squeezed),
        lambda: Transition(numbers.of((0.25, 0.5, 1.0)), stride, 0.25 * stride, **each),
        lambda: Inception(1, width, 2, 1, 3, 2, kernel, **squeezed),
        lambda: SqueezeExcite(width, numbers.of(tuple(ACTIVATIONS)), "hardsigmoid"),
        lambda: MaxPool(odd, stride, numbers.of(("same", "ceil")) if odd < 4 else "same"),
        lambda: AvgPool(2, 2, numbers.of(("same", "valid", "ceil"))),
        lambda: Skip(numbers.of((0, width)), stride),
        lambda: Zero(stride),
    )
    return numbers.of(makers)()


def chain(scope: ScopeBuilder, numbers: Numbers, parts: int, depth: int) -> Value:
    """A plain sequence of layers and blocks, numbered or named."""
    x, letters = scope.inputs[-1], numbers.below(2)
    for part in range(parts):
        name = f"part{part}" if letters else str(part)
        if numbers.below(2):
            x = scope.block(name, Cell(4 + 2 * numbers.below(2), (part,) * 5, depth - 1), x)
        else:
            x = scope.add(name, numbers.of((Activation("relu"), BatchNorm2d(), Identity())), x)
    return x


def same_conv(scope: ScopeBuilder, name: str, x: Value, numbers: Numbers, *, width: int) -> Value:
    """A convolution with 'same' padding, its kernel and stride at times named arguments."""
    kernel, stride = 1 + numbers.below(5), 1 + numbers.below(3)
    if scope.path == scope.owner and scope.path and numbers.below(2):
        kernel = scope.argument(f"{name}_kernel", kernel)
        stride = scope.argument(f"{name}_stride", stride)
    dilation, bias = 1 + numbers.below(2), bool(numbers.below(2))
    groups = x.channels if numbers.below(2) else 1
    out_channels = x.channels * (1 + numbers.below(2)) if groups > 1 else width
    return scope.conv(
        name, x, out_channels, kernel, stride=stride, dilation=dilation, groups=groups, bias=bias
    )


def raw_conv(scope: ScopeBuilder, name: str, x: Value, numbers: Numbers, *, width: int) -> Value:
    """A convolution with padding, stride, dilation and groups as they come."""
    padding, dilation = numbers.below(3), 1 + numbers.below(3)
    most = 1 + (min(x.shape[1:]) + 2 * padding - 1) // dilation
    kernel = 1 + numbers.below(min(4, most))
    groups = math.gcd(x.channels, width) if numbers.below(2) else 1
    stride, bias = 1 + numbers.below(3), bool(numbers.below(2))
    return scope.add(name, Conv2d(width, kernel, stride, padding, dilation, groups, bias), x)


def network(numbers: Iterable[int]) -> Graph:
    """The network that a list of numbers stands for."""
    choices = Numbers(numbers)
    shape = (1 + choices.below(4), 5 + choices.below(9), 5 + choices.below(9))
    builder = GraphBuilder(shape, title="Network")
    root = builder.root
    width = 2 * (1 + choices.below(4))
    x = grow(root, (builder.image,), choices, width=width, depth=2)
    if choices.below(3) == 0:
        return builder.graph(x)
    if choices.below(2):
        x = root.add("pool", GlobalAvgPool2d(), x)
    x = root.add("flatten", Flatten(), x)
    y = root.add("first", Linear(width), x)
    if choices.below(2):
        y = root.add("dropout", Dropout(0.5), y)
    if choices.below(2):
        z = root.activation("act", root.add("second", Linear(width), x), "sigmoid")
        y = root.add("both", choices.of((Add(), Mean(), Multiply())), y, z)
    return builder.graph(y)


def every_output(graph: Graph, model: nn.Module, images: Tensor) -> list[Tensor]:
    """Output of every node, computed one node after the other with the layers of ``model``."""
    outputs = [images]
    for node in graph.nodes[1:]:
        reads = [outputs[source] for source in node.inputs]
        join = JOINS.get(node.primitive.op)
        outputs.append(join(*reads) if join else model.get_submodule(node.name)(*reads))
    return outputs


def source_classes(source: str) -> list[str]:
    """Names of the classes that a module defines, in order."""
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]


def source_model(source: str) -> nn.Module:
    """An instance of the last class that generated source defines."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "model.py", "exec"), namespace)  # noqa: S102 - the code under test
    model: nn.Module = namespace[source_classes(source)[-1]]()
    return model


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep torch's threads from waiting for each other on tiny networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def networks() -> st.SearchStrategy[Graph]:
    """A strategy that draws random networks."""
    return st.lists(st.integers(0, 59), min_size=10, max_size=120).map(network)


@pytest.fixture(scope="session")
def fixed_networks() -> list[Graph]:
    """Sixty random networks, the same ones always."""
    rng = random.Random(20)  # noqa: S311 - no secret
    return [network([rng.randrange(60) for _ in range(120)]) for _ in range(60)]


@pytest.fixture(scope="session")
def every_output_of() -> Callable[[Graph, nn.Module, Tensor], list[Tensor]]:
    """See ``every_output``."""
    return every_output


@pytest.fixture(scope="session")
def model_from_source() -> Callable[[str], nn.Module]:
    """See ``source_model``."""
    return source_model


@pytest.fixture(scope="session")
def classes_in_source() -> Callable[[str], list[str]]:
    """See ``source_classes``."""
    return source_classes
