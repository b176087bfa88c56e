"""The primitive operations: shape, cost and layer of each, side by side.

Shapes leave the batch out: ``(channels, height, width)`` for feature maps, ``(features,)`` after
``Flatten``. Parameters count weights and biases, not batch-norm statistics. MACs count
multiply-accumulates of convolutions and linear layers for one image, as the literature does
under the name FLOPs; ``torch.utils.flop_counter`` reports twice these.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, final

Shape = tuple[int, ...]

MAX_CHANNELS = 65_536
MAX_SIDE = 16_384

ACTIVATIONS: Mapping[str, str] = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "silu": "SiLU",
    "hardswish": "Hardswish",
    "sigmoid": "Sigmoid",
    "hardsigmoid": "Hardsigmoid",
}


class Cost(NamedTuple):
    """What one primitive costs for one image."""

    params: int
    macs: int


FREE = Cost(0, 0)


@dataclass(frozen=True, slots=True)
class Layer:
    """A call of a ``torch.nn`` class, as data: built by ``modules``, printed by ``source``.

    Attributes:
        cls: Name in ``torch.nn``.
        positional: Arguments without a name.
        keywords: Further arguments, in the order of the class's signature.
        defaults: What ``source`` need not print.
    """

    cls: str
    positional: tuple[int | float, ...] = ()
    keywords: Mapping[str, int | float | bool | tuple[int, ...]] = field(default_factory=dict)
    defaults: Mapping[str, int | float | bool] = field(default_factory=dict)


class Primitive(ABC):
    """An operation on feature maps: a frozen dataclass of ints, floats, bools and names.

    Life cycle: constructed (which checks its own values), then ``infer`` with the shapes of its
    inputs (which checks that they fit), then ``cost`` and ``layer`` with the same shapes.
    """

    __slots__ = ()
    op: ClassVar[str]
    commutative: ClassVar[bool] = False

    @abstractmethod
    def infer(self, *inputs: Shape) -> Shape:
        """Shape of the output.

        Raises:
            ValueError: If number or shapes of the inputs do not fit.
        """

    @abstractmethod
    def cost(self, inputs: tuple[Shape, ...], output: Shape) -> Cost:
        """Parameters and multiply-accumulates for one image."""

    @abstractmethod
    def layer(self, inputs: tuple[Shape, ...]) -> Layer | None:
        """The ``torch.nn`` layer, or None for an operator of several inputs."""


@final
@dataclass(frozen=True, slots=True)
class Input(Primitive):
    """The image, ``(channels, height, width)``."""

    op: ClassVar[str] = "input"
    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        _require("channels", self.channels, 1, MAX_CHANNELS)
        _require("height", self.height, 1, MAX_SIDE)
        _require("width", self.width, 1, MAX_SIDE)

    def infer(self, *inputs: Shape) -> Shape:
        if inputs:
            raise ValueError(f"input takes no inputs, got {len(inputs)}")
        return self.channels, self.height, self.width

    def cost(self, inputs: tuple[Shape, ...], output: Shape) -> Cost:
        return FREE

    def layer(self, inputs: tuple[Shape, ...]) -> Layer | None:
        return None


@final
@dataclass(frozen=True, slots=True)
class Conv2d(Primitive):
    """Convolution with a square kernel and equal zero padding on all sides.

    Attributes:
        padding: Rows and columns added on each side, in pixels.
        groups: Independent groups of channels; equal to the input channels for a depthwise one.
    """

    op: ClassVar[str] = "conv2d"
    out_channels: int
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        _require("out_channels", self.out_channels, 1, MAX_CHANNELS)
        _require("kernel_size", self.kernel_size, 1, MAX_SIDE)
        _require("stride", self.stride, 1, MAX_SIDE)
        _require("padding", self.padding, 0, MAX_SIDE)
        _require("dilation", self.dilation, 1, MAX_SIDE)
        _require("groups", self.groups, 1, MAX_CHANNELS)
        if self.out_channels % self.groups:
            raise ValueError(
                f"out_channels must be a multiple of groups={self.groups}, got {self.out_channels}"
            )

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _one_map(self.op, inputs)
        if channels % self.groups:
            raise ValueError(
                f"input channels must be a multiple of groups={self.groups}, got {channels}"
            )
        window = self.dilation * (self.kernel_size - 1) + 1
        return (
            self.out_channels,
            _windows("height", height, window, int(self.stride), 2 * int(self.padding)),
            _windows("width", width, window, int(self.stride), 2 * int(self.padding)),
        )

    def cost(self, inputs: tuple[Shape, ...], output: Shape) -> Cost:
        per_pixel = int(inputs[0][0]) // self.groups * self.kernel_size**2 * int(self.out_channels)
        bias = int(self.out_channels) if self.bias else 0
        return Cost(per_pixel + bias, per_pixel * output[1] * output[2])

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        keywords = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "bias": self.bias,
        }
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
        return Layer(
            "Conv2d", (inputs[0][0], self.out_channels, self.kernel_size), keywords, defaults
        )


@final
@dataclass(frozen=True, slots=True)
class BatchNorm2d(Primitive):
    """Batch normalisation per channel, with scale and shift (arXiv:1502.03167)."""

    op: ClassVar[str] = "batch_norm2d"
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        _require_float("eps", self.eps, 1e-12, 1.0)
        _require_float("momentum", self.momentum, 0.0, 1.0)

    def infer(self, *inputs: Shape) -> Shape:
        return _one_map(self.op, inputs)

    def cost(self, inputs: tuple[Shape, ...], output: Shape) -> Cost:
        return Cost(2 * int(output[0]), 0)

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer(
            "BatchNorm2d",
            (inputs[0][0],),
            {"eps": self.eps, "momentum": self.momentum},
            {"eps": 1e-5, "momentum": 0.1},
        )


class _OneFree(Primitive):
    """A primitive of one input without weights or multiply-accumulates."""

    __slots__ = ()

    @final
    def cost(self, inputs: tuple[Shape, ...], output: Shape) -> Cost:
        return FREE


@final
@dataclass(frozen=True, slots=True)
class Activation(_OneFree):
    """An elementwise non-linearity; ``kind`` is a key of ``ACTIVATIONS``."""

    op: ClassVar[str] = "activation"
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in ACTIVATIONS:
            raise ValueError(f"kind must be one of {', '.join(ACTIVATIONS)}, got {self.kind!r}")

    def infer(self, *inputs: Shape) -> Shape:
        return _one(self.op, inputs)

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer(ACTIVATIONS[self.kind])


@dataclass(frozen=True, slots=True)
class _Pool(_OneFree):
    """One value per window, for each channel.

    Attributes:
        kernel_size: Side of the square window, in pixels.
        stride: Step of the window.
        padding: Rows and columns added on each side, at most half a window.
        ceil_mode: Whether a last window may reach beyond the padding.
    """

    cls: ClassVar[str]
    kernel_size: int
    stride: int = 1
    padding: int = 0
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        _require("kernel_size", self.kernel_size, 1, MAX_SIDE)
        _require("stride", self.stride, 1, MAX_SIDE)
        _require("padding", self.padding, 0, self.kernel_size // 2)

    @final
    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _one_map(self.op, inputs)
        return channels, self._side("height", height), self._side("width", width)

    @final
    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        keywords = {"stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode}
        defaults = {"padding": 0, "ceil_mode": False}
        return Layer(self.cls, (self.kernel_size,), keywords, defaults)

    def _side(self, side: str, length: int) -> int:
        window, stride, padding = int(self.kernel_size), int(self.stride), int(self.padding)
        beyond = stride - 1 if self.ceil_mode else 0  # pixels of the last window
        windows = _windows(side, length, window - beyond, stride, 2 * padding)
        if self.ceil_mode and (windows - 1) * stride >= length + padding:
            windows -= 1  # a window must start inside the map or its padding before it
        return windows


@final
@dataclass(frozen=True, slots=True)
class MaxPool2d(_Pool):
    """Largest value of each window; padding never wins (it is minus infinity)."""

    op: ClassVar[str] = "max_pool2d"
    cls: ClassVar[str] = "MaxPool2d"


@final
@dataclass(frozen=True, slots=True)
class AvgPool2d(_Pool):
    """Mean of each window; padding zeros count, as in ``torch.nn.AvgPool2d``."""

    op: ClassVar[str] = "avg_pool2d"
    cls: ClassVar[str] = "AvgPool2d"


@final
@dataclass(frozen=True, slots=True)
class GlobalAvgPool2d(_OneFree):
    """Mean over all pixels, ``(channels, 1, 1)``."""

    op: ClassVar[str] = "global_avg_pool2d"

    def infer(self, *inputs: Shape) -> Shape:
        return _one_map(self.op, inputs)[0], 1, 1

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer("AdaptiveAvgPool2d", (1,))


@final
@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool2d(_OneFree):
    """Mean over ``size`` x ``size`` parts of the map, which overlap where sides do not divide.

    One part alone is ``GlobalAvgPool2d``.
    """

    op: ClassVar[str] = "adaptive_avg_pool2d"
    size: int

    def __post_init__(self) -> None:
        _require("size", self.size, 2, MAX_SIDE)

    def infer(self, *inputs: Shape) -> Shape:
        return _one_map(self.op, inputs)[0], self.size, self.size

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer("AdaptiveAvgPool2d", (self.size,))


@final
@dataclass(frozen=True, slots=True)
class ZeroPad2d(_OneFree):
    """Zeros around the map, in pixels: what even 'same' kernels need, being lopsided.

    Negative numbers cut rows and columns off, so that -1 before and 1 after shift the map.
    """

    op: ClassVar[str] = "zero_pad2d"
    before: int
    after: int

    def __post_init__(self) -> None:
        _require("before", self.before, -MAX_SIDE, MAX_SIDE)
        _require("after", self.after, -MAX_SIDE, MAX_SIDE)

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _one_map(self.op, inputs)
        added = int(self.before) + int(self.after)
        cut = max(0, -int(self.before)) + max(0, -int(self.after))
        if cut >= min(height, width):
            raise ValueError(f"zero_pad2d must leave a pixel of {_text(inputs[0])}, got {cut} cut")
        return channels, height + added, width + added

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        sides = (self.before, self.after, self.before, self.after)
        return Layer("ZeroPad2d", (), {"padding": sides})


@final
@dataclass(frozen=True, slots=True)
class SidePad2d(_OneFree):
    """Zeros around the map, in pixels, another number on each side.

    Where height and width need the same, it is ``ZeroPad2d``.
    """

    op: ClassVar[str] = "side_pad2d"
    left: int
    right: int
    top: int
    bottom: int

    def __post_init__(self) -> None:
        for name in ("left", "right", "top", "bottom"):
            _require(name, getattr(self, name), 0, MAX_SIDE)

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _one_map(self.op, inputs)
        added = int(self.top) + int(self.bottom), int(self.left) + int(self.right)
        return channels, height + added[0], width + added[1]

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        sides = (self.left, self.right, self.top, self.bottom)
        return Layer("ZeroPad2d", (), {"padding": sides})


@final
@dataclass(frozen=True, slots=True)
class Flatten(_OneFree):
    """A map as one vector of ``channels * height * width`` features."""

    op: ClassVar[str] = "flatten"

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _one_map(self.op, inputs)
        pixels = int(height) * int(width)
        return (channels if pixels == 1 else channels * pixels,)

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer("Flatten")


@final
@dataclass(frozen=True, slots=True)
class Dropout(_OneFree):
    """Each value zeroed with probability ``rate`` while training, the others scaled up."""

    op: ClassVar[str] = "dropout"
    rate: float

    def __post_init__(self) -> None:
        _require_float("rate", self.rate, 0.0, 0.99)

    def infer(self, *inputs: Shape) -> Shape:
        return _one(self.op, inputs)

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer("Dropout", (self.rate,))


@final
@dataclass(frozen=True, slots=True)
class Identity(_OneFree):
    """The input itself."""

    op: ClassVar[str] = "identity"

    def infer(self, *inputs: Shape) -> Shape:
        return _one(self.op, inputs)

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer("Identity")


@final
@dataclass(frozen=True, slots=True)
class Linear(Primitive):
    """A fully connected layer with bias."""

    op: ClassVar[str] = "linear"
    out_features: int

    def __post_init__(self) -> None:
        _require("out_features", self.out_features, 1, MAX_CHANNELS)

    def infer(self, *inputs: Shape) -> Shape:
        shape = _one(self.op, inputs)
        if len(shape) != 1:
            raise ValueError(f"linear needs a vector, got the map {_text(shape)}; flatten it first")
        return (self.out_features,)

    def cost(self, inputs: tuple[Shape, ...], output: Shape) -> Cost:
        weights = int(inputs[0][0]) * int(self.out_features)
        return Cost(weights + int(self.out_features), weights)

    def layer(self, inputs: tuple[Shape, ...]) -> Layer:
        return Layer("Linear", (inputs[0][0], self.out_features))


class Join(Primitive):
    """An operator without weights that is no layer: most join two or more inputs."""

    __slots__ = ()

    @final
    def cost(self, inputs: tuple[Shape, ...], output: Shape) -> Cost:
        return FREE

    @final
    def layer(self, inputs: tuple[Shape, ...]) -> Layer | None:
        return None


@final
@dataclass(frozen=True, slots=True)
class Add(Join):
    """Elementwise sum of equal shapes."""

    op: ClassVar[str] = "add"
    commutative: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return _equal(self.op, inputs)


@final
@dataclass(frozen=True, slots=True)
class Mean(Join):
    """Elementwise mean of equal shapes: the join of FractalNet (arXiv:1605.07648)."""

    op: ClassVar[str] = "mean"
    commutative: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return _equal(self.op, inputs)


@final
@dataclass(frozen=True, slots=True)
class Multiply(Join):
    """Elementwise product of two maps, the second a map of the same size or one pixel."""

    op: ClassVar[str] = "multiply"
    commutative: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        if len(inputs) != 2:
            raise ValueError(f"multiply needs two inputs, got {len(inputs)}")
        first, second = inputs
        if len(first) != len(second) or first[0] != second[0]:
            raise ValueError(f"multiply needs equal channels, got {_text(first)}, {_text(second)}")
        if second[1:] not in {first[1:], (1, 1)}:
            raise ValueError(f"multiply cannot spread {_text(second)} over {_text(first)}")
        return first


@final
@dataclass(frozen=True, slots=True)
class Concat(Join):
    """Channels of all inputs, in their order."""

    op: ClassVar[str] = "concat"

    def infer(self, *inputs: Shape) -> Shape:
        if not inputs or any(len(shape) != 3 or shape[1:] != inputs[0][1:] for shape in inputs):
            shown = ", ".join(_text(shape) for shape in inputs)
            raise ValueError(f"concat needs maps of one height and width, got {shown or 'none'}")
        channels = inputs[0][0]
        for shape in inputs[1:]:
            channels = channels + shape[0]
        if channels > MAX_CHANNELS:
            raise ValueError(f"channels must be at most {MAX_CHANNELS}, got {int(channels)}")
        return channels, *inputs[0][1:]


@final
@dataclass(frozen=True, slots=True)
class Zeros(Join):
    """Zero times its one input."""

    op: ClassVar[str] = "zeros"

    def infer(self, *inputs: Shape) -> Shape:
        return _one(self.op, inputs)


JOINS: frozenset[type[Primitive]] = frozenset({Add, Mean, Multiply, Concat, Zeros})

PRIMITIVES: Mapping[str, type[Primitive]] = {
    cls.op: cls
    for cls in (
        Input,
        Conv2d,
        BatchNorm2d,
        Activation,
        MaxPool2d,
        AvgPool2d,
        GlobalAvgPool2d,
        AdaptiveAvgPool2d,
        ZeroPad2d,
        SidePad2d,
        Flatten,
        Dropout,
        Identity,
        Linear,
        Add,
        Mean,
        Multiply,
        Concat,
        Zeros,
    )
}


def _require(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, got {int(value)}")


def _require_float(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, got {value}")


def _one(op: str, inputs: tuple[Shape, ...]) -> Shape:
    if len(inputs) != 1:
        raise ValueError(f"{op} needs one input, got {len(inputs)}")
    return inputs[0]


def _one_map(op: str, inputs: tuple[Shape, ...]) -> Shape:
    shape = _one(op, inputs)
    if len(shape) != 3:
        raise ValueError(f"{op} needs a map (channels, height, width), got {_text(shape)}")
    return shape


def _equal(op: str, inputs: tuple[Shape, ...]) -> Shape:
    if not inputs or any(shape != inputs[0] for shape in inputs):
        shown = ", ".join(_text(shape) for shape in inputs)
        raise ValueError(f"{op} needs equal shapes, got {shown or 'none'}")
    return inputs[0]


def _windows(side: str, length: int, window: int, stride: int, padding: int) -> int:
    if window > length + padding:
        raise ValueError(
            f"{side} {length} with padding {padding} is smaller than the window {window}"
        )
    return (length + padding - window) // stride + 1


def _text(shape: Shape) -> str:
    return "x".join(str(int(side)) for side in shape)
