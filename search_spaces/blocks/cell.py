"""Cells with two inputs, as in NASNet and DARTS, and the layers that occur in them alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Add, AvgPool2d, Concat, Identity, MaxPool2d, ZeroPad2d

# What may stand on an edge. Zero is none of them: a node has two edges, and both are used.
OPERATIONS = ("sep3", "sep5", "dil3", "dil5", "max_pool", "avg_pool", "identity")


@final
@dataclass(frozen=True, slots=True)
class ActConvNorm(BlockSpec):
    """Activation, 1x1 convolution, batch norm: what brings an input to a width."""

    width: int
    activation: str = "relu"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = scope.activation("act", inputs[-1], self.activation)
        x = scope.conv("conv", x, scope.argument("out_channels", self.width))
        return scope.norm("norm", x)


@final
@dataclass(frozen=True, slots=True)
class FactorizedReduction(BlockSpec):
    """Halves a map by two 1x1 convolutions that read different pixels of it.

    One reads the pixels of even rows and columns, the other one those of odd ones; each yields
    half of the channels. On odd sides the last odd row and column are zeros.

    Attributes:
        width: Output channels, an even number.
        activation: A key of ``primitives.ACTIVATIONS``, before the convolutions.

    Source: NASNet (arXiv:1707.07012), as in the released code of DARTS (arXiv:1806.09055).
    """

    width: int
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.width % 2:
            raise ValueError(f"width must be even, got {int(self.width)}")

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = scope.activation("act", inputs[-1], self.activation)
        half = scope.argument("out_channels", self.width) // 2
        even = scope.conv("even_conv", x, half, stride=2)
        odd = scope.conv("odd_conv", scope.add("shift", ZeroPad2d(-1, 1), x), half, stride=2)
        return scope.norm("norm", scope.add("concat", Concat(), even, odd))


@final
@dataclass(frozen=True, slots=True)
class ActSeparable(BlockSpec):
    """Activation, depthwise and 1x1 convolution, batch norm.

    Attributes:
        kernel_size: Side of the depthwise kernel.
        stride: Step of the depthwise convolution.
        dilation: Distance in pixels between the points of the depthwise kernel.
        activation: A key of ``primitives.ACTIVATIONS``.

    Source: the dilated separable convolution of DARTS (arXiv:1806.09055); twice in a row, its
    separable convolution.
    """

    variants: ClassVar[Mapping[str, str]] = {
        "ActDilated": "Activation, dilated depthwise and 1x1 convolution, batch norm.",
    }

    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    activation: str = "relu"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = scope.activation("act", inputs[-1], self.activation)
        channels = x.channels
        if self.dilation > 1:
            scope.title("ActDilated")
        x = scope.conv(
            *("depthwise_conv", x, channels, scope.argument("kernel", self.kernel_size)),
            stride=scope.argument("stride", self.stride),
            dilation=self.dilation,
            groups=channels,
        )
        return scope.norm("norm", scope.conv("pointwise_conv", x, channels))


@final
@dataclass(frozen=True, slots=True)
class TwiceSeparable(BlockSpec):
    """Two separable convolutions, the first with the stride."""

    kernel_size: int = 3
    stride: int = 1
    activation: str = "relu"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        kernel = scope.argument("kernel", self.kernel_size)
        stride = scope.argument("stride", self.stride)
        first = ActSeparable(kernel, stride, activation=self.activation)
        second = ActSeparable(kernel, activation=self.activation)
        return scope.block("second", second, scope.block("first", first, inputs[-1]))


@final
@dataclass(frozen=True, slots=True)
class Cell(BlockSpec):
    """Nodes that each add two edges, over the outputs of the two blocks before.

    An edge leads from an input or a node to a later node and has an operation. The output is
    all nodes, concatenated. Layers are named by the edge, ``edge<from>_<to>``, so that an edge is
    the same one whatever else the cell holds.

    Both inputs are brought to the cell's width: the newer one by a 1x1 convolution, the older one
    likewise, or by a factorised reduction where it is larger than the newer one.

    Attributes:
        width: Channels of each node, an even number.
        sources: For each node two different places to read from, one node after the other: 0 is
            the older input, 1 the newer one, 2 the first node, and so on.
        operations: For each of them an entry of ``OPERATIONS``: twice separable convolutions with
            kernels of 3 and 5 pixels, separable ones with dilation 2, pooling over 3x3 pixels
            and the input itself, which becomes a factorised reduction at stride 2.
        reduction: Whether operations on the inputs have stride 2.
        activation: A key of ``primitives.ACTIVATIONS``.

    Source: NASNet (arXiv:1707.07012), section 3; operations, their order of layers, two edges a
    node and the concatenation of all nodes as in DARTS (arXiv:1806.09055), sections 2.1 and 3.1,
    and its released code. Deviation: average pooling counts the zeros around the map.
    """

    maps: ClassVar[int] = 2
    family: ClassVar[str] = "cell"
    variants: ClassVar[Mapping[str, str]] = {
        "FirstCell": "Adds two edges at each node, over the one map before it.",
        "NormalCell": "Adds two edges at each node, over the two maps before it.",
        "ReductionCell": "A cell that halves the map.",
        "NormalCellAfterReduction": "A cell that reads a map of twice its size.",
        "ReductionCellAfterReduction": "A cell that halves the map, right after another one.",
    }

    width: int
    sources: tuple[int, ...]
    operations: tuple[str, ...]
    reduction: bool = False
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.width % 2:
            raise ValueError(f"width must be even, got {int(self.width)}")
        if not self.sources or len(self.sources) % 2 or len(self.sources) != len(self.operations):
            raise ValueError(
                "sources and operations must be two for each node, "
                f"got {len(self.sources)} and {len(self.operations)}"
            )
        for place, source in enumerate(self.sources):
            node = 2 + place // 2
            if not 0 <= source < node or source == self.sources[place ^ 1]:
                raise ValueError(
                    f"sources of node {node} must be two different places from 0 to {node - 1}, "
                    f"got {source}"
                )
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise ValueError(
                    f"operations must be of {', '.join(OPERATIONS)}, got {operation!r}"
                )

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        older, newer = inputs[0], inputs[-1]
        larger = older.shape[1:] != newer.shape[1:]
        kind = "ReductionCell" if self.reduction else "NormalCell"
        if older.node == newer.node and not self.reduction:
            kind = "FirstCell"
        scope.title(f"{kind}AfterReduction" if larger else kind)
        width = scope.argument("out_channels", self.width)
        align = FactorizedReduction if larger else ActConvNorm
        places = [
            _named(scope.block("older", align(width, self.activation), older), width),
            _named(scope.block("newer", ActConvNorm(width, self.activation), newer), width),
        ]
        edges = list(zip(self.sources, self.operations, strict=True))
        for first, second in zip(edges[::2], edges[1::2], strict=True):
            node = len(places)
            ends = [self._edge(scope, node, edge, places[edge[0]]) for edge in (first, second)]
            places.append(_named(scope.add(f"node{node}", Add(), *ends), width))
        return scope.add("concat", Concat(), *places[2:])

    def _edge(self, scope: ScopeBuilder, node: int, edge: tuple[int, str], x: Value) -> Value:
        source, operation = edge
        name = f"edge{source}_{node}"
        stride = 2 if self.reduction and source < 2 else 1
        match operation:
            case "identity":
                if stride == 1:
                    return scope.add(name, Identity(), x)
                return scope.block(name, FactorizedReduction(x.channels, self.activation), x)
            case "max_pool":
                return scope.add(name, MaxPool2d(3, stride, 1), x)
            case "avg_pool":
                return scope.add(name, AvgPool2d(3, stride, 1), x)
        kernel = int(operation[-1])
        if operation.startswith("sep"):
            return scope.block(name, TwiceSeparable(kernel, stride, self.activation), x)
        return scope.block(name, ActSeparable(kernel, stride, 2, self.activation), x)


def _named(value: Value, channels: int) -> Value:
    """The same value, with its channels under the name that the cell has for them."""
    return Value(value.node, (channels, *value.shape[1:]))


@final
@dataclass(frozen=True, slots=True)
class CellStem(BlockSpec):
    """Convolutions and batch norms before the first cell.

    The cell brings its own activation.

    Attributes:
        width: Output channels.
        halvings: Number of 3x3 convolutions with stride 2, from 0, for one convolution with
            stride 1, to 3.
        activation: A key of ``primitives.ACTIVATIONS``, between the convolutions.

    Source: the released code of DARTS (arXiv:1806.09055). Deviation: with three halvings its
    network for ImageNet hands the first cell the map before the last one, too; here it reads one
    map twice.
    """

    width: int
    halvings: int = 0
    activation: str = "relu"

    def __post_init__(self) -> None:
        if not 0 <= self.halvings <= 3:
            raise ValueError(f"halvings must be from 0 to 3, got {self.halvings}")

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        width = scope.argument("out_channels", self.width)
        x = inputs[-1]
        for place in range(max(1, self.halvings)):
            if place:
                x = scope.activation(f"act{place}", x, self.activation)
            x = scope.conv(f"conv{place}", x, width, 3, stride=2 if self.halvings else 1)
            x = scope.norm(f"norm{place}", x)
        return x
